//! Flags before an instruction's arguments: `--name` and `--name=value`.
//!
//! Invariant: a flag that an instruction does not have is an error, never an argument and never ignored.

use std::ops::Range;

use crate::ast::{Flag, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Source, instructions_with};
use crate::suggest::nearest;

/// How many wrong flags of one instruction are told about: a line may have any number.
const FLAGS_TOLD: usize = 100;

/// What an instruction's flag may be.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// Takes a value.
    Text,
    /// Takes a value and may be repeated.
    List,
    /// `--flag`, `--flag=true` or `--flag=false`.
    Boolean,
}

/// The flags in front of an instruction's arguments, as written.
pub(crate) struct Taken {
    /// Each flag with its place in the instruction's joined text.
    pub(crate) flags: Vec<(Flag, Range<usize>)>,
    /// Where the arguments start in that text.
    pub(crate) rest: usize,
}

/// Takes the flags that stand at `rest` of the instruction's text.
pub(crate) fn take(source: &Source<'_>, mut rest: usize) -> Taken {
    let mut flags = Vec::new();
    loop {
        let text = source.text().get(rest..).unwrap_or_default();
        let start = rest + (text.len() - text.trim_start().len());
        let text = text.trim_start();
        if !text.starts_with("--") {
            return Taken { flags, rest: start };
        }
        let (word, length) = word(text, source.escape);
        rest = start + length;
        if word == "--" {
            return Taken { flags, rest };
        }
        let name = word.strip_prefix("--").unwrap_or(&word);
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (name.to_owned(), None),
        };
        let span = source.place(start, rest);
        flags.push((Flag { name, value, span }, start..rest));
    }
}

impl Taken {
    /// The flags that the instruction has; the others are reported.
    pub(crate) fn known(
        &self,
        source: &Source<'_>,
        known: &[(&str, Form)],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        let told = diagnostics.len();
        for (flag, _) in &self.flags {
            if diagnostics.len() - told >= FLAGS_TOLD {
                break;
            }
            match problem(source, flag, &flags, known) {
                Some(wrong) => diagnostics.push(wrong),
                None => flags.push(flag.clone()),
            }
        }
        flags
    }

    /// Warns that flags mean nothing here: BuildKit reads none of them.
    pub(crate) fn unread(&self, what: &str, diagnostics: &mut Vec<Diagnostic>) {
        for (flag, _) in self.flags.iter().take(FLAGS_TOLD) {
            let message = format!("{what} has no flags: --{} means nothing", flag.name);
            diagnostics.push(
                Diagnostic::warning(Code::BadFlag, flag.span, message)
                    .help("leave it out, or write -- in front if it is an argument"),
            );
        }
    }

    /// The place of a part of a flag's value, searched from a position in the instruction's text on, and the
    /// position behind it. There is none where quotes, escapes or a continued line stand inside.
    pub(crate) fn part(
        &self,
        source: &Source<'_>,
        flag: &Flag,
        part: &str,
        from: usize,
    ) -> Option<(Span, usize)> {
        let (_, range) = self.flags.iter().find(|(one, _)| one.span == flag.span)?;
        let from = from.max(range.start);
        let at = from + source.text().get(from..range.end)?.find(part)?;
        let end = at + part.len();
        Some((source.place(at, end), end))
    }
}

/// What is wrong with a flag, if anything.
fn problem(
    source: &Source<'_>,
    flag: &Flag,
    before: &[Flag],
    known: &[(&str, Form)],
) -> Option<Diagnostic> {
    let Flag { name, value, span } = flag;
    let wrong = |message: String| Diagnostic::error(Code::BadFlag, *span, message);
    let (keyword, _) = source.keyword();
    let Some((_, form)) = known.iter().find(|(known, _)| known == name) else {
        let keyword = keyword.to_ascii_uppercase();
        let wrong = wrong(format!("{keyword} has no flag --{name}"));
        let names = known.iter().map(|(name, _)| *name);
        let owners = instructions_with(name);
        return Some(if known.is_empty() {
            wrong.help("an argument that begins with -- stands behind a word --")
        } else if !owners.is_empty() {
            wrong.help(format!("it is a flag of {}", owners.join(" and ")))
        } else if let Some(meant) = nearest(name, names) {
            wrong.help(format!("did you mean --{meant}?"))
        } else {
            wrong
        });
    };
    if !matches!(form, Form::List) && before.iter().any(|other| other.name == *name) {
        return Some(wrong(format!("the flag --{name} is there twice")));
    }
    match (form, value.as_deref()) {
        (Form::Text | Form::List, None) => Some(
            wrong(format!("the flag --{name} needs a value")).help(format!("write --{name}=…")),
        ),
        (Form::Boolean, Some(value))
            if !["true", "false"].contains(&value.to_ascii_lowercase().as_str()) =>
        {
            Some(
                wrong(format!("the flag --{name} is true or false, not {value:?}"))
                    .help(format!("--{name} alone means true")),
            )
        }
        _ => None,
    }
}

/// The first word, quotes and escapes processed, and its length as written. Escapes count in both kinds of
/// quotes here, other than in arguments.
fn word(text: &str, escape: char) -> (String, usize) {
    let (mut word, mut quote) = (String::new(), None);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (word, at),
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if character == open => quote = None,
            _ if character == escape => word.extend(characters.next().map(|(_, next)| next)),
            _ => word.push(character),
        }
    }
    (word, text.len())
}
