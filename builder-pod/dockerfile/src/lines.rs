//! Splits a Dockerfile into its instructions: directives, comments, continued lines, here-documents.
//!
//! Invariant: every byte of an instruction's joined text knows the byte of the file that it came from.

use crate::ast::{Heredoc, Span, Spanned};
use crate::diagnostic::{Code, Diagnostic};

/// Longest physical line in bytes, as BuildKit's scanner has it.
const LINE_LIMIT: usize = 65_535;

/// One instruction's text, continuations joined.
#[derive(Debug)]
pub(crate) struct Logical {
    /// The joined text, without the blanks before it.
    pub(crate) text: String,
    /// Its place: from the keyword to the end of its last line.
    pub(crate) span: Span,
    /// Its here-documents.
    pub(crate) heredocs: Vec<Heredoc>,
    /// Where pieces of the joined text start, in it and in the file.
    pieces: Vec<(usize, usize)>,
}

/// The file's lines with what stands before them.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) escape: char,
    pub(crate) syntax: Option<Spanned<String>>,
    pub(crate) logical: Vec<Logical>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

struct Physical<'a> {
    text: &'a str,
    start: usize,
    number: u32,
}

impl Logical {
    /// The place of a range of the joined text.
    pub(crate) fn place(&self, start: usize, end: usize, file: &str) -> Span {
        let (from, to) = (self.in_file(start), self.in_file(end.max(start)));
        span_of(file, from, to.max(from))
    }

    fn in_file(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(joined, _)| *joined <= at);
        let (joined, start) = self.pieces[index.saturating_sub(1)];
        start + (at - joined)
    }
}

/// The span of bytes of the file, with line and column.
pub(crate) fn span_of(file: &str, start: usize, end: usize) -> Span {
    let start = start.min(file.len());
    let before = file.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |text: &str| u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
    let column = before[line_start..]
        .trim_start_matches('\u{feff}')
        .chars()
        .count();
    Span {
        start,
        end: end.min(file.len()),
        line: count(before) + 1,
        column: u32::try_from(column).unwrap_or(u32::MAX) + 1,
    }
}

/// Splits the file.
pub(crate) fn split(file: &str) -> Lines {
    let mut lines = Lines {
        escape: '\\',
        syntax: None,
        logical: Vec::new(),
        diagnostics: Vec::new(),
    };
    let physical = physical_lines(file);
    for line in physical.iter().filter(|line| line.text.len() > LINE_LIMIT) {
        lines.diagnostics.push(Diagnostic::error(
            Code::LineTooLong,
            span_of(file, line.start, line.start + 1),
            format!("the line has more than {LINE_LIMIT} bytes"),
        ));
    }
    directives(file, &physical, &mut lines);
    let mut next = 0;
    while next < physical.len() {
        next = instruction(file, &physical, next, &mut lines);
    }
    lines
}

fn physical_lines(file: &str) -> Vec<Physical<'_>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (number, raw) in file.split_inclusive('\n').enumerate() {
        let mut text = raw.strip_suffix('\n').unwrap_or(raw);
        text = text.strip_suffix('\r').unwrap_or(text);
        let mut at = start;
        if let Some(rest) = text.strip_prefix('\u{feff}').filter(|_| number == 0) {
            at += text.len() - rest.len();
            text = rest;
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX) + 1;
        lines.push(Physical {
            text,
            start: at,
            number,
        });
        start += raw.len();
    }
    lines
}

/// `# name=value` lines before anything else. An unknown name, like any other line, ends them.
fn directives(file: &str, physical: &[Physical<'_>], lines: &mut Lines) {
    let mut seen: Vec<String> = Vec::new();
    let skip = usize::from(
        physical
            .first()
            .is_some_and(|line| line.text.starts_with("#!")),
    );
    for line in physical.iter().skip(skip) {
        let Some((name, value)) = line
            .text
            .trim_start()
            .strip_prefix('#')
            .and_then(|rest| rest.split_once('='))
        else {
            return;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            return;
        }
        let span = span_of(file, line.start, line.start + line.text.len());
        let mut wrong = |message: String| {
            lines
                .diagnostics
                .push(Diagnostic::error(Code::Directive, span, message));
        };
        if seen.contains(&name) {
            wrong(format!("the directive {name} is there twice"));
        } else if name == "escape" {
            match value {
                "\\" => lines.escape = '\\',
                "`" => lines.escape = '`',
                other => wrong(format!(
                    "the escape character {other:?} is neither \\ nor `"
                )),
            }
        } else if name == "syntax" {
            lines.syntax = Some(Spanned {
                value: value.to_owned(),
                span,
            });
        }
        seen.push(name);
    }
}

/// Reads the instruction that starts at line `first`, if one does; gives the line after it.
fn instruction(file: &str, physical: &[Physical<'_>], first: usize, lines: &mut Lines) -> usize {
    let start = &physical[first];
    let trimmed = start.text.trim_start();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return first + 1;
    }
    let mut text = String::new();
    let mut pieces = Vec::new();
    let mut next = first;
    let mut end = start.start + start.text.len();
    while let Some(line) = physical.get(next) {
        let mut part = line.text;
        let mut at = line.start;
        if next == first {
            part = trimmed;
            at += line.text.len() - trimmed.len();
        } else if part.trim_start().starts_with('#') {
            next += 1;
            continue;
        } else if part.trim().is_empty() {
            lines.diagnostics.push(Diagnostic::warning(
                Code::EmptyContinuation,
                span_of(file, line.start, line.start + line.text.len()),
                format!(
                    "line {} is empty inside a continued instruction",
                    line.number
                ),
            ));
            next += 1;
            continue;
        }
        next += 1;
        pieces.push((text.len(), at));
        end = line.start + line.text.len();
        match continued(part, lines.escape) {
            Some(kept) => text.push_str(kept),
            None => {
                text.push_str(part);
                break;
            }
        }
    }
    let start = pieces.first().map_or(start.start, |(_, at)| *at);
    let mut logical = Logical {
        text,
        span: span_of(file, start, end),
        heredocs: Vec::new(),
        pieces,
    };
    next = heredocs(file, physical, next, &mut logical, &mut lines.diagnostics);
    lines.logical.push(logical);
    next
}

/// The line without its continuation mark: an escape at its end that is not itself escaped.
fn continued(line: &str, escape: char) -> Option<&str> {
    let kept = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!kept.ends_with(escape)).then_some(kept)
}

/// Takes the bodies of the instruction's here-documents; gives the line after them.
fn heredocs(
    file: &str,
    physical: &[Physical<'_>],
    mut next: usize,
    logical: &mut Logical,
    diagnostics: &mut Vec<Diagnostic>,
) -> usize {
    for (at, length, word, tabs) in heredoc_words(&logical.text) {
        let name: String = word.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
        let span = logical.place(at, at + length, file);
        let expand = name.len() == word.len();
        let mut content = String::new();
        let mut ended = false;
        while let Some(line) = physical.get(next) {
            next += 1;
            let body = if tabs {
                line.text.trim_start_matches('\t')
            } else {
                line.text
            };
            if body == name {
                ended = true;
                break;
            }
            content.push_str(body);
            content.push('\n');
        }
        if !ended {
            diagnostics.push(Diagnostic::error(
                Code::Heredoc,
                span,
                format!("the here-document {name:?} does not end: no line is {name:?} alone"),
            ));
        }
        logical.heredocs.push(Heredoc {
            name,
            content,
            expand,
            span,
        });
    }
    next
}

/// Offset, length, word and whether tabs are stripped, of every `<<WORD` of RUN, COPY and ADD.
fn heredoc_words(text: &str) -> Vec<(usize, usize, String, bool)> {
    let mut upper = text.to_ascii_uppercase();
    if let Some(rest) = upper.strip_prefix("ONBUILD") {
        upper = rest.trim_start().to_owned();
    }
    let keyword = upper.split([' ', '\t']).next().unwrap_or_default();
    let mut found = Vec::new();
    if !matches!(keyword, "RUN" | "COPY" | "ADD") {
        return found;
    }
    let mut from = 0;
    while let Some(position) = text[from..].find("<<") {
        let at = from + position;
        let starts_word = text[..at].ends_with([' ', '\t'])
            || text[..at]
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .ends_with([' ', '\t']);
        let rest = &text[at + 2..];
        let tabs = rest.starts_with('-');
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        let word: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_-.\"'".contains(*c))
            .collect();
        let quote_free: String = word.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
        let length = 2 + usize::from(tabs) + word.len();
        if starts_word && !quote_free.is_empty() && !rest.starts_with('<') {
            found.push((at, length, word, tabs));
        }
        from = at + 2;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        split(file)
            .logical
            .into_iter()
            .map(|logical| logical.text)
            .collect()
    }

    #[test]
    fn continued_lines_are_joined_without_comments_and_empty_lines() {
        assert_eq!(
            texts("FROM a\r\n  RUN x \\\n  # comment\n\n    y \\  \n z\n# c\nCMD w \\\\\n"),
            ["FROM a", "RUN x     y  z", "CMD w \\\\"]
        );
    }

    #[test]
    fn places_point_into_the_file() {
        let file = "FROM a\n  RUN x \\\n   yé z\n";
        let lines = split(file);
        let run = &lines.logical[1];
        let at = run.text.find('z').unwrap();
        let span = run.place(at, at + 1, file);
        assert_eq!((span.line, span.column), (3, 7));
        assert_eq!(&file[span.start..span.end], "z");
        assert_eq!((run.span.line, run.span.column), (2, 3));
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let lines =
            split("# syntax = docker/dockerfile:1\n# escape=`\nFROM a `\n b\n# escape=\\\n");
        assert_eq!(lines.escape, '`');
        assert_eq!(
            lines.syntax.map(|s| s.value).as_deref(),
            Some("docker/dockerfile:1")
        );
        assert_eq!(lines.logical[0].text, "FROM a  b");
        assert_eq!(split("# comment\n# escape=`\nFROM a").escape, '\\');
        assert_eq!(split("# escape=x\n").diagnostics[0].code, Code::Directive);
    }

    #[test]
    fn here_documents_are_taken_with_their_instruction() {
        let lines = split("RUN cat <<A >x && cat <<-\"B\"\none\nA\n\ttwo $x\n\tB\nCMD x\n");
        assert_eq!(lines.logical.len(), 2);
        let docs = &lines.logical[0].heredocs;
        assert_eq!((docs[0].content.as_str(), docs[0].expand), ("one\n", true));
        assert_eq!(
            (docs[1].content.as_str(), docs[1].expand),
            ("two $x\n", false)
        );
        assert_eq!(split("RUN <<A\nx\n").diagnostics[0].code, Code::Heredoc);
    }
}
