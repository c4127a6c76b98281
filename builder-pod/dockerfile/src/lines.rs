//! Splits a Dockerfile into its instructions: directives, comments, continued lines, here-documents.
//!
//! Invariant: every byte of an instruction's joined text knows the byte of the file that it came from.
//! It must not know what an instruction's arguments mean.

use crate::ast::{Heredoc, Span, Spanned};
use crate::diagnostic::{Code, Diagnostic};
use crate::heredoc::{self, HeredocWord};
use crate::place::Places;
use crate::syntax::Node;

/// Longest physical line in bytes, its line feed aside, as BuildKit's scanner has it.
const LINE_LIMIT: usize = 65_535;

/// How many empty lines of one instruction are told about: a file may have any number.
const EMPTY_LINES_TOLD: usize = 20;

/// One instruction's text, continuations joined.
#[derive(Debug)]
pub(crate) struct Logical {
    /// The joined text, without the blanks before it.
    pub(crate) text: String,
    /// Its place: from the keyword to the end of its last line.
    pub(crate) span: Span,
    /// Its here-documents.
    pub(crate) heredocs: Vec<Heredoc>,
    /// Those as they stand in the file: the word, and the bytes of the body.
    pub(crate) documents: Vec<(HeredocWord, std::ops::Range<usize>)>,
    /// The blanks before the text, where they stand behind continuation marks.
    pub(crate) indent: String,
    /// The physical line on which it starts, from 1.
    pub(crate) first_line: u32,
    /// The physical line on which its last here-document ends.
    pub(crate) end_line: u32,
    /// Whether an empty line stands in it.
    pub(crate) has_empty_line: bool,
    /// The comments between it and the instruction above, see [`crate::Instruction::comments`].
    pub(crate) comments: Vec<String>,
    /// The physical line on which its text ends, from 1: its here-documents stand below.
    pub(crate) last_line: u32,
    /// Where pieces of the joined text start, in it and in the file.
    pieces: Vec<(usize, usize)>,
}

/// The file's lines with what stands before them.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) escape: char,
    pub(crate) syntax: Option<Spanned<String>>,
    pub(crate) check: Option<Spanned<String>>,
    pub(crate) logical: Vec<Logical>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

struct Physical<'a> {
    /// Without its line break, and without the file's byte-order mark.
    text: &'a str,
    start: usize,
    /// Length with all that, but for the line feed.
    length: usize,
    number: u32,
}

impl Physical<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What a comment line says. The first byte is dropped whatever it is, so that an indented comment keeps
    /// its `#`: no `check` can stand in one.
    fn comment(&self) -> Option<&str> {
        let mut characters = self.text.chars();
        characters.next();
        self.is_comment().then(|| characters.as_str().trim())
    }
}

impl Logical {
    /// The place of a range of the joined text.
    pub(crate) fn place(&self, start: usize, end: usize, places: &Places<'_>) -> Span {
        let from = self.in_file(start);
        // The end of a range is the byte after its last one, which may stand on another line than the next.
        let to = match end.checked_sub(1).filter(|last| *last >= start) {
            Some(last) => self.in_file(last) + 1,
            None => from,
        };
        places.span(from, to)
    }

    fn in_file(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(joined, _)| *joined <= at);
        match index.checked_sub(1).and_then(|last| self.pieces.get(last)) {
            Some((joined, start)) => start + (at - joined),
            None => self.span.start,
        }
    }
}

/// Reads a file's instructions one after the other.
pub(crate) struct Reader<'a> {
    /// What is known so far; its instructions are left to the caller.
    pub(crate) lines: Lines,
    places: &'a Places<'a>,
    physical: Vec<Physical<'a>>,
    next: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(places: &'a Places<'a>) -> Self {
        let mut lines = Lines {
            escape: '\\',
            syntax: None,
            check: None,
            logical: Vec::new(),
            diagnostics: Vec::new(),
        };
        let mut physical = physical_lines(places.file());
        physical.retain(|line| {
            let fits = line.length <= LINE_LIMIT;
            if !fits {
                lines.diagnostics.push(Diagnostic::error(
                    Code::LineTooLong,
                    places.span(line.start, line.start + 1),
                    format!("the line has more than {LINE_LIMIT} bytes"),
                ));
            }
            fits
        });
        let next = directives(places, &physical, &mut lines);
        Self {
            lines,
            places,
            physical,
            next,
        }
    }

    /// The next instruction.
    pub(crate) fn read(&mut self) -> Option<Logical> {
        let mut comments = Vec::new();
        while let Some(line) = self.physical.get(self.next) {
            match line.comment() {
                // A comment without text parts those above it from the instruction; an empty line does not.
                Some("") => comments.clear(),
                Some(comment) => comments.push(comment.to_owned()),
                None if line.is_blank() => {}
                None => {
                    let (mut found, next) =
                        instruction(self.places, &self.physical, self.next, &mut self.lines);
                    self.next = next;
                    found.comments = comments;
                    return Some(found);
                }
            }
            self.next += 1;
        }
        None
    }
}

/// Splits the file.
pub(crate) fn split(places: &Places<'_>) -> Lines {
    let mut reader = Reader::new(places);
    let mut logical = Vec::new();
    while let Some(instruction) = reader.read() {
        logical.push(instruction);
    }
    Lines {
        logical,
        ..reader.lines
    }
}

fn physical_lines(file: &str) -> Vec<Physical<'_>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for (number, raw) in file.split_inclusive('\n').enumerate() {
        let mut text = raw.trim_end_matches(['\r', '\n']);
        let mut at = start;
        if let Some(rest) = text.strip_prefix('\u{feff}').filter(|_| number == 0) {
            at += text.len() - rest.len();
            text = rest;
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        lines.push(Physical {
            text,
            start: at,
            length: raw.strip_suffix('\n').unwrap_or(raw).len(),
            number,
        });
        start += raw.len();
    }
    lines
}

/// `# name=value` lines before anything else. An unknown name, like any other line, ends them. Gives the line
/// after them.
fn directives(places: &Places<'_>, physical: &[Physical<'_>], lines: &mut Lines) -> usize {
    // A script's first line is passed over in the search for `syntax` and `check`, but ends the directives of
    // the parser: what follows it is a comment, too.
    let is_script = physical
        .first()
        .is_some_and(|line| line.text.starts_with("#!"));
    let mut seen: Vec<String> = Vec::new();
    let mut next = 0;
    for line in physical.iter().skip(usize::from(is_script)) {
        let Some((name, value)) = directive(line.text) else {
            break;
        };
        next += usize::from(!is_script);
        let span = places.span(line.start, line.end());
        let value = Spanned {
            value: value.to_owned(),
            span,
        };
        let mut wrong = |message: String| {
            lines
                .diagnostics
                .push(Diagnostic::error(Code::Directive, span, message));
        };
        if seen.contains(&name) && is_script {
            continue;
        }
        if seen.contains(&name) {
            wrong(format!("the directive {name} is there twice"));
            continue;
        }
        match name.as_str() {
            "syntax" => lines.syntax = Some(value),
            "check" => lines.check = Some(value),
            _ if is_script => {}
            _ => match value.value.as_str() {
                "\\" => lines.escape = '\\',
                "`" => lines.escape = '`',
                other => wrong(format!(
                    "the escape character {other:?} is neither \\ nor `"
                )),
            },
        }
        seen.push(name);
    }
    next
}

/// The name, in small letters, and the value of a line that is a directive.
fn directive(line: &str) -> Option<(String, &str)> {
    // The blanks of Go's regular expressions.
    let is_blank = |character: char| matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let name = name
        .trim_start()
        .trim_end_matches(is_blank)
        .to_ascii_lowercase();
    if !matches!(name.as_str(), "syntax" | "escape" | "check") {
        return None;
    }
    // A value is never empty: where only blanks stand, the last one is it.
    let blank = value.char_indices().next_back().map(|(at, _)| &value[at..]);
    let value = value.trim_matches(is_blank);
    let value = if value.is_empty() { blank? } else { value };
    Some((name, value))
}

/// Reads the instruction that starts at line `first`, which is neither blank nor a comment; gives it and the line
/// after it.
fn instruction(
    places: &Places<'_>,
    physical: &[Physical<'_>],
    first: usize,
    lines: &mut Lines,
) -> (Logical, usize) {
    let (start, end, number) = match physical.get(first) {
        Some(line) => (line.start, line.end(), line.number),
        None => (0, 0, 1),
    };
    let mut logical = Logical {
        text: String::new(),
        span: places.span(start, end),
        heredocs: Vec::new(),
        documents: Vec::new(),
        indent: String::new(),
        first_line: number,
        end_line: number,
        has_empty_line: false,
        comments: Vec::new(),
        last_line: number,
        pieces: Vec::new(),
    };
    let mut next = join(places, physical, first, &mut logical, lines);
    if !logical.text.is_empty() {
        next = heredocs(places, physical, next, &mut logical, lines);
    }
    (logical, next)
}

/// Joins the lines of the instruction that starts at line `first`; gives the line after them.
fn join(
    places: &Places<'_>,
    physical: &[Physical<'_>],
    first: usize,
    logical: &mut Logical,
    lines: &mut Lines,
) -> usize {
    let (mut next, mut empty_lines) = (first, 0);
    let mut end = logical.span.end;
    while let Some(line) = physical.get(next) {
        next += 1;
        logical.last_line = line.number;
        logical.end_line = line.number;
        if next - 1 != first && line.is_comment() {
            continue;
        }
        if line.is_blank() {
            empty_lines += 1;
            if empty_lines <= EMPTY_LINES_TOLD {
                lines.diagnostics.push(Diagnostic::warning(
                    Code::EmptyContinuation,
                    places.span(line.start, line.end()),
                    format!(
                        "line {} is empty inside a continued instruction",
                        line.number
                    ),
                ));
            }
            logical.has_empty_line = true;
            continue;
        }
        let whole = continued(line.text, lines.escape);
        let part = whole.unwrap_or(line.text);
        // Blanks before an instruction mean nothing; those before a continuation are part of it.
        let kept = if logical.text.is_empty() {
            part.trim_start()
        } else {
            part
        };
        let blanks = part.len() - kept.len();
        if next - 1 != first {
            logical.indent.push_str(&part[..blanks]);
        }
        logical
            .pieces
            .push((logical.text.len(), line.start + blanks));
        logical.text.push_str(kept);
        end = line.end();
        if whole.is_none() {
            break;
        }
    }
    // A piece without text says nothing about where the text starts.
    let first_piece = logical.pieces.iter().rfind(|(joined, _)| *joined == 0);
    let start = first_piece.map_or(logical.span.start, |(_, at)| *at);
    logical.span = places.span(start, end);
    next
}

/// The line without its continuation mark: an escape at its end that is not itself escaped.
fn continued(line: &str, escape: char) -> Option<&str> {
    let kept = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!kept.ends_with(escape)).then_some(kept)
}

/// Takes the bodies of the instruction's here-documents; gives the line after them.
fn heredocs(
    places: &Places<'_>,
    physical: &[Physical<'_>],
    mut next: usize,
    logical: &mut Logical,
    lines: &mut Lines,
) -> usize {
    // A line that cannot be read at all gets its error where it is understood.
    let can_have = logical.text.contains("<<")
        && Node::parse(&logical.text, lines.escape).is_ok_and(|node| node.can_have_heredocs());
    if !can_have {
        return next;
    }
    let words = match heredoc::words(&logical.text) {
        Ok(words) => words,
        Err(error) => {
            let what = format!("the name of a here-document cannot be read: {error}");
            lines
                .diagnostics
                .push(Diagnostic::error(Code::Heredoc, logical.span, what));
            return next;
        }
    };
    for word in words {
        let span = logical.place(word.start, word.end, places);
        let start = physical
            .get(next)
            .map_or(places.file().len(), |line| line.start);
        let mut ended = None;
        while let Some(line) = physical.get(next) {
            next += 1;
            logical.end_line = line.number;
            let text = if word.strips_tabs {
                line.text.trim_start_matches('\t')
            } else {
                line.text
            };
            if text == word.name {
                ended = Some(line.start);
                break;
            }
        }
        let body = start..ended.unwrap_or(places.file().len());
        logical.heredocs.push(Heredoc {
            name: word.name.clone(),
            content: content(places.file(), &body, word.strips_tabs),
            written: content(places.file(), &body, false),
            expand: !word.quoted,
            span,
        });
        if ended.is_none() {
            let name = &word.name;
            let what =
                format!("the here-document {name:?} does not end: no line is {name:?} alone");
            lines.diagnostics.push(
                Diagnostic::error(Code::Heredoc, span, what)
                    .help("a << that is no here-document stands in quotes"),
            );
            break;
        }
        logical.documents.push((word, body));
    }
    next
}

/// A here-document's body, line breaks as they are.
fn content(file: &str, body: &std::ops::Range<usize>, strips_tabs: bool) -> String {
    let raw = file.get(body.clone()).unwrap_or_default();
    if !strips_tabs {
        return raw.to_owned();
    }
    let lines = raw.split_inclusive('\n');
    lines.map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str) -> Lines {
        split(&Places::new(file))
    }

    fn texts(file: &str) -> Vec<String> {
        lines(file)
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
    fn an_instruction_may_begin_behind_continuation_marks_and_end_with_the_file() {
        assert_eq!(texts("\\\n \\\n  RUN x\nRUN y \\"), ["RUN x", "RUN y "]);
        assert_eq!(texts("\\\n"), [""], "no keyword at all is an error");
    }

    #[test]
    fn places_point_into_the_file() {
        let file = "FROM a\n  RUN x\\\n   yé z\n";
        let lines = lines(file);
        let places = Places::new(file);
        let run = &lines.logical[1];
        let place = |word: &str| {
            let at = run.text.find(word).unwrap();
            let span = run.place(at, at + word.len(), &places);
            (span.line, span.column, &file[span.start..span.end])
        };
        assert_eq!(place("z"), (3, 7, "z"));
        assert_eq!(place("x"), (2, 7, "x"), "not up to the next line's start");
        assert_eq!((run.span.line, run.span.column), (2, 3));
    }

    #[test]
    fn directives_end_at_the_first_other_line() {
        let read = lines(
            "# syntax = docker/dockerfile:1\n#Check=skip=all\n# escape=`\nFROM a `\n b\n# escape=\\\n",
        );
        assert_eq!(read.escape, '`');
        let value = |directive: Option<Spanned<String>>| directive.map(|d| d.value);
        assert_eq!(value(read.syntax).as_deref(), Some("docker/dockerfile:1"));
        assert_eq!(value(read.check).as_deref(), Some("skip=all"));
        assert_eq!(read.logical[0].text, "FROM a  b");
        for ended in [
            "# comment\n# escape=`\nFROM a",
            "\n# escape=`\nFROM a",
            "# escape=\n# escape=`\nFROM a",
            "#!/bin/sh\n# escape=`\nFROM a",
        ] {
            assert_eq!(lines(ended).escape, '\\', "{ended}");
        }
        assert!(lines("#!/bin/sh\n# syntax=x\nFROM a").syntax.is_some());
        let twice = lines("#!/bin/sh\n# syntax=x\n# syntax=y\nFROM a");
        assert_eq!(twice.syntax.map(|one| one.value).as_deref(), Some("x"));
        assert_eq!(twice.diagnostics, []);
    }

    #[test]
    fn wrong_directives_are_errors() {
        for wrong in ["# escape=x\n", "# check=a\n# check=b\n"] {
            let codes: Vec<Code> = lines(wrong).diagnostics.iter().map(|d| d.code).collect();
            assert_eq!(codes, [Code::Directive], "{wrong}");
        }
    }

    #[test]
    fn comments_belong_to_the_instruction_below_them() {
        let file = "# escape=\\\n# one\n\n#two\n  # three\nFROM a\n# four\n#\n# five\nRUN <<X\n# no\nX\nCMD x \\\n# no\n y\n";
        let read = lines(file);
        let comments: Vec<Vec<String>> = read
            .logical
            .iter()
            .map(|one| one.comments.clone())
            .collect();
        assert_eq!(
            comments,
            [vec!["one", "two", "# three"], vec!["five"], vec![]]
        );
        let last: Vec<u32> = read.logical.iter().map(|one| one.last_line).collect();
        assert_eq!(last, [6, 10, 15]);
        let script = lines("#!/bin/sh\n# check=skip=all\nFROM a\n");
        assert_eq!(script.logical[0].comments, ["!/bin/sh", "check=skip=all"]);
        assert_eq!(script.check.map(|d| d.value).as_deref(), Some("skip=all"));
    }

    #[test]
    fn here_documents_are_taken_with_their_instruction() {
        let read = lines("RUN cat <<A >x && cat <<-\"B\"\none\nA\n\ttwo $x\n\tB\nCMD x\n");
        assert_eq!(read.logical.len(), 2);
        let docs = &read.logical[0].heredocs;
        assert_eq!((docs[0].content.as_str(), docs[0].expand), ("one\n", true));
        assert_eq!(
            (docs[1].content.as_str(), docs[1].expand),
            ("two $x\n", false)
        );
        assert_eq!(lines("RUN <<A\nx\n").diagnostics[0].code, Code::Heredoc);
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_and_the_others_are_still_read() {
        let long = "x".repeat(LINE_LIMIT);
        assert_eq!(lines(&format!("#{}\nFROM a", &long[1..])).diagnostics, []);
        let read = lines(&format!("FROM a\n#{long}\nFROM b"));
        assert_eq!(read.diagnostics[0].code, Code::LineTooLong);
        assert_eq!(read.diagnostics[0].span.line, 2);
        assert_eq!(read.logical.len(), 2);
    }
}
