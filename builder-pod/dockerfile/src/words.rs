//! Words: quotes, escapes and variables, with the rules of BuildKit's shell lexer.

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote is not closed.
    #[error("the quote {0} is not closed")]
    Quote(char),
    /// `${` is not closed.
    #[error("the substitution ${{{0} is not closed")]
    Brace(String),
    /// `${…}` has something that is no substitution.
    #[error(
        "{0:?} is no substitution; there are ${{v}}, ${{v:-w}}, ${{v:+w}}, ${{v:?w}}, ${{v#p}}, ${{v%p}} and ${{v/p/w}}"
    )]
    Substitution(String),
    /// `${v:?message}` of a variable that is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, or that it is not set.
        message: String,
    },
}

/// What became of a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The word.
    pub text: String,
    /// Variables that were met and are not set, each once.
    pub unset: Vec<String>,
}

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands variables and removes quotes; the result is one word whatever blanks it has.
///
/// # Errors
/// When quotes or substitutions are malformed, or a required variable is not set.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Expansion, WordError> {
    let mut scanner = Scanner::new(word, escape, lookup);
    let mut out = Words::default();
    scanner.until(None, &mut out)?;
    Ok(Expansion {
        text: out.whole,
        unset: scanner.unset,
    })
}

/// Expands variables, removes quotes, and splits at blanks that are not quoted.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(
    word: &str,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<(Vec<String>, Vec<String>), WordError> {
    let mut scanner = Scanner::new(word, escape, lookup);
    let mut out = Words::default();
    scanner.until(None, &mut out)?;
    out.end_word();
    Ok((out.words, scanner.unset))
}

/// Splits at blanks outside of quotes; quotes and escapes stay. Gives offset and text of each word.
#[must_use]
pub fn split_words(text: &str, escape: char) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut escaped) = (None, None, false);
    for (at, character) in text.char_indices() {
        if start.is_none() {
            if character.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        if escaped {
            escaped = false;
        } else if let Some(open) = quote {
            if character == open {
                quote = None;
            } else if character == escape && open == '"' {
                escaped = true;
            }
        } else if character == escape {
            escaped = true;
        } else if matches!(character, '"' | '\'') {
            quote = Some(character);
        } else if character.is_whitespace() {
            words.extend(start.take().map(|start| (start, &text[start..at])));
        }
    }
    words.extend(start.map(|start| (start, &text[start..])));
    words
}

/// The result as one text and, at the same time, split into words.
#[derive(Default)]
struct Words {
    whole: String,
    words: Vec<String>,
    word: Option<String>,
}

impl Words {
    /// A character that never splits: quoted or escaped.
    fn raw(&mut self, character: char) {
        self.whole.push(character);
        self.word.get_or_insert_default().push(character);
    }

    /// A character that splits when it is a blank.
    fn plain(&mut self, character: char) {
        self.whole.push(character);
        if character.is_whitespace() {
            self.end_word();
        } else {
            self.word.get_or_insert_default().push(character);
        }
    }

    /// Quotes make a word even when nothing is in them.
    fn begin_word(&mut self) {
        self.word.get_or_insert_default();
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }
}

struct Scanner<'a> {
    characters: Vec<char>,
    position: usize,
    escape: char,
    lookup: Lookup<'a>,
    unset: Vec<String>,
}

impl<'a> Scanner<'a> {
    fn new(word: &str, escape: char, lookup: Lookup<'a>) -> Self {
        Self {
            characters: word.chars().collect(),
            position: 0,
            escape,
            lookup,
            unset: Vec::new(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        Some(character)
    }

    /// Up to a character that ends it (which is consumed), or to the end of the text.
    fn until(&mut self, stop: Option<char>, out: &mut Words) -> Result<bool, WordError> {
        while let Some(character) = self.peek() {
            if Some(character) == stop {
                self.position += 1;
                return Ok(true);
            }
            match character {
                '\'' => self.single_quoted(out)?,
                '"' => self.double_quoted(out)?,
                '$' => {
                    for character in self.dollar()?.chars() {
                        out.plain(character);
                    }
                }
                _ if character == self.escape => {
                    self.position += 1;
                    // An escape at the very end stands for itself.
                    out.raw(self.next().unwrap_or(character));
                }
                _ => {
                    self.position += 1;
                    out.plain(character);
                }
            }
        }
        Ok(stop.is_none())
    }

    fn single_quoted(&mut self, out: &mut Words) -> Result<(), WordError> {
        self.position += 1;
        out.begin_word();
        loop {
            match self.next() {
                None => return Err(WordError::Quote('\'')),
                Some('\'') => return Ok(()),
                Some(character) => out.raw(character),
            }
        }
    }

    fn double_quoted(&mut self, out: &mut Words) -> Result<(), WordError> {
        self.position += 1;
        out.begin_word();
        loop {
            match self.peek() {
                None => return Err(WordError::Quote('"')),
                Some('"') => {
                    self.position += 1;
                    return Ok(());
                }
                Some('$') => self
                    .dollar()?
                    .chars()
                    .for_each(|character| out.raw(character)),
                Some(character) => {
                    self.position += 1;
                    let next = self.peek();
                    match next.filter(|_| character == self.escape) {
                        // Only these lose their escape inside double quotes.
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.position += 1;
                            out.raw(next);
                        }
                        _ => out.raw(character),
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        self.position += 1;
        if self.peek() == Some('{') {
            self.position += 1;
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.value(&name).unwrap_or_default())
    }

    /// Letters, digits and underscores; a digit or special parameter stands alone.
    fn name(&mut self) -> String {
        let Some(first) = self.peek() else {
            return String::new();
        };
        if first.is_ascii_digit() || "@*#".contains(first) {
            self.position += 1;
            return first.to_string();
        }
        let mut name = String::new();
        while let Some(character) = self.peek().filter(|c| c.is_alphanumeric() || *c == '_') {
            name.push(character);
            self.position += 1;
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() && !self.unset.iter().any(|unset| unset == name) {
            self.unset.push(name.to_owned());
        }
        value
    }

    /// What stands behind `${`.
    fn braced(&mut self) -> Result<String, WordError> {
        let name = self.name();
        let wrong = |what: String| WordError::Substitution(format!("${{{name}{what}"));
        if name.is_empty() {
            let next = self.peek().map(String::from).unwrap_or_default();
            return Err(wrong(next));
        }
        match self.next() {
            None => Err(WordError::Brace(name)),
            Some('}') => Ok(self.value(&name).unwrap_or_default()),
            Some(':') => match self.next() {
                Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, true),
                Some(other) => Err(wrong(format!(":{other}"))),
                None => Err(WordError::Brace(name)),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, false),
            Some(side @ ('#' | '%')) => {
                let longest = self.peek() == Some(side);
                self.position += usize::from(longest);
                let pattern = self.operand('}', &name)?;
                let value = self.value(&name).unwrap_or_default();
                Ok(trim(&value, &pattern, side == '#', longest))
            }
            Some('/') => {
                let all = self.peek() == Some('/');
                self.position += usize::from(all);
                let pattern = self.operand('/', &name)?;
                let replacement = self.operand('}', &name)?;
                let value = self.value(&name).unwrap_or_default();
                Ok(replace(&value, &pattern, &replacement, all))
            }
            Some(other) => Err(wrong(other.to_string())),
        }
    }

    /// The text up to `stop`, itself expanded.
    fn operand(&mut self, stop: char, name: &str) -> Result<String, WordError> {
        let mut out = Words::default();
        if self.until(Some(stop), &mut out)? {
            Ok(out.whole)
        } else {
            Err(WordError::Brace(name.to_owned()))
        }
    }

    /// `-` when unset, `+` when set, `?` required; with a colon an empty value counts as unset.
    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        colon: bool,
    ) -> Result<String, WordError> {
        let operand = self.operand('}', name)?;
        let value = (self.lookup)(name).filter(|value| !colon || !value.is_empty());
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(operand)),
            ('+', value) => Ok(value.map(|_| operand).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let message = if operand.is_empty() {
                    if colon {
                        "it must have a value"
                    } else {
                        "it must be set"
                    }
                    .to_owned()
                } else {
                    operand
                };
                Err(WordError::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }
}

/// `*` and `?` of a pattern; a backslash makes the next character plain.
enum PatternPart {
    Plain(char),
    One,
    Many,
}

fn pattern_parts(pattern: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '*' => PatternPart::Many,
            '?' => PatternPart::One,
            '\\' => PatternPart::Plain(characters.next().unwrap_or('\\')),
            other => PatternPart::Plain(other),
        });
    }
    parts
}

/// Whether the parts match the whole text.
fn pattern_matches(parts: &[PatternPart], text: &[char]) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((PatternPart::Many, rest)) => {
            (0..=text.len()).any(|taken| pattern_matches(rest, &text[taken..]))
        }
        Some((PatternPart::One, rest)) => text
            .split_first()
            .is_some_and(|(_, text)| pattern_matches(rest, text)),
        Some((PatternPart::Plain(plain), rest)) => text
            .split_first()
            .is_some_and(|(first, text)| first == plain && pattern_matches(rest, text)),
    }
}

/// Removes the shortest or longest match at one end.
fn trim(value: &str, pattern: &str, front: bool, longest: bool) -> String {
    let parts = pattern_parts(pattern);
    let characters: Vec<char> = value.chars().collect();
    let all = characters.len();
    let fits = |length: &usize| {
        let piece = if front {
            &characters[..*length]
        } else {
            &characters[all - *length..]
        };
        pattern_matches(&parts, piece)
    };
    let found = if longest {
        (0..=all).rev().find(fits)
    } else {
        (0..=all).find(fits)
    };
    let length = found.unwrap_or(0);
    let kept = if front {
        &characters[length..]
    } else {
        &characters[..all - length]
    };
    kept.iter().collect()
}

/// Replaces the first or every longest match; an empty pattern matches nothing.
fn replace(value: &str, pattern: &str, replacement: &str, all: bool) -> String {
    let parts = pattern_parts(pattern);
    if parts.is_empty() {
        return value.to_owned();
    }
    let characters: Vec<char> = value.chars().collect();
    let (mut result, mut at, mut done) = (String::new(), 0, false);
    while at < characters.len() {
        let longest = (at + 1..=characters.len())
            .rev()
            .find(|end| !done && pattern_matches(&parts, &characters[at..*end]));
        match longest {
            Some(end) => {
                result.push_str(replacement);
                at = end;
                done = !all;
            }
            None => {
                result.push(characters[at]);
                at += 1;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "v" => "value",
            "path" => "/usr/local/bin",
            "empty" => "",
            "list" => "a b",
            "é" => "accent",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn variables_are_expanded_in_all_their_forms() {
        for (word, expected) in [
            ("$v", "value"),
            ("${v}", "value"),
            ("x${v}x$v.y", "xvaluexvalue.y"),
            ("$none", ""),
            ("${none:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${v:-d}", "value"),
            ("${v:+d}", "d"),
            ("${empty:+d}", ""),
            ("${empty+d}", "d"),
            ("${none+d}", ""),
            ("${none:-${v}x}", "valuex"),
            ("${v:?m}", "value"),
            ("${path#*/}", "usr/local/bin"),
            ("${path##*/}", "bin"),
            ("${path%/*}", "/usr/local"),
            ("${path%%/*}", ""),
            ("${v/a/A}", "vAlue"),
            ("${path//\\//-}", "-usr-local-bin"),
            ("$", "$"),
            ("$.x", "$.x"),
            ("a$1b", "ab"),
            ("\\$v", "$v"),
            ("'$v'", "$v"),
            ("\"$v\"", "value"),
            ("\"\\$v\\n\"", "$v\\n"),
            ("a\\b", "ab"),
            ("it\"'\"s", "it's"),
            ("${é}", "accent"),
        ] {
            let result = expand(word, '\\', &lookup).map(|expansion| expansion.text);
            assert_eq!(result.as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn unquoted_blanks_split_and_quoted_ones_do_not() {
        let words = |text| expand_words(text, '\\', &lookup).unwrap().0;
        assert_eq!(
            words("$list \"$list\" x\\ y ''"),
            ["a", "b", "a b", "x y", ""]
        );
        assert_eq!(words("$none"), Vec::<String>::new());
    }

    #[test]
    fn unset_names_are_reported_once() {
        let expansion = expand("$a $b ${a} ${c:-d}", '\\', &lookup).unwrap();
        assert_eq!(expansion.unset, ["a", "b"]);
    }

    #[test]
    fn malformed_words_are_errors() {
        for wrong in [
            "'a", "\"a", "${", "${v", "${}", "${:x}", "${v:#p}", "${v:-x", "${v!}",
        ] {
            assert!(expand(wrong, '\\', &lookup).is_err(), "{wrong}");
        }
        let error = expand("${none:?needed}", '\\', &lookup).unwrap_err();
        assert_eq!(error.to_string(), "none: needed");
    }

    #[test]
    fn words_are_split_with_their_quotes() {
        let words: Vec<&str> = split_words("a=\"b c\" d='e f' g\\ h", '\\')
            .into_iter()
            .map(|(_, w)| w)
            .collect();
        assert_eq!(words, ["a=\"b c\"", "d='e f'", "g\\ h"]);
    }
}
