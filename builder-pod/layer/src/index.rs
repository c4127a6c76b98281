//! Where the contents of files lie in an uncompressed layer archive, so that they can be read one by one.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use stagecraft_image::{Digest, DigestHasher};

use crate::error::LayerError;
use crate::node::NodeKind;
use crate::read::{EntryKind, LayerReader, SparseMap};

/// Where the content of one file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extent {
    offset: u64,
    length: u64,
    sparse: Option<Box<SparseMap>>,
}

/// Contents of an archive by path as written there, cleaned (see [`crate::Node::content_path`]).
#[derive(Clone, Debug, Default)]
pub struct TarIndex {
    extents: HashMap<Box<[u8]>, Extent>,
}

impl TarIndex {
    /// Copies the uncompressed archive `source` to `sink` byte by byte, and returns its index and digest.
    ///
    /// # Errors
    /// When the archive is malformed, or cannot be read or written.
    pub fn copy<R: Read, W: Write>(source: R, sink: W) -> Result<(Self, Digest), LayerError> {
        let hasher = DigestHasher::new();
        let mut reader = LayerReader::new(Tee {
            source,
            sink,
            hasher,
            count: 0,
            failed: None,
        });
        let mut index = Self::default();
        let result = index.scan(&mut reader);
        let tee = reader.into_inner();
        if let Some((offset, source)) = tee.failed {
            return Err(LayerError::Write { offset, source });
        }
        result?;
        Ok((index, tee.hasher.finish()))
    }

    fn scan<R: Read>(&mut self, reader: &mut LayerReader<R>) -> Result<(), LayerError> {
        while let Some(entry) = reader.next_entry()? {
            match entry.kind {
                EntryKind::Node(node) => {
                    if let NodeKind::File { size } = node.kind {
                        let (offset, sparse) = reader.content_extents();
                        let sparse = sparse.cloned().map(Box::new);
                        let extent = Extent {
                            offset,
                            length: size,
                            sparse,
                        };
                        self.extents.insert(entry.path.into(), extent);
                    }
                }
                EntryKind::Link { target } => self.alias(&entry.path, &target),
                EntryKind::Whiteout | EntryKind::Opaque => {}
            }
        }
        reader.drain()
    }

    pub(crate) fn add(&mut self, path: &[u8], offset: u64, length: u64) {
        self.extents.insert(
            path.into(),
            Extent {
                offset,
                length,
                sparse: None,
            },
        );
    }

    /// Makes `path` another name of `target`'s content, if that is in this archive.
    pub(crate) fn alias(&mut self, path: &[u8], target: &[u8]) {
        if let Some(extent) = self.extents.get(target).cloned() {
            self.extents.insert(path.into(), extent);
        }
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Offset and length in bytes of a file's content; `None` when there is no such file, or when it is
    /// sparse: [`Self::open`] reads both.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<(u64, u64)> {
        let extent = self
            .extents
            .get(path)
            .filter(|extent| extent.sparse.is_none())?;
        Some((extent.offset, extent.length))
    }

    /// A reader of a file's content, sparse or not; `read_at` reads the archive at an offset.
    #[must_use]
    pub fn open<F>(&self, path: &[u8], read_at: F) -> Option<ContentReader<F>>
    where
        F: FnMut(u64, &mut [u8]) -> io::Result<usize>,
    {
        let extent = self.extents.get(path)?;
        let pieces = match &extent.sparse {
            Some(map) => map.pieces().to_vec(),
            None => vec![(0, extent.length)],
        };
        let (stored_at, length) = (extent.offset, extent.length);
        Some(ContentReader {
            read_at,
            pieces,
            next: 0,
            stored_at,
            position: 0,
            length,
        })
    }
}

/// The content of one file; see [`TarIndex::open`].
pub struct ContentReader<F> {
    read_at: F,
    /// Offset in the file and length of every stored piece.
    pieces: Vec<(u64, u64)>,
    next: usize,
    /// Where the next stored byte lies in the archive.
    stored_at: u64,
    position: u64,
    length: u64,
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Read for ContentReader<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let cut = |length: u64| {
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(buffer.len())
        };
        let zeros_until = match self.pieces.get(self.next) {
            Some((offset, length)) if self.position >= *offset => {
                let count = cut(offset + length - self.position);
                if count == 0 {
                    return Ok(0);
                }
                let read = (self.read_at)(self.stored_at, &mut buffer[..count])?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.stored_at += read as u64;
                self.position += read as u64;
                if self.position == offset + length {
                    self.next += 1;
                }
                return Ok(read);
            }
            Some((offset, _)) => *offset,
            None => self.length,
        };
        let count = cut(zeros_until - self.position);
        buffer[..count].fill(0);
        self.position += count as u64;
        Ok(count)
    }
}

/// Passes on what it reads to a sink and a hash.
struct Tee<R, W> {
    source: R,
    sink: W,
    hasher: DigestHasher,
    count: u64,
    /// Where and why writing failed: reading fails then, with a cause that says less.
    failed: Option<(u64, io::Error)>,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if let Err(error) = self.sink.write_all(&buffer[..read]) {
            let kind = error.kind();
            self.failed = Some((self.count, error));
            return Err(kind.into());
        }
        self.count += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
