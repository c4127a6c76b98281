//! Reads the metadata of a directory on disk, the way a context is seen.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use stagecraft_layer::{FsTree, LayerId, Node, NodeKind, Time};

use super::ContextError;

/// Deepest directory below the context.
const DEPTH_LIMIT: usize = 256;

/// The tree below `root`, and the newest time of a file in it. `shown` is its path for messages.
pub(super) fn read_tree(
    root: &OwnedFd,
    shown: &Path,
) -> Result<(FsTree, Option<i64>), ContextError> {
    let mut walk = Walk {
        tree: FsTree::new(),
        newest: None,
        links: HashMap::new(),
        shown,
    };
    walk.directory(root, &mut Vec::new(), 0)?;
    Ok((walk.tree, walk.newest))
}

struct Walk<'a> {
    tree: FsTree,
    newest: Option<i64>,
    /// Hard links: the group of each (device, inode) seen with more than one link.
    links: HashMap<(u32, u32, u64), u32>,
    shown: &'a Path,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ContextError> {
        if depth > DEPTH_LIMIT {
            return Err(self.fail("descend into", path)(std::io::Error::other(
                "nested too deeply",
            )));
        }
        let entries = Dir::read_from(directory).map_err(|e| self.fail("list", path)(e.into()))?;
        for entry in entries {
            let entry = entry.map_err(|e| self.fail("list", path)(e.into()))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.entry(directory, entry.file_name(), path, depth)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &std::ffi::CStr,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ContextError> {
        let status = rustix::fs::statx(
            directory.as_fd(),
            name,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        )
        .map_err(|e| self.fail("stat", path)(e.into()))?;
        let mode = u32::from(status.stx_mode);
        let kind = match FileType::from_raw_mode(mode) {
            FileType::Directory => NodeKind::Directory,
            FileType::RegularFile => NodeKind::File {
                size: status.stx_size,
            },
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(|e| self.fail("read the link", path)(e.into()))?;
                NodeKind::Symlink {
                    target: target.into_bytes().into(),
                }
            }
            FileType::Fifo => NodeKind::Fifo,
            // Sockets and devices of the machine are nothing a build could copy.
            _ => return Ok(()),
        };
        let seconds = status.stx_mtime.tv_sec;
        self.newest = self.newest.max(Some(seconds));
        let is_directory = matches!(kind, NodeKind::Directory);
        let mut node = Node::new(kind, mode & 0o7777, 0, 0);
        node.mtime = Time {
            seconds,
            nanoseconds: status.stx_mtime.tv_nsec,
        };
        node.layer = LayerId::NONE;
        if !is_directory && status.stx_nlink > 1 {
            let inode = (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
            let next = u32::try_from(self.links.len()).unwrap_or(u32::MAX) + 1;
            node.link_group = Some(*self.links.entry(inode).or_insert(next));
        }
        self.tree.insert(path, node);
        if is_directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(directory, name, flags, Mode::empty())
                .map_err(|e| self.fail("open", path)(e.into()))?;
            self.directory(&below, path, depth + 1)?;
        }
        Ok(())
    }

    fn fail(
        &self,
        action: &'static str,
        path: &[u8],
    ) -> impl FnOnce(std::io::Error) -> ContextError + use<> {
        let path = self.shown.join(String::from_utf8_lossy(path).as_ref());
        move |source| ContextError::Io {
            action,
            path,
            source,
        }
    }
}
