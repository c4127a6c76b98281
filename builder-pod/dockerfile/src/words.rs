//! Words: quotes, escapes and variables, with the rules of BuildKit's shell lexer.
//!
//! Invariant: a word from an untrusted file can neither exhaust the stack nor take more than linear time per
//! substitution.
//! It must not know where variables come from: the caller looks them up.

use crate::pattern;

/// How deep substitutions may stand in each other.
const DEPTH_LIMIT: usize = 64;

/// Longest result in bytes. No program can be given a longer variable, and without a limit two dozen `ENV`
/// that double each other would fill the memory.
const LENGTH_LIMIT: usize = 1024 * 1024;

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
    /// A pattern that is none.
    #[error("the pattern {0:?} is malformed; a backslash stands only before *, ?, / and itself")]
    Pattern(String),
    /// A result without measure.
    #[error("the result has more than {LENGTH_LIMIT} bytes")]
    TooLong,
    /// Substitutions within substitutions.
    #[error("substitutions stand in each other more than {DEPTH_LIMIT} deep")]
    Depth,
}

/// Whether it separates words where quotes mean nothing.
pub(crate) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
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

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn check_length(&self) -> Result<(), WordError> {
        if self.whole.len() > LENGTH_LIMIT {
            Err(WordError::TooLong)
        } else {
            Ok(())
        }
    }
}

struct Scanner<'a> {
    characters: Vec<char>,
    position: usize,
    escape: char,
    /// Whether escapes stay: a pattern has its own use for them.
    keeps_escapes: bool,
    depth: usize,
    lookup: Lookup<'a>,
    unset: Vec<String>,
}

impl<'a> Scanner<'a> {
    fn new(word: &str, escape: char, lookup: Lookup<'a>) -> Self {
        Self {
            characters: word.chars().collect(),
            position: 0,
            escape,
            keeps_escapes: false,
            depth: 0,
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

    fn next_if(&mut self, expected: char) -> bool {
        let met = self.peek() == Some(expected);
        self.position += usize::from(met);
        met
    }

    /// Up to a character that ends it (which is consumed), or to the end of the text.
    fn until(&mut self, stop: Option<char>, out: &mut Words) -> Result<bool, WordError> {
        while let Some(character) = self.peek() {
            out.check_length()?;
            if Some(character) == stop {
                self.position += 1;
                return Ok(true);
            }
            match character {
                '\'' => self.single_quoted(out)?,
                '"' => self.double_quoted(out)?,
                '$' => self.dollar()?.chars().for_each(|c| out.plain(c)),
                _ if character == self.escape => {
                    self.position += 1;
                    if self.keeps_escapes {
                        out.raw(character);
                    }
                    // An escape at the very end escapes nothing and is dropped.
                    if let Some(escaped) = self.next() {
                        out.raw(escaped);
                    }
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
        loop {
            out.check_length()?;
            match self.peek() {
                None => return Err(WordError::Quote('"')),
                Some('"') => {
                    self.position += 1;
                    return Ok(());
                }
                Some('$') => self.dollar()?.chars().for_each(|c| out.raw(c)),
                Some(character) if character == self.escape => {
                    self.position += 1;
                    let next = self.peek();
                    // Only these lose their escape inside double quotes.
                    let escapable = |c: &char| matches!(c, '"' | '$') || *c == self.escape;
                    let escaped = next.filter(escapable);
                    if escaped.is_none() || self.keeps_escapes {
                        out.raw(character);
                    }
                    if let Some(escaped) = escaped {
                        self.position += 1;
                        out.raw(escaped);
                    }
                }
                Some(character) => {
                    self.position += 1;
                    out.raw(character);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        self.position += 1;
        if self.next_if('{') {
            self.depth += 1;
            if self.depth > DEPTH_LIMIT {
                return Err(WordError::Depth);
            }
            let value = self.braced();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.value(&name).unwrap_or_default())
    }

    /// Letters, digits and underscores; a number or a special parameter stands alone.
    fn name(&mut self) -> String {
        let Some(first) = self.peek() else {
            return String::new();
        };
        if "@*#?-$!".contains(first) {
            self.position += 1;
            return first.to_string();
        }
        let is_number = first.is_ascii_digit();
        let mut name = String::new();
        while let Some(character) = self.peek() {
            let belongs = if is_number {
                character.is_ascii_digit()
            } else {
                character.is_alphanumeric() || character == '_'
            };
            if !belongs {
                break;
            }
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
                let longest = self.next_if(side);
                let pattern = self.pattern('}', &name)?;
                let value = self.value(&name).unwrap_or_default();
                let trimmed = match side {
                    '#' => pattern::trim_start(&value, &pattern, longest),
                    _ => pattern::trim_end(&value, &pattern, longest),
                };
                trimmed.map_err(|_| WordError::Pattern(pattern))
            }
            Some('/') => {
                let all = self.next_if('/');
                let pattern = self.pattern('/', &name)?;
                let replacement = self.pattern('}', &name)?;
                let value = self.value(&name).unwrap_or_default();
                pattern::replace(&value, &pattern, &replacement, all)
                    .map_err(|_| WordError::Pattern(pattern))
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

    /// As [`Self::operand`], with its escapes.
    fn pattern(&mut self, stop: char, name: &str) -> Result<String, WordError> {
        let outer = std::mem::replace(&mut self.keeps_escapes, true);
        let operand = self.operand(stop, name);
        self.keeps_escapes = outer;
        operand
    }

    /// `-` when unset, `+` when set, `?` required; with a colon an empty value counts as unset.
    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        colon: bool,
    ) -> Result<String, WordError> {
        let outer = std::mem::replace(&mut self.keeps_escapes, false);
        let operand = self.operand('}', name);
        self.keeps_escapes = outer;
        let operand = operand?;
        let value = (self.lookup)(name).filter(|value| !colon || !value.is_empty());
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(operand)),
            ('+', value) => Ok(value.map(|_| operand).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let message = match (operand.is_empty(), colon) {
                    (false, _) => operand,
                    (true, true) => "it must have a value".to_owned(),
                    (true, false) => "it must be set".to_owned(),
                };
                let name = name.to_owned();
                Err(WordError::Required { name, message })
            }
        }
    }
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
            ("${path//\\//\\/}", "\\/usr\\/local\\/bin"),
            ("$", "$"),
            ("$.x", "$.x"),
            ("a$1b", "ab"),
            ("$10b", "b"),
            ("$$x$-$?", "x"),
            ("${10:-d}${@:-e}", "de"),
            ("x\\", "x"),
            ("${path#\\*}", "/usr/local/bin"),
            ("${path#*[}", "/usr/local/bin"),
            ("${path/\"/usr\"/x}", "x/local/bin"),
            ("${v#$v}", ""),
            ("${none/a/b}", ""),
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
        assert_eq!(words("$list \"$list\" x\\ y ''"), ["a", "b", "a b", "x y"]);
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
            "'a", "\"a", "${", "${v", "${}", "${:x}", "${v:#p}", "${v:-x", "${v!}", "${v//x}",
            "${v#\\x}", "${{v}", "${.}",
        ] {
            assert!(expand(wrong, '\\', &lookup).is_err(), "{wrong}");
        }
        let error = expand("${none:?needed}", '\\', &lookup).unwrap_err();
        assert_eq!(error.to_string(), "none: needed");
    }

    #[test]
    fn the_escape_character_is_the_directives() {
        let text = |word| expand(word, '`', &lookup).unwrap().text;
        assert_eq!(text("`$v C:\\v `` \"`\"`x\""), "$v C:\\v ` \"`x");
    }

    #[test]
    fn substitutions_cannot_be_nested_without_end() {
        let nested = |depth| "${none:-".repeat(depth) + &"}".repeat(depth);
        assert!(expand(&nested(DEPTH_LIMIT), '\\', &lookup).is_ok());
        let error = expand(&nested(50_000), '\\', &lookup);
        assert_eq!(error, Err(WordError::Depth));
    }

    #[test]
    fn values_cannot_grow_without_end() {
        let long = |_: &str| Some("x".repeat(LENGTH_LIMIT));
        assert!(expand("$a", '\\', &long).is_ok());
        for word in ["$a$a$a", "\"$a$a$a\"", "${b:+$a$a$a}"] {
            assert_eq!(expand(word, '\\', &long), Err(WordError::TooLong), "{word}");
        }
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
