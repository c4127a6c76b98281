//! Ignore files, with the rules of moby's pattern matcher.
//!
//! A pattern matches from the context's root; `**` spans any number of directories; a matched directory takes
//! what is below along; `!` shows again what an earlier pattern hid; the last match decides.

use regex::Regex;

/// Why an ignore file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// An exclamation mark with nothing behind it.
    #[error("line {line}: a lone ! excludes nothing")]
    LoneExclamation {
        /// Line, from 1.
        line: usize,
    },
    /// A pattern is malformed.
    #[error("line {line}: the pattern {pattern:?} is malformed")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// The pattern.
        pattern: String,
    },
}

/// A parsed ignore file.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    shows: bool,
    regex: Regex,
}

impl IgnoreFile {
    /// Parses a file's text.
    ///
    /// # Errors
    /// When a pattern is malformed.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            // A comment has its mark in the first column, before blanks are trimmed.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            patterns.push(Pattern::parse(line.trim(), number + 1)?);
        }
        Ok(Self { patterns })
    }

    /// The patterns, cleaned, `!` kept.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.patterns
            .iter()
            .map(|pattern| format!("{}{}", if pattern.shows { "!" } else { "" }, pattern.text))
    }

    /// Whether a path relative to the context is hidden, by itself or with a directory above it.
    #[must_use]
    pub fn is_ignored(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        if path.is_empty() || path == "." {
            return false;
        }
        let mut ignored = false;
        for pattern in &self.patterns {
            // A pattern can only change what is so far.
            if pattern.shows == ignored && pattern.matches_with_parents(path) {
                ignored = !pattern.shows;
            }
        }
        ignored
    }
}

impl Pattern {
    fn parse(line: &str, number: usize) -> Result<Self, IgnoreError> {
        let (shows, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if rest.is_empty() {
            return Err(IgnoreError::LoneExclamation { line: number });
        }
        let mut text = clean(rest);
        if text.len() > 1 {
            text = text.strip_prefix('/').map_or(text.clone(), str::to_owned);
        }
        let malformed = || IgnoreError::Malformed {
            line: number,
            pattern: rest.to_owned(),
        };
        let regex = to_regex(&text).ok_or_else(malformed)?;
        let regex = Regex::new(&regex).map_err(|_| malformed())?;
        Ok(Self { text, shows, regex })
    }

    fn matches_with_parents(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.regex.is_match(path)
            || parents
                .into_iter()
                .any(|parent| self.regex.is_match(parent))
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The regular expression of a pattern; `None` when an escape has nothing behind it.
fn to_regex(pattern: &str) -> Option<String> {
    let mut regex = "(?s)^".to_owned();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                // `**/` is also no directory at all.
                let slash = characters.next_if_eq(&'/').is_some();
                if characters.peek().is_none() && !slash {
                    regex.push_str(".*");
                } else {
                    regex.push_str("(.*/)?");
                    if !slash {
                        regex.push_str("[^/]*");
                    }
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => regex.push_str(&regex::escape(&characters.next()?.to_string())),
            '[' => class(&mut characters, &mut regex)?,
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    Some(regex)
}

/// A bracket class is one of the regular expression too, but for what only the latter gives a meaning.
fn class(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    regex: &mut String,
) -> Option<()> {
    regex.push('[');
    if characters.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut first = true;
    loop {
        match characters.next()? {
            ']' if !first => break,
            '\\' => regex.push_str(&regex::escape(&characters.next()?.to_string())),
            character @ ('[' | '&' | '~' | ']') => {
                regex.push('\\');
                regex.push(character);
            }
            character => regex.push(character),
        }
        first = false;
    }
    regex.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(patterns: &str, path: &str) -> bool {
        IgnoreFile::parse(patterns).unwrap().is_ignored(path)
    }

    #[test]
    fn patterns_hide_as_in_moby() {
        for (patterns, path, expected) in [
            ("foo", "foo", true),
            ("foo", "foo/bar", true),
            ("foo", "a/foo", false),
            ("/foo", "foo", true),
            ("./foo", "foo", true),
            ("a/../b", "b", true),
            ("*.log", "x.log", true),
            ("*.log", "d/x.log", false),
            ("**/*.log", "d/e/x.log", true),
            ("**/*.log", "x.log", true),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo/c", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/c", "a/c", true),
            ("**", "x", true),
            ("[ab].c", "a.c", true),
            ("[^ab].c", "a.c", false),
            ("a[b-d]e", "ace", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("{a,b}", "a", false),
            ("a.c", "abc", false),
            ("# comment\nx", "# comment", false),
            ("*\n!keep", "keep", false),
            ("*\n!keep", "other", true),
            ("d\n!d/keep", "d/keep", false),
            ("d\n!d/keep", "d/other", true),
            ("!x\nx", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(ignored(patterns, path), expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused_with_its_line() {
        let error = IgnoreFile::parse("a\n!\n").unwrap_err();
        assert_eq!(error, IgnoreError::LoneExclamation { line: 2 });
        for wrong in ["[", "a\\", "[a-"] {
            assert!(matches!(
                IgnoreFile::parse(wrong),
                Err(IgnoreError::Malformed { line: 1, .. })
            ));
        }
    }
}
