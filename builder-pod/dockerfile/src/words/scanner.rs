//! The machine behind [`super::expand`]: one pass over the text with a stack of what is open.
//!
//! Everything is written to one text. What turns out not to count (the default of a variable that is set, a
//! pattern) is cut off again at the place where it began, so that nothing is copied from level to level.

use std::collections::HashSet;

use super::split::Words;
use super::unicode::{is_digit, is_name_character};
use super::{LENGTH_LIMIT, Lookup, RawWord, WordError, pattern};

/// Most bytes of values and patterns that one word may make us look at.
const WORK_LIMIT: usize = 1 << 27;

/// What is kept as written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Quotes stay, but still quote.
    pub(crate) keeps_quotes: bool,
    /// Escapes stay, but still escape.
    pub(crate) keeps_escapes: bool,
    /// Quotes are characters like any other.
    pub(crate) quotes_are_text: bool,
    /// What uses a variable that is not set stays.
    pub(crate) keeps_unset: bool,
}

/// What a scan gives.
pub(super) struct Scanned {
    /// The text, whole.
    pub(super) text: String,
    /// It, split at blanks that are not quoted.
    pub(super) words: Vec<RawWord>,
    /// Names that were met and are not set, each once.
    pub(super) unset: Vec<String>,
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    position: usize,
    escape: char,
    options: Options,
    lookup: Lookup<'a>,
    /// Whether escapes stay here: a pattern has its own use for them.
    keeps_escapes: bool,
    out: String,
    open: Vec<Open>,
    words: Words,
    unset: Vec<String>,
    known_unset: HashSet<String>,
    work: usize,
}

/// What is open, and where in the result it began.
enum Open {
    /// Double quotes.
    Quotes { start: usize },
    /// A substitution's operand.
    Operand(Operand),
}

struct Operand {
    start: usize,
    name: String,
    form: Form,
    /// Whether it stays as written, with the substitution around it.
    stays: bool,
    /// Whether escapes stayed outside of it.
    kept_escapes: bool,
}

/// What becomes of an operand.
enum Form {
    /// `-`, `+`, `?` and those that do not exist; with a colon an empty value counts as unset.
    Conditional { modifier: char, colon: bool },
    /// `#` or `%`.
    Trim { side: char },
    /// The pattern of `/` or `//`.
    Pattern { all: bool },
    /// What replaces the pattern.
    Replacement { all: bool, pattern: String },
}

impl Form {
    /// The character that ends it.
    const fn stop(&self) -> char {
        match self {
            Self::Pattern { .. } => '/',
            _ => '}',
        }
    }

    /// Whether an escape character in quotes is doubled, because a pattern will be read of it.
    const fn is_pattern(&self) -> bool {
        matches!(self, Self::Trim { .. } | Self::Pattern { .. })
    }

    /// Whether escapes stay in it.
    const fn keeps_escapes(&self) -> bool {
        !matches!(self, Self::Conditional { .. })
    }

    /// What stands between the name and it.
    fn mark(&self) -> String {
        match self {
            Self::Conditional { modifier, colon } => {
                format!("{}{modifier}", if *colon { ":" } else { "" })
            }
            Self::Trim { side } => side.to_string(),
            Self::Pattern { .. } | Self::Replacement { .. } => "/".to_owned(),
        }
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, escape: char, options: Options, lookup: Lookup<'a>) -> Self {
        Self {
            // A byte-order mark before the text is no part of it.
            position: text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len(),
            text,
            escape,
            options,
            lookup,
            keeps_escapes: options.keeps_escapes,
            out: String::new(),
            open: Vec::new(),
            words: Words::default(),
            unset: Vec::new(),
            known_unset: HashSet::new(),
            work: 0,
        }
    }

    /// Scans the text to its end.
    pub(super) fn run(mut self) -> Result<Scanned, WordError> {
        loop {
            if self.out.len() > LENGTH_LIMIT {
                return Err(WordError::TooLong);
            }
            match self.open.last() {
                Some(Open::Quotes { start }) => {
                    let start = *start;
                    self.in_quotes(start)?;
                }
                Some(Open::Operand(operand)) => {
                    let (stop, is_pattern) = (operand.form.stop(), operand.form.is_pattern());
                    match self.peek() {
                        None => return Err(WordError::Brace(operand.name.clone())),
                        Some(next) if next == stop => {
                            self.position += 1;
                            self.end_operand()?;
                        }
                        Some(next) => self.in_text(next, Some(stop), is_pattern)?,
                    }
                }
                None => {
                    let Some(next) = self.peek() else {
                        break;
                    };
                    self.words.token_start = self.position;
                    self.in_text(next, None, false)?;
                }
            }
        }
        self.words.end_word(self.position);
        Ok(Scanned {
            text: self.out,
            words: self.words.ended,
            unset: self.unset,
        })
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.position..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn next_if(&mut self, expected: impl Fn(char) -> bool) -> Option<char> {
        self.peek().filter(|next| expected(*next))?;
        self.next()
    }

    /// Outside of quotes, up to a `stop` where there is one.
    fn in_text(
        &mut self,
        next: char,
        stop: Option<char>,
        is_pattern: bool,
    ) -> Result<(), WordError> {
        let start = self.out.len();
        match next {
            '$' => return self.dollar(),
            '<' => self.redirection(start),
            '\'' if !self.options.quotes_are_text => self.single_quoted(start, is_pattern)?,
            '"' if !self.options.quotes_are_text => {
                self.position += 1;
                if self.options.keeps_quotes {
                    self.out.push('"');
                }
                self.open.push(Open::Quotes { start });
            }
            _ if next == self.escape => {
                self.position += next.len_utf8();
                if self.keeps_escapes {
                    self.out.push(next);
                }
                // An escape at the very end escapes nothing and is dropped.
                let escaped = self.next();
                self.out.extend(escaped);
                self.add_raw(start);
            }
            _ => {
                self.plain(next, stop);
                self.add_plain(start);
            }
        }
        Ok(())
    }

    /// A character without a meaning, and those behind it that have none either and part no words.
    fn plain(&mut self, first: char, stop: Option<char>) {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let ends = |next: char| {
            matches!(next, '$' | '<' | '\'' | '"')
                || next == self.escape
                || Some(next) == stop
                || next.is_whitespace()
        };
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let length = match first.is_whitespace() {
            true => 0,
            false => behind.find(ends).unwrap_or(behind.len()),
        };
        let run = rest.get(..first.len_utf8() + length).unwrap_or_default();
        self.position += run.len();
        self.out.push_str(run);
    }

    /// `<`, or `<<` with the blanks behind it: those do not part a here-document's name from its mark.
    fn redirection(&mut self, start: usize) {
        self.position += 1;
        self.out.push('<');
        if self.next_if(|next| next == '<').is_some() {
            self.out.push('<');
            while let Some(blank) = self.next_if(|next| matches!(next, ' ' | '\t' | '\r')) {
                self.out.push(blank);
            }
        }
        self.add_raw(start);
    }

    fn single_quoted(&mut self, start: usize, is_pattern: bool) -> Result<(), WordError> {
        self.position += 1;
        let rest = self.text.get(self.position..).unwrap_or_default();
        let Some((quoted, _)) = rest.split_once('\'') else {
            return Err(WordError::Quote('\''));
        };
        self.position += quoted.len() + 1;
        let quote = if self.options.keeps_quotes { "'" } else { "" };
        self.out.push_str(quote);
        for character in quoted.chars() {
            if is_pattern && character == self.escape {
                self.out.push(character);
            }
            self.out.push(character);
        }
        self.out.push_str(quote);
        self.add_raw(start);
        Ok(())
    }

    /// One step within double quotes, which began at `start`.
    fn in_quotes(&mut self, start: usize) -> Result<(), WordError> {
        let is_pattern = self.open.iter().rev().find_map(|open| match open {
            Open::Operand(operand) => Some(operand.form.is_pattern()),
            Open::Quotes { .. } => None,
        });
        match self.peek() {
            None => return Err(WordError::Quote('"')),
            Some('"') => {
                self.position += 1;
                if self.options.keeps_quotes {
                    self.out.push('"');
                }
                self.open.pop();
                self.add_raw(start);
            }
            Some('$') => return self.dollar(),
            Some(next) if next == self.escape => {
                self.position += next.len_utf8();
                // Only these lose their escape in here.
                let escape = self.escape;
                let escaped = self.next_if(|next| matches!(next, '"' | '$') || next == escape);
                match escaped {
                    Some(escaped) => {
                        if self.keeps_escapes {
                            self.out.push(next);
                        }
                        self.out.push(escaped);
                    }
                    None if self.peek().is_none() => {}
                    None => {
                        let is_read_again =
                            !self.options.keeps_quotes || is_pattern.unwrap_or_default();
                        if self.keeps_escapes && is_read_again {
                            self.out.push(next);
                        }
                        self.out.push(next);
                    }
                }
            }
            Some(_) => {
                let rest = self.text.get(self.position..).unwrap_or_default();
                let ends = |next: char| matches!(next, '"' | '$') || next == self.escape;
                let run = &rest[..rest.find(ends).unwrap_or(rest.len())];
                self.position += run.len();
                self.out.push_str(run);
            }
        }
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), WordError> {
        let start = self.out.len();
        self.position += 1;
        if self.next_if(|next| next == '{').is_some() {
            return self.braced(start);
        }
        let name = self.name();
        if name.is_empty() {
            self.out.push('$');
        } else {
            match self.value(&name)? {
                None if self.options.keeps_unset => {
                    self.out.push('$');
                    self.out.push_str(&name);
                }
                value => self.out.push_str(&value.unwrap_or_default()),
            }
        }
        self.add_plain(start);
        Ok(())
    }

    /// Letters, digits and underscores; a number or a special parameter stands alone.
    fn name(&mut self) -> String {
        if let Some(special) = self.next_if(|next| "@*#?-$!".contains(next)) {
            return special.to_string();
        }
        let belongs = match self.peek() {
            Some(first) if is_digit(first) => is_digit,
            _ => is_name_character,
        };
        let start = self.position;
        while self.next_if(belongs).is_some() {}
        self.text
            .get(start..self.position)
            .unwrap_or_default()
            .to_owned()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, WordError> {
        let value = (self.lookup)(name);
        match &value {
            Some(value) => self.spend(value.len())?,
            None if !self.known_unset.contains(name) => {
                self.known_unset.insert(name.to_owned());
                self.unset.push(name.to_owned());
            }
            None => {}
        }
        Ok(value)
    }

    fn spend(&mut self, work: usize) -> Result<(), WordError> {
        self.work = self.work.saturating_add(work);
        if self.work > WORK_LIMIT {
            Err(WordError::TooMuchWork)
        } else {
            Ok(())
        }
    }

    /// What stands behind `${`.
    fn braced(&mut self, start: usize) -> Result<(), WordError> {
        if let None | Some('{' | '}' | ':') = self.peek() {
            let next = self.peek().map(String::from).unwrap_or_default();
            return Err(WordError::Substitution(format!("${{{next}")));
        }
        let name = self.name();
        let wrong = |what: &str| WordError::Substitution(format!("${{{name}{what}"));
        let Some(mark) = self.next() else {
            return Err(WordError::Brace(name));
        };
        let form = match mark {
            '}' => {
                match self.value(&name)? {
                    None if self.options.keeps_unset => {
                        self.out.push_str(&format!("${{{name}}}"));
                    }
                    value => self.out.push_str(&value.unwrap_or_default()),
                }
                self.add_plain(start);
                return Ok(());
            }
            ':' => match self.next() {
                Some(modifier @ ('#' | '%')) => return Err(wrong(&format!(":{modifier}"))),
                Some(modifier) => Form::Conditional {
                    modifier,
                    colon: true,
                },
                None => return Err(WordError::Brace(name)),
            },
            modifier @ ('-' | '+' | '?') => Form::Conditional {
                modifier,
                colon: false,
            },
            side @ ('#' | '%') => Form::Trim { side },
            '/' => Form::Pattern {
                all: self.next_if(|next| next == '/').is_some(),
            },
            other => return Err(wrong(&other.to_string())),
        };
        let stays = self.options.keeps_unset && self.value(&name)?.is_none();
        if stays {
            self.out.push_str("${");
            self.out.push_str(&name);
            self.out.push_str(&form.mark());
        }
        self.begin_operand(start, name, form, stays);
        Ok(())
    }

    fn begin_operand(&mut self, start: usize, name: String, form: Form, stays: bool) {
        let kept_escapes = std::mem::replace(&mut self.keeps_escapes, form.keeps_escapes());
        // BuildKit's lexer forgets the word that it stands in here: see `expand_words`.
        self.words.forget_word();
        self.open.push(Open::Operand(Operand {
            start,
            name,
            form,
            stays,
            kept_escapes,
        }));
    }

    fn end_operand(&mut self) -> Result<(), WordError> {
        let Some(Open::Operand(ended)) = self.open.pop() else {
            return Ok(());
        };
        let Operand {
            start, name, form, ..
        } = ended;
        self.keeps_escapes = ended.kept_escapes;
        if ended.stays {
            self.out.push(form.stop());
        }
        match form {
            Form::Pattern { all } => {
                let pattern = match ended.stays {
                    true => String::new(),
                    false => self.out.split_off(start),
                };
                let form = Form::Replacement { all, pattern };
                self.begin_operand(start, name, form, ended.stays);
                return Ok(());
            }
            _ if ended.stays => {}
            Form::Conditional { modifier, colon } => {
                self.conditional(start, name, modifier, colon)?;
            }
            Form::Trim { side } => self.trim(start, &name, side)?,
            Form::Replacement { all, pattern } => self.replace(start, &name, &pattern, all)?,
        }
        self.add_plain(start);
        Ok(())
    }

    /// Keeps the operand that stands in the result from `start` on, or puts the value in its place.
    fn conditional(
        &mut self,
        start: usize,
        name: String,
        modifier: char,
        colon: bool,
    ) -> Result<(), WordError> {
        let value = self.value(&name)?;
        let value = value.filter(|value| !colon || !value.is_empty());
        match (modifier, value) {
            ('-', None) | ('+', Some(_)) => {}
            ('+', None) => self.out.truncate(start),
            ('-' | '?', Some(value)) => {
                self.out.truncate(start);
                self.out.push_str(&value);
            }
            ('?', None) => {
                let operand = self.out.split_off(start);
                let message = match (operand.is_empty(), colon) {
                    (false, _) => operand,
                    (true, true) => "it must have a value".to_owned(),
                    (true, false) => "it must be set".to_owned(),
                };
                return Err(WordError::Required { name, message });
            }
            (other, _) => {
                let colon = if colon { ":" } else { "" };
                let what = format!("${{{name}{colon}{other}");
                return Err(WordError::Substitution(what));
            }
        }
        Ok(())
    }

    fn trim(&mut self, start: usize, name: &str, side: char) -> Result<(), WordError> {
        let operand = self.out.split_off(start);
        let (pattern, longest) = match operand.strip_prefix(side) {
            Some(pattern) => (pattern, true),
            None => (operand.as_str(), false),
        };
        let value = self.value(name)?.unwrap_or_default();
        self.spend_on_match(&value, pattern)?;
        let trimmed = match side {
            '#' => pattern::trim_start(&value, pattern, longest),
            _ => pattern::trim_end(&value, pattern, longest),
        };
        let trimmed = trimmed.map_err(|_| WordError::Pattern(pattern.to_owned()))?;
        self.out.push_str(&trimmed);
        Ok(())
    }

    fn replace(
        &mut self,
        start: usize,
        name: &str,
        pattern: &str,
        all: bool,
    ) -> Result<(), WordError> {
        let replacement = self.out.split_off(start);
        let value = self.value(name)?.unwrap_or_default();
        self.spend_on_match(&value, pattern)?;
        let replaced = match all {
            true => {
                // Each character of the value may become a replacement.
                self.spend(value.len().saturating_mul(replacement.len()))?;
                pattern::replace_all(&value, pattern, &replacement)
            }
            false => pattern::replace_first(&value, pattern, &replacement),
        };
        let replaced = replaced.map_err(|_| WordError::Pattern(pattern.to_owned()))?;
        self.out.push_str(&replaced);
        Ok(())
    }

    /// A pattern is compiled, and every character of the value may be compared with each of its own.
    fn spend_on_match(&mut self, value: &str, pattern: &str) -> Result<(), WordError> {
        let length = pattern.len();
        self.spend(
            length
                .saturating_mul(value.len() / 16 + 64)
                .saturating_add(4096),
        )
    }

    fn add_raw(&mut self, start: usize) {
        if self.open.is_empty() {
            let added = self.out.get(start..).unwrap_or_default();
            self.words.add_raw(added);
        }
    }

    fn add_plain(&mut self, start: usize) {
        if self.open.is_empty() {
            let added = self.out.get(start..).unwrap_or_default();
            self.words.add(added);
        }
    }
}
