//! The patterns of `${v#p}`, `${v%p}` and `${v/p/w}`: `*`, `?`, and a backslash before what is meant plainly.
//!
//! Invariant: matching takes time linear in the value, whatever the pattern: both come from the user.

use regex::Regex;

use crate::words::is_name_character;

/// A pattern that cannot be understood: an escape before something that needs none, or far too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPattern;

fn compile(pattern: &str, anchored: bool, longest: bool) -> Result<Regex, BadPattern> {
    let mut text = String::from(if anchored { "^" } else { "" });
    let mut characters = pattern.strip_prefix('\u{feff}').unwrap_or(pattern).chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '*' => {
                text.push_str(if longest { ".*" } else { ".*?" });
                continue;
            }
            '?' => {
                text.push('.');
                continue;
            }
            // `}` and `/` would end the substitution.
            '\\' => match characters.next() {
                Some(plain @ ('*' | '?' | '\\' | '}' | '/')) => plain,
                _ => return Err(BadPattern),
            },
            plain => plain,
        };
        text.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4])));
    }
    Regex::new(&text).map_err(|_| BadPattern)
}

/// The value without the shortest or longest match at its start.
pub(crate) fn trim_start(value: &str, pattern: &str, longest: bool) -> Result<String, BadPattern> {
    let regex = compile(pattern, true, longest)?;
    let length = regex.find(value).map_or(0, |found| found.end());
    Ok(value.get(length..).unwrap_or_default().to_owned())
}

/// The value without the shortest or longest match at its end.
pub(crate) fn trim_end(value: &str, pattern: &str, longest: bool) -> Result<String, BadPattern> {
    // The shortest match at the end is the first one of the reversed text.
    let reversed: String = value.chars().rev().collect();
    let rest = trim_start(&reversed, &reverse(pattern), longest)?;
    Ok(rest.chars().rev().collect())
}

/// The pattern from its end to its start, escapes kept before what they escape.
fn reverse(pattern: &str) -> String {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next()).flatten();
        parts.push((character, escaped));
    }
    let parts = parts.into_iter().rev();
    parts
        .flat_map(|(character, escaped)| std::iter::once(character).chain(escaped))
        .collect()
}

/// The value with the first longest match replaced.
pub(crate) fn replace_first(
    value: &str,
    pattern: &str,
    replacement: &str,
) -> Result<String, BadPattern> {
    let regex = compile(pattern, false, true)?;
    Ok(match regex.find(value) {
        Some(found) => {
            let (before, after) = (&value[..found.start()], &value[found.end()..]);
            format!("{before}{replacement}{after}")
        }
        None => value.to_owned(),
    })
}

/// The value with every longest match replaced. `$` has a meaning in the replacement, other than where only
/// the first match is replaced: `$0` is the match, `$$` a dollar, any other name nothing.
pub(crate) fn replace_all(
    value: &str,
    pattern: &str,
    replacement: &str,
) -> Result<String, BadPattern> {
    let regex = compile(pattern, false, true)?;
    let (mut replaced, mut ended, mut position) = (String::new(), 0, 0);
    while let Some(found) = regex.find_at(value, position) {
        replaced.push_str(&value[ended..found.start()]);
        // Nothing at all, right behind a match, is no further match.
        if found.end() > ended || found.start() == 0 {
            fill(replacement, found.as_str(), &mut replaced);
        }
        ended = found.end();
        let width = value[position..].chars().next().map_or(1, char::len_utf8);
        position = ended.max(position + width);
        if position > value.len() {
            break;
        }
    }
    replaced.push_str(&value[ended..]);
    Ok(replaced)
}

/// The replacement with what its dollars stand for.
fn fill(replacement: &str, found: &str, out: &mut String) {
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (braced, name) = match after.strip_prefix('{') {
            Some(name) => (true, name),
            None => (false, after),
        };
        let end = name.find(|next| !is_name_character(next));
        let (name, behind) = name.split_at(end.unwrap_or(name.len()));
        let behind = match braced {
            true => behind.strip_prefix('}'),
            false => Some(behind),
        };
        match behind {
            Some(behind) if !name.is_empty() => {
                out.push_str(if name == "0" { found } else { "" });
                rest = behind;
            }
            _ => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
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
            let got = [
                replace_first(value, pattern, "."),
                replace_all(value, pattern, "."),
            ];
            assert_eq!(
                got,
                [first, all].map(|text| Ok(text.to_owned())),
                "{value} {pattern}"
            );
        }
    }

    #[test]
    fn a_dollar_in_what_replaces_every_match_stands_for_something() {
        for (replacement, all) in [
            ("<$0>", "<a>b<a>"),
            ("${0}x", "axbax"),
            ("$0x", "b"),
            ("$1", "b"),
            ("$$", "$b$"),
            ("${0", "${0b${0"),
            ("$", "$b$"),
            ("$.", "$.b$."),
        ] {
            let got = replace_all("aba", "a", replacement);
            assert_eq!(got, Ok(all.to_owned()), "{replacement}");
        }
        assert_eq!(replace_first("aba", "a", "$0"), Ok("$0ba".to_owned()));
    }

    #[test]
    fn an_escape_needs_something_to_escape() {
        for wrong in ["\\", "\\x", "\\\\\\"] {
            assert_eq!(trim_start("x", wrong, false), Err(BadPattern), "{wrong}");
        }
    }
}
