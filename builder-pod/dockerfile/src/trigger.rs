//! The instruction of an `ONBUILD`, read when a stage begins with the image or stage that has it.
//!
//! Invariant: every place is that of the `FROM`: the text stands in no file.

use crate::ast::{Instruction, Kind, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Source, kind};
use crate::lines;
use crate::place::Places;

/// Reads a trigger as an image's configuration has it, with its here-documents below it.
///
/// # Errors
/// What is wrong with it.
pub fn parse_trigger(text: &str, from: Span) -> Result<Instruction, Vec<Diagnostic>> {
    let places = Places::new(text);
    let lines = lines::split(&places);
    let mut diagnostics = lines.diagnostics;
    let instruction = match lines.logical.as_slice() {
        [logical] => {
            let source = Source::new(logical, &places, lines.escape).at(from);
            let mut heredocs = logical.heredocs.clone();
            for heredoc in &mut heredocs {
                heredoc.span = from;
            }
            let found = kind(&source, &mut diagnostics);
            found.map(|kind| Instruction {
                kind,
                span: from,
                text: format!("ONBUILD {}", source.on_one_line()),
                heredocs,
                comments: Vec::new(),
                last_line: from.line,
            })
        }
        _ => None,
    };
    for diagnostic in &mut diagnostics {
        diagnostic.span = from;
        diagnostic.message = format!("the trigger ONBUILD {text}: {}", diagnostic.message);
    }
    diagnostics.retain(Diagnostic::is_error);
    match instruction {
        Some(instruction) if diagnostics.is_empty() => Ok(instruction),
        _ => {
            if diagnostics.is_empty() {
                let message = format!("the trigger ONBUILD {text} is not one instruction");
                diagnostics.push(Diagnostic::error(Code::Trigger, from, message));
            }
            Err(diagnostics)
        }
    }
}

impl Instruction {
    /// The text that an image's configuration keeps of an `ONBUILD`; nothing for another instruction.
    #[must_use]
    pub fn trigger(&self) -> Option<String> {
        let Kind::OnBuild(trigger) = &self.kind else {
            return None;
        };
        let mut text = trigger.text.value.clone();
        for heredoc in &self.heredocs {
            text.push('\n');
            text.push_str(&heredoc.written);
            text.push_str(&heredoc.name);
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Span = Span {
        start: 5,
        end: 9,
        line: 2,
        column: 3,
    };

    #[test]
    fn a_trigger_stands_where_its_from_stands() {
        let text = "RUN --mount=type=cache,target=/c <<E cat\na\nE";
        let instruction = parse_trigger(text, FROM).unwrap();
        let Kind::Run(run) = &instruction.kind else {
            panic!("it is a RUN")
        };
        assert_eq!(instruction.span, FROM);
        assert_eq!(instruction.heredocs[0].content, "a\n");
        assert_eq!(run.options.mounts[0].fields[1].span, FROM);
    }

    #[test]
    fn what_is_wrong_with_a_trigger_names_it() {
        for (text, expected) in [
            (
                "RUM x",
                "the trigger ONBUILD RUM x: the instruction RUM does not exist",
            ),
            (
                "RUN a\nRUN b",
                "the trigger ONBUILD RUN a\nRUN b is not one instruction",
            ),
            ("", "the trigger ONBUILD  is not one instruction"),
            (
                "FROM a",
                "the trigger ONBUILD FROM a is not one instruction",
            ),
        ] {
            let wrong = parse_trigger(text, FROM).unwrap_err();
            assert_eq!(wrong[0].message, expected);
            assert_eq!(wrong[0].span, FROM);
        }
    }

    #[test]
    fn the_kept_text_has_the_here_documents() {
        let (dockerfile, _) = crate::parse("FROM a\nonbuild  run <<E\n$x\nE\nRUN x\n");
        let instructions = &dockerfile.stages[0].instructions;
        assert_eq!(instructions[0].trigger().as_deref(), Some("run <<E\n$x\nE"));
        assert_eq!(instructions[1].trigger(), None);
    }
}
