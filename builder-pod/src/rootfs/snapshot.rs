//! Finds what a RUN changed: a walk that compares inode numbers and change times with those taken before.
//!
//! A change time only nominates: opening for writing without a write, or a mode set and set back, moves it
//! too. Nominated inodes are compared with the tree, and with the hash of the content where there is one, for
//! a time that was set back hides a change of the same length.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx};
use rustix::io::Errno;
use stagecraft_layer::{Changes, FsTree, LayerId, Node, NodeKind, join_paths, name_of};
use stagecraft_protocol::ownership::SpecialOwner;

use super::beneath::{self, Found};
use super::create::PIECE;
use super::error::failed;
use super::{Rootfs, RootfsError, inode};

/// The longest tick of a kernel's clock: change times are no finer on many file systems.
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// What goes on while a root is compared with the tree.
struct Comparison<'a> {
    tree: &'a mut FsTree,
    layer: LayerId,
    /// Hard link group by device and inode, of inodes that were nominated.
    groups: HashMap<(u32, u32, u64), u32>,
}

impl Rootfs {
    /// Takes note of every inode, right before a step. Returns when a change from now on must show in the
    /// change time.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn begin_step(&mut self) -> Result<(), RootfsError> {
        self.settle_directories()?;
        self.copied_links.clear();
        let mut index = HashSet::with_capacity(self.index.len());
        let mut newest = Duration::ZERO;
        let mut pending: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(directory) = pending.pop() {
            let Some((_, found)) = self.beneath.list(&directory)? else {
                continue;
            };
            for entry in found {
                if entry.is_mount() {
                    continue;
                }
                let path = join_paths(&directory, entry.name.to_bytes());
                index.insert(self.fingerprint(&path, &entry.status));
                let changed = entry.status.stx_ctime;
                let seconds = u64::try_from(changed.tv_sec).unwrap_or(0);
                newest = newest.max(Duration::new(seconds, changed.tv_nsec));
                if entry.file_type() == FileType::Directory {
                    pending.push(path);
                }
            }
        }
        self.index = index;
        wait_until_past(newest);
        Ok(())
    }

    /// Compares the root with what it was at [`Self::begin_step`], after every process of the step is dead.
    /// The tree follows, with changed nodes in `layer`; the changes are what `layer` has to say.
    /// `special_owners` is what the runner told about inodes that cannot carry the attribute.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn snapshot(
        &mut self,
        tree: &mut FsTree,
        layer: LayerId,
        special_owners: &[SpecialOwner],
    ) -> Result<Changes, RootfsError> {
        self.beneath.forget();
        for owner in special_owners {
            self.special_owners.insert(owner.key, owner.attributes);
        }
        let before = tree.clone();
        let mut comparison = Comparison {
            tree,
            layer,
            groups: HashMap::new(),
        };
        let mut pending: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(directory) = pending.pop() {
            let Some((descriptor, found)) = self.beneath.list(&directory)? else {
                continue;
            };
            self.remove_missing(comparison.tree, &directory, &found);
            for entry in &found {
                if entry.is_mount() || entry.file_type() == FileType::Socket {
                    continue;
                }
                let path = join_paths(&directory, entry.name.to_bytes());
                let seen = self.index.contains(&self.fingerprint(&path, &entry.status));
                if !seen {
                    self.compare(&mut comparison, &descriptor, &path, entry)?;
                }
                if entry.file_type() == FileType::Directory {
                    pending.push(path);
                }
            }
        }
        Ok(Changes::between(&before, tree))
    }

    /// Removes from the tree what the directory no longer has.
    fn remove_missing(&self, tree: &mut FsTree, directory: &[u8], found: &[Found]) {
        let present: HashSet<&[u8]> = found
            .iter()
            .filter(|entry| entry.is_mount() || entry.file_type() != FileType::Socket)
            .map(|entry| entry.name.to_bytes())
            .collect();
        let missing: Vec<Vec<u8>> = tree
            .children(directory)
            .filter(|(path, _)| !present.contains(name_of(path)) && !self.tree_only.contains(*path))
            .map(|(path, _)| path.to_vec())
            .collect();
        for path in missing {
            tree.remove(&path);
        }
    }

    /// Path, inode and change time in one number. Two that fall together by chance hide a change with a
    /// probability of less than one in 10^13 for a million files.
    pub(super) fn fingerprint(&self, path: &[u8], status: &Statx) -> u64 {
        let changed = (status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec);
        let inode = (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
        self.hashes.hash_one((path, inode, changed))
    }

    fn compare(
        &mut self,
        comparison: &mut Comparison<'_>,
        directory: &OwnedFd,
        path: &[u8],
        entry: &Found,
    ) -> Result<(), RootfsError> {
        let old = comparison.tree.get(path).cloned();
        let (mut node, opened) = self.read_node(directory, path, entry)?;
        node.link_group = comparison.group_of(&node, &entry.status);
        let place = self.path_hash(path);
        let unchanged_content = match (&old, &opened) {
            (Some(old), Some(file)) if node.is_file() => {
                self.same_content(old, &node, path, file)?
            }
            (Some(old), _) => old.kind == node.kind,
            (None, _) => false,
        };
        if let Some(old) = &old
            && unchanged_content
        {
            let same = if node.is_directory() {
                old.same_metadata_but_time(&node)
            } else {
                old.same_metadata(&node)
            };
            if same {
                let (group, time) = (node.link_group, node.mtime);
                if let Some(kept) = comparison.tree.get_mut(path) {
                    (kept.link_group, kept.mtime) = (group, time);
                }
                return Ok(());
            }
        }
        match &opened {
            Some(file) if node.is_file() && node.mtime.nanoseconds == 0 => {
                let hash = self.hash_content(path, file)?;
                self.content_hashes.insert(place, hash);
            }
            _ => {
                self.content_hashes.remove(&place);
            }
        }
        comparison
            .tree
            .insert(path, node.in_layer(comparison.layer));
        Ok(())
    }

    /// Reads what an inode is to the build; regular files come back open.
    pub(super) fn read_node(
        &self,
        directory: &OwnedFd,
        path: &[u8],
        entry: &Found,
    ) -> Result<(Node, Option<OwnedFd>), RootfsError> {
        let status = &entry.status;
        let special = |kind| {
            let record = self.special_owners.get(&inode::key_of(status)).copied();
            (inode::node_of(status, kind, record, self.own), None)
        };
        let rdev = || rustix::fs::makedev(status.stx_rdev_major, status.stx_rdev_minor);
        let kind = match entry.file_type() {
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, entry.name.as_c_str(), Vec::new())
                    .map_err(failed("read the link", path))?;
                return Ok(special(NodeKind::Symlink {
                    target: target.into_bytes().into(),
                }));
            }
            FileType::Fifo => return Ok(special(NodeKind::Fifo)),
            FileType::CharacterDevice => {
                return Ok(special(NodeKind::CharacterDevice { rdev: rdev() }));
            }
            FileType::BlockDevice => return Ok(special(NodeKind::BlockDevice { rdev: rdev() })),
            _ => NodeKind::File {
                size: status.stx_size,
            },
        };
        let opened =
            open_for_reading(directory, &entry.name, status).map_err(failed("open", path))?;
        let record = inode::get_override(&opened).map_err(failed("read the metadata of", path))?;
        let mut node = inode::node_of(status, kind, record, self.own);
        if node.is_file() {
            inode::get_capability(&opened, &mut node);
        }
        Ok((node, Some(opened)))
    }

    /// Whether a file's content is what it was.
    fn same_content(
        &self,
        old: &Node,
        new: &Node,
        path: &[u8],
        file: &OwnedFd,
    ) -> Result<bool, RootfsError> {
        if old.kind != new.kind {
            return Ok(false);
        }
        match self.content_hashes.get(&self.path_hash(path)) {
            Some(hash) => Ok(*hash == self.hash_content(path, file)?),
            // Without a hash the time decides, if it is one that only the kernel sets.
            None => Ok(old.mtime == new.mtime && new.mtime.nanoseconds != 0),
        }
    }

    fn hash_content(&self, path: &[u8], file: &OwnedFd) -> Result<u64, RootfsError> {
        let mut hasher = self.hashes.build_hasher();
        let mut buffer = vec![0; PIECE];
        let mut offset = 0;
        loop {
            match rustix::io::pread(file, &mut buffer[..], offset) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => {
                    hasher.write(&buffer[..read]);
                    offset += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read", path)(errno)),
            }
        }
    }
}

impl Comparison<'_> {
    /// The group of an inode with several names: every one of them was nominated when a name came or went.
    fn group_of(&mut self, node: &Node, status: &Statx) -> Option<u32> {
        if node.is_directory() || status.stx_nlink < 2 {
            return None;
        }
        let inode = (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
        Some(
            *self
                .groups
                .entry(inode)
                .or_insert_with(|| self.tree.new_link_group()),
        )
    }
}

/// Opens a file or directory for reading. Where its own mode forbids that, it gets a mode that does not, with
/// the one it had in the record.
fn open_for_reading(
    directory: &OwnedFd,
    name: &CStr,
    status: &Statx,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    match beneath::open_name(directory, name.to_bytes(), flags) {
        Err(Errno::ACCESS) => {}
        opened => return opened,
    }
    let mode = u32::from(status.stx_mode);
    let real = stagecraft_protocol::ownership::real_permissions(mode);
    // No process is left that could put a link in its place.
    rustix::fs::chmodat(directory, name, Mode::from_raw_mode(real), AtFlags::empty())?;
    let opened = beneath::open_name(directory, name.to_bytes(), flags)?;
    if inode::get_override(&opened)?.is_none() {
        let kind = match FileType::from_raw_mode(mode) {
            FileType::Directory => NodeKind::Directory,
            _ => NodeKind::File {
                size: status.stx_size,
            },
        };
        inode::set_override(&opened, &Node::new(kind, mode, 0, 0))?;
    }
    Ok(opened)
}

/// Waits until the kernel's clock has left the tick of `newest`: usually it has long since.
fn wait_until_past(newest: Duration) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let rest = (newest + CLOCK_TICK).saturating_sub(now);
    // A time further off comes from a clock that was set back: no change will get it.
    if rest <= 2 * CLOCK_TICK && !rest.is_zero() {
        std::thread::sleep(rest);
    }
}
