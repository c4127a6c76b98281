//! Bytes of a file to lines and columns.
//!
//! Invariant: a span never ends before it starts nor behind the file's end, whatever it was asked for.

use crate::ast::Span;

/// A file with the places where its lines start.
pub(crate) struct Places<'a> {
    file: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        let breaks = file.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file,
            line_starts: std::iter::once(0).chain(breaks).collect(),
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

    /// The span of bytes of the file, with the line and column of its start.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let start = start.min(self.file.len());
        let end = end.clamp(start, self.file.len());
        let line = self.line_starts.partition_point(|at| *at <= start);
        let line_start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let before = self.file.get(line_start..start).unwrap_or_default();
        let column = before.trim_start_matches('\u{feff}').chars().count();
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
        let behind = places.span(99, 5);
        assert_eq!((behind.start, behind.end, behind.line), (11, 11, 3));
    }
}
