//! A Dockerfile. What must hold:
//!
//! - nothing panics, neither parsing nor showing what is wrong;
//! - every place lies inside the file, between characters, and its line and column are those of its first byte;
//! - diagnostics come in the order of the file;
//! - where BuildKit's parser has an error, so have we;
//! - printing each instruction's lines and reading them again gives the same tree.

use stagecraft_dockerfile::tree::{self, Tree};
use stagecraft_dockerfile::{Diagnostic, Dockerfile, Span, parse, render};

/// Checks a file; bytes that are no text are left out.
pub fn check(data: &[u8]) {
    let Ok(file) = std::str::from_utf8(data) else {
        return;
    };
    let (dockerfile, diagnostics) = parse(file);
    for span in spans(&dockerfile, &diagnostics) {
        check_span(file, span);
    }
    let starts: Vec<usize> = diagnostics.iter().map(|d| d.span.start).collect();
    assert!(starts.is_sorted(), "diagnostics are out of order");
    for diagnostic in diagnostics.iter().take(20) {
        assert!(!render(diagnostic, file, "Dockerfile").is_empty());
    }
    match tree::read(file) {
        Ok(tree) => check_round_trip(file, &tree),
        Err(error) => {
            let is_told = diagnostics.iter().any(Diagnostic::is_error);
            assert!(is_told, "the parser has no error, but the tree: {error}");
        }
    }
}

fn spans<'a>(
    dockerfile: &'a Dockerfile,
    diagnostics: &'a [Diagnostic],
) -> impl Iterator<Item = Span> + 'a {
    let stages = dockerfile.stages.iter();
    let instructions = stages.clone().flat_map(|stage| &stage.instructions);
    let instructions = instructions.chain(&dockerfile.arguments);
    let instructions = instructions.flat_map(|instruction| {
        let heredocs = instruction.heredocs.iter().map(|heredoc| heredoc.span);
        heredocs.chain([instruction.span])
    });
    let froms = stages.flat_map(|stage| {
        let name = stage.from.name.iter().map(|name| name.span);
        name.chain([stage.from.span, stage.from.image.span])
    });
    let told = diagnostics.iter().map(|diagnostic| diagnostic.span);
    instructions.chain(froms).chain(told)
}

fn check_span(file: &str, span: Span) {
    assert!(
        span.start <= span.end && span.end <= file.len(),
        "{span:?} is outside of the file"
    );
    assert!(
        file.is_char_boundary(span.start) && file.is_char_boundary(span.end),
        "{span:?} cuts a character"
    );
    let before = &file[..span.start];
    let line = before.matches('\n').count() + 1;
    assert_eq!(span.line as usize, line, "{span:?} is on another line");
    let in_line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    let mark = usize::from(line == 1 && in_line.starts_with('\u{feff}'));
    let column = in_line.chars().count() - mark + 1;
    assert_eq!(
        span.column as usize, column,
        "{span:?} is in another column"
    );
}

/// Only comments and empty lines stand between instructions: without them the tree is the same.
fn check_round_trip(file: &str, tree: &Tree) {
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    let mut printed = format!("# escape={}\n", tree.escape);
    for (first, last) in &tree.lines {
        for line in &lines[*first as usize - 1..*last as usize] {
            printed.push_str(
                line.strip_prefix('\u{feff}')
                    .filter(|_| *first == 1)
                    .unwrap_or(line),
            );
        }
        if !printed.ends_with('\n') {
            printed.push('\n');
        }
    }
    let again = tree::read(&printed).expect("what was read once can be read again");
    assert_eq!(again.dump, tree.dump);
    assert_eq!(again.escape, tree.escape);
    let documents = |tree: &Tree| -> Vec<(String, String, bool)> {
        let documents = tree.heredocs.iter();
        documents
            .map(|document| {
                (
                    document.name.clone(),
                    document.content.clone(),
                    document.expand,
                )
            })
            .collect()
    };
    assert_eq!(documents(&again), documents(tree));
    let warnings = |tree: &Tree| -> Vec<String> {
        tree.warnings
            .iter()
            .map(|(short, _)| short.clone())
            .collect()
    };
    assert_eq!(warnings(&again), warnings(tree));
}
