//! Ownership, modes and devices that the kernel refuses to an unprivileged process, kept beside the inode.
//!
//! Engine and supervisor write the same record: in one extended attribute on regular files and directories,
//! in a table exchanged per step for symbolic links and other inodes that cannot carry `user.*`.

use serde::{Deserialize, Serialize};

/// The extended attribute that holds an [`Override`] on regular files and directories.
/// It is stripped from everything that comes in and never goes out.
pub const XATTR_NAME: &str = "user.stagecraft.override";

/// The extended attribute that holds the value of `security.capability` of a regular file: setting the real one
/// takes a capability. Like [`XATTR_NAME`] it is stripped from what comes in and never goes out under this name.
pub const CAPABILITY_XATTR_NAME: &str = "user.stagecraft.capability";

/// What an inode is to the build, where that differs from what it is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Owner as the build sees it.
    pub uid: u32,
    /// Group as the build sees it.
    pub gid: u32,
    /// Full `st_mode` as the build sees it: type and permission bits (a device is a regular file underneath).
    pub mode: u32,
    /// Device number as `st_rdev` has it; 0 unless `mode` says a device.
    pub rdev: u64,
}

impl Override {
    /// The attribute's value: four numbers, `uid:gid:mode(octal):rdev`.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{}:{}:{:o}:{}", self.uid, self.gid, self.mode, self.rdev)
    }

    /// Reads an attribute's value; `None` when it is not of that form.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(value).ok()?.split(':');
        let uid = parts.next()?.parse().ok()?;
        let gid = parts.next()?.parse().ok()?;
        let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
        let rdev = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self {
            uid,
            gid,
            mode,
            rdev,
        })
    }
}

/// An inode that keeps its identity while it exists: numbers come back after deletion, birth times do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InodeKey {
    /// Major number of the device.
    pub device_major: u32,
    /// Minor number of the device.
    pub device_minor: u32,
    /// Inode number.
    pub inode: u64,
    /// Birth time (`STATX_BTIME`), seconds.
    pub birth_seconds: i64,
    /// Birth time, nanoseconds.
    pub birth_nanoseconds: u32,
}

/// The owner of an inode that cannot carry the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialOwner {
    /// Which inode.
    pub key: InodeKey,
    /// What it is to the build.
    pub attributes: Override,
}

const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// The permission bits that the inode really gets, so that an owner without capabilities can work with it:
/// directories are rwx for the owner; files rw, and x only where the build's mode has any x; no set-id bits.
#[must_use]
pub const fn real_permissions(mode: u32) -> u32 {
    let permissions = mode & 0o777;
    if mode & TYPE_MASK == DIRECTORY || permissions & 0o111 != 0 {
        permissions | 0o700
    } else {
        permissions | 0o600
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_comes_back_from_its_text() {
        let value = Override {
            uid: 101,
            gid: u32::MAX - 1,
            mode: 0o020_660,
            rdev: 0x103,
        };
        assert_eq!(Override::decode(value.encode().as_bytes()), Some(value));
        for wrong in ["", "1:2:3", "1:2:9:0", "1:2:644:0:0", "-1:0:644:0"] {
            assert_eq!(Override::decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn real_permissions_keep_the_owner_able_to_work_and_set_ids_out() {
        assert_eq!(real_permissions(0o100_000), 0o600);
        assert_eq!(real_permissions(0o104_755), 0o755);
        assert_eq!(real_permissions(0o100_011), 0o711);
        assert_eq!(real_permissions(0o040_555), 0o755);
    }
}
