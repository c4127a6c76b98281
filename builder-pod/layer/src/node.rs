//! What one path of a tree is: kind, mode, owner, time, and which layer holds its content.
//!
//! Invariant: a node says everything about an inode that goes into a layer, and nothing that depends on the
//! file system it happens to lie on.

/// The layer that holds a file's content, numbered by whoever keeps the layers of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u32);

impl LayerId {
    /// No layer: the content lies elsewhere, in a build context for example.
    pub const NONE: Self = Self(u32::MAX);
}

/// A modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// This time, or the whole second `latest` where that is earlier.
    #[must_use]
    pub fn clamp_to(self, latest: Option<i64>) -> Self {
        match latest {
            Some(latest)
                if self
                    > (Self {
                        seconds: latest,
                        nanoseconds: 0,
                    }) =>
            {
                Self {
                    seconds: latest,
                    nanoseconds: 0,
                }
            }
            _ => self,
        }
    }
}

/// What kind of inode a path names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: Box<[u8]>,
    },
    /// A character device.
    CharacterDevice {
        /// Device number as `st_rdev` has it.
        rdev: u64,
    },
    /// A block device.
    BlockDevice {
        /// Device number as `st_rdev` has it.
        rdev: u64,
    },
    /// A named pipe.
    Fifo,
}

/// An extended attribute: its whole name and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedAttribute {
    /// The name with its namespace, `security.capability` for example.
    pub name: Box<[u8]>,
    /// The value.
    pub value: Box<[u8]>,
}

/// What few nodes have, kept out of line so that the others stay small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    attributes: Vec<ExtendedAttribute>,
    content_path: Option<Box<[u8]>>,
}

/// The metadata of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission, set-id and sticky bits (at most `0o7777`). A symbolic link always has `0o777`.
    pub mode: u32,
    /// Owner as the build sees it.
    pub uid: u32,
    /// Group as the build sees it.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// The layer that holds its content, or that it came with.
    pub layer: LayerId,
    /// Paths of one tree with the same number here are hard links of one inode.
    pub link_group: Option<u32>,
    rare: Option<Box<Rare>>,
}

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;
const TYPE_BLOCK_DEVICE: u32 = 0o060_000;
const TYPE_FIFO: u32 = 0o010_000;

impl Node {
    /// A node of time 0 that belongs to no layer; `mode` is cut to its permission, set-id and sticky bits.
    #[must_use]
    pub fn new(kind: NodeKind, mode: u32, uid: u32, gid: u32) -> Self {
        let mode = if matches!(kind, NodeKind::Symlink { .. }) {
            0o777
        } else {
            mode & 0o7777
        };
        Self {
            kind,
            mode,
            uid,
            gid,
            mtime: Time::default(),
            layer: LayerId::NONE,
            link_group: None,
            rare: None,
        }
    }

    /// A directory `0755` of `0:0` and time 0: what a parent that nobody described is.
    #[must_use]
    pub fn implicit_directory() -> Self {
        Self::new(NodeKind::Directory, 0o755, 0, 0)
    }

    /// The same node, belonging to `layer`.
    #[must_use]
    pub fn in_layer(mut self, layer: LayerId) -> Self {
        self.layer = layer;
        self
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }

    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self.kind, NodeKind::File { .. })
    }

    /// Where a symbolic link points; `None` for anything else.
    #[must_use]
    pub fn symlink_target(&self) -> Option<&[u8]> {
        match &self.kind {
            NodeKind::Symlink { target } => Some(target),
            _ => None,
        }
    }

    /// Length in bytes of a regular file's content; 0 for anything else.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self.kind {
            NodeKind::File { size } => size,
            _ => 0,
        }
    }

    /// Device number of a device; 0 for anything else.
    #[must_use]
    pub const fn rdev(&self) -> u64 {
        match self.kind {
            NodeKind::CharacterDevice { rdev } | NodeKind::BlockDevice { rdev } => rdev,
            _ => 0,
        }
    }

    /// The whole `st_mode`: type and permission bits.
    #[must_use]
    pub const fn full_mode(&self) -> u32 {
        let kind = match self.kind {
            NodeKind::Directory => TYPE_DIRECTORY,
            NodeKind::File { .. } => TYPE_FILE,
            NodeKind::Symlink { .. } => TYPE_SYMLINK,
            NodeKind::CharacterDevice { .. } => TYPE_CHARACTER_DEVICE,
            NodeKind::BlockDevice { .. } => TYPE_BLOCK_DEVICE,
            NodeKind::Fifo => TYPE_FIFO,
        };
        kind | self.mode
    }

    /// Its extended attributes, sorted by name.
    #[must_use]
    pub fn attributes(&self) -> &[ExtendedAttribute] {
        self.rare.as_ref().map_or(&[], |rare| &rare.attributes)
    }

    /// The value of one extended attribute.
    #[must_use]
    pub fn attribute(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self
            .attributes()
            .iter()
            .find(|attribute| *attribute.name == *name);
        found.map(|attribute| &*attribute.value)
    }

    /// Sets or, with `None`, removes one extended attribute.
    pub fn set_attribute(&mut self, name: &[u8], value: Option<&[u8]>) {
        if value.is_none() && self.attribute(name).is_none() {
            return;
        }
        let attributes = &mut self.rare.get_or_insert_default().attributes;
        attributes.retain(|attribute| *attribute.name != *name);
        if let Some(value) = value {
            let place = attributes.partition_point(|attribute| *attribute.name < *name);
            attributes.insert(
                place,
                ExtendedAttribute {
                    name: name.into(),
                    value: value.into(),
                },
            );
        }
        self.drop_empty_rare();
    }

    /// The path of its content in [`Self::layer`]'s archive, for a node that stands at `path` in its tree.
    /// They differ where the archive went through a symbolic link, and for hard links to lower layers.
    #[must_use]
    pub fn content_path<'a>(&'a self, path: &'a [u8]) -> &'a [u8] {
        let own = self
            .rare
            .as_ref()
            .and_then(|rare| rare.content_path.as_deref());
        own.unwrap_or(path)
    }

    /// Sets the path of its content in the layer's archive, or that it is the node's own path.
    pub fn set_content_path(&mut self, path: Option<&[u8]>) {
        if path.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().content_path = path.map(Into::into);
            self.drop_empty_rare();
        }
    }

    /// Whether both are the same to whoever looks at the files: kind, mode, owner, time and attributes.
    /// Layer and hard links are left out.
    #[must_use]
    pub fn same_metadata(&self, other: &Self) -> bool {
        self.mtime == other.mtime && self.same_metadata_but_time(other)
    }

    /// Whether both have the same kind, mode, owner and attributes.
    #[must_use]
    pub fn same_metadata_but_time(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.attributes() == other.attributes()
    }

    fn drop_empty_rare(&mut self) {
        let empty = |rare: &Rare| rare.attributes.is_empty() && rare.content_path.is_none();
        if self.rare.as_deref().is_some_and(empty) {
            self.rare = None;
        }
    }
}

/// Splits a device number as Linux has it in `st_rdev` into major and minor number.
#[must_use]
pub const fn device_numbers(rdev: u64) -> (u32, u32) {
    let major = ((rdev >> 8) & 0xfff) | ((rdev >> 32) & !0xfff);
    let minor = (rdev & 0xff) | ((rdev >> 12) & !0xff);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "both numbers have 32 bits in st_rdev"
    )]
    (major as u32, minor as u32)
}

/// Makes a device number as Linux has it in `st_rdev`.
#[must_use]
pub const fn device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_back() {
        for (major, minor) in [(0, 0), (1, 3), (8, 256), (0xfff, 0xff), (70_000, u32::MAX)] {
            assert_eq!(device_numbers(device(major, minor)), (major, minor));
        }
        assert_eq!(device(1, 3), 0x103);
    }

    #[test]
    fn attributes_are_sorted_and_take_no_room_when_there_are_none() {
        let mut node = Node::implicit_directory();
        node.set_attribute(b"user.b", Some(b"2"));
        node.set_attribute(b"user.a", Some(b"1"));
        node.set_attribute(b"user.b", Some(b"3"));
        assert_eq!(node.attribute(b"user.b"), Some(&b"3"[..]));
        assert_eq!(&*node.attributes()[0].name, b"user.a");
        node.set_attribute(b"user.a", None);
        node.set_attribute(b"user.b", None);
        assert_eq!(node, Node::implicit_directory());
        assert!(
            std::mem::size_of::<Node>() <= 80,
            "{}",
            std::mem::size_of::<Node>()
        );
    }
}
