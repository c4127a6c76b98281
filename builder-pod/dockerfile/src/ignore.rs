//! Ignore files, with the rules of moby's pattern matcher.
//!
//! A pattern matches from the context's root; `**` spans any number of directories; a matched directory takes
//! what is below along; `!` shows again what an earlier pattern hid; the last match decides.
//!
//! Invariant: no file is read here, and none is named: which ignore file holds is the caller's business.

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
    matcher: Matcher,
}

/// How a pattern matches. Most need no regular expression, and files are many.
#[derive(Clone, Debug)]
enum Matcher {
    /// The path itself.
    Exact(String),
    /// `prefix**`.
    Prefix(String),
    /// `**suffix`; with a slash at its start also the path that is the rest.
    Suffix(String),
    /// Anything else.
    Regex(Regex),
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

    /// Whether a pattern shows again what others hide: only then can there be something to see in a directory
    /// that is ignored.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.shows)
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
        let cleaned = clean(rest);
        let text = match cleaned.strip_prefix('/') {
            Some(relative) if !relative.is_empty() => relative.to_owned(),
            _ => cleaned,
        };
        let malformed = || IgnoreError::Malformed {
            line: number,
            pattern: rest.to_owned(),
        };
        // What Go's Match cannot read is malformed, although `**` and parents are matched by other rules.
        crate::glob::matches(&text, ".").map_err(|_| malformed())?;
        let matcher = Matcher::new(&text).ok_or_else(malformed)?;
        Ok(Self {
            text,
            shows,
            matcher,
        })
    }

    fn matches_with_parents(&self, path: &str) -> bool {
        let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.matcher.matches(path) || parents.any(|parent| self.matcher.matches(parent))
    }
}

impl Matcher {
    /// `None` when the pattern is malformed.
    fn new(pattern: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if is_plain(pattern) {
            return Some(Self::Exact(pattern.to_owned()));
        }
        if let Some(suffix) = pattern.strip_prefix("**").filter(|rest| is_plain(rest)) {
            return Some(Self::Suffix(suffix.to_owned()));
        }
        if let Some(prefix) = pattern.strip_suffix("**").filter(|rest| is_plain(rest)) {
            return Some(Self::Prefix(prefix.to_owned()));
        }
        Regex::new(&to_regex(pattern)?).ok().map(Self::Regex)
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix('/').is_some_and(|rest| path == rest)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
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
                // `**/` is `**`: any number of directories, also none.
                _ = characters.next_if_eq(&'/');
                regex.push_str(match characters.peek() {
                    Some(_) => "(.*/)?",
                    None => ".*",
                });
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
            ("**foo", "a/xfoo", true),
            ("**foo", "foobar", false),
            ("**foo*", "a/foo1", true),
            ("**foo*", "a/xfoo1", false),
            ("a**b", "ab", true),
            ("a**b", "ax/yb", false),
            ("a**b", "ax/y/b", true),
            ("a**", "abc/d", true),
            ("*/**", "a/b", true),
            ("*/**", "a", false),
            ("**/a/**/b*", "x/a/y/z/b1", true),
            ("[^b]", "a", true),
            ("a[^b]c", "a/c", true),
            ("a[.]c", "abc", false),
            ("^a", "^a", true),
            ("a\\b*", "ab1", true),
            ("/", "x", false),
            (".", "x", false),
            ("../x", "x", false),
            ("x/", "x", true),
            ("  x  ", "x", true),
            ("! x", "x", false),
            ("x\n! x", "x", false),
            (" # x", "# x", true),
            ("\u{feff}x", "x", true),
            ("é?", "éa", true),
            ("d\n!d\nd/e", "d/e/f", true),
            ("*\n!d\nd/*.log", "d/x.log", true),
            ("*\n!d\nd/*.log", "d/x.txt", false),
        ] {
            assert_eq!(ignored(patterns, path), expected, "{patterns:?} {path}");
        }
    }

    #[test]
    fn only_an_exclamation_mark_makes_exceptions() {
        let has = |text: &str| IgnoreFile::parse(text).unwrap().has_exceptions();
        assert!(has("a\n!b"));
        assert!(!has("a\n#!b\nc!d"));
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused_with_its_line() {
        let error = IgnoreFile::parse("a\n!\n").unwrap_err();
        assert_eq!(error, IgnoreError::LoneExclamation { line: 2 });
        for wrong in ["[", "a\\", "[a-", "[]a]", "[^]", "**/[x", "[b-a"] {
            assert!(matches!(
                IgnoreFile::parse(wrong),
                Err(IgnoreError::Malformed { line: 1, .. })
            ));
        }
    }
}
