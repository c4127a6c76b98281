//! Objects, inflated, in one file: each is a range of it.
//!
//! Invariant: an object is known only once its id was computed from its bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::id::Hasher;
use crate::{GitError, ObjectFormat, ObjectId};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A commit.
    Commit,
    /// A directory.
    Tree,
    /// A file's content.
    Blob,
    /// A tag with a message.
    Tag,
}

impl Kind {
    /// Its name in git.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// A range of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    pub(crate) range: Range,
}

/// Largest object that is read into memory: commits, tags, trees, `.gitmodules`.
const MEMORY_LIMIT: u64 = 64 * 1024 * 1024;

/// The objects of a repository that were fetched.
#[derive(Debug)]
pub struct Objects {
    file: Arc<File>,
    end: u64,
    limit: u64,
    format: ObjectFormat,
    known: HashMap<ObjectId, Stored>,
}

impl Objects {
    /// No objects yet; they will go to `file`, which is empty, and have at most `limit` bytes together.
    #[must_use]
    pub fn new(file: File, format: ObjectFormat, limit: u64) -> Self {
        Self {
            file: Arc::new(file),
            end: 0,
            limit,
            format,
            known: HashMap::new(),
        }
    }

    /// How the objects are named.
    #[must_use]
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The kind of an object, and the size of its content.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<(Kind, u64)> {
        let stored = self.known.get(id)?;
        Some((stored.kind, stored.range.size))
    }

    /// The ids of all objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = ObjectId> {
        let of_kind = move |(_, stored): &(&ObjectId, &Stored)| stored.kind == kind;
        self.known.iter().filter(of_kind).map(|(id, _)| *id)
    }

    /// A reader of an object's content.
    #[must_use]
    pub fn open(&self, id: &ObjectId) -> Option<ObjectReader> {
        let stored = self.known.get(id)?;
        Some(self.reader(stored.range))
    }

    /// The content of an object of a kind, in memory.
    ///
    /// # Errors
    /// When it is missing, of another kind or too large.
    pub fn read(&self, id: &ObjectId, kind: Kind) -> Result<Vec<u8>, GitError> {
        let stored = self.known.get(id).ok_or(GitError::Missing(*id))?;
        if stored.kind != kind {
            let expected = kind.name();
            return Err(GitError::Kind { id: *id, expected });
        }
        if stored.range.size > MEMORY_LIMIT {
            return Err(GitError::TooLarge {
                limit: MEMORY_LIMIT,
                what: "bytes in one directory",
            });
        }
        let mut content = Vec::new();
        self.reader(stored.range)
            .read_to_end(&mut content)
            .map_err(GitError::Store)?;
        Ok(content)
    }

    /// Keeps bytes as a file's content.
    ///
    /// # Errors
    /// When there is no room.
    pub fn add_blob(&mut self, content: &[u8]) -> Result<ObjectId, GitError> {
        let mut hasher = Hasher::of_object(self.format, Kind::Blob, content.len() as u64);
        hasher.update(content);
        let mut range = self.begin();
        self.append(&mut range, content)?;
        self.finish(Kind::Blob, range, hasher)
    }

    pub(crate) fn reader(&self, range: Range) -> ObjectReader {
        ObjectReader {
            file: Arc::clone(&self.file),
            range,
        }
    }

    pub(crate) fn stored(&self, id: &ObjectId) -> Option<Stored> {
        self.known.get(id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Begins to write bytes that are no object yet.
    pub(crate) const fn begin(&self) -> Range {
        Range {
            offset: self.end,
            size: 0,
        }
    }

    /// Writes more bytes behind those of `range`, which is the last one.
    pub(crate) fn append(&mut self, range: &mut Range, bytes: &[u8]) -> Result<(), GitError> {
        let end = self.end + bytes.len() as u64;
        if end > self.limit {
            return Err(GitError::TooLarge {
                limit: self.limit,
                what: "bytes",
            });
        }
        self.file
            .write_all_at(bytes, self.end)
            .map_err(GitError::Store)?;
        self.end = end;
        range.size += bytes.len() as u64;
        Ok(())
    }

    /// Makes the bytes of `range` an object.
    pub(crate) fn finish(
        &mut self,
        kind: Kind,
        range: Range,
        hasher: Hasher,
    ) -> Result<ObjectId, GitError> {
        let id = hasher.finish()?;
        self.known.insert(id, Stored { kind, range });
        Ok(id)
    }
}

/// Reads an object's content.
#[derive(Clone, Debug)]
pub struct ObjectReader {
    file: Arc<File>,
    range: Range,
}

impl ObjectReader {
    /// A reader of a whole file.
    ///
    /// # Errors
    /// When its size cannot be had.
    pub fn whole(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let range = Range { offset: 0, size };
        Ok(Self {
            file: Arc::new(file),
            range,
        })
    }

    /// Fills `buffer` from a place of the content.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.range.offset + at)
    }

    /// How much there is to read, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.range.size
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.range.size).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        let count = self
            .file
            .read_at(&mut buffer[..length], self.range.offset)?;
        self.range.offset += count as u64;
        self.range.size -= count as u64;
        Ok(count)
    }
}
