//! Writes layer archives: POSIX (PAX) form, the same bytes for the same entries wherever and whenever.
//!
//! Headers hold numeric owners and nothing that an entry does not say: no names of owners, no access times.
//! What a ustar header cannot hold (long or non-ASCII names, large numbers, parts of seconds, capabilities)
//! stands in an extended header in front of it.

use std::collections::HashMap;
use std::io::{Read, Write};

use stagecraft_image::{Digest, DigestHasher};
use tar::{EntryType, Header};

use crate::changes::{Changes, Written, entries};
use crate::error::LayerError;
use crate::index::TarIndex;
use crate::node::{Node, NodeKind, Time, device_numbers};
use crate::read::{CAPABILITY_ATTRIBUTE, PIECE, is_whiteout_name};
use crate::tree::{FsTree, join_paths, name_of, parent_of};

const BLOCK: usize = 512;
/// Largest number in an octal field of 8 bytes and of 12 bytes.
const OCTAL_7: u64 = 0o7_777_777;
const OCTAL_11: u64 = 0o77_777_777_777;

/// How a layer is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Later times are written as this one, in seconds since 1970.
    pub latest_mtime: Option<i64>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct WrittenLayer {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where the contents of its files lie.
    pub index: TarIndex,
}

/// Writes one layer archive. Entries come in the order in which they are to stand.
pub struct LayerWriter<W> {
    sink: W,
    hasher: DigestHasher,
    position: u64,
    index: TarIndex,
    options: WriteOptions,
}

impl<W: Write> LayerWriter<W> {
    /// A writer of an uncompressed archive to `sink`.
    pub fn new(sink: W, options: WriteOptions) -> Self {
        let (hasher, index) = (DigestHasher::new(), TarIndex::default());
        Self {
            sink,
            hasher,
            position: 0,
            index,
            options,
        }
    }

    /// Writes `node` at `path`; exactly as many bytes as a file's size are taken from `content`.
    ///
    /// # Errors
    /// When the name would mark a removal, or the content is of another length or cannot be read or written.
    pub fn append(
        &mut self,
        path: &[u8],
        node: &Node,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        check_name(path)?;
        let (kind, target) = match &node.kind {
            NodeKind::Directory => (EntryType::Directory, None),
            NodeKind::File { .. } => (EntryType::Regular, None),
            NodeKind::Symlink { target } => (EntryType::Symlink, Some(&**target)),
            NodeKind::CharacterDevice { .. } => (EntryType::Char, None),
            NodeKind::BlockDevice { .. } => (EntryType::Block, None),
            NodeKind::Fifo => (EntryType::Fifo, None),
        };
        self.header(path, node, kind, target, node.size())?;
        if node.is_file() {
            self.index.add(path, self.position, node.size());
            self.content(path, node.size(), content)?;
        }
        Ok(())
    }

    /// Writes `path` as another name of `target`, which this archive or a lower layer has.
    ///
    /// # Errors
    /// When the name would mark a removal, or it cannot be written.
    pub fn append_link(
        &mut self,
        path: &[u8],
        node: &Node,
        target: &[u8],
    ) -> Result<(), LayerError> {
        check_name(path)?;
        self.index.alias(path, target);
        self.header(path, node, EntryType::Link, Some(target), 0)
    }

    /// Writes that lower layers' `path` is gone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append_whiteout(&mut self, path: &[u8]) -> Result<(), LayerError> {
        let marker = [b".wh.", name_of(path)].concat();
        let marker = join_paths(parent_of(path), &marker);
        let node = Node::new(NodeKind::File { size: 0 }, 0, 0, 0);
        self.header(&marker, &node, EntryType::Regular, None, 0)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(W, WrittenLayer), LayerError> {
        self.write(&[0; 2 * BLOCK])?;
        let offset = self.position;
        self.sink
            .flush()
            .map_err(|source| LayerError::Write { offset, source })?;
        let diff_id = self.hasher.finish();
        Ok((
            self.sink,
            WrittenLayer {
                diff_id,
                size: self.position,
                index: self.index,
            },
        ))
    }

    fn header(
        &mut self,
        path: &[u8],
        node: &Node,
        kind: EntryType,
        target: Option<&[u8]>,
        size: u64,
    ) -> Result<(), LayerError> {
        let mut name = path.to_vec();
        if kind == EntryType::Directory {
            name.push(b'/');
        }
        let target = target.unwrap_or_default();
        let mtime = node.mtime.clamp_to(self.options.latest_mtime);
        let (uid, gid) = (u64::from(node.uid), u64::from(node.gid));
        let seconds = u64::try_from(mtime.seconds)
            .ok()
            .filter(|seconds| *seconds <= OCTAL_11);

        let mut records = Records::default();
        if !fits(&name) {
            records.add("path", &name);
        }
        if !fits(target) {
            records.add("linkpath", target);
        }
        if size > OCTAL_11 {
            records.add("size", size.to_string().as_bytes());
        }
        if uid > OCTAL_7 {
            records.add("uid", uid.to_string().as_bytes());
        }
        if gid > OCTAL_7 {
            records.add("gid", gid.to_string().as_bytes());
        }
        if seconds.is_none() || mtime.nanoseconds != 0 {
            records.add("mtime", pax_time(mtime).as_bytes());
        }
        if let Some(capability) = node.attribute(CAPABILITY_ATTRIBUTE)
            && kind != EntryType::Link
        {
            records.add("SCHILY.xattr.security.capability", capability);
        }
        self.extended_header(&name, &records.bytes)?;

        let mut header = Header::new_ustar();
        put_text(&mut header.as_old_mut().name, &name);
        put_text(&mut header.as_old_mut().linkname, target);
        header.set_entry_type(kind);
        header.set_mode(node.mode);
        header.set_uid(if uid > OCTAL_7 { 0 } else { uid });
        header.set_gid(if gid > OCTAL_7 { 0 } else { gid });
        header.set_size(if size > OCTAL_11 { 0 } else { size });
        header.set_mtime(seconds.unwrap_or(0));
        let (major, minor) = device_numbers(node.rdev());
        self.device(path, &mut header, major, minor)?;
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn device(
        &self,
        path: &[u8],
        header: &mut Header,
        major: u32,
        minor: u32,
    ) -> Result<(), LayerError> {
        let set = header
            .set_device_major(major)
            .and_then(|()| header.set_device_minor(minor));
        set.map_err(|source| LayerError::Content {
            path: path.to_vec(),
            source,
        })
    }

    fn extended_header(&mut self, name: &[u8], records: &[u8]) -> Result<(), LayerError> {
        if records.is_empty() {
            return Ok(());
        }
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let mut header = Header::new_ustar();
        put_text(
            &mut header.as_old_mut().name,
            &[b"PaxHeaders.0/", name_of(name)].concat(),
        );
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.write(header.as_bytes())?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    fn content(
        &mut self,
        path: &[u8],
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let mut left = size;
        let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        let failed = |source| LayerError::Content {
            path: path.to_vec(),
            source,
        };
        while left > 0 {
            let want = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match content.read(&mut buffer[..want]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.map_err(failed)?,
            };
            if read == 0 {
                let (path, found) = (path.to_vec(), size - left);
                return Err(LayerError::ContentLength {
                    path,
                    expected: size,
                    found,
                });
            }
            self.write(&buffer[..read])?;
            left -= read as u64;
        }
        if content.read(&mut [0]).map_err(failed)? != 0 {
            let (path, found) = (path.to_vec(), size + 1);
            return Err(LayerError::ContentLength {
                path,
                expected: size,
                found,
            });
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), LayerError> {
        #[allow(clippy::cast_possible_truncation, reason = "below the block size")]
        let padding = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let offset = self.position;
        self.sink
            .write_all(bytes)
            .map_err(|source| LayerError::Write { offset, source })?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Writes the layer that makes `tree` of what it was before `changes`: whiteouts, changed paths, and the
/// directories above them. Of the changed hard links of a group all but the first are written as links.
/// Times later than `latest_mtime` (seconds since 1970) are written as it. `content` opens the content of a
/// file that is written and not empty. Returns the archive's digest and where its contents lie.
///
/// # Errors
/// When a content cannot be had or is not as long as its node says, a name would mark a removal, or `sink`
/// fails.
pub fn write_layer<W: Write, C: Read>(
    tree: &FsTree,
    changes: &Changes,
    sink: W,
    latest_mtime: Option<i64>,
    mut content: impl FnMut(&[u8], &Node) -> std::io::Result<C>,
) -> Result<(Digest, TarIndex), LayerError> {
    let options = WriteOptions { latest_mtime };
    let mut writer = LayerWriter::new(sink, options);
    let mut first_of_group: HashMap<u32, &[u8]> = HashMap::new();
    for (path, written) in entries(tree, changes) {
        let path = path.0;
        let Written::Node(node) = written else {
            writer.append_whiteout(path)?;
            continue;
        };
        if let Some(group) = node.link_group {
            if let Some(first) = first_of_group.get(&group) {
                writer.append_link(path, node, first)?;
                continue;
            }
            first_of_group.insert(group, path);
        }
        if node.size() > 0 {
            let opened = content(path, node);
            let mut opened = opened.map_err(|source| LayerError::Content {
                path: path.to_vec(),
                source,
            })?;
            writer.append(path, node, &mut opened)?;
        } else {
            writer.append(path, node, &mut std::io::empty())?;
        }
    }
    let (_, written) = writer.finish()?;
    Ok((written.diff_id, written.index))
}

fn check_name(path: &[u8]) -> Result<(), LayerError> {
    if path.split(|byte| *byte == b'/').any(is_whiteout_name) {
        return Err(LayerError::WhiteoutName {
            path: path.to_vec(),
        });
    }
    Ok(())
}

/// Whether a header's field holds this text as every reader understands it.
fn fits(text: &[u8]) -> bool {
    text.len() <= 100 && text.is_ascii()
}

/// Puts what fits; a text that does not stands in an extended header whole.
fn put_text(field: &mut [u8; 100], text: &[u8]) {
    for (place, byte) in field.iter_mut().zip(text) {
        *place = if byte.is_ascii() { *byte } else { b'?' };
    }
}

/// `SECONDS[.FRACTION]`, negative before 1970.
fn pax_time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (seconds @ ..0, 0) => ("-", seconds.unsigned_abs(), 0),
        (seconds @ ..0, nanoseconds) => (
            "-",
            (seconds + 1).unsigned_abs(),
            1_000_000_000 - nanoseconds,
        ),
        (seconds, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// Records of an extended header.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// The record's length counts its own digits.
    fn add(&mut self, name: &str, value: &[u8]) {
        let rest = name.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.bytes.extend_from_slice(length.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
