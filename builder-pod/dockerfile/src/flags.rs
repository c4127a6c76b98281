//! Flags before an instruction's arguments: `--name` and `--name=value`.
//!
//! Invariant: a flag that an instruction does not have is an error, never an argument and never ignored.

use crate::ast::Flag;
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::Source;
use crate::suggest::nearest;

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

/// Takes the flags that stand at `rest` of the instruction's text; gives them and where the arguments start.
pub(crate) fn take(
    source: &Source<'_>,
    mut rest: usize,
    known: &[(&str, Form)],
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<Flag>, usize) {
    let mut flags: Vec<Flag> = Vec::new();
    loop {
        let text = source.text().get(rest..).unwrap_or_default();
        let start = rest + (text.len() - text.trim_start().len());
        let text = text.trim_start();
        if !text.starts_with("--") {
            return (flags, start);
        }
        let (word, length) = word(text, source.escape);
        let span = source.place(start, start + length);
        rest = start + length;
        if word == "--" {
            return (flags, rest);
        }
        let name = word.strip_prefix("--").unwrap_or(&word);
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (name.to_owned(), None),
        };
        let flag = Flag { name, value, span };
        match problem(source, &flag, &flags, known) {
            Some(message) => {
                let mut wrong = Diagnostic::error(Code::BadFlag, span, message);
                let names = known.iter().map(|(name, _)| *name);
                let meant = nearest(&flag.name, names).filter(|name| *name != flag.name);
                if let Some(meant) = meant {
                    wrong = wrong.help(format!("did you mean --{meant}?"));
                } else if known.is_empty() {
                    wrong = wrong.help("an argument that begins with -- stands behind a word --");
                }
                diagnostics.push(wrong);
            }
            None => flags.push(flag),
        }
    }
}

fn problem(
    source: &Source<'_>,
    flag: &Flag,
    before: &[Flag],
    known: &[(&str, Form)],
) -> Option<String> {
    let Flag { name, value, .. } = flag;
    let Some((_, form)) = known.iter().find(|(known, _)| known == name) else {
        let (keyword, _) = source.keyword();
        let keyword = keyword.to_ascii_uppercase();
        return Some(format!("{keyword} has no flag --{name}"));
    };
    if !matches!(form, Form::List) && before.iter().any(|other| other.name == *name) {
        return Some(format!("the flag --{name} is there twice"));
    }
    match (form, value.as_deref()) {
        (Form::Text | Form::List, None) => Some(format!("the flag --{name} needs a value")),
        (Form::Boolean, Some(value))
            if !["true", "false"].contains(&value.to_ascii_lowercase().as_str()) =>
        {
            Some(format!("the flag --{name} is true or false, not {value:?}"))
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
