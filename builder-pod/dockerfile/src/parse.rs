//! A whole file to stages and diagnostics.
//!
//! Invariant: what follows something wrong is still read, in the stage that it stands in.

use crate::ast::{Dockerfile, From, Instruction, Kind, Spanned, Stage};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Source, from_parts, kind};
use crate::lines::{Logical, Reader};
use crate::place::Places;

/// How many errors are told. Someone who has a thousand has given another file than a Dockerfile.
const ERRORS_TOLD: usize = 1_000;

/// Parses a Dockerfile. What cannot be understood is left out and has an error among the diagnostics, which
/// come in the order of the file.
#[must_use]
pub fn parse(text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let places = Places::new(text);
    let mut reader = Reader::new(&places);
    let mut diagnostics = Vec::new();
    let mut dockerfile = Dockerfile {
        escape: reader.lines.escape,
        syntax: reader.lines.syntax.take(),
        check: reader.lines.check.take(),
        arguments: Vec::new(),
        stages: Vec::new(),
    };
    let (mut errors, mut is_empty) = (0, true);
    while let Some(logical) = reader.read() {
        is_empty = false;
        if errors >= ERRORS_TOLD {
            let what = format!("from here on the file is not read: it has {errors} errors before");
            diagnostics.push(Diagnostic::error(
                Code::UnknownInstruction,
                logical.span,
                what,
            ));
            break;
        }
        let before = diagnostics.len();
        instruction(logical, &places, &mut dockerfile, &mut diagnostics);
        for diagnostic in diagnostics.iter_mut().skip(before) {
            errors += usize::from(diagnostic.is_error());
            let stage = diagnostic.stage.take();
            diagnostic.stage = stage.or_else(|| last_stage(&dockerfile));
        }
    }
    diagnostics.append(&mut reader.lines.diagnostics);
    if is_empty {
        let span = places.span(0, 0);
        diagnostics.push(Diagnostic::error(
            Code::EmptyFile,
            span,
            "the file has no instruction",
        ));
    } else if dockerfile.stages.is_empty() && diagnostics.iter().all(|d| !d.is_error()) {
        let span = places.span(0, 0);
        diagnostics.push(Diagnostic::error(
            Code::NoFrom,
            span,
            "the file has no FROM",
        ));
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (dockerfile, diagnostics)
}

/// The name of the stage that is being read, or its number.
fn last_stage(dockerfile: &Dockerfile) -> Option<String> {
    let last = dockerfile.stages.last()?;
    Some(match &last.from.name {
        Some(name) => name.value.clone(),
        None => (dockerfile.stages.len() - 1).to_string(),
    })
}

fn instruction(
    logical: Logical,
    places: &Places<'_>,
    dockerfile: &mut Dockerfile,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let source = Source::new(&logical, places, dockerfile.escape);
    let text = source.on_one_line();
    let before = diagnostics.len();
    let read = read(&source, diagnostics);
    for diagnostic in diagnostics.iter_mut().skip(before) {
        diagnostic.instruction.get_or_insert_with(|| text.clone());
    }
    let Logical {
        span,
        heredocs,
        comments,
        last_line,
        ..
    } = logical;
    match read {
        None => {}
        Some(Read::From(parts)) => dockerfile.stages.push(Stage {
            from: From {
                image: parts.image,
                name: parts.name,
                platform: parts.platform,
                span,
                text,
                comments,
                last_line,
            },
            instructions: Vec::new(),
        }),
        Some(Read::Other(kind)) => {
            let instruction = Instruction {
                kind,
                span,
                text,
                heredocs,
                comments,
                last_line,
            };
            match dockerfile.stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None if matches!(instruction.kind, Kind::Arg(_)) => {
                    dockerfile.arguments.push(instruction);
                }
                None => diagnostics.push(misplaced(&instruction)),
            }
        }
    }
}

/// What an instruction is.
enum Read {
    From(Head),
    Other(Kind),
}

/// What a `FROM` says.
struct Head {
    image: Spanned<String>,
    name: Option<Spanned<String>>,
    platform: Option<Spanned<String>>,
}

fn read(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Read> {
    let (keyword, _) = source.keyword();
    if keyword.is_empty() {
        diagnostics.push(Diagnostic::error(
            Code::UnknownInstruction,
            source.logical.span,
            "nothing but continuation marks: an instruction is missing",
        ));
        return None;
    }
    if keyword.eq_ignore_ascii_case("FROM") {
        return Some(Read::From(from(source, diagnostics)));
    }
    kind(source, diagnostics).map(Read::Other)
}

fn misplaced(instruction: &Instruction) -> Diagnostic {
    let keyword = instruction.kind.keyword();
    let message = format!("only ARG may stand before the first FROM, not {keyword}");
    Diagnostic::error(Code::NoFrom, instruction.span, message).within(&instruction.text)
}

/// A `FROM`; one that is wrong still opens a stage, so that what follows is checked in its place.
fn from(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> Head {
    let span = source.logical.span;
    let parts = from_parts(source, diagnostics);
    let missing = || Spanned {
        value: "scratch".to_owned(),
        span,
    };
    let (image, name) = match parts.words.as_slice() {
        [image] => (image.clone(), None),
        [image, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => {
            if !is_stage_name(&name.value) {
                diagnostics.push(
                    Diagnostic::error(
                        Code::StageName,
                        name.span,
                        format!("{:?} is no name for a stage", name.value),
                    )
                    .help("a name starts with a letter and has letters, digits, - _ and ."),
                );
            }
            (image.clone(), Some(name.clone()))
        }
        words => {
            diagnostics.push(Diagnostic::error(
                Code::FromForm,
                span,
                "FROM has the form FROM image [AS name]",
            ));
            (words.first().cloned().unwrap_or_else(missing), None)
        }
    };
    Head {
        image,
        name,
        platform: parts.platform,
    }
}

fn is_stage_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
}

#[cfg(test)]
mod tests;
