//! `.gitattributes`: which files get the line ends of another system when they are checked out.
//!
//! Of all attributes these are the ones that change a file's bytes without a program: `text`, `eol` and the older
//! `crlf`. The rules are git's own for a Linux machine without configuration.
//! Invariant: a pattern takes time linear in its length for each byte of a path.

use std::collections::HashMap;

use crate::GitError;
use crate::pattern::Pattern;

/// Most rules of a commit: each is tried on every file.
const RULES_LIMIT: usize = 2_000;

/// What happens to a file's line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    /// They stay as they are.
    Kept,
    /// Each becomes CR LF.
    Crlf,
    /// The same, if the file looks like text that has none yet.
    CrlfOfText,
}

/// What an attribute is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Set,
    Unset,
    Unspecified,
    Text(String),
}

#[derive(Debug)]
struct Rule {
    /// Its directory, with a slash unless it is the root.
    directory: Vec<u8>,
    pattern: Pattern,
    values: Vec<(String, Value)>,
}

/// The attributes of a commit's files.
#[derive(Debug)]
pub struct Attributes {
    rules: Vec<Rule>,
    macros: HashMap<String, Vec<(String, Value)>>,
}

impl Default for Attributes {
    fn default() -> Self {
        let binary = vec![("text".to_owned(), Value::Unset)];
        Self {
            rules: Vec::new(),
            macros: HashMap::from([("binary".to_owned(), binary)]),
        }
    }
}

impl Attributes {
    /// Adds the file of a directory; those of directories above it come before.
    ///
    /// # Errors
    /// When there are too many rules.
    pub fn add(&mut self, directory: &[u8], text: &str) -> Result<(), GitError> {
        let mut prefix = directory.to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        for line in text.lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (pattern, values) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let values = self.values(values);
            if let Some(name) = pattern.strip_prefix("[attr]") {
                self.macros.insert(name.to_owned(), values);
                continue;
            }
            // One that ends in a slash matches directories, which have no line ends.
            let Some(pattern) = Pattern::parse(pattern).filter(|_| !values.is_empty()) else {
                continue;
            };
            if self.rules.len() == RULES_LIMIT {
                return Err(GitError::TooLarge {
                    limit: RULES_LIMIT as u64,
                    what: "rules in .gitattributes",
                });
            }
            self.rules.push(Rule {
                directory: prefix.clone(),
                pattern,
                values,
            });
        }
        Ok(())
    }

    /// The attributes in question that a line sets, macros resolved.
    fn values(&self, text: &str) -> Vec<(String, Value)> {
        let mut values = Vec::new();
        for word in text.split_ascii_whitespace() {
            let (name, value) = match (word.split_at_checked(1), word.split_once('=')) {
                (Some(("-", name)), _) => (name, Value::Unset),
                (Some(("!", name)), _) => (name, Value::Unspecified),
                (_, Some((name, value))) => (name, Value::Text(value.to_owned())),
                _ => (word, Value::Set),
            };
            match self.macros.get(name).filter(|_| value == Value::Set) {
                Some(more) => values.extend(more.iter().cloned()),
                None if matches!(name, "text" | "eol" | "crlf") => {
                    values.push((name.to_owned(), value));
                }
                None => {}
            }
        }
        values
    }

    /// Whether any file can be changed at all.
    #[must_use]
    pub fn change_something(&self) -> bool {
        let is_crlf = |(name, value): &(String, Value)| {
            name == "eol" && *value == Value::Text("crlf".to_owned())
        };
        self.rules
            .iter()
            .any(|rule| rule.values.iter().any(is_crlf))
    }

    /// What happens to the line ends of a file.
    #[must_use]
    pub fn line_ends(&self, path: &[u8]) -> LineEnds {
        let (mut text, mut eol, mut crlf) = (None, None, None);
        for rule in &self.rules {
            let Some(below) = path.strip_prefix(rule.directory.as_slice()) else {
                continue;
            };
            if !rule.pattern.matches(below) {
                continue;
            }
            for (name, value) in &rule.values {
                let value = Some(value).filter(|value| **value != Value::Unspecified);
                match name.as_str() {
                    "text" => text = value,
                    "eol" => eol = value,
                    _ => crlf = value,
                }
            }
        }
        let is_auto = |value: &Value| *value == Value::Text("auto".to_owned());
        // The older attribute counts where the newer one says nothing.
        let text = text.or(crlf);
        let is_crlf = eol == Some(&Value::Text("crlf".to_owned()));
        match text {
            _ if !is_crlf => LineEnds::Kept,
            Some(Value::Unset) => LineEnds::Kept,
            Some(value) if is_auto(value) => LineEnds::CrlfOfText,
            _ => LineEnds::Crlf,
        }
    }
}

impl LineEnds {
    /// The content with other line ends; `None` where it stays as it is.
    #[must_use]
    pub fn apply(self, content: &[u8]) -> Option<Vec<u8>> {
        let mut lonely = 0;
        let mut previous = 0;
        for byte in content {
            lonely += usize::from(*byte == b'\n' && previous != b'\r');
            previous = *byte;
        }
        let is_changed = match self {
            Self::Kept => false,
            Self::Crlf => lonely > 0,
            Self::CrlfOfText => lonely > 0 && !content.contains(&b'\r') && is_text(content),
        };
        if !is_changed {
            return None;
        }
        let mut changed = Vec::with_capacity(content.len() + lonely);
        let mut previous = 0;
        for byte in content {
            if *byte == b'\n' && previous != b'\r' {
                changed.push(b'\r');
            }
            changed.push(*byte);
            previous = *byte;
        }
        Some(changed)
    }
}

/// Git's guess: no zero, and few bytes that cannot be printed.
fn is_text(content: &[u8]) -> bool {
    // A mark of the end of a file, as another system had it.
    let content = content.strip_suffix(b"\x1a").unwrap_or(content);
    let is_control = |byte: &&u8| {
        let is_usual = matches!(**byte, 0x08..=0x0a | 0x0c | 0x0d | 0x1b);
        !is_usual && (**byte < 0x20 || **byte == 0x7f)
    };
    let odd = content.iter().filter(is_control).count();
    let ends = content.iter().filter(|byte| **byte == b'\n').count();
    !content.contains(&0) && (content.len() - odd - ends) >> 7 >= odd
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(files: &[(&str, &str)], path: &str) -> LineEnds {
        let mut attributes = Attributes::default();
        for (directory, text) in files {
            attributes.add(directory.as_bytes(), text).unwrap();
        }
        attributes.line_ends(path.as_bytes())
    }

    #[test]
    fn the_last_rule_that_matches_says_what_happens() {
        use LineEnds::{Crlf, CrlfOfText, Kept};
        for (text, expected) in [
            ("", Kept),
            ("*.bat eol=crlf", Crlf),
            ("*.bat text eol=crlf", Crlf),
            ("*.bat text=auto eol=crlf", CrlfOfText),
            ("*.bat text", Kept),
            ("*.bat text eol=lf", Kept),
            ("* eol=crlf\n*.bat -text", Kept),
            ("* eol=crlf\n*.bat binary", Kept),
            ("*.bat -text\n* !text eol=crlf", Crlf),
            ("*.bat crlf=auto eol=crlf", CrlfOfText),
            ("*.bat eol=crlf\n*.bat eol=lf", Kept),
            ("# *.bat eol=crlf\n!*.bat eol=crlf\n*.bat/ eol=crlf", Kept),
            ("[attr]dos text eol=crlf\n*.bat dos", Crlf),
        ] {
            assert_eq!(ends(&[("", text)], "dir/a.bat"), expected, "{text}");
        }
        let deeper = [("", "*.bat eol=crlf"), ("dir", "a.bat eol=lf")];
        assert_eq!(ends(&deeper, "dir/a.bat"), Kept);
        assert_eq!(ends(&deeper, "dir/b.bat"), Crlf);
        assert_eq!(ends(&deeper, "a.bat"), Crlf);
    }

    #[test]
    fn line_ends_become_those_of_another_system_once() {
        let crlf = |text: &[u8]| LineEnds::Crlf.apply(text);
        assert_eq!(crlf(b"a\nb\r\n\n").unwrap(), b"a\r\nb\r\n\r\n");
        assert_eq!(crlf(b"a\r\n"), None);
        assert_eq!(crlf(b""), None);
        let guessed = |text: &[u8]| LineEnds::CrlfOfText.apply(text);
        assert_eq!(guessed(b"a\n").unwrap(), b"a\r\n");
        assert_eq!(guessed(b"a\nb\r\n"), None);
        assert_eq!(guessed(b"a\0\n"), None);
        assert_eq!(guessed(b"\x01\x02\n"), None);
        assert_eq!(LineEnds::Kept.apply(b"a\n"), None);
    }
}
