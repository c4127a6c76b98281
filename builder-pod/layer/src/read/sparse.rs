//! Sparse files in archives: where their stored pieces go, and the zeros between them.

use tar::Header;

use super::number::unsigned;
use crate::error::LayerError;

/// Where the stored pieces of a sparse file go.
///
/// Invariant: pieces are in order, do not overlap, are not empty and end within the file's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseMap {
    pieces: Vec<(u64, u64)>,
    size: u64,
}

impl SparseMap {
    /// The map of these `(offset, length)` pieces; `None` when they break the invariant.
    pub(super) fn new(mut pieces: Vec<(u64, u64)>, size: u64) -> Option<Self> {
        if size > i64::MAX as u64 {
            return None;
        }
        let mut end = 0;
        for (offset, length) in &pieces {
            if *offset < end {
                return None;
            }
            end = offset.checked_add(*length).filter(|end| *end <= size)?;
        }
        // Writers mark the end with an empty piece.
        pieces.retain(|(_, length)| *length > 0);
        Some(Self { pieces, size })
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Offset and length in the file of every stored piece; they are stored one after the other.
    #[must_use]
    pub fn pieces(&self) -> &[(u64, u64)] {
        &self.pieces
    }

    /// Bytes that are stored.
    pub(super) fn stored(&self) -> u64 {
        self.pieces.iter().map(|(_, length)| length).sum()
    }
}

/// What comes next in an expanded file.
pub(super) enum Piece {
    /// This many zeros.
    Zeros(usize),
    /// At most this many stored bytes; none at the end.
    Stored(usize),
}

/// How far a sparse file is expanded.
pub(super) struct Expansion {
    map: SparseMap,
    next_piece: usize,
    position: u64,
}

impl Expansion {
    pub(super) const fn new(map: SparseMap) -> Self {
        Self {
            map,
            next_piece: 0,
            position: 0,
        }
    }

    pub(super) const fn map(&self) -> &SparseMap {
        &self.map
    }

    /// What comes next, at most `limit` bytes of it.
    pub(super) fn next(&self, limit: usize) -> Piece {
        let cut = |length: u64| usize::try_from(length).unwrap_or(usize::MAX).min(limit);
        match self.map.pieces.get(self.next_piece) {
            Some((offset, _)) if self.position < *offset => {
                Piece::Zeros(cut(offset - self.position))
            }
            Some((offset, length)) => Piece::Stored(cut(offset + length - self.position)),
            None if self.position < self.map.size => {
                Piece::Zeros(cut(self.map.size - self.position))
            }
            None => Piece::Stored(0),
        }
    }

    pub(super) fn advance(&mut self, length: usize) {
        self.position += length as u64;
        if let Some((offset, length)) = self.map.pieces.get(self.next_piece)
            && self.position >= offset + length
        {
            self.next_piece += 1;
        }
    }
}

/// The sparse part of a header of GNU's old form.
pub(super) struct OldHeader {
    pub(super) pieces: Vec<(u64, u64)>,
    pub(super) size: u64,
    pub(super) is_extended: bool,
}

pub(super) fn old_header(header: &Header, offset: u64) -> Result<OldHeader, LayerError> {
    let wrong = || super::bad_sparse(offset);
    let gnu = header.as_gnu().ok_or_else(wrong)?;
    let mut pieces = Vec::new();
    for piece in &gnu.sparse {
        old_piece(&piece.offset, &piece.numbytes, &mut pieces).ok_or_else(wrong)?;
    }
    let size = unsigned(&gnu.realsize).ok_or_else(wrong)?;
    Ok(OldHeader {
        pieces,
        size,
        is_extended: gnu.isextended[0] != 0,
    })
}

/// Adds the pieces of a continuation block; says whether another follows.
pub(super) fn old_continuation(
    block: &[u8; 512],
    pieces: &mut Vec<(u64, u64)>,
    offset: u64,
) -> Result<bool, LayerError> {
    for piece in block[..504].chunks(24) {
        old_piece(&piece[..12], &piece[12..], pieces).ok_or_else(|| super::bad_sparse(offset))?;
    }
    Ok(block[504] != 0)
}

fn old_piece(offset: &[u8], length: &[u8], pieces: &mut Vec<(u64, u64)>) -> Option<()> {
    if offset[0] != 0 || length[0] != 0 {
        pieces.push((unsigned(offset)?, unsigned(length)?));
    }
    Some(())
}

/// Reads the map of form 1.0 from whole blocks: a count, then offset and length of every piece.
pub(super) struct MapParser {
    limit: usize,
    line: Vec<u8>,
    numbers: Vec<u64>,
}

impl MapParser {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// The pieces, once the last number was read; the rest of its block is padding.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<Option<Vec<(u64, u64)>>, ()> {
        for byte in block {
            match byte {
                b'\n' => {
                    let text = std::str::from_utf8(&self.line).map_err(|_| ())?;
                    self.numbers.push(text.parse().map_err(|_| ())?);
                    self.line.clear();
                    let count = usize::try_from(self.numbers[0]).map_err(|_| ())?;
                    if count > self.limit {
                        return Err(());
                    }
                    if self.numbers.len() == 1 + 2 * count {
                        let pairs = self.numbers[1..].chunks(2);
                        return Ok(Some(pairs.map(|pair| (pair[0], pair[1])).collect()));
                    }
                }
                b'0'..=b'9' if self.line.len() < 20 => self.line.push(*byte),
                _ => return Err(()),
            }
        }
        Ok(None)
    }
}
