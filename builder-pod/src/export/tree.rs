//! Writes a file tree into a directory, without privileges.
//!
//! Invariant: nothing outside the directory is made, changed or removed, whatever the tree's links say and whatever
//! stands in the directory: parents are opened below its descriptor without following any link.
//! Invariant: a directory that stands where something else belongs is not removed: it may be the user's.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use stagecraft_layer::{FsTree, Node, NodeKind, Time, name_of, parent_of};

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Why a tree could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A device can be made by root alone.
    #[error(
        "{path} is a device, which cannot be made here without privileges: leave it out, or take --output type=tar, where it is an entry of its own type"
    )]
    Device {
        /// Its path in the image.
        path: String,
    },
    /// A directory stands where the image has something else.
    #[error("{path} is a directory already, and something else in the image")]
    Occupied {
        /// Its path in the image.
        path: String,
    },
    /// A call failed.
    #[error("cannot {action} {path}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// The path in the image.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A directory that a tree is written into.
pub(super) struct TreeWriter {
    root: OwnedFd,
    /// The directory that was used last.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl TreeWriter {
    /// A writer into `directory`.
    pub(super) fn open(directory: &Path) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(directory, flags, Mode::empty())?,
            parent: None,
        })
    }

    /// Writes everything that the tree has. Modes and times of directories come last: files are made in them.
    pub(super) fn write(
        &mut self,
        tree: &FsTree,
        open: impl Fn(&[u8], &Node) -> std::io::Result<Box<dyn Read>>,
    ) -> Result<(), TreeError> {
        let mut first_of_group: HashMap<u32, &[u8]> = HashMap::new();
        for (path, node) in tree.iter() {
            if let Some(group) = node.link_group {
                if let Some(first) = first_of_group.get(&group) {
                    self.link(path, first)?;
                    continue;
                }
                first_of_group.insert(group, path);
            }
            self.make(path, node, &open)?;
        }
        for (path, node) in tree.iter().rev().filter(|(_, node)| node.is_directory()) {
            let directory = self.directory(path).map_err(failed("open", path))?;
            settle(&directory, node).map_err(failed("set the metadata of", path))?;
        }
        Ok(())
    }

    fn make(
        &mut self,
        path: &[u8],
        node: &Node,
        open: &impl Fn(&[u8], &Node) -> std::io::Result<Box<dyn Read>>,
    ) -> Result<(), TreeError> {
        let name = name_of(path);
        match &node.kind {
            NodeKind::Directory => return self.make_directory(path),
            NodeKind::CharacterDevice { .. } | NodeKind::BlockDevice { .. } => {
                return Err(TreeError::Device { path: show(path) });
            }
            NodeKind::File { .. } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let flags = flags | OFlags::NOFOLLOW;
                let mode = Mode::RUSR | Mode::WUSR;
                let file =
                    self.place(path, |parent| rustix::fs::openat(parent, name, flags, mode))?;
                let mut file = std::fs::File::from(file);
                let mut content = open(path, node).map_err(call("read the content of", path))?;
                std::io::copy(&mut content, &mut file).map_err(call("write", path))?;
                return settle(&file, node).map_err(failed("set the metadata of", path));
            }
            NodeKind::Symlink { target } => self.place(path, |parent| {
                rustix::fs::symlinkat(&**target, parent, name)
            })?,
            NodeKind::Fifo => self.place(path, |parent| {
                let mode = Mode::from_raw_mode(node.mode);
                rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0)?;
                // Just made, so it is no link that could lead elsewhere.
                rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
            })?,
        }
        let parent = self
            .directory(parent_of(path))
            .map_err(failed("open", path))?;
        rustix::fs::utimensat(parent, name, &times(node.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the time of", path))
    }

    /// A directory that is only the owner's until everything is in it.
    fn make_directory(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let mode = Mode::RWXU;
        let parent = self
            .directory(parent_of(path))
            .map_err(failed("open", path))?;
        match rustix::fs::mkdirat(&parent, name_of(path), mode) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(failed("make the directory", path)),
        }
        drop(parent);
        match self.directory(path) {
            Ok(directory) => {
                rustix::fs::fchmod(directory, mode).map_err(failed("open the directory", path))
            }
            // Not a directory, or a link to one.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let name = name_of(path);
                self.place(path, |parent| rustix::fs::mkdirat(parent, name, mode))
            }
            Err(errno) => Err(failed("open", path)(errno)),
        }
    }

    fn link(&mut self, path: &[u8], first: &[u8]) -> Result<(), TreeError> {
        let from = self
            .directory(parent_of(first))
            .map_err(failed("open", first))?;
        self.place(path, |parent| {
            let none = AtFlags::empty();
            rustix::fs::linkat(&from, name_of(first), parent, name_of(path), none)
        })
    }

    /// Makes something in its directory, in place of what stands there.
    fn place<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(&OwnedFd) -> rustix::io::Result<T>,
    ) -> Result<T, TreeError> {
        let parent = self
            .directory(parent_of(path))
            .map_err(failed("open the directory of", path))?;
        match make(&parent) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(failed("make", path)),
        }
        match rustix::fs::unlinkat(&parent, name_of(path), AtFlags::empty()) {
            Err(Errno::ISDIR) => return Err(TreeError::Occupied { path: show(path) }),
            removed => removed.map_err(failed("replace", path))?,
        }
        make(&parent).map_err(failed("make", path))
    }

    /// A directory below the root, open.
    fn directory(&mut self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        if let Some((last, descriptor)) = &self.parent
            && last == path
        {
            return rustix::io::fcntl_dupfd_cloexec(descriptor, 0);
        }
        if path.is_empty() {
            return rustix::io::fcntl_dupfd_cloexec(&self.root, 0);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), RESOLVE)?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&opened, 0)?;
        self.parent = Some((path.to_vec(), opened));
        Ok(copy)
    }
}

/// Mode and time of an open file or directory.
fn settle(opened: impl std::os::fd::AsFd, node: &Node) -> rustix::io::Result<()> {
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(node.mode))?;
    rustix::fs::futimens(&opened, &times(node.mtime))
}

fn times(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> TreeError + use<> {
    let call = call(action, path);
    move |errno| call(errno.into())
}

fn call(action: &'static str, path: &[u8]) -> impl FnOnce(std::io::Error) -> TreeError + use<> {
    let path = show(path);
    move |source| TreeError::Call {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn node(kind: NodeKind, mode: u32) -> Node {
        let mut node = Node::new(kind, mode, 42, 42);
        node.mtime.seconds = 1_000;
        node
    }

    fn write(tree: &FsTree, to: &Path) -> Result<(), TreeError> {
        let mut writer = TreeWriter::open(to).unwrap();
        writer.write(tree, |path, _| {
            Ok(Box::new(std::io::Cursor::new(path.to_vec())))
        })
    }

    fn file(path: &[u8]) -> Node {
        let size = path.len() as u64;
        node(NodeKind::File { size }, 0o640)
    }

    #[test]
    fn a_tree_stands_in_the_directory_with_modes_times_and_hard_links() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = FsTree::new();
        tree.insert(b"d", node(NodeKind::Directory, 0o555));
        let mut first = file(b"d/a");
        first.link_group = Some(1);
        tree.insert(b"d/a", first.clone());
        tree.insert(b"d/b", first);
        let target = b"../../../etc".to_vec().into();
        tree.insert(b"d/link", node(NodeKind::Symlink { target }, 0o777));
        tree.insert(b"pipe", node(NodeKind::Fifo, 0o622));
        write(&tree, directory.path()).unwrap();
        let metadata = |path| directory.path().join(path).symlink_metadata().unwrap();
        assert_eq!(metadata("d").permissions().mode() & 0o7777, 0o555);
        assert_eq!(metadata("d").mtime(), 1_000);
        assert_eq!(metadata("d/a").ino(), metadata("d/b").ino());
        assert_eq!(metadata("d/a").permissions().mode() & 0o7777, 0o640);
        assert_eq!(metadata("d/link").mtime(), 1_000);
        assert_eq!(metadata("pipe").permissions().mode() & 0o7777, 0o622);
        assert_eq!(std::fs::read(directory.path().join("d/a")).unwrap(), b"d/a");
        // Again over what is there: a read-only directory is no obstacle.
        write(&tree, directory.path()).unwrap();
    }

    #[test]
    fn links_that_stand_in_the_directory_lead_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("file"), "kept").unwrap();
        let directory = tempfile::tempdir().unwrap();
        symlink(outside.path(), directory.path().join("d")).unwrap();
        symlink(outside.path().join("file"), directory.path().join("f")).unwrap();
        let mut tree = FsTree::new();
        tree.insert(b"d", node(NodeKind::Directory, 0o755));
        tree.insert(b"d/file", file(b"d/file"));
        tree.insert(b"f", file(b"f"));
        write(&tree, directory.path()).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&outside.path().join("file")), "kept");
        assert_eq!(read(&directory.path().join("d/file")), "d/file");
        assert_eq!(read(&directory.path().join("f")), "f");
    }

    #[test]
    fn devices_and_directories_in_the_way_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = FsTree::new();
        tree.insert(
            b"null",
            node(NodeKind::CharacterDevice { rdev: 0x103 }, 0o666),
        );
        let error = write(&tree, directory.path()).unwrap_err().to_string();
        assert!(
            error.contains("/null is a device") && error.contains("type=tar"),
            "{error}"
        );
        std::fs::create_dir(directory.path().join("taken")).unwrap();
        let mut tree = FsTree::new();
        tree.insert(b"taken", file(b"taken"));
        let error = write(&tree, directory.path()).unwrap_err();
        assert!(matches!(error, TreeError::Occupied { .. }), "{error}");
    }
}
