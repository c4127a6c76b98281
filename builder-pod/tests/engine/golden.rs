//! The answers on record, one file for each topic beside its cases.
//!
//! The first answer of a case is BuildKit's. Where ours is another, it stands after `--- ours`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The answers to a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Golden {
    pub(crate) buildkit: Vec<String>,
    pub(crate) ours: Option<Vec<String>>,
}

/// The answers of a topic by case.
pub(crate) type Goldens = BTreeMap<String, Golden>;

/// Reads what is on record for a topic.
pub(crate) fn read(topic: &str) -> Goldens {
    let Ok(text) = std::fs::read_to_string(file(topic)) else {
        return Goldens::new();
    };
    let mut goldens = Goldens::new();
    let mut current: Option<&mut Golden> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            current = Some(goldens.entry(name.to_owned()).or_default());
            continue;
        }
        let Some(golden) = current.as_deref_mut() else {
            continue;
        };
        match (line, &mut golden.ours) {
            ("--- ours", ours) => *ours = Some(Vec::new()),
            ("", _) => {}
            (line, Some(ours)) => ours.push(line.to_owned()),
            (line, None) => golden.buildkit.push(line.to_owned()),
        }
    }
    goldens
}

/// Writes the answers of a topic in the order of its cases.
pub(crate) fn write<'a>(topic: &str, cases: impl Iterator<Item = &'a str>, goldens: &Goldens) {
    let mut text = String::new();
    for name in cases {
        let Some(golden) = goldens.get(name) else {
            continue;
        };
        let ours = golden.ours.iter().flat_map(|ours| {
            let separator = std::iter::once("--- ours");
            separator.chain(ours.iter().map(String::as_str))
        });
        writeln!(text, "=== {name}").unwrap();
        for line in golden.buildkit.iter().map(String::as_str).chain(ours) {
            writeln!(text, "{line}").unwrap();
        }
        text.push('\n');
    }
    if !text.is_empty() {
        std::fs::write(file(topic), text).unwrap();
    }
}

fn file(topic: &str) -> PathBuf {
    crate::case::directory().join(format!("{topic}.golden"))
}

/// Whether an answer is the one on record. A time of the clock there may be any time here; remarks are not compared.
pub(crate) fn is_same(golden: &[String], answer: &[String]) -> bool {
    let remarks = |line: &&String| !line.starts_with("# ");
    let mut golden = golden.iter().filter(remarks);
    let mut answer = answer.iter().filter(remarks);
    loop {
        match (golden.next(), answer.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if is_same_line(a, b) => {}
            _ => return false,
        }
    }
}

fn is_same_line(golden: &str, answer: &str) -> bool {
    // BuildKit does not know the place of every failure.
    if golden == answer || (golden == "fails" && answer.starts_with("fails in line ")) {
        return true;
    }
    let Some((before, after)) = golden.split_once(" @- ") else {
        return false;
    };
    let Some((ours, rest)) = answer.split_once(" @") else {
        return false;
    };
    ours == before && rest.split_once(' ').is_some_and(|(_, rest)| rest == after)
}

/// What differs, line by line.
pub(crate) fn difference(golden: &[String], answer: &[String]) -> String {
    let mut text = String::new();
    let (mut a, mut b) = (0, 0);
    while a < golden.len() || b < answer.len() {
        let next =
            (b..answer.len()).find(|&n| a < golden.len() && is_same_line(&golden[a], &answer[n]));
        match next {
            Some(n) => {
                answer[b..n]
                    .iter()
                    .for_each(|line| text.push_str(&format!("    +{line}\n")));
                (a, b) = (a + 1, n + 1);
            }
            None if a < golden.len() => {
                text.push_str(&format!("    -{}\n", golden[a]));
                a += 1;
            }
            None => {
                text.push_str(&format!("    +{}\n", answer[b]));
                b += 1;
            }
        }
    }
    text
}
