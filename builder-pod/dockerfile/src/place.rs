//! Bytes of a file to lines and columns.
//!
//! Invariant: a span never ends before it starts nor behind the file's end, whatever it was asked for.

use std::cell::Cell;

use crate::ast::Span;

/// A file with the places where its lines start.
pub(crate) struct Places<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
    /// How many characters start before each block of bytes: a column is found in constant time.
    characters: Vec<usize>,
    /// The line that was found last, from 1: the next place is mostly in it or in the one below.
    last_line: Cell<usize>,
}

/// Bytes in a block.
const BLOCK: usize = 64;

fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl<'a> Places<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        let breaks = file.match_indices('\n').map(|(at, _)| at + 1);
        let mut before = 0;
        let blocks = file.as_bytes().chunks(BLOCK).map(|block| {
            before += count(block);
            before
        });
        Self {
            file,
            line_starts: std::iter::once(0).chain(breaks).collect(),
            characters: std::iter::once(0).chain(blocks).collect(),
            last_line: Cell::new(1),
        }
    }

    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    /// A whole line, from 1, without its end.
    pub(crate) fn line(&self, number: u32) -> Span {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let at = |index: usize| self.line_starts.get(index).copied();
        let start = at(index.saturating_sub(1)).unwrap_or(self.file.len());
        let end = at(index).unwrap_or(self.file.len());
        let text = self.file.get(start..end).unwrap_or_default();
        self.span(start, start + text.trim_end_matches(['\r', '\n']).len())
    }

    /// The line of a byte, from 1.
    fn line_of(&self, at: usize) -> usize {
        let start = |line: usize| self.line_starts.get(line.saturating_sub(1)).copied();
        let is_in = |line: &usize| {
            start(*line).is_some_and(|start| start <= at)
                && start(*line + 1).is_none_or(|next| at < next)
        };
        let last = self.last_line.get();
        let near = [last, last + 1].into_iter().find(is_in);
        let line = near.unwrap_or_else(|| self.line_starts.partition_point(|start| *start <= at));
        self.last_line.set(line);
        line
    }

    fn characters_before(&self, at: usize) -> usize {
        let block = at / BLOCK;
        let counted = self.characters.get(block).copied().unwrap_or(0);
        let rest = self.file.as_bytes().get(block * BLOCK..at);
        counted + count(rest.unwrap_or_default())
    }

    /// The span of bytes of the file, with the line and column of its start.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let start = start.min(self.file.len());
        let end = end.clamp(start, self.file.len());
        let line = self.line_of(start);
        let line_start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let mark = usize::from(line_start == 0 && start > 0 && self.file.starts_with('\u{feff}'));
        let before = self.characters_before(start) - self.characters_before(line_start);
        let column = before - mark.min(before);
        Span {
            start,
            end,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_in_characters_from_one() {
        let places = Places::new("\u{feff}é x\n\nzz");
        let at = |start| {
            let span = places.span(start, start + 1);
            (span.line, span.column)
        };
        assert_eq!(at(3), (1, 1));
        assert_eq!(at(6), (1, 3));
        assert_eq!(at(8), (2, 1));
        assert_eq!(at(10), (3, 2));
        let long = format!("{}\n{}x", "é".repeat(100), "ü".repeat(1000));
        let span = Places::new(&long).span(long.len() - 1, long.len());
        assert_eq!((span.line, span.column), (2, 1001));
        let behind = places.span(99, 5);
        assert_eq!((behind.start, behind.end, behind.line), (11, 11, 3));
    }
}
