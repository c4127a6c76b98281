//! What a node is on disk: real mode, the record of what the kernel refuses, and back.

use std::os::fd::AsFd;

use rustix::fs::{Statx, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use stagecraft_layer::{CAPABILITY_ATTRIBUTE, Node, NodeKind, Time};
use stagecraft_protocol::ownership::{
    CAPABILITY_XATTR_NAME, InodeKey, Override, XATTR_NAME, real_permissions,
};

/// Longest value of the attribute that is looked at; its text has at most 50 bytes.
const OVERRIDE_LIMIT: usize = 128;

/// Largest capability attribute that is looked at; the kernel's has 24 bytes.
const CAPABILITY_LIMIT: usize = 64;

const TYPE_MASK: u32 = 0o170_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;

/// The permission bits that a node really gets.
pub(super) const fn real_mode(node: &Node) -> u32 {
    real_permissions(node.full_mode())
}

/// What has to be recorded beside the inode, where it differs from what the kernel will say.
pub(super) fn override_of(node: &Node) -> Option<Override> {
    let is_device = matches!(
        node.kind,
        NodeKind::CharacterDevice { .. } | NodeKind::BlockDevice { .. }
    );
    let is_link = node.symlink_target().is_some();
    let same_mode = is_link || node.mode == real_mode(node);
    if node.uid == 0 && node.gid == 0 && same_mode && !is_device {
        return None;
    }
    Some(Override {
        uid: node.uid,
        gid: node.gid,
        mode: node.full_mode(),
        rdev: node.rdev(),
    })
}

/// Sets or clears the record on an open file or directory.
pub(super) fn set_override(descriptor: impl AsFd, node: &Node) -> rustix::io::Result<()> {
    match override_of(node) {
        Some(value) => {
            let text = value.encode();
            rustix::fs::fsetxattr(descriptor, XATTR_NAME, text.as_bytes(), XattrFlags::empty())
        }
        None => match rustix::fs::fremovexattr(descriptor, XATTR_NAME) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            removed => removed,
        },
    }
}

/// The record of an open file or directory; one that is malformed or too long counts as none.
pub(super) fn get_override(descriptor: impl AsFd) -> rustix::io::Result<Option<Override>> {
    let mut value = [0_u8; OVERRIDE_LIMIT];
    match rustix::fs::fgetxattr(descriptor, XATTR_NAME, &mut value[..]) {
        Ok(length) => Ok(value.get(..length).and_then(Override::decode)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Keeps a new file's capabilities beside it: setting the real ones takes a capability.
pub(super) fn set_capability(file: impl AsFd, node: &Node) -> rustix::io::Result<()> {
    match node.attribute(CAPABILITY_ATTRIBUTE) {
        Some(value) if node.is_file() => {
            rustix::fs::fsetxattr(file, CAPABILITY_XATTR_NAME, value, XattrFlags::empty())
        }
        _ => Ok(()),
    }
}

/// Takes a file's capabilities into its node: those kept beside it, else real ones (where a step is real root).
/// What cannot be read or is absurdly long is none.
///
/// Writing to a file takes real capabilities away, but not those beside it: a program that is overwritten in
/// place keeps them, as nothing tells that from one that got the same ones again.
pub(super) fn get_capability(file: impl AsFd, node: &mut Node) {
    for name in [CAPABILITY_XATTR_NAME, "security.capability"] {
        let mut value = [0_u8; CAPABILITY_LIMIT];
        if let Ok(length) = rustix::fs::fgetxattr(&file, name, &mut value[..]) {
            node.set_attribute(CAPABILITY_ATTRIBUTE, value.get(..length));
            return;
        }
    }
}

/// Only the modification time is set.
pub(super) fn timestamps(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        },
    }
}

/// The time of an inode.
pub(super) const fn time_of(status: &Statx) -> Time {
    Time {
        seconds: status.stx_mtime.tv_sec,
        nanoseconds: status.stx_mtime.tv_nsec,
    }
}

/// What identifies an inode while it exists.
pub(super) const fn key_of(status: &Statx) -> InodeKey {
    InodeKey {
        device_major: status.stx_dev_major,
        device_minor: status.stx_dev_minor,
        inode: status.stx_ino,
        birth_seconds: status.stx_btime.tv_sec,
        birth_nanoseconds: status.stx_btime.tv_nsec,
    }
}

/// The node of an inode of this kind, as the record says where there is one that fits, else as the kernel says.
/// `own` is who the root's files belong to underneath: `0:0` to the build.
pub(super) fn node_of(
    status: &Statx,
    kind: NodeKind,
    record: Option<Override>,
    own: (u32, u32),
) -> Node {
    let is_file = matches!(kind, NodeKind::File { .. });
    let mut node = Node::new(kind, u32::from(status.stx_mode), 0, 0);
    let fits = |record: &Override| match record.mode & TYPE_MASK {
        CHARACTER_DEVICE | BLOCK_DEVICE => is_file,
        kind => kind == node.full_mode() & TYPE_MASK,
    };
    let Some(record) = record.filter(fits) else {
        node.uid = if status.stx_uid == own.0 {
            0
        } else {
            status.stx_uid
        };
        node.gid = if status.stx_gid == own.1 {
            0
        } else {
            status.stx_gid
        };
        node.mtime = time_of(status);
        return node;
    };
    let kind = match record.mode & TYPE_MASK {
        CHARACTER_DEVICE => NodeKind::CharacterDevice { rdev: record.rdev },
        BLOCK_DEVICE => NodeKind::BlockDevice { rdev: record.rdev },
        _ => node.kind,
    };
    let mut node = Node::new(kind, record.mode, record.uid, record.gid);
    node.mtime = time_of(status);
    node
}
