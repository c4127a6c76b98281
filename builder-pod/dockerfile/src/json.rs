//! The exec form: a JSON array, read as Go's `encoding/json` reads it.
//!
//! Go accepts what strict readers refuse (half a surrogate pair becomes U+FFFD), and tells an array with
//! something else than strings, which is an error, from what is no JSON, which is the shell form.
//!
//! Invariant: one pass, no recursion: a file may nest as deep as it likes.

use std::iter::Peekable;
use std::str::Chars;

/// How deep arrays and objects may stand in each other.
const DEPTH_LIMIT: usize = 10_000;

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Array {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with something else in it.
    Mixed,
    /// No array, or no JSON.
    None,
}

/// Reads a text, blanks around it allowed.
pub(crate) fn array(text: &str) -> Array {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Array::None;
    }
    let mut reader = Reader {
        rest: text.chars().peekable(),
        open: Vec::new(),
        strings: Vec::new(),
        is_mixed: false,
    };
    match reader.read() {
        Some(()) if reader.is_mixed => Array::Mixed,
        Some(()) => Array::Strings(reader.strings),
        None => Array::None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    open: Vec<Open>,
    strings: Vec<String>,
    is_mixed: bool,
}

impl Reader<'_> {
    /// `None` when it is no JSON.
    fn read(&mut self) -> Option<()> {
        loop {
            // A value, or the end of something that is empty.
            self.blanks();
            let is_element = self.open.len() == 1;
            match self.rest.next()? {
                '[' => {
                    self.is_mixed |= !self.open.is_empty();
                    self.push(Open::Array)?;
                    if !self.next_is(']') {
                        continue;
                    }
                    self.open.pop();
                }
                '{' => {
                    self.is_mixed = true;
                    self.push(Open::Object)?;
                    if !self.next_is('}') {
                        self.key()?;
                        continue;
                    }
                    self.open.pop();
                }
                '"' => {
                    let string = self.string()?;
                    if is_element {
                        self.strings.push(string);
                    }
                }
                first => {
                    self.is_mixed = true;
                    self.word(first)?;
                }
            }
            if !self.after_value()? {
                return Some(());
            }
        }
    }

    fn push(&mut self, open: Open) -> Option<()> {
        self.open.push(open);
        (self.open.len() <= DEPTH_LIMIT).then_some(())
    }

    /// What follows a value: whether another one does.
    fn after_value(&mut self) -> Option<bool> {
        loop {
            self.blanks();
            let Some(open) = self.open.last() else {
                // Nothing may stand behind the outermost array.
                return self.rest.peek().is_none().then_some(false);
            };
            match (self.rest.next()?, open) {
                (',', Open::Array) => return Some(true),
                (',', Open::Object) => {
                    self.blanks();
                    self.key()?;
                    return Some(true);
                }
                (']', Open::Array) | ('}', Open::Object) => _ = self.open.pop(),
                _ => return None,
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.rest.next_if_eq(&'"')?;
        self.string()?;
        self.next_is(':').then_some(())
    }

    fn blanks(&mut self) {
        while self
            .rest
            .next_if(|next| matches!(next, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }

    fn next_is(&mut self, expected: char) -> bool {
        self.blanks();
        self.rest.next_if_eq(&expected).is_some()
    }

    /// A string whose quote is open.
    fn string(&mut self) -> Option<String> {
        let mut string = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(string),
                '\\' => match self.rest.next()? {
                    same @ ('"' | '\\' | '/') => string.push(same),
                    'b' => string.push('\u{8}'),
                    'f' => string.push('\u{c}'),
                    'n' => string.push('\n'),
                    'r' => string.push('\r'),
                    't' => string.push('\t'),
                    'u' => self.unicode(&mut string)?,
                    _ => return None,
                },
                control if control < ' ' => return None,
                character => string.push(character),
            }
        }
    }

    /// The four digits behind `\u`, and the second half of a pair behind them.
    fn unicode(&mut self, string: &mut String) -> Option<()> {
        let mut unit = self.four_digits()?;
        // A half without its other one becomes U+FFFD; what follows it may be a first half again.
        while (0xd800..0xdc00).contains(&unit) {
            let mut ahead = self.rest.clone();
            if ahead.next() != Some('\\') || ahead.next() != Some('u') {
                break;
            }
            self.rest = ahead;
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                let pair = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                string.push(char::from_u32(pair).unwrap_or('\u{fffd}'));
                return Some(());
            }
            string.push('\u{fffd}');
            unit = low;
        }
        string.push(char::from_u32(unit).unwrap_or('\u{fffd}'));
        Some(())
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.rest.next()?.to_digit(16)?;
        }
        Some(unit)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self, first: char) -> Option<()> {
        let mut word = String::from(first);
        while let Some(next) = self
            .rest
            .next_if(|next| next.is_ascii_alphanumeric() || "+-.".contains(*next))
        {
            word.push(next);
        }
        (matches!(word.as_str(), "true" | "false" | "null") || is_number(&word)).then_some(())
    }
}

fn is_number(word: &str) -> bool {
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let rest = word.strip_prefix('-').unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        if length == 0 || length < exponent.len() {
            return false;
        }
        rest = "";
    }
    // Go reads numbers as 64-bit floats, and one that is too large for that is no number.
    rest.is_empty() && word.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_strings_are_read() {
        for (text, expected) in [
            ("[]", &[][..]),
            (" [ ] ", &[]),
            ("[\"a\", \"b\"]", &["a", "b"]),
            (
                "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"]",
                &["\"\\/\u{8}\u{c}\n\r\té"],
            ),
            ("[\"\\ud83d\\ude00\"]", &["😀"]),
            ("[\"\\ud83d\"]", &["\u{fffd}"]),
            ("[\"\\ud83dx\\ude00\"]", &["\u{fffd}x\u{fffd}"]),
            ("[\"\\ud83d\\ud83d\\ude00\"]", &["\u{fffd}😀"]),
            ("[\"\\ud83d\\u0041\"]", &["\u{fffd}A"]),
        ] {
            let expected = expected.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(array(text), Array::Strings(expected), "{text}");
        }
    }

    #[test]
    fn what_has_something_else_than_strings_is_told_from_what_is_no_json() {
        for mixed in [
            "[1]",
            "[\"a\", null]",
            "[true]",
            "[[]]",
            "[{}]",
            "[{\"a\": [1, -2.5e+3], \"b\": {}}, \"c\"]",
            "[0.10]",
        ] {
            assert_eq!(array(mixed), Array::Mixed, "{mixed}");
        }
        for none in [
            "",
            "a",
            "[",
            "[a]",
            "['a']",
            "[\"a\",]",
            "[\"a\"] b",
            "[\"a\"",
            "[\"\\x\"]",
            "[\"\t\"]",
            "[01]",
            "[1.]",
            "[1e]",
            "[-]",
            "[1e999]",
            "[{\"a\"}]",
            "[{1: 2}]",
            "[\"a\" \"b\"]",
            "[,]",
            "[\"\\u00g0\"]",
            "[nul]",
            "[]]",
            "[{,}]",
            "[+1]",
            "[.5]",
        ] {
            assert_eq!(array(none), Array::None, "{none}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_takes_no_stack() {
        assert_eq!(
            array(&("[".repeat(9_999) + &"]".repeat(9_999))),
            Array::Mixed
        );
        assert_eq!(array(&"[".repeat(1_000_000)), Array::None);
    }
}
