//! Ignore files, with the rules of moby's pattern matcher.
//!
//! A pattern matches from the context's root; `**` spans any number of directories; a matched directory takes
//! what is below along; `!` shows again what an earlier pattern hid; the last match decides.
//!
//! Invariant: no file is read here, and none is named: which ignore file holds is the caller's business.

use regex::Regex;

mod go_regex;

/// Longest line in bytes.
const LINE_LIMIT: usize = 65_535;

/// Why an ignore file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// An exclamation mark with nothing behind it.
    #[error("line {line}: a lone ! excludes nothing")]
    LoneExclamation {
        /// Line, from 1; where patterns are given without a file, their number.
        line: usize,
    },
    /// A pattern is malformed.
    #[error("line {line}: the pattern {pattern:?} is malformed")]
    Malformed {
        /// As above.
        line: usize,
        /// The pattern.
        pattern: String,
    },
    /// A line is too long.
    #[error("line {line}: the line has more than {LINE_LIMIT} bytes")]
    LongLine {
        /// As above.
        line: usize,
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
    line: usize,
    /// `None` where the pattern is malformed in a place that is only looked at when a path is.
    matcher: Option<Matcher>,
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

/// The patterns of an ignore file's text, in order, cleaned, `!` kept.
///
/// # Errors
/// When a line is too long.
pub fn read(text: &str) -> Result<Vec<String>, IgnoreError> {
    Ok(lines(text)?
        .into_iter()
        .map(|(_, pattern)| pattern)
        .collect())
}

fn lines(text: &str) -> Result<Vec<(usize, String)>, IgnoreError> {
    let mut patterns = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let line = line.strip_suffix('\n').unwrap_or(line);
        if line.len() > LINE_LIMIT {
            return Err(IgnoreError::LongLine { line: number + 1 });
        }
        let line = match number {
            0 => line.strip_prefix('\u{feff}').unwrap_or(line),
            _ => line,
        };
        // A comment has its mark in the first column, before blanks are trimmed.
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let line = line.trim();
        let (mark, pattern) = match line.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", line),
        };
        let pattern = match pattern {
            "" => String::new(),
            pattern => clean(pattern),
        };
        let relative = pattern.strip_prefix('/').filter(|rest| !rest.is_empty());
        let pattern = relative.unwrap_or(&pattern);
        patterns.push((number + 1, format!("{mark}{pattern}")));
    }
    Ok(patterns)
}

impl IgnoreFile {
    /// Parses a file's text.
    ///
    /// # Errors
    /// When a line is too long, or a pattern is malformed, wherever a path would have stopped matching.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let parsed = Self::from_lines(lines(text)?)?;
        match parsed.patterns.iter().find(|p| p.matcher.is_none()) {
            Some(pattern) => Err(pattern.malformed()),
            None => Ok(parsed),
        }
    }

    /// Takes patterns that stand in no file: nothing is a comment, and a slash at the start stays.
    ///
    /// # Errors
    /// When a pattern is malformed in a part that Go's `filepath.Match` looks at.
    pub fn from_patterns<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, IgnoreError> {
        let numbered = patterns.into_iter().enumerate();
        Self::from_lines(numbered.map(|(number, pattern)| (number + 1, pattern.to_owned())))
    }

    fn from_lines(lines: impl IntoIterator<Item = (usize, String)>) -> Result<Self, IgnoreError> {
        let lines = lines.into_iter();
        let patterns = lines.filter(|(_, pattern)| !pattern.trim().is_empty());
        let patterns: Result<_, _> = patterns
            .map(|(line, pattern)| Pattern::parse(pattern.trim(), line))
            .collect();
        Ok(Self {
            patterns: patterns?,
        })
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

    /// Whether a path relative to the context is hidden, by itself or with a directory above it. The context
    /// itself never is.
    #[must_use]
    pub fn is_ignored(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        self.ignores(path).unwrap_or_default()
    }

    /// As [`Self::is_ignored`], for patterns that may still be malformed; a path that begins with a slash is
    /// below none.
    ///
    /// # Errors
    /// When a pattern is malformed that the path had to be compared with.
    pub fn ignores(&self, path: &str) -> Result<bool, IgnoreError> {
        let path = clean(path);
        if path == "." {
            return Ok(false);
        }
        let mut ignored = false;
        for pattern in &self.patterns {
            // A pattern can only change what is so far.
            if pattern.shows == ignored && pattern.matches_with_parents(&path)? {
                ignored = !pattern.shows;
            }
        }
        Ok(ignored)
    }
}

impl Pattern {
    fn parse(line: &str, number: usize) -> Result<Self, IgnoreError> {
        let cleaned = clean(line);
        let (shows, text) = match cleaned.strip_prefix('!') {
            Some("") => return Err(IgnoreError::LoneExclamation { line: number }),
            Some(rest) => (true, rest),
            None => (false, cleaned.as_str()),
        };
        let pattern = Self {
            matcher: Matcher::new(text),
            text: text.to_owned(),
            shows,
            line: number,
        };
        // What Go's Match cannot read is malformed, although `**` and parents are matched by other rules.
        match crate::glob::matches(text, ".") {
            Ok(_) => Ok(pattern),
            Err(_) => Err(pattern.malformed()),
        }
    }

    fn malformed(&self) -> IgnoreError {
        IgnoreError::Malformed {
            line: self.line,
            pattern: self.text.clone(),
        }
    }

    fn matches_with_parents(&self, path: &str) -> Result<bool, IgnoreError> {
        let matcher = self.matcher.as_ref().ok_or_else(|| self.malformed())?;
        if matcher.matches(path) {
            return Ok(true);
        }
        let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        // The root has its slash where it is all that stands above.
        let is_below_root = path.rfind('/') == Some(0);
        Ok(parents.any(|parent| matcher.matches(parent)) || is_below_root && matcher.matches("/"))
    }
}

/// What a pattern has turned out to be so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Regex,
}

impl Matcher {
    /// `None` when the pattern is malformed.
    fn new(pattern: &str) -> Option<Self> {
        let (shape, regex) = translate(pattern);
        Some(match shape {
            Shape::Exact => Self::Exact(pattern.to_owned()),
            Shape::Prefix => Self::Prefix(pattern.strip_suffix("**")?.to_owned()),
            Shape::Suffix => Self::Suffix(pattern.strip_prefix("**")?.to_owned()),
            Shape::Regex => Self::Regex(go_regex::compile(&regex)?),
        })
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

/// The regular expression that moby makes of a pattern, and whether it uses it. It is made character by
/// character: a class, an escape or an anchor of the pattern becomes one of the expression.
fn translate(pattern: &str) -> (Shape, String) {
    let (mut shape, mut regex) = (Shape::Exact, "^".to_owned());
    let pattern = pattern.strip_prefix('\u{feff}').unwrap_or(pattern);
    let mut characters = pattern.chars().peekable();
    let mut is_first = true;
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                // `**/` is `**`: any number of directories, also none.
                _ = characters.next_if_eq(&'/');
                match characters.peek() {
                    None if shape == Shape::Exact => shape = Shape::Prefix,
                    None => {
                        regex.push_str(".*");
                        shape = Shape::Regex;
                    }
                    Some(_) => {
                        regex.push_str("(.*/)?");
                        shape = Shape::Regex;
                    }
                }
                if is_first {
                    shape = Shape::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                shape = Shape::Regex;
            }
            '?' => {
                regex.push_str("[^/]");
                shape = Shape::Regex;
            }
            // Braces and the bar were to be among these, but moby's set has no room for them.
            '.' | '+' | '(' | ')' | '$' => regex.extend(['\\', character]),
            '\\' => {
                regex.push('\\');
                if let Some(escaped) = characters.next() {
                    regex.push(escaped);
                    shape = Shape::Regex;
                }
            }
            '[' | ']' => {
                regex.push(character);
                shape = Shape::Regex;
            }
            plain => regex.push(plain),
        }
        is_first = false;
    }
    regex.push('$');
    (shape, regex)
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
            ("a|b?", "ax", true),
            ("?{2}", "ab", true),
            ("?{x}", "a{x}", true),
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
            // An escape is one of the regular expression: a boundary of words.
            ("a\\b*", "ab1", false),
            ("x/a\\b*", "x/a.1", true),
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
