//! An object as what changed in another one.
//!
//! Invariant: nothing outside the base is read, and as many bytes come out as were announced.

use std::io::{BufReader, Read};

use crate::id::Hasher;
use crate::objects::{Objects, Range, Stored};
use crate::{GitError, ObjectId};

/// Bytes that are copied at a time.
const PIECE: usize = 64 * 1024;

const MALFORMED: GitError = GitError::Malformed("a delta");

/// Makes the object that the delta in `delta` makes of `base`.
pub(crate) fn apply(
    objects: &mut Objects,
    base: Stored,
    delta: Range,
) -> Result<ObjectId, GitError> {
    let base_reader = objects.reader(base.range);
    let mut delta = BufReader::with_capacity(PIECE, objects.reader(delta));
    if size(&mut delta)? != base_reader.size() {
        return Err(MALFORMED);
    }
    let announced = size(&mut delta)?;
    let mut hasher = Hasher::of_object(objects.format(), base.kind, announced);
    let mut range = objects.begin();
    let mut buffer = vec![0; PIECE];
    while let Some(operation) = byte(&mut delta)? {
        if operation & 0x80 == 0 {
            // Bytes that stand in the delta.
            let count = usize::from(operation);
            if count == 0 {
                return Err(MALFORMED);
            }
            let piece = &mut buffer[..count];
            delta.read_exact(piece).map_err(|_| MALFORMED)?;
            take(objects, &mut hasher, &mut range, announced, piece)?;
            continue;
        }
        let (mut from, mut left) = copied(&mut delta, operation)?;
        if from + left > base_reader.size() {
            return Err(MALFORMED);
        }
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let piece = &mut buffer[..count];
            base_reader.read_at(piece, from).map_err(GitError::Store)?;
            take(objects, &mut hasher, &mut range, announced, piece)?;
            from += count as u64;
            left -= count as u64;
        }
    }
    if range.size != announced {
        return Err(MALFORMED);
    }
    objects.finish(base.kind, range, hasher)
}

fn take(
    objects: &mut Objects,
    hasher: &mut Hasher,
    range: &mut Range,
    announced: u64,
    piece: &[u8],
) -> Result<(), GitError> {
    if range.size + piece.len() as u64 > announced {
        return Err(MALFORMED);
    }
    hasher.update(piece);
    objects.append(range, piece)
}

fn byte(delta: &mut impl Read) -> Result<Option<u8>, GitError> {
    let mut one = [0];
    match delta.read(&mut one).map_err(GitError::Store)? {
        0 => Ok(None),
        _ => Ok(Some(one[0])),
    }
}

/// Seven bits in each byte, the lowest first.
fn size(delta: &mut impl Read) -> Result<u64, GitError> {
    let mut size = 0;
    for shift in (0..63).step_by(7) {
        let next = byte(delta)?.ok_or(MALFORMED)?;
        size |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(size);
        }
    }
    Err(MALFORMED)
}

/// Place and length of what is copied: the bits of the operation tell which of their bytes follow.
fn copied(delta: &mut impl Read, operation: u8) -> Result<(u64, u64), GitError> {
    let mut values = [0_u64; 7];
    for (bit, value) in values.iter_mut().enumerate() {
        if operation & (1 << bit) != 0 {
            *value = u64::from(byte(delta)?.ok_or(MALFORMED)?);
        }
    }
    let number = |bytes: &[u64]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | byte);
    let (from, length) = values.split_at(4);
    let length = match number(length) {
        0 => 0x10000,
        length => length,
    };
    Ok((number(from), length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectFormat;
    use crate::objects::Kind;

    /// What a delta makes of `base`, with at most a thousand bytes of everything.
    fn made(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, GitError> {
        let file = tempfile::tempfile().unwrap();
        let mut objects = Objects::new(file, ObjectFormat::Sha1, 1000);
        let id = objects.add_blob(base)?;
        let base = objects.stored(&id).unwrap();
        let mut range = objects.begin();
        objects.append(&mut range, delta)?;
        let id = apply(&mut objects, base, range)?;
        objects.read(&id, Kind::Blob)
    }

    #[test]
    fn pieces_of_the_base_and_of_the_delta_become_an_object() {
        let delta = b"\x06\x08\x91\x02\x03\x02xy\x90\x03";
        assert_eq!(made(b"abcdef", delta).unwrap(), b"cdexyabc");
        assert_eq!(made(b"", b"\0\0").unwrap(), b"");
    }

    #[test]
    fn a_delta_that_leaves_its_base_or_its_size_is_malformed() {
        for delta in [
            &b""[..],
            b"\x06",
            b"\x05\x01\x90\x01",
            b"\x06\x01\x91\x06\x01",
            b"\x06\x07\x90\x07",
            b"\x06\x02\x90\x03",
            b"\x06\x03\x90\x02",
            b"\x06\x01\0",
            b"\x06\x02\x02x",
            b"\x06\x01\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let error = made(b"abcdef", delta).unwrap_err();
            assert!(
                matches!(error, GitError::Malformed(_)),
                "{delta:?}: {error}"
            );
        }
    }

    #[test]
    fn a_small_delta_cannot_make_more_than_there_is_room_for() {
        let mut delta = b"\x06\xff\xff\x7f".to_vec();
        delta.extend(b"\x90\x06".repeat(300));
        let error = made(b"abcdef", &delta).unwrap_err();
        assert!(
            matches!(error, GitError::TooLarge { limit: 1000, .. }),
            "{error}"
        );
    }
}
