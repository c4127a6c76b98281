//! The corpus: every case of `tests/fixtures/dockerfiles` means here what it means to BuildKit.
//!
//! BuildKit's answers (`buildkit.json`) are written by the judge, see `tests/fixtures/README.md`; nothing but files is
//! read here. Our own words (`plan.txt`, `errors.txt`) are goldens: `UPDATE_GOLDEN=1` writes what comes out, and
//! reading the difference is the review.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says best where it failed by failing there"
)]

mod answer;
mod case;
mod compare;
mod images;
mod outcome;
mod sources;

use std::collections::BTreeMap;

use case::Case;
use images::Images;
use outcome::Outcome;

/// What the corpus holds at least, by topic.
const TOPICS: [(&str, usize); 1] = [("recipes", 60)];

#[test]
fn every_dockerfile_means_what_it_means_to_buildkit() {
    let images = Images::read();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let outcome = Outcome::of(&case, &images);
        let differences = compare::differences(&case, &outcome);
        let settings = &case.settings;
        let reasons = [&settings.difference, &settings.place, &settings.open];
        let reason = reasons.into_iter().flatten().next();
        match (reason, differences.is_empty()) {
            (None, false) => wrong.push(format!("{}:\n  {}", case.name, differences.join("\n  "))),
            (Some(reason), true) => {
                wrong.push(format!("{}: it does not differ: {reason}", case.name));
            }
            _ => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_dockerfile_is_explained_as_its_golden_says() {
    let images = Images::read();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let outcome = Outcome::of(&case, &images);
        let (name, other) = match outcome {
            Outcome::Plan(_) => ("plan.txt", "errors.txt"),
            Outcome::Errors(_) | Outcome::Check(_) => ("errors.txt", "plan.txt"),
        };
        let text = outcome.text();
        if update {
            case.write(name, &text);
            case.remove(other);
        }
        if case.read(name).as_deref() != Some(text.as_str()) || case.read(other).is_some() {
            wrong.push(format!("{}/{name} is now\n{text}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_warning_of_buildkit_stands_where_it_does_in_buildkit() {
    let images = Images::read();
    let mut wrong = Vec::new();
    for case in Case::all() {
        if case.judged.get("error").is_some() || case.settings.open.is_some() {
            continue;
        }
        let report = outcome::check(&case, &images).unwrap();
        let own = report.findings.iter().filter(|one| !one.rule.is_own());
        let mut ours: Vec<(String, u32)> = own
            .map(|one| (one.rule.name().to_owned(), one.span.line))
            .collect();
        ours.sort();
        let theirs = compare::warnings(&case.judged);
        if ours != theirs {
            wrong.push(format!("{}: BuildKit {theirs:?}, we {ours:?}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn without_any_one_line_it_is_still_explained() {
    let images = Images::read();
    for case in Case::all() {
        let lines: Vec<&str> = case.text.split_inclusive('\n').collect();
        // Eight of a long file's lines will do.
        for left_out in (0..lines.len()).step_by(lines.len() / 8 + 1) {
            let mut rest = lines.clone();
            rest.remove(left_out);
            let text = rest.concat();
            let Outcome::Errors(found) = Outcome::of_text(&text, &case.settings, &images) else {
                continue;
            };
            assert!(!found.is_empty(), "{}: {text}", case.name);
            for one in found {
                let is_inside = one.span.start <= one.span.end && one.span.end <= text.len();
                assert!(
                    is_inside && !one.message.is_empty(),
                    "{}: {one:?}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn the_corpus_is_as_large_as_it_claims() {
    let mut by_topic: BTreeMap<String, usize> = BTreeMap::new();
    for case in Case::all() {
        *by_topic.entry(case.topic().to_owned()).or_default() += 1;
    }
    let all: usize = by_topic.values().sum();
    assert!(all >= 400, "only {all} cases: {by_topic:?}");
    for (topic, least) in TOPICS {
        let found = by_topic.get(topic).copied().unwrap_or_default();
        assert!(found >= least, "only {found} cases of {topic}");
    }
}
