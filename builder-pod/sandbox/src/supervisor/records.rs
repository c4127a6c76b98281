//! What inodes are to the build, where the kernel refuses to say it: an attribute on files and directories, a
//! table for inodes that cannot carry one.
//!
//! Invariant: what is changed was opened first and found to be on a mount that the step has. A path may lead through
//! the runner's own `/proc`, where its program and its descriptors are, and change from one look to the next.
//! Invariant: every change of a record moves the inode's change time, so that the engine's snapshot sees it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{PoisonError, RwLock};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Statx, StatxFlags, Uid, XattrFlags};
use rustix::io::Errno;
use stagecraft_protocol::ownership::{InodeKey, Override, SpecialOwner, real_permissions};

use crate::system::xattr;

/// [`stagecraft_protocol::ownership::XATTR_NAME`] for the kernel.
const NAME: &CStr = c"user.stagecraft.override";
/// No encoded record is longer.
const LONGEST: usize = 80;
const SET_IDS: u32 = libc::S_ISUID | libc::S_ISGID;

/// The records of a root file system.
#[derive(Debug)]
pub(crate) struct Records {
    specials: RwLock<Specials>,
    /// Ids of the mounts that a step has. What the runner holds besides is on none of them.
    mounts: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Specials {
    entries: HashMap<InodeKey, Override>,
    changed: BTreeSet<InodeKey>,
}

/// An inode that a call is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inode {
    /// What the build sees.
    pub(super) seen: Override,
    /// Whether that is recorded, rather than being the kernel's own answer.
    pub(super) is_recorded: bool,
    real_mode: u32,
    key: InodeKey,
}

impl Inode {
    /// Whether it is to the build what it is to the kernel: a directory or a file, not a device that is kept as
    /// a file.
    pub(super) const fn is_directory(&self) -> bool {
        self.real_mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub(super) const fn is_link(&self) -> bool {
        self.real_mode & libc::S_IFMT == libc::S_IFLNK
    }

    pub(super) const fn is_socket(&self) -> bool {
        self.real_mode & libc::S_IFMT == libc::S_IFSOCK
    }

    const fn carries_attributes(&self) -> bool {
        carries_attributes(self.real_mode)
    }
}

/// An inode that is held open while it is changed, whatever its path leads to meanwhile.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) inode: Inode,
    descriptor: OwnedFd,
    /// Leads to the descriptor, and through it, not to where a symbolic link leads.
    path: CString,
}

impl Pinned {
    /// A path of the supervisor's that leads to the inode, for calls that follow it.
    pub(super) fn path(&self) -> &CStr {
        &self.path
    }
}

const fn carries_attributes(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}

impl Records {
    /// No records yet, of a root with the mounts that this process sees now.
    ///
    /// # Errors
    /// When the mounts cannot be read.
    pub(crate) fn of_this_namespace() -> std::io::Result<Self> {
        Ok(Self {
            specials: RwLock::default(),
            mounts: mounts(&std::fs::read_to_string("/proc/self/mountinfo")?),
        })
    }

    /// Takes over what the engine made since the last step.
    pub(crate) fn learn(&self, owners: &[SpecialOwner]) {
        let mut specials = self
            .specials
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        specials
            .entries
            .extend(owners.iter().map(|owner| (owner.key, owner.attributes)));
        specials.changed.clear();
    }

    /// What changed in the step and is part of the root file system, for the engine.
    pub(crate) fn take_changed(&self) -> Vec<SpecialOwner> {
        let root = status(c"/", true).ok();
        let mut specials = self
            .specials
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut specials.changed);
        let is_inside = |key: &InodeKey| {
            root.is_none_or(|root| {
                (key.device_major, key.device_minor) == (root.stx_dev_major, root.stx_dev_minor)
            })
        };
        changed
            .into_iter()
            .filter(is_inside)
            .filter_map(|key| {
                let attributes = *specials.entries.get(&key)?;
                Some(SpecialOwner { key, attributes })
            })
            .collect()
    }

    /// Forgets everything: the root is empty.
    pub(crate) fn forget(&self) {
        let mut specials = self
            .specials
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *specials = Specials::default();
    }

    /// What is recorded of the inode at a path; `None` when the kernel's own answer about it is right, whatever
    /// that is. One call in most cases.
    pub(super) fn look_up(&self, path: &CStr, follow: bool) -> Option<Override> {
        let mut value = [0; LONGEST];
        match xattr::get(path, follow, NAME, &mut value) {
            Ok(length) => return Override::decode(value.get(..length)?),
            // The inode or its file system carries no such attributes, or this one has none.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(_) => return None,
        }
        self.look_up_special(path, follow)
    }

    /// What the table has of the inode at a path.
    pub(super) fn look_up_special(&self, path: &CStr, follow: bool) -> Option<Override> {
        let specials = self.specials.read().unwrap_or_else(PoisonError::into_inner);
        if specials.entries.is_empty() {
            return None;
        }
        specials
            .entries
            .get(&key_of(&status(path, follow).ok()?))
            .copied()
    }

    /// The inode at a path, to look at.
    pub(super) fn inode(&self, path: &CStr, follow: bool) -> Result<Inode, Errno> {
        let status = status(path, follow)?;
        Ok(described(&status, self.look_up(path, follow)))
    }

    /// The inode at a path, to change.
    ///
    /// # Errors
    /// `EXDEV` when it is none of the step's: the runner's own program, or a pipe.
    pub(super) fn pin(&self, path: &CStr, follow: bool) -> Result<Pinned, Errno> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let status = rustix::fs::statx(&descriptor, c"", AtFlags::EMPTY_PATH, wanted)?;
        if !self.mounts.contains(&status.stx_mnt_id) {
            return Err(Errno::XDEV);
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let path = CString::new(path).unwrap_or_default();
        let inode = described(&status, self.look_up(&path, true));
        Ok(Pinned {
            inode,
            descriptor,
            path,
        })
    }

    /// Makes the build see `new` where an inode is.
    pub(super) fn record(&self, pinned: &Pinned, new: Override) -> Result<(), Errno> {
        let (inode, path, follow) = (&pinned.inode, pinned.path(), true);
        if !inode.carries_attributes() {
            return self.record_special(pinned, new);
        }
        let permissions = real_permissions(new.mode);
        let is_native = new.uid == 0
            && new.gid == 0
            && new.mode & SET_IDS == 0
            && new.mode & libc::S_IFMT == inode.real_mode & libc::S_IFMT
            && new.mode & 0o777 == permissions;
        // A sticky bit needs no record: nothing else than the build's own root tests it.
        let wanted = if is_native {
            new.mode & 0o1777
        } else {
            permissions
        };
        // First, because an attribute can be written only by an owner who may write.
        if inode.real_mode & 0o7777 != wanted {
            let mode = Mode::from_raw_mode(wanted);
            match rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()) {
                Ok(()) => {}
                // An inode of the runtime's, or of another owner: it is what it is.
                Err(Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        let result = if is_native {
            match xattr::remove(path, follow, NAME) {
                Err(Errno::NODATA) => Ok(()),
                other => other,
            }
        } else {
            xattr::set(
                path,
                follow,
                NAME,
                new.encode().as_bytes(),
                XattrFlags::empty(),
            )
        };
        match result {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {
                let is_native = (new.uid, new.gid, new.mode) == (0, 0, inode.real_mode);
                self.remember(inode.key, new, is_native);
                Ok(())
            }
            other => other,
        }
    }

    /// Notes what was just made at a path.
    pub(super) fn record_new(&self, path: &CStr, follow: bool, new: Override) -> Result<(), Errno> {
        self.record(&self.pin(path, follow)?, new)
    }

    fn record_special(&self, pinned: &Pinned, new: Override) -> Result<(), Errno> {
        // The owner is root's already. What counts is that the change time moves, and that an overlay copies the
        // inode up: only then its numbers are those that it keeps.
        let root = (Some(Uid::ROOT), Some(Gid::ROOT));
        let itself = AtFlags::EMPTY_PATH;
        let copied = rustix::fs::chownat(&pinned.descriptor, c"", root.0, root.1, itself);
        if copied == Err(Errno::ROFS) {
            return Err(Errno::ROFS);
        }
        let inode = &pinned.inode;
        if !inode.is_link() && inode.real_mode & 0o777 != new.mode & 0o777 {
            let mode = Mode::from_raw_mode(new.mode & 0o777 | 0o600);
            let _ = rustix::fs::chmodat(CWD, pinned.path(), mode, AtFlags::empty());
        }
        // Through its path: a descriptor of a lower layer stays there.
        let now = status(pinned.path(), true)?;
        let is_native = (new.uid, new.gid, new.mode) == (0, 0, u32::from(now.stx_mode));
        self.remember(key_of(&now), new, is_native);
        Ok(())
    }

    fn remember(&self, key: InodeKey, new: Override, is_native: bool) {
        let mut specials = self
            .specials
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if is_native && !specials.entries.contains_key(&key) {
            return;
        }
        specials.entries.insert(key, new);
        specials.changed.insert(key);
    }
}

/// The ids of the mounts that a `mountinfo` of proc(5) lists.
fn mounts(text: &str) -> HashSet<u64> {
    text.lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect()
}

fn described(status: &Statx, recorded: Option<Override>) -> Inode {
    let real_mode = u32::from(status.stx_mode);
    let native = Override {
        uid: status.stx_uid,
        gid: status.stx_gid,
        mode: real_mode,
        rdev: libc::makedev(status.stx_rdev_major, status.stx_rdev_minor),
    };
    Inode {
        seen: recorded.unwrap_or(native),
        is_recorded: recorded.is_some(),
        real_mode,
        key: key_of(status),
    }
}

fn status(path: &CStr, follow: bool) -> Result<Statx, Errno> {
    let flags = if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    rustix::fs::statx(
        CWD,
        path,
        flags,
        StatxFlags::BASIC_STATS | StatxFlags::BTIME,
    )
}

const fn key_of(status: &Statx) -> InodeKey {
    InodeKey {
        device_major: status.stx_dev_major,
        device_minor: status.stx_dev_minor,
        inode: status.stx_ino,
        birth_seconds: status.stx_btime.tv_sec,
        birth_nanoseconds: status.stx_btime.tv_nsec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_has_the_name_of_the_protocol() {
        assert_eq!(
            NAME.to_str(),
            Ok(stagecraft_protocol::ownership::XATTR_NAME)
        );
        let longest = Override {
            uid: u32::MAX,
            gid: u32::MAX,
            mode: u32::MAX,
            rdev: u64::MAX,
        };
        assert!(longest.encode().len() <= LONGEST);
    }
}
