//! Regular expressions in Go's syntax, as far as an ignore pattern can become one: literals, classes, escapes,
//! anchors, alternatives, repetitions by number, and the groups that the translation itself writes.
//!
//! The differences to Rust's syntax are in classes (`[`, `&&` and `--` mean nothing in Go's) and in escapes
//! (`\d`, `\w`, `\s` and `\b` are ASCII in Go's, octal numbers and `\Q…\E` exist).

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// The expression; `None` when Go would refuse it.
pub(super) fn compile(go: &str) -> Option<Regex> {
    let mut translation = Translation {
        rest: go.chars().peekable(),
        out: String::new(),
        before: Before::Nothing,
    };
    translation.expression()?;
    Regex::new(&translation.out).ok()
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    before: Before,
}

/// What stands before a repetition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    /// Something that can.
    Something,
    /// Another repetition: that is an error.
    Repetition,
}

/// What an escape stands for.
enum Escape {
    Character(char),
    /// A set of characters, written as a class's inside.
    Set(String),
}

impl Translation<'_> {
    fn expression(&mut self) -> Option<()> {
        while let Some(character) = self.rest.next() {
            match character {
                '[' => self.class()?,
                '\\' => self.escape_outside()?,
                '*' | '?' => self.repetition(character.to_string())?,
                '{' => match self.counts()? {
                    Some(counts) => self.repetition(counts)?,
                    None => self.literal('{'),
                },
                '(' | '|' => {
                    self.out.push(character);
                    self.before = Before::Nothing;
                }
                '^' | '$' | '.' | ')' => {
                    self.out.push(character);
                    self.before = Before::Something;
                }
                plain => self.literal(plain),
            }
        }
        Some(())
    }

    fn repetition(&mut self, written: String) -> Option<()> {
        if self.before != Before::Something {
            return None;
        }
        self.out.push_str(&written);
        self.before = Before::Repetition;
        Some(())
    }

    /// The counts behind an opening brace, where they are some; `None` where there are too many.
    fn counts(&mut self) -> Option<Option<String>> {
        const MOST: u64 = 1_000;
        let mut ahead = self.rest.clone();
        let mut written = String::from("{");
        let Some(least) = number(&mut ahead, &mut written) else {
            return Some(None);
        };
        let mut most = Some(least);
        if ahead.next_if_eq(&',').is_some() {
            written.push(',');
            most = match ahead.peek() {
                Some('}') => None,
                _ => match number(&mut ahead, &mut written) {
                    Some(most) => Some(most),
                    None => return Some(None),
                },
            };
        }
        if ahead.next_if_eq(&'}').is_none() {
            return Some(None);
        }
        written.push('}');
        self.rest = ahead;
        let fits = least <= MOST && most.is_none_or(|most| least <= most && most <= MOST);
        fits.then_some(Some(written))
    }

    fn literal(&mut self, character: char) {
        self.out
            .push_str(&format!("\\x{{{:x}}}", u32::from(character)));
        self.before = Before::Something;
    }

    fn escape_outside(&mut self) -> Option<()> {
        let anchor = match self.rest.peek()? {
            'A' => r"\A",
            'z' => r"\z",
            'b' => r"(?-u:\b)",
            'B' => r"(?-u:\B)",
            'Q' => {
                self.rest.next();
                self.quoted();
                return Some(());
            }
            _ => {
                match self.escape()? {
                    Escape::Character(character) => self.literal(character),
                    Escape::Set(set) => self.out.push_str(&format!("[{set}]")),
                }
                self.before = Before::Something;
                return Some(());
            }
        };
        self.rest.next();
        self.out.push_str(anchor);
        self.before = Before::Something;
        Some(())
    }

    /// What stands behind `\Q`, up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(character) = self.rest.next() {
            if character == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(character);
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Option<Escape> {
        let negated = |set: &str| Escape::Set(format!("[^{set}]"));
        let set = |set: &str| Escape::Set(set.to_owned());
        Some(match self.rest.next()? {
            'd' => set("0-9"),
            'D' => negated("0-9"),
            's' => set(r"\t\n\x0c\r "),
            'S' => negated(r"\t\n\x0c\r "),
            'w' => set("0-9A-Za-z_"),
            'W' => negated("0-9A-Za-z_"),
            kind @ ('p' | 'P') => self.unicode_set(kind)?,
            'a' => Escape::Character('\u{7}'),
            'f' => Escape::Character('\u{c}'),
            'n' => Escape::Character('\n'),
            'r' => Escape::Character('\r'),
            't' => Escape::Character('\t'),
            'v' => Escape::Character('\u{b}'),
            'x' => Escape::Character(self.hexadecimal()?),
            first @ '0'..='7' => {
                // One digit other than 0 would be a reference to a group: there is no such thing.
                if first != '0' && !self.rest.peek().is_some_and(|next| next.is_digit(8)) {
                    return None;
                }
                let mut number = first.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.next_if(|next| next.is_digit(8)) else {
                        break;
                    };
                    number = number * 8 + digit.to_digit(8)?;
                }
                Escape::Character(char::from_u32(number)?)
            }
            other if other.is_ascii() && !other.is_ascii_alphanumeric() => Escape::Character(other),
            _ => return None,
        })
    }

    fn unicode_set(&mut self, kind: char) -> Option<Escape> {
        let name: String = match self.rest.next()? {
            '{' => {
                let mut name = String::new();
                loop {
                    match self.rest.next()? {
                        '}' => break name,
                        character => name.push(character),
                    }
                }
            }
            letter => letter.to_string(),
        };
        let (kind, name) = match (kind, name.strip_prefix('^')) {
            ('p', Some(name)) => ('P', name),
            (_, Some(name)) => ('p', name),
            (kind, None) => (kind, name.as_str()),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (!name.is_empty() && name.chars().all(is_name))
            .then(|| Escape::Set(format!("\\{kind}{{{name}}}")))
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let mut number = 0_u32;
        if self.rest.next_if_eq(&'{').is_some() {
            let mut digits = 0;
            while self.rest.next_if_eq(&'}').is_none() {
                let digit = self.rest.next()?.to_digit(16)?;
                number = number.checked_mul(16)?.checked_add(digit)?;
                digits += 1;
            }
            return (digits > 0).then(|| char::from_u32(number)).flatten();
        }
        for _ in 0..2 {
            number = number * 16 + self.rest.next()?.to_digit(16)?;
        }
        char::from_u32(number)
    }

    /// A class whose bracket is open.
    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            let character = match self.rest.next()? {
                ']' if !is_first => break,
                '[' if self.rest.peek() == Some(&':') => match self.named_class()? {
                    true => {
                        is_first = false;
                        continue;
                    }
                    false => '[',
                },
                '\\' => match self.escape()? {
                    Escape::Set(set) => {
                        self.out.push_str(&set);
                        is_first = false;
                        continue;
                    }
                    Escape::Character(character) => character,
                },
                plain => plain,
            };
            is_first = false;
            let high = self.range_end()?;
            self.literal(character);
            if let Some(high) = high {
                if high < character {
                    return None;
                }
                self.out.push('-');
                self.literal(high);
            }
        }
        self.out.push(']');
        self.before = Before::Something;
        Some(())
    }

    /// What a range goes to, where one begins: a dash before the closing bracket is none.
    fn range_end(&mut self) -> Option<Option<char>> {
        if self.rest.peek() != Some(&'-') {
            return Some(None);
        }
        let mut ahead = self.rest.clone();
        ahead.next();
        if matches!(ahead.peek(), Some(']') | None) {
            return Some(None);
        }
        self.rest = ahead;
        Some(Some(match self.rest.next()? {
            '\\' => match self.escape()? {
                Escape::Character(character) => character,
                Escape::Set(_) => return None,
            },
            plain => plain,
        }))
    }

    /// `[:alpha:]` and the like, behind their first bracket; false where there is none.
    fn named_class(&mut self) -> Option<bool> {
        let mut ahead = self.rest.clone();
        ahead.next();
        let text: String = ahead.collect();
        let Some((name, rest)) = text.split_once(":]") else {
            return Some(false);
        };
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return None;
        }
        self.out.push_str(&format!("[:{name}:]"));
        let taken = text.len() - rest.len();
        let taken = text.get(..taken).unwrap_or_default().chars().count();
        // The colon, and what was taken of the rest.
        for _ in 0..=taken {
            self.rest.next();
        }
        Some(true)
    }
}

/// A number without zeros before it.
fn number(rest: &mut Peekable<Chars<'_>>, written: &mut String) -> Option<u64> {
    let start = written.len();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        written.push(digit);
    }
    let digits = written.get(start..)?;
    if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (go, text, expected) in [
            ("^a.b$", "axb", true),
            ("^a.b$", "a\nb", false),
            ("^[^/]*$", "a\nb", true),
            (r"^\d$", "٣", false),
            (r"^a\b/$", "a/", true),
            (r"^\x41\101\x{e9}$", "AAé", true),
            (r"^[a&&b]$", "&", true),
            ("^[[a]$", "[", true),
            ("^[]a]$", "]", true),
            ("^[[^/]*]$", "a/]", false),
            ("^[[^/]*]$", "[/]", true),
            ("^[[:alpha:]-]$", "-", true),
            ("^[[:^alpha:]]$", "é", true),
            ("^[a-]$", "-", true),
            (r"^[\w.]$", "_", true),
            (r"^\Qa.b\E.$", "a.bx", true),
            (r"^\pL$", "é", true),
            ("^(.*/)?a$", "x/y/a", true),
            ("^a|b$", "xb", true),
            ("^a{2}$", "aa", true),
            ("^a{,2}$", "a{,2}", true),
            ("^a{01}$", "a{01}", true),
            ("^a{1,}{$", "aa{", true),
        ] {
            assert_eq!(
                compile(go).map(|r| r.is_match(text)),
                Some(expected),
                "{go}"
            );
        }
        for wrong in [
            "{2}",
            "a|{2}",
            "a*{2}",
            "a{1001}",
            "a{2,1}",
            r"\8",
            r"\1",
            r"\y",
            r"\é",
            "[b-a]",
            "[a",
            "[[:foo:]]",
            r"[a-\d]",
            r"\pX",
            r"\",
            r"\x4",
        ] {
            assert!(compile(wrong).is_none(), "{wrong}");
        }
    }
}
