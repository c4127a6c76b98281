//! Patterns of paths as git's attribute files have them.
//!
//! Invariant: matching takes time linear in pattern and path: all ways are followed side by side.

/// A pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    /// Whether it is matched with the last part of a path alone.
    is_name: bool,
}

#[derive(Debug)]
enum Token {
    Byte(u8),
    /// `?`: anything but a slash.
    One,
    /// `[…]`: a byte of some ranges, or of none of them.
    Class(Vec<(u8, u8)>, bool),
    /// `*`: any number of anything but slashes.
    Star,
    /// `**/`: any number of directories.
    Directories,
    /// `/**` at the end: everything in a directory.
    Everything,
}

impl Pattern {
    /// Reads a pattern; `None` where it can match no file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text);
        if text.is_empty() || text.ends_with('/') {
            return None;
        }
        let is_name = !text.contains('/');
        let text = text.strip_prefix('/').unwrap_or(text).as_bytes();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let rest = &text[at..];
            let is_start = at == 0 || text[at - 1] == b'/';
            let (token, length) = match byte {
                b'*' if is_start && rest.starts_with(b"**/") => (Token::Directories, 3),
                b'*' if is_start && at > 0 && rest == b"**" => (Token::Everything, 2),
                b'*' => (
                    Token::Star,
                    rest.iter().take_while(|byte| **byte == b'*').count(),
                ),
                b'?' => (Token::One, 1),
                b'[' => class(rest)?,
                b'\\' => (Token::Byte(*rest.get(1)?), 2),
                byte => (Token::Byte(*byte), 1),
            };
            tokens.push(token);
            at += length;
        }
        Some(Self { tokens, is_name })
    }

    /// Whether a path matches.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        let path = match self.is_name {
            true => path.rsplit(|byte| *byte == b'/').next().unwrap_or_default(),
            false => path,
        };
        let mut here = Ways::new(self.tokens.len());
        here.reach(0, &self.tokens);
        for byte in path {
            let mut next = Ways::new(self.tokens.len());
            for (at, token) in self.tokens.iter().enumerate() {
                let is_slash = *byte == b'/';
                if here.inside[at] {
                    match is_slash {
                        true => next.reach(at, &self.tokens),
                        false => next.inside[at] = true,
                    }
                }
                if !here.before[at] {
                    continue;
                }
                match token {
                    Token::Byte(wanted) if wanted == byte => next.reach(at + 1, &self.tokens),
                    Token::One if !is_slash => next.reach(at + 1, &self.tokens),
                    Token::Class(ranges, is_negated) => {
                        let is_in = ranges
                            .iter()
                            .any(|(low, high)| (low..=high).contains(&byte));
                        if is_in != *is_negated && !is_slash {
                            next.reach(at + 1, &self.tokens);
                        }
                    }
                    Token::Star if !is_slash => next.reach(at, &self.tokens),
                    Token::Directories if !is_slash => next.inside[at] = true,
                    Token::Everything => next.reach(at + 1, &self.tokens),
                    _ => {}
                }
            }
            // What everything has begun to match, it matches to the end.
            let is_everything = matches!(self.tokens.last(), Some(Token::Everything));
            if is_everything && here.before[self.tokens.len()] {
                next.before[self.tokens.len()] = true;
            }
            here = next;
        }
        here.before[self.tokens.len()]
    }
}

/// Where a match can be: before which tokens, and inside which directories of a `**/`.
struct Ways {
    before: Vec<bool>,
    inside: Vec<bool>,
}

impl Ways {
    fn new(tokens: usize) -> Self {
        Self {
            before: vec![false; tokens + 1],
            inside: vec![false; tokens + 1],
        }
    }

    /// A match comes before a token; one that may match nothing is passed as well.
    fn reach(&mut self, mut at: usize, tokens: &[Token]) {
        loop {
            self.before[at] = true;
            match tokens.get(at) {
                Some(Token::Star | Token::Directories) => at += 1,
                _ => break,
            }
        }
    }
}

/// `[a-z]`, `[!a]` or `[^a]`, and its length.
fn class(text: &[u8]) -> Option<(Token, usize)> {
    let mut at = 1;
    let is_negated = matches!(text.get(1), Some(b'!' | b'^'));
    at += usize::from(is_negated);
    let start = at;
    let mut ranges = Vec::new();
    loop {
        let mut low = *text.get(at)?;
        if low == b']' && at > start {
            return Some((Token::Class(ranges, is_negated), at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *text.get(at)?;
        }
        let high = match text.get(at + 1..at + 3) {
            Some([b'-', high]) if *high != b']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        ranges.push((low, high));
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gits_do() {
        for (pattern, path, expected) in [
            ("*.bat", "a/b/c.bat", true),
            ("*.bat", "c.bat2", false),
            ("a", "x/a", true),
            ("/a", "x/a", false),
            ("/a", "a", true),
            ("a/*.c", "a/b.c", true),
            ("a/*.c", "a/b/c.c", false),
            ("a/*.c", "x/a/b.c", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/x/y/c", true),
            ("a/**/c", "a/xc", false),
            ("a/**", "a/x/y", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("a**b/c", "axxb/c", true),
            ("?[a-c][!x]", "zby", true),
            ("?[a-c][!x]", "zbx", false),
            ("[]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\"a b\"", "a b", true),
        ] {
            let matches = Pattern::parse(pattern).unwrap().matches(path.as_bytes());
            assert_eq!(matches, expected, "{pattern} {path}");
        }
        for pattern in ["", "a/", "[a", "a\\", "/"] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let pattern = Pattern::parse(&"a*".repeat(200)).unwrap();
        assert!(!pattern.matches(&[b"a".repeat(2000), b"b/".to_vec()].concat()));
        assert!(pattern.matches(&b"a".repeat(2000)));
    }
}
