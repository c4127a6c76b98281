//! Reading a pack: every object is inflated, made whole and hashed as it arrives.
//!
//! Invariant: memory holds ids and places; contents and deltas go to the objects' file.
//! Invariant: a delta is applied once, in time linear in what it makes.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::delta;
use crate::directory::PackEntry;
use crate::id::Hasher;
use crate::objects::{Kind, Objects, Range, Stored};
use crate::{GitError, ObjectId};

/// Bytes that are read and inflated at a time.
const PIECE: usize = 64 * 1024;

/// How much of a repository is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Objects.
    pub objects: u64,
    /// Bytes of a pack as it is sent.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects: 10_000_000,
            bytes: 8 * 1024 * 1024 * 1024,
        }
    }
}

/// What a delta changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Base {
    Id(ObjectId),
    /// The entry that begins at this place of the pack.
    Place(u64),
}

/// A delta whose base is not there yet.
struct Waiting {
    entry: Entry,
    delta: Range,
}

/// An entry of the pack that was read.
#[derive(Clone, Copy)]
struct Entry {
    place: u64,
    checksum: u32,
}

/// What was in a pack, for an index of it.
#[derive(Debug)]
pub struct Pack {
    /// Its objects.
    pub entries: Vec<PackEntry>,
    /// Its own hash.
    pub checksum: ObjectId,
}

/// Reads a pack into `objects`; the bytes as they are sent also go to `copy`.
///
/// # Errors
/// When it is malformed or too large, or a delta's base is not in it.
pub fn read_pack(
    source: impl Read,
    objects: &mut Objects,
    limits: Limits,
    copy: &mut impl Write,
) -> Result<Pack, GitError> {
    let mut pack = Reading {
        source: Source::new(source, Hasher::new(objects.format()), limits.bytes, copy),
        objects,
        places: HashMap::new(),
        waiting: HashMap::new(),
        entries: Vec::new(),
    };
    let head = pack.source.take(12)?;
    let Some((&[b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3], count)) = head.split_first_chunk::<8>()
    else {
        return Err(GitError::Malformed("a pack"));
    };
    let count = count
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    if count + pack.objects.len() as u64 > limits.objects {
        return Err(GitError::TooLarge {
            limit: limits.objects,
            what: "objects",
        });
    }
    for _ in 0..count {
        pack.entry()?;
    }
    let waiting = pack.waiting.into_keys().next();
    let format = pack.objects.format();
    let entries = pack.entries;
    let checksum = pack.source.check_end(format.length())?;
    match waiting {
        None => Ok(Pack { entries, checksum }),
        Some(Base::Id(id)) => Err(GitError::Missing(id)),
        Some(Base::Place(_)) => Err(GitError::Malformed("a delta")),
    }
}

/// A pack while it is read.
struct Reading<'a, R, W> {
    source: Source<'a, R, W>,
    objects: &'a mut Objects,
    /// Which object begins where.
    places: HashMap<u64, ObjectId>,
    waiting: HashMap<Base, Vec<Waiting>>,
    entries: Vec<PackEntry>,
}

impl<R: Read, W: Write> Reading<'_, R, W> {
    fn entry(&mut self) -> Result<(), GitError> {
        let place = self.source.position;
        self.source.crc.reset();
        let (kind, size) = self.source.entry_head()?;
        let kind = match kind {
            1 => Kind::Commit,
            2 => Kind::Tree,
            3 => Kind::Blob,
            4 => Kind::Tag,
            6 => {
                let back = self.source.distance()?;
                let base = place.checked_sub(back).filter(|_| back > 0);
                let base = base.ok_or(GitError::Malformed("a delta"))?;
                return self.delta(place, Base::Place(base), size);
            }
            7 => {
                let id = self.source.take(self.objects.format().length())?;
                let id = ObjectId::from_bytes(&id).ok_or(GitError::Malformed("a delta"))?;
                return self.delta(place, Base::Id(id), size);
            }
            _ => return Err(GitError::Malformed("an object")),
        };
        let mut hasher = Hasher::of_object(self.objects.format(), kind, size);
        let range = self
            .source
            .inflate(self.objects, size, |bytes| hasher.update(bytes))?;
        let id = self.objects.finish(kind, range, hasher)?;
        let checksum = self.source.crc.sum();
        self.arrived(Entry { place, checksum }, id)
    }

    fn delta(&mut self, place: u64, base: Base, size: u64) -> Result<(), GitError> {
        let delta = self.source.inflate(self.objects, size, |_| {})?;
        let checksum = self.source.crc.sum();
        let entry = Entry { place, checksum };
        match self.find(base) {
            Some(base) => {
                let id = delta::apply(self.objects, base, delta)?;
                self.arrived(entry, id)
            }
            None => {
                let waiting = self.waiting.entry(base).or_default();
                waiting.push(Waiting { entry, delta });
                Ok(())
            }
        }
    }

    fn find(&self, base: Base) -> Option<Stored> {
        let id = match base {
            Base::Id(id) => id,
            Base::Place(place) => *self.places.get(&place)?,
        };
        self.objects.stored(&id)
    }

    /// An object is whole: so are those that waited for it, and those that waited for them.
    fn arrived(&mut self, entry: Entry, id: ObjectId) -> Result<(), GitError> {
        let mut whole = vec![(entry, id)];
        while let Some((entry, id)) = whole.pop() {
            self.places.insert(entry.place, id);
            self.entries.push(PackEntry {
                id,
                offset: entry.place,
                checksum: entry.checksum,
            });
            for base in [Base::Place(entry.place), Base::Id(id)] {
                for waiting in self.waiting.remove(&base).unwrap_or_default() {
                    let stored = self.objects.stored(&id).ok_or(GitError::Missing(id))?;
                    let made = delta::apply(self.objects, stored, waiting.delta)?;
                    whole.push((waiting.entry, made));
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a pack: counted, hashed and copied as they are taken.
struct Source<'a, R, W> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    position: u64,
    limit: u64,
    hasher: Option<Hasher>,
    /// Of the entry that is being read.
    crc: Crc,
    copy: &'a mut W,
}

impl<'a, R: Read, W: Write> Source<'a, R, W> {
    fn new(reader: R, hasher: Hasher, limit: u64, copy: &'a mut W) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            position: 0,
            limit,
            hasher: Some(hasher),
            crc: Crc::new(),
            copy,
        }
    }

    /// What was read and not taken; empty at the end only.
    fn fill(&mut self) -> Result<&[u8], GitError> {
        if self.start == self.buffer.len() {
            self.buffer.resize(PIECE, 0);
            let read = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read.map_err(in_stream)?,
                }
            };
            self.buffer.truncate(read);
            self.start = 0;
        }
        Ok(self.buffer.get(self.start..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) -> Result<(), GitError> {
        let taken = &self.buffer[self.start..self.start + count];
        if let Some(hasher) = &mut self.hasher {
            hasher.update(taken);
        }
        self.crc.update(taken);
        self.copy.write_all(taken).map_err(GitError::Store)?;
        self.start += count;
        self.position += count as u64;
        if self.position > self.limit {
            return Err(GitError::TooLarge {
                limit: self.limit,
                what: "bytes",
            });
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, GitError> {
        let byte = self.fill()?.first().copied().ok_or_else(broken_off)?;
        self.consume(1)?;
        Ok(byte)
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, GitError> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Kind and size: four bits of the size in the first byte, seven in each that follows.
    fn entry_head(&mut self) -> Result<(u8, u64), GitError> {
        let first = self.byte()?;
        let mut size = u64::from(first & 0x0f);
        let mut last = first;
        let mut shift = 4;
        while last & 0x80 != 0 {
            if shift > 57 {
                return Err(GitError::Malformed("an object"));
            }
            last = self.byte()?;
            size |= u64::from(last & 0x7f) << shift;
            shift += 7;
        }
        Ok((first >> 4 & 7, size))
    }

    /// How far back a delta's base begins: seven bits in each byte, the highest first, one more for each that follows.
    fn distance(&mut self) -> Result<u64, GitError> {
        let mut byte = self.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            if distance > u64::MAX >> 9 {
                return Err(GitError::Malformed("a delta"));
            }
            byte = self.byte()?;
            distance = (distance + 1) << 7 | u64::from(byte & 0x7f);
        }
        Ok(distance)
    }

    /// Inflates `size` bytes to the objects' file.
    fn inflate(
        &mut self,
        objects: &mut Objects,
        size: u64,
        mut see: impl FnMut(&[u8]),
    ) -> Result<Range, GitError> {
        let malformed = || GitError::Malformed("an object");
        let mut zlib = Decompress::new(true);
        let mut out = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE) + 1)];
        let mut range = objects.begin();
        loop {
            let input = self.fill()?;
            if input.is_empty() {
                return Err(broken_off());
            }
            let (before_in, before_out) = (zlib.total_in(), zlib.total_out());
            let status = zlib
                .decompress(input, &mut out, FlushDecompress::None)
                .map_err(|_| malformed())?;
            let taken = usize::try_from(zlib.total_in() - before_in).map_err(|_| malformed())?;
            let made = usize::try_from(zlib.total_out() - before_out).map_err(|_| malformed())?;
            if zlib.total_out() > size || (taken == 0 && made == 0 && status != Status::StreamEnd) {
                return Err(malformed());
            }
            self.consume(taken)?;
            see(&out[..made]);
            objects.append(&mut range, &out[..made])?;
            if status == Status::StreamEnd {
                return match range.size == size {
                    true => Ok(range),
                    false => Err(malformed()),
                };
            }
        }
    }

    /// The pack's own hash stands at its end.
    fn check_end(mut self, length: usize) -> Result<ObjectId, GitError> {
        let computed = self.hasher.take().map(Hasher::finish).transpose()?;
        let written = ObjectId::from_bytes(&self.take(length)?);
        // The rest of the answer, so that the connection ends in order.
        let is_whole = self.fill()?.is_empty();
        self.copy.flush().map_err(GitError::Store)?;
        match computed.filter(|_| computed == written && is_whole) {
            Some(checksum) => Ok(checksum),
            None => Err(GitError::Malformed("a pack")),
        }
    }
}

fn broken_off() -> GitError {
    GitError::Read(io::ErrorKind::UnexpectedEof.into())
}

/// A server's own words come through `io::Error`.
fn in_stream(error: io::Error) -> GitError {
    match error.downcast::<GitError>() {
        Ok(error) => error,
        Err(error) => GitError::Read(error),
    }
}
