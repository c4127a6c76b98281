//! The patterns of `${v#p}`, `${v%p}` and `${v/p/w}`: `*`, `?`, and a backslash before what is meant plainly.
//!
//! Invariant: matching takes time linear in the value, whatever the pattern: both come from the user.

use regex::{NoExpand, Regex};

/// A pattern that cannot be understood: an escape before something that needs none, or far too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPattern;

enum Part {
    Plain(char),
    One,
    Many,
}

fn parts(pattern: &str) -> Result<Vec<Part>, BadPattern> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '*' => Part::Many,
            '?' => Part::One,
            // `}` and `/` would end the substitution.
            '\\' => match characters.next() {
                Some(plain @ ('*' | '?' | '\\' | '}' | '/')) => Part::Plain(plain),
                _ => return Err(BadPattern),
            },
            plain => Part::Plain(plain),
        });
    }
    Ok(parts)
}

fn compile<'a>(
    parts: impl Iterator<Item = &'a Part>,
    anchored: bool,
    longest: bool,
) -> Result<Regex, BadPattern> {
    let mut text = String::from(if anchored { "^" } else { "" });
    for part in parts {
        match part {
            Part::One => text.push('.'),
            Part::Many if longest => text.push_str(".*"),
            Part::Many => text.push_str(".*?"),
            Part::Plain(plain) => text.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).map_err(|_| BadPattern)
}

/// The value without the shortest or longest match at its start.
pub(crate) fn trim_start(value: &str, pattern: &str, longest: bool) -> Result<String, BadPattern> {
    let regex = compile(parts(pattern)?.iter(), true, longest)?;
    let length = regex.find(value).map_or(0, |found| found.end());
    Ok(value.get(length..).unwrap_or_default().to_owned())
}

/// The value without the shortest or longest match at its end.
pub(crate) fn trim_end(value: &str, pattern: &str, longest: bool) -> Result<String, BadPattern> {
    // The shortest match at the end is the first one of the reversed text.
    let regex = compile(parts(pattern)?.iter().rev(), true, longest)?;
    let reversed: String = value.chars().rev().collect();
    let length = regex.find(&reversed).map_or(0, |found| found.end());
    let kept = value.len().saturating_sub(length);
    Ok(value.get(..kept).unwrap_or_default().to_owned())
}

/// The value with the first or every longest match replaced.
pub(crate) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
) -> Result<String, BadPattern> {
    let regex = compile(parts(pattern)?.iter(), false, true)?;
    let limit = usize::from(!all);
    Ok(regex
        .replacen(value, limit, NoExpand(replacement))
        .into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_at_both_ends_are_removed() {
        for (value, pattern, start, longest_start, end, longest_end) in [
            ("/a/b/c", "*/", "a/b/c", "c", "/a/b/c", "/a/b/c"),
            ("/a/b/c", "/*", "a/b/c", "", "/a/b", ""),
            ("xxyy", "*", "xxyy", "", "xxyy", ""),
            ("xxyy", "*x*y", "y", "", "x", ""),
            ("a*b*", "?\\*", "b*", "b*", "a*", "a*"),
            (".+x", ".+", "x", "x", ".+x", ".+x"),
            ("añb", "a?", "b", "b", "añb", "añb"),
            ("xab", "?b", "xab", "xab", "x", "x"),
        ] {
            let got = [
                trim_start(value, pattern, false),
                trim_start(value, pattern, true),
                trim_end(value, pattern, false),
                trim_end(value, pattern, true),
            ];
            let expected = [start, longest_start, end, longest_end];
            assert_eq!(
                got,
                expected.map(|text| Ok(text.to_owned())),
                "{value} {pattern}"
            );
        }
    }

    #[test]
    fn matches_are_replaced() {
        for (value, pattern, first, all) in [
            ("/foo*/*/*.txt", "\\*/", "/foo.*/*.txt", "/foo..*.txt"),
            ("aXbXc", "X", "a.bXc", "a.b.c"),
            ("ab", "", ".ab", ".a.b."),
            ("ab", "*", ".", "."),
            ("ab", "z", "ab", "ab"),
        ] {
            let got = [false, true].map(|every| replace(value, pattern, ".", every));
            assert_eq!(
                got,
                [first, all].map(|text| Ok(text.to_owned())),
                "{value} {pattern}"
            );
        }
        assert_eq!(
            replace("a", "a", "$0", true),
            Ok("$0".to_owned()),
            "taken literally"
        );
    }

    #[test]
    fn an_escape_needs_something_to_escape() {
        for wrong in ["\\", "\\x", "\\\\\\"] {
            assert_eq!(trim_start("x", wrong, false), Err(BadPattern), "{wrong}");
        }
    }
}
