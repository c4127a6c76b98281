//! Words: quotes, escapes and variables, with the rules of BuildKit's shell lexer.
//!
//! Invariant: a word from an untrusted file cannot exhaust the stack (substitutions within substitutions stand
//! on a stack of their own), and the time it takes is bounded: linear in its length and in the values it uses.
//! It must not know where variables come from: the caller looks them up.

use crate::pattern;

mod scanner;
mod split;
mod unicode;

pub(crate) use scanner::Options;
use scanner::Scanner;
pub(crate) use unicode::is_name_character;

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
    /// Values and patterns without measure.
    #[error("the substitutions use values and patterns that are too large")]
    TooMuchWork,
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
    /// Variables that were met and are not set, each once, in the order in which they were met. A default does
    /// not make a variable set.
    pub unset: Vec<String>,
}

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands variables and removes quotes; the result is one word whatever blanks it has.
///
/// # Errors
/// When quotes or substitutions are malformed, or a required variable is not set.
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Expansion, WordError> {
    if is_plain(word, escape) {
        return Ok(Expansion {
            text: word.to_owned(),
            unset: Vec::new(),
        });
    }
    let scanned = Scanner::new(word, escape, Options::default(), lookup).run()?;
    Ok(Expansion {
        text: scanned.text,
        unset: scanned.unset,
    })
}

/// Expands variables in the text of a here-document: quotes are text like any other, and the escape character
/// is the backslash whatever a directive says.
///
/// # Errors
/// As [`expand`].
pub fn expand_document(text: &str, lookup: Lookup<'_>) -> Result<Expansion, WordError> {
    let options = Options {
        quotes_are_text: true,
        ..Options::default()
    };
    let scanned = Scanner::new(text, '\\', options, lookup).run()?;
    Ok(Expansion {
        text: scanned.text,
        unset: scanned.unset,
    })
}

/// Expands variables, removes quotes, and splits at blanks that are not quoted. Gives the words and the names
/// that are not set.
///
/// A word that is nothing but empty quotes disappears. A substitution with an operand, `${v:-w}` for example,
/// loses what stands before it in its word: BuildKit's lexer has that fault, and files may only be read as it
/// reads them.
///
/// # Errors
/// As [`expand`].
pub fn expand_words(
    word: &str,
    escape: char,
    lookup: Lookup<'_>,
) -> Result<(Vec<String>, Vec<String>), WordError> {
    if is_plain(word, escape) && !word.is_empty() && !word.contains(char::is_whitespace) {
        return Ok((vec![word.to_owned()], Vec::new()));
    }
    let scanned = Scanner::new(word, escape, Options::default(), lookup).run()?;
    let words = scanned.words.into_iter().map(|word| word.text).collect();
    Ok((words, scanned.unset))
}

/// Whether nothing in a word means anything but itself, as in most: then there is nothing to scan.
fn is_plain(word: &str, escape: char) -> bool {
    let mut escape_bytes = [0; 4];
    // The first byte of the escape character finds it, and at worst a word too many.
    let escape = escape.encode_utf8(&mut escape_bytes).as_bytes().first();
    let means_something = |byte: &u8| matches!(byte, b'$' | b'"' | b'\'') || Some(byte) == escape;
    word.len() <= LENGTH_LIMIT
        && !word.starts_with('\u{feff}')
        && !word.as_bytes().iter().any(means_something)
}

/// A word of a line, with its quotes and variables as written.
pub(crate) struct RawWord {
    /// It, quotes and escapes as the options say.
    pub(crate) text: String,
    /// Its first byte in the line.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
}

/// The words of a line in which no variable is set, and none is expanded.
pub(crate) fn raw_words(line: &str, options: Options) -> Result<Vec<RawWord>, WordError> {
    let options = Options {
        keeps_unset: true,
        ..options
    };
    Ok(Scanner::new(line, '\\', options, &|_| None).run()?.words)
}

/// Splits at blanks outside of quotes; quotes and escapes stay, but an escape with nothing behind it is dropped.
/// Gives offset and text of each word.
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
    let end = text.len() - if escaped { escape.len_utf8() } else { 0 };
    let last = start.filter(|start| *start < end);
    words.extend(last.map(|start| (start, &text[start..end])));
    words
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
        assert_eq!(expansion.unset, ["a", "b", "c"]);
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
    fn substitutions_may_stand_in_each_other_as_deep_as_they_like() {
        let depth = 100_000;
        let nested = "${none:-".repeat(depth) + "x" + &"}".repeat(depth);
        assert_eq!(
            expand(&nested, '\\', &lookup).map(|e| e.text).as_deref(),
            Ok("x")
        );
        let nested = "\"${none:-".repeat(depth);
        assert!(expand(&nested, '\\', &lookup).is_err());
    }

    #[test]
    fn large_values_cannot_be_used_without_end() {
        let long = |_: &str| Some("x".repeat(LENGTH_LIMIT));
        let many = "${b:+}".repeat(1_000);
        assert_eq!(expand(&many, '\\', &long), Err(WordError::TooMuchWork));
    }

    #[test]
    fn quotes_in_a_document_are_text() {
        let text = |word| expand_document(word, &lookup).unwrap().text;
        assert_eq!(
            text("it's \"$v\" \\$v ${empty:-'d'}"),
            "it's \"value\" $v 'd'"
        );
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
