//! A layer as a table: what every path has, as text.

use std::collections::BTreeMap;
use std::io::Read;

use stagecraft_image::{Digest, DigestHasher};
use stagecraft_layer::{EntryKind, LayerError, LayerReader, Node, NodeKind, device_numbers};

/// What an entry has, by the name of the member.
pub(super) type Members = BTreeMap<String, String>;

/// The entries of a layer.
pub(super) struct Entries {
    /// Members by path; of a path that comes twice, the later ones.
    pub(super) paths: BTreeMap<Vec<u8>, Members>,
    /// Digest of the uncompressed archive.
    pub(super) diff_id: Digest,
}

/// Reads an uncompressed layer.
pub(super) fn read_entries(archive: impl Read) -> Result<Entries, LayerError> {
    let mut reader = LayerReader::new(Hashing {
        source: archive,
        hasher: DigestHasher::new(),
    });
    let mut paths = BTreeMap::new();
    while let Some(entry) = reader.next_entry()? {
        let mut members = Members::new();
        let mut set = |name: &str, value: String| _ = members.insert(name.to_owned(), value);
        let mut path = entry.path;
        match entry.kind {
            EntryKind::Whiteout => set("type", "whiteout".to_owned()),
            EntryKind::Opaque => {
                // The directory may have an entry of its own.
                path.extend_from_slice(b"/.wh..wh..opq");
                set("type", "opaque".to_owned());
            }
            EntryKind::Link { target } => {
                set("type", "hard link".to_owned());
                set("link", text(&target));
            }
            EntryKind::Node(node) => {
                describe(&node, &mut set);
                if node.is_file() {
                    let content = digest(&mut reader).map_err(|source| LayerError::Content {
                        path: path.clone(),
                        source,
                    })?;
                    set("content", content.to_string());
                }
            }
        }
        paths.insert(path, members);
    }
    reader.drain()?;
    let diff_id = reader.into_inner().hasher.finish();
    Ok(Entries { paths, diff_id })
}

fn describe(node: &Node, set: &mut impl FnMut(&str, String)) {
    let kind = match &node.kind {
        NodeKind::Directory => "directory",
        NodeKind::File { size } => {
            set("size", size.to_string());
            "file"
        }
        NodeKind::Symlink { target } => {
            set("link", text(target));
            "symbolic link"
        }
        NodeKind::CharacterDevice { .. } => "character device",
        NodeKind::BlockDevice { .. } => "block device",
        NodeKind::Fifo => "pipe",
    };
    set("type", kind.to_owned());
    if node.rdev() != 0 {
        let (major, minor) = device_numbers(node.rdev());
        set("device", format!("{major}:{minor}"));
    }
    set("mode", format!("{:04o}", node.mode));
    set("owner", format!("{}:{}", node.uid, node.gid));
    let time = &node.mtime;
    set(
        "mtime",
        match time.nanoseconds {
            0 => time.seconds.to_string(),
            nanoseconds => format!("{}.{nanoseconds:09}", time.seconds),
        },
    );
    for attribute in node.attributes() {
        let value: String = attribute.value.iter().map(|b| format!("{b:02x}")).collect();
        set(&format!("xattr {}", text(&attribute.name)), value);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn digest(content: &mut impl Read) -> std::io::Result<Digest> {
    let mut hasher = DigestHasher::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Hashes what it passes on.
struct Hashing<R> {
    source: R,
    hasher: DigestHasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
