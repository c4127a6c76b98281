//! Reads a directory of the root as it is, and carries what changed in it over to another root.

use std::collections::HashMap;

use rustix::fs::FileType;
use stagecraft_layer::{FsTree, LayerId, Node, join_paths};
use stagecraft_protocol::ownership::SpecialOwner;

use super::{Rootfs, RootfsError};

/// A directory as it was at some time, by paths relative to it.
pub struct Scan {
    /// Metadata of everything in it, sockets left out. Its root is the directory itself.
    pub tree: FsTree,
    /// What identifies each inode and its last change.
    states: HashMap<Vec<u8>, State>,
}

/// Device, inode, and change time in seconds and nanoseconds.
type State = ((u32, u32, u64), (i64, u32));

impl Scan {
    /// A directory with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            tree: FsTree::new(),
            states: HashMap::new(),
        }
    }

    /// Whether nothing was touched between the two.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.states == other.states && self.tree == other.tree
    }

    /// Whether a path is the same inode, unchanged, in both.
    fn is_unchanged(&self, before: &Self, path: &[u8]) -> bool {
        self.states.contains_key(path) && self.states.get(path) == before.states.get(path)
    }
}

impl Rootfs {
    /// Reads what stands in directory `path`. Where nothing is, so is the scan.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn scan(&mut self, path: &[u8]) -> Result<Scan, RootfsError> {
        self.beneath.forget();
        let mut scan = Scan::empty();
        let mut groups: HashMap<(u32, u32, u64), u32> = HashMap::new();
        let mut pending: Vec<Vec<u8>> = vec![Vec::new()];
        self.scan_top(path, &mut scan)?;
        while let Some(relative) = pending.pop() {
            let directory = join_paths(path, &relative);
            let Some((descriptor, found)) = self.beneath.list(&directory)? else {
                continue;
            };
            for entry in found {
                if entry.is_mount() || entry.file_type() == FileType::Socket {
                    continue;
                }
                let inner = join_paths(&relative, entry.name.to_bytes());
                let full = join_paths(path, &inner);
                let (mut node, _) = self.read_node(&descriptor, &full, &entry)?;
                let status = &entry.status;
                let inode = (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
                if !node.is_directory() && status.stx_nlink > 1 {
                    let group = groups
                        .entry(inode)
                        .or_insert_with(|| scan.tree.new_link_group());
                    node.link_group = Some(*group);
                }
                let changed = (status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec);
                scan.states.insert(inner.clone(), (inode, changed));
                if node.is_directory() {
                    pending.push(inner.clone());
                }
                scan.tree.insert(&inner, node);
            }
        }
        Ok(scan)
    }

    /// The directory itself.
    fn scan_top(&self, path: &[u8], scan: &mut Scan) -> Result<(), RootfsError> {
        use super::{beneath, inode};
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let fail = || super::failed("look at", path);
        let opened = match self.beneath.open(path, flags) {
            Ok(opened) => opened,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fail()(errno)),
        };
        let status = beneath::status(&opened, c".").map_err(fail())?;
        let record = inode::get_override(&opened).map_err(fail())?;
        let kind = stagecraft_layer::NodeKind::Directory;
        scan.tree
            .insert(b"", inode::node_of(&status, kind, record, self.own));
        Ok(())
    }

    /// Makes directory `to` of this root what `after`, directory `from` of the root `other`, became since `before`:
    /// what was not touched there stays as it is here. `standing` is what stands here.
    ///
    /// # Errors
    /// When something cannot be read or written; directory `to` is half done then.
    pub fn carry(
        &mut self,
        standing: &mut FsTree,
        other: &Self,
        from: &[u8],
        before: &Scan,
        after: &Scan,
    ) -> Result<(), RootfsError> {
        let gone: Vec<Vec<u8>> = before
            .tree
            .iter()
            .filter(|(path, _)| !after.tree.contains(path))
            .map(|(path, _)| path.to_vec())
            .collect();
        for path in gone
            .iter()
            .filter(|path| standing.contains(path))
            .cloned()
            .collect::<Vec<_>>()
        {
            standing.remove(&path);
            self.beneath.remove(&path)?;
        }
        self.write_entry(
            standing,
            b"",
            &after
                .tree
                .get(b"")
                .cloned()
                .unwrap_or_else(Node::implicit_directory),
            None,
        )?;
        for (path, node) in after.tree.iter() {
            if after.is_unchanged(before, path) && standing.contains(path) {
                continue;
            }
            let node = node.clone().in_layer(LayerId::NONE);
            for parent in standing
                .missing_parents(path)
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
            {
                self.write_entry(standing, &parent, &Node::implicit_directory(), None)?;
            }
            if node.is_file() {
                let mut content = other.open_file(&join_paths(from, path))?;
                self.write_entry(standing, path, &node, Some(&mut content))?;
            } else {
                self.write_entry(standing, path, &node, None)?;
            }
        }
        self.copied_links.clear();
        self.settle_directories()
    }

    /// What the runner told about inodes that cannot carry their owners.
    pub fn learn_special_owners(&mut self, owners: &[SpecialOwner]) {
        for owner in owners {
            self.special_owners.insert(owner.key, owner.attributes);
        }
    }
}
