//! Reads the entries of a layer archive: GNU, ustar and POSIX (PAX) forms, whiteouts, sparse files.
//!
//! Sizes are taken from where Go's reader takes them, because that is what other engines accept the same bytes
//! with: a link, device or directory has no content whatever its header says.
//! Invariant: a name never leaves the root: `..` is resolved in the name itself and stops at the root.
//! Invariant: of extended attributes only `security.capability` is kept; whatever engines keep for themselves
//! in others does not come in.

mod header;
mod marker;
mod number;
mod pax;
mod sparse;

use std::io::{BufRead, BufReader, Read};

use tar::Header;

use crate::error::LayerError;
use crate::node::{Node, NodeKind};
use header::{Fields, checksum_is_wrong, header_name, until_zero};
pub use marker::is_whiteout_name;
use marker::{Marker, marker};
use number::unsigned;
use pax::PaxRecords;
pub use sparse::SparseMap;

const BLOCK: usize = 512;

/// Bytes read from the source at a time.
pub(crate) const PIECE: usize = 128 * 1024;

/// The attribute that carries a file's capabilities, the only one that layers carry.
pub const CAPABILITY_ATTRIBUTE: &[u8] = b"security.capability";

/// What an archive may have at most. The defaults are far above any real image.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of a path or link target; the kernel's limit is 4096.
    pub path_bytes: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of one extended header.
    pub extended_header_bytes: u64,
    /// Pieces of a sparse file.
    pub sparse_pieces: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            path_bytes: 4096,
            depth: 1024,
            extended_header_bytes: 1024 * 1024,
            sparse_pieces: 100_000,
        }
    }
}

/// One entry of a layer archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path as written, cleaned; symbolic links in it are still to be followed. For a whiteout the path
    /// that is removed; for an opaque mark the directory.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, directory, link or device. The content of a file is read from the [`LayerReader`].
    Node(Node),
    /// A hard link.
    Link {
        /// The path of the other name, cleaned.
        target: Vec<u8>,
    },
    /// What lower layers have at this path is gone.
    Whiteout,
    /// What lower layers have in this directory is gone.
    Opaque,
}

/// Reads a layer archive entry by entry. As a `Read` it yields the content of the current one.
pub struct LayerReader<R> {
    source: BufReader<R>,
    limits: Limits,
    /// Bytes taken from `source` so far.
    position: u64,
    entries: u64,
    /// Records of global extended headers.
    global: PaxRecords,
    content: Content,
    ended: bool,
}

/// What is left of the current entry's content.
#[derive(Default)]
struct Content {
    /// Stored bytes not yet read, without padding.
    stored: u64,
    /// Padding behind them.
    padding: u64,
    sparse: Option<sparse::Expansion>,
}

/// Names and records that precede an entry's own header.
#[derive(Default)]
struct Preceding {
    pax: Option<PaxRecords>,
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
}

impl<R: Read> LayerReader<R> {
    /// A reader of the uncompressed archive `source` with the default limits.
    pub fn new(source: R) -> Self {
        Self::with_limits(source, Limits::default())
    }

    /// A reader of the uncompressed archive `source`.
    pub fn with_limits(source: R, limits: Limits) -> Self {
        Self {
            source: BufReader::with_capacity(PIECE, source),
            limits,
            position: 0,
            entries: 0,
            global: PaxRecords::default(),
            content: Content::default(),
            ended: false,
        }
    }

    /// The next entry; `None` at the end. What was not read of the current one is skipped.
    ///
    /// # Errors
    /// When the archive is malformed, exceeds a limit or cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        while !self.ended {
            self.skip_content()?;
            let start = self.position;
            let Some((header, preceding)) = self.next_header()? else {
                self.ended = true;
                break;
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(LayerError::Limit {
                    offset: start,
                    limit: "too many entries",
                });
            }
            if let Some(entry) = self.entry(start, &header, preceding)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Reads what is behind the last entry, so that a source that hashes sees every byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn drain(&mut self) -> Result<(), LayerError> {
        self.skip_content()?;
        loop {
            let length = self
                .source
                .fill_buf()
                .map_err(read_error(self.position))?
                .len();
            if length == 0 {
                return Ok(());
            }
            self.source.consume(length);
            self.position += length as u64;
        }
    }

    /// Where the content of the current entry lies in the uncompressed archive, before any of it was read.
    pub(crate) fn content_extents(&self) -> (u64, Option<&SparseMap>) {
        (
            self.position,
            self.content.sparse.as_ref().map(sparse::Expansion::map),
        )
    }

    /// What the archive was read from.
    pub fn into_inner(self) -> R {
        self.source.into_inner()
    }

    /// The next header that is an entry's own, with what preceded it.
    fn next_header(&mut self) -> Result<Option<(Header, Preceding)>, LayerError> {
        let mut preceding = Preceding::default();
        loop {
            let offset = self.position;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.as_old().linkflag[0] {
                b'x' => {
                    let bytes = self.special_content(&header)?;
                    preceding.pax = Some(self.global.extended_by(&bytes, offset)?);
                }
                b'g' => {
                    let bytes = self.special_content(&header)?;
                    self.global = self.global.extended_by(&bytes, offset)?;
                }
                b'L' => preceding.long_name = Some(self.long_text(&header)?),
                b'K' => preceding.long_target = Some(self.long_text(&header)?),
                _ => return Ok(Some((header, preceding))),
            }
        }
    }

    /// One header block, checked; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let offset = self.position;
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            let read = self
                .source
                .read(&mut block[filled..])
                .map_err(read_error(offset))?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        self.position += filled as u64;
        // Archives without the two zero blocks at the end, or cut within them, are common.
        if filled == 0 || block[..filled].iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(LayerError::Header {
                offset,
                problem: "the archive ends in it",
            });
        }
        if checksum_is_wrong(block) {
            return Err(LayerError::Header {
                offset,
                problem: "its checksum is wrong",
            });
        }
        Ok(Some(header))
    }

    fn entry(
        &mut self,
        offset: u64,
        header: &Header,
        preceding: Preceding,
    ) -> Result<Option<Entry>, LayerError> {
        let pax = preceding.pax.unwrap_or_else(|| self.global.clone());
        let fields = Fields {
            header,
            pax: &pax,
            offset,
        };
        let name = (pax.sparse.name.clone().or_else(|| pax.path.clone()))
            .or(preceding.long_name)
            .unwrap_or_else(|| header_name(header));
        let target = pax.link_path.clone().or(preceding.long_target);
        let target = target.unwrap_or_else(|| until_zero(&header.as_old().linkname).to_vec());

        let kind = match header.as_old().linkflag[0] {
            0 if name.ends_with(b"/") => b'5',
            0 | b'7' => b'0',
            kind => kind,
        };
        let has_content = matches!(kind, b'0' | b'S') || !kind.is_ascii_digit();
        let stored = if has_content { fields.size()? } else { 0 };
        self.content = Content {
            stored,
            padding: stored.next_multiple_of(BLOCK as u64).wrapping_sub(stored),
            sparse: None,
        };
        let size = self.begin_sparse(offset, header, &pax)?.unwrap_or(stored);

        let path = self.clean(offset, &name)?;
        let path = match marker(&path) {
            Marker::None => path,
            Marker::Whiteout(path) => {
                return Ok(Some(Entry {
                    path,
                    kind: EntryKind::Whiteout,
                }));
            }
            Marker::Opaque(path) => {
                return Ok(Some(Entry {
                    path,
                    kind: EntryKind::Opaque,
                }));
            }
            Marker::Leftover => return Ok(None),
        };
        let kind = match kind {
            b'1' => {
                let target = self.clean(offset, &target)?;
                return Ok(Some(Entry {
                    path,
                    kind: EntryKind::Link { target },
                }));
            }
            // GNU's volume label, multi-volume continuation and dumped directory: nothing to create.
            b'V' | b'M' | b'D' | b'N' => return Ok(None),
            b'0' | b'S' => NodeKind::File { size },
            b'2' => self.symlink(offset, target)?,
            b'3' => NodeKind::CharacterDevice {
                rdev: fields.device()?,
            },
            b'4' => NodeKind::BlockDevice {
                rdev: fields.device()?,
            },
            b'5' => NodeKind::Directory,
            b'6' => NodeKind::Fifo,
            kind => {
                return Err(LayerError::UnknownType {
                    path,
                    kind: char::from(kind),
                });
            }
        };
        if path.is_empty() && kind != NodeKind::Directory {
            return Err(LayerError::Name { offset, name });
        }
        let mut node = Node::new(kind, fields.mode()?, fields.uid()?, fields.gid()?);
        node.mtime = fields.mtime()?;
        node.set_attribute(CAPABILITY_ATTRIBUTE, pax.capability.as_deref());
        Ok(Some(Entry {
            path,
            kind: EntryKind::Node(node),
        }))
    }

    fn symlink(&self, offset: u64, target: Vec<u8>) -> Result<NodeKind, LayerError> {
        if target.len() >= self.limits.path_bytes {
            return Err(LayerError::Limit {
                offset,
                limit: "a link target is too long",
            });
        }
        // No file system could hold these.
        if target.is_empty() || target.contains(&0) {
            return Err(LayerError::Name {
                offset,
                name: target,
            });
        }
        Ok(NodeKind::Symlink {
            target: target.into(),
        })
    }

    /// Prepares the expansion of a sparse file; returns its expanded size.
    fn begin_sparse(
        &mut self,
        offset: u64,
        header: &Header,
        pax: &PaxRecords,
    ) -> Result<Option<u64>, LayerError> {
        let limit = self.limits.sparse_pieces;
        let map = if header.as_old().linkflag[0] == b'S' {
            let old = sparse::old_header(header, offset)?;
            let (mut pieces, size, mut more) = (old.pieces, old.size, old.is_extended);
            while more {
                let mut block = [0; BLOCK];
                self.read_exact_at(&mut block)?;
                more = sparse::old_continuation(&block, &mut pieces, offset)?;
                if pieces.len() > limit {
                    return Err(LayerError::Limit {
                        offset,
                        limit: "too many sparse pieces",
                    });
                }
            }
            SparseMap::new(pieces, size)
        } else if pax.sparse.is_form_1() {
            let size = pax.sparse.real_size.ok_or_else(|| bad_sparse(offset))?;
            let pieces = self.sparse_map_in_content(offset, limit)?;
            SparseMap::new(pieces, size)
        } else if let Some(size) = pax.sparse.real_size
            && !pax.sparse.pieces.is_empty()
        {
            SparseMap::new(pax.sparse.pieces.clone(), size)
        } else {
            return Ok(None);
        };
        let map = map.filter(|map| map.stored() <= self.content.stored);
        let map = map.ok_or_else(|| bad_sparse(offset))?;
        let size = map.size();
        self.content.sparse = Some(sparse::Expansion::new(map));
        Ok(Some(size))
    }

    /// The map of PAX sparse form 1.0: decimal numbers, one a line, in the first blocks of the content.
    fn sparse_map_in_content(
        &mut self,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64)>, LayerError> {
        let mut parser = sparse::MapParser::new(limit);
        loop {
            let mut block = [0; BLOCK];
            self.content.stored = (self.content.stored)
                .checked_sub(BLOCK as u64)
                .ok_or_else(|| bad_sparse(offset))?;
            self.read_exact_at(&mut block)?;
            if let Some(pieces) = parser.feed(&block).map_err(|()| bad_sparse(offset))? {
                return Ok(pieces);
            }
        }
    }

    fn read_exact_at(&mut self, block: &mut [u8]) -> Result<(), LayerError> {
        self.source
            .read_exact(block)
            .map_err(read_error(self.position))?;
        self.position += block.len() as u64;
        Ok(())
    }

    /// The content of an extended header.
    fn special_content(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let offset = self.position - BLOCK as u64;
        let size = unsigned(&header.as_old().size).ok_or(LayerError::Header {
            offset,
            problem: "its size is no number",
        })?;
        if size > self.limits.extended_header_bytes {
            return Err(LayerError::Limit {
                offset,
                limit: "an extended header is too long",
            });
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "below the limit just checked"
        )]
        let mut bytes = vec![0; size.next_multiple_of(BLOCK as u64) as usize];
        self.read_exact_at(&mut bytes)?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "below the limit just checked"
        )]
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// A GNU long name or link target.
    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        Ok(until_zero(&self.special_content(header)?).to_vec())
    }

    /// The name without empty and `.` components and with `..` resolved, never above the root.
    fn clean(&self, offset: u64, name: &[u8]) -> Result<Vec<u8>, LayerError> {
        if name.is_empty() || name.contains(&0) {
            return Err(LayerError::Name {
                offset,
                name: name.to_vec(),
            });
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                part if part.len() > 255 => {
                    return Err(LayerError::Limit {
                        offset,
                        limit: "a name is too long",
                    });
                }
                part => parts.push(part),
            }
        }
        if parts.len() > self.limits.depth {
            return Err(LayerError::Limit {
                offset,
                limit: "a path is too deep",
            });
        }
        let path = parts.join(&b'/');
        if path.len() >= self.limits.path_bytes {
            return Err(LayerError::Limit {
                offset,
                limit: "a path is too long",
            });
        }
        Ok(path)
    }

    fn skip_content(&mut self) -> Result<(), LayerError> {
        let mut left = self.content.stored.saturating_add(self.content.padding);
        self.content = Content::default();
        while left > 0 {
            let available = self
                .source
                .fill_buf()
                .map_err(read_error(self.position))?
                .len();
            if available == 0 {
                let source = std::io::ErrorKind::UnexpectedEof.into();
                return Err(LayerError::Read {
                    offset: self.position,
                    source,
                });
            }
            let take = available.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.source.consume(take);
            self.position += take as u64;
            left -= take as u64;
        }
        Ok(())
    }

    /// Reads stored bytes of the current entry.
    fn read_stored(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.content.stored).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        if length == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        self.content.stored -= read as u64;
        Ok(read)
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self
            .content
            .sparse
            .as_mut()
            .map(|sparse| sparse.next(buffer.len()))
        {
            None => self.read_stored(buffer),
            Some(sparse::Piece::Zeros(length)) => {
                buffer[..length].fill(0);
                if let Some(sparse) = &mut self.content.sparse {
                    sparse.advance(length);
                }
                Ok(length)
            }
            Some(sparse::Piece::Stored(length)) => {
                let read = self.read_stored(&mut buffer[..length])?;
                if let Some(sparse) = &mut self.content.sparse {
                    sparse.advance(read);
                }
                Ok(read)
            }
        }
    }
}

fn read_error(offset: u64) -> impl FnOnce(std::io::Error) -> LayerError {
    move |source| LayerError::Read { offset, source }
}

fn bad_sparse(offset: u64) -> LayerError {
    LayerError::ExtendedHeader {
        offset,
        problem: "the map of a sparse file is wrong",
    }
}

#[cfg(test)]
mod tests;
