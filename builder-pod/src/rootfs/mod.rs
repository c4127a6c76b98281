//! A stage's files on disk, worked on through one descriptor of their root.
//!
//! The tree is the authority: what is written here follows it, and paths come from it with every symbolic link
//! resolved, so that no link planted on disk ever redirects a write. What the container runtime has mounted in
//! the root is never touched; such paths live in the tree alone.
//! Invariant: everything is created as the engine itself (`0:0` to the build); real owners, modes and devices
//! stand in the record of `stagecraft_protocol::ownership`.

mod beneath;
mod create;
mod error;
mod inode;
mod parallel;
mod place;
mod scan;
mod snapshot;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use stagecraft_layer::{Applier, FsTree, LayerId, LayerReader, Node, Operation, Time, parent_of};
use stagecraft_protocol::ownership::{InodeKey, Override, SpecialOwner};

pub use error::RootfsError;
pub use place::Places;
pub use scan::Scan;

use beneath::Beneath;
use error::{failed, failed_io, show};

/// A stage's root file system.
pub struct Rootfs {
    beneath: Beneath,
    /// The same root, for files that wait for their place: each remembers a directory of its own.
    waiting: Beneath,
    /// Who the engine is to the kernel: `0:0` to the build.
    own: (u32, u32),
    /// Times that directories get once nothing more is put into them.
    directory_times: BTreeMap<Vec<u8>, Time>,
    /// Owners of inodes that cannot carry the attribute.
    special_owners: HashMap<InodeKey, Override>,
    /// Those of them that the runner does not know yet.
    new_special_owners: Vec<SpecialOwner>,
    /// Hashes of contents by hash of the path, for files whose change their time might not show.
    content_hashes: HashMap<u64, u64>,
    /// A hash of path, inode and change time for every inode that was there when the step began.
    index: HashSet<u64>,
    /// The first path of every hard link group that a copy put here.
    copied_links: HashMap<(LayerId, u32), Vec<u8>>,
    /// Paths that are not on disk although their directory is: hard links to what a mount hides.
    tree_only: HashSet<Vec<u8>>,
    hashes: RandomState,
}

impl Rootfs {
    /// The root file system below the directory `root`, which holds at most what a runtime mounted.
    #[must_use]
    pub fn new(root: OwnedFd) -> Self {
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let beneath = Beneath::new(root);
        Self {
            waiting: beneath.sibling(),
            beneath,
            own,
            directory_times: BTreeMap::new(),
            special_owners: HashMap::new(),
            new_special_owners: Vec::new(),
            content_hashes: HashMap::new(),
            index: HashSet::new(),
            copied_links: HashMap::new(),
            tree_only: HashSet::new(),
            hashes: RandomState::new(),
        }
    }

    /// Applies one layer, an uncompressed archive, to the tree and the files.
    ///
    /// # Errors
    /// When the archive is malformed or a file cannot be made or removed. Tree and files are of no use then.
    pub fn unpack(
        &mut self,
        tree: &mut FsTree,
        layer: LayerId,
        archive: impl Read,
    ) -> Result<(), RootfsError> {
        self.beneath.forget();
        let mut reader = LayerReader::new(archive);
        let mut applier = Applier::new(layer);
        while let Some(entry) = reader.next_entry()? {
            for operation in applier.apply(tree, entry)? {
                self.perform(tree, &operation, &mut reader)?;
            }
        }
        reader.drain()?;
        self.settle_directories()
    }

    /// Puts one node at `path`, whose parents are directories of the tree, into the tree and the files, and
    /// removes what stood there, unless both are directories. Nodes of one layer and link group become hard links.
    ///
    /// # Errors
    /// When it cannot be made, or the content is not as long as the node says.
    pub fn write_entry(
        &mut self,
        tree: &mut FsTree,
        path: &[u8],
        node: &Node,
        content: Option<&mut dyn Read>,
    ) -> Result<(), RootfsError> {
        let standing = tree.get(path).map(Node::is_directory);
        let is_update = standing == Some(true) && node.is_directory();
        if standing.is_some() && !is_update {
            self.perform(
                tree,
                &Operation::Remove {
                    path: path.to_vec(),
                },
                &mut std::io::empty(),
            )?;
        }
        tree.insert(path, node.clone());
        let path = path.to_vec();
        let first = node.link_group.map(|group| (node.layer, group));
        let target = first
            .and_then(|group| self.copied_links.get(&group))
            .cloned();
        let operation = match (node.is_directory(), target) {
            (true, _) if is_update => Operation::UpdateDirectory { path },
            (true, _) => Operation::MakeDirectory { path },
            (false, Some(target)) if target != path => Operation::Link { path, target },
            (false, _) => {
                if let Some(group) = first {
                    self.copied_links.insert(group, path.clone());
                }
                Operation::Make { path }
            }
        };
        match content {
            Some(content) => self.perform(tree, &operation, content),
            None => self.perform(tree, &operation, &mut std::io::empty()),
        }
    }

    /// What `write_entry` and `unpack` recorded since the last call, for the runner.
    pub fn take_special_owners(&mut self) -> Vec<SpecialOwner> {
        std::mem::take(&mut self.new_special_owners)
    }

    /// Opens a regular file. No link in `path` is followed: it is a path of the tree.
    ///
    /// # Errors
    /// When there is no such file, or it is no regular one.
    pub fn open_file(&self, path: &[u8]) -> Result<File, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self
            .beneath
            .open(path, flags)
            .map_err(failed("open", path))?;
        regular(opened, path)
    }

    /// Reads a file of at most `limit` bytes the way a process inside the root would, links followed;
    /// `None` when it does not exist.
    ///
    /// # Errors
    /// When it is larger, no regular file, or cannot be read.
    pub fn read_small(&self, path: &[u8], limit: u64) -> Result<Option<Vec<u8>>, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = match self.beneath.open_following(path, flags) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failed("open", path)(errno)),
        };
        let mut bytes = Vec::new();
        let file = regular(opened, path)?;
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed_io("read", path))?;
        if bytes.len() as u64 > limit {
            return Err(RootfsError::TooLarge {
                path: show(path),
                limit,
            });
        }
        Ok(Some(bytes))
    }

    /// Does on disk what was done in the tree.
    fn perform(
        &mut self,
        tree: &FsTree,
        operation: &Operation,
        content: &mut dyn Read,
    ) -> Result<(), RootfsError> {
        match operation {
            Operation::Remove { path } => {
                self.touch_parent(tree, path);
                self.beneath.remove(path)?;
            }
            Operation::MakeDirectory { path } | Operation::UpdateDirectory { path } => {
                self.touch_parent(tree, path);
                if let Some(node) = tree.get(path) {
                    self.directory_times.insert(path.clone(), node.mtime);
                    self.make_directory(path, node)?;
                }
            }
            Operation::Make { path } => {
                self.touch_parent(tree, path);
                if let Some(node) = tree.get(path) {
                    self.make(path, node, content)?;
                }
            }
            Operation::Link { path, target } => {
                self.touch_parent(tree, path);
                self.make_link(path, target)?;
            }
        }
        Ok(())
    }

    /// Remembers that the directory of `path` needs its time again.
    fn touch_parent(&mut self, tree: &FsTree, path: &[u8]) {
        let parent = parent_of(path);
        if let Some(node) = tree.get(parent)
            && self.directory_times.get(parent) != Some(&node.mtime)
        {
            self.directory_times.insert(parent.to_vec(), node.mtime);
        }
    }

    /// Gives the directories that were worked in the times they have in the tree.
    fn settle_directories(&mut self) -> Result<(), RootfsError> {
        for (path, time) in std::mem::take(&mut self.directory_times) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            match self.beneath.open(&path, flags) {
                Ok(directory) => rustix::fs::futimens(&directory, &inode::timestamps(time))
                    .map_err(failed("set the time of", &path))?,
                // Removed or replaced since, or a mount.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(errno) => return Err(failed("open the directory", &path)(errno)),
            }
        }
        Ok(())
    }

    fn path_hash(&self, path: &[u8]) -> u64 {
        self.hashes.hash_one(path)
    }
}

fn regular(opened: OwnedFd, path: &[u8]) -> Result<File, RootfsError> {
    let file = File::from(opened);
    let metadata = file.metadata().map_err(failed_io("look at", path))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(RootfsError::NotRegular { path: show(path) })
    }
}

#[cfg(test)]
mod tests;
