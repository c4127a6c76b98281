//! Extended attributes: ours are not there for the build, and file capabilities are, although the kernel would
//! refuse them.

use std::ffi::CStr;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
#[cfg(test)]
use stagecraft_protocol::ownership::CAPABILITY_XATTR_NAME;

use super::caller::{Caller, Target};
use super::credentials::capability;
use super::records::Pinned;
use super::{Handled, Supervisor};
use crate::filter::number;
use crate::system::notification::Reply;
use crate::system::xattr;

/// Every name of ours starts so.
const OWN_PREFIX: &[u8] = b"user.stagecraft.";
/// The attribute that setcap(8) writes.
const CAPABILITIES: &CStr = c"security.capability";
/// Where it is kept: [`CAPABILITY_XATTR_NAME`] for the kernel.
const KEPT_CAPABILITIES: &CStr = c"user.stagecraft.capability";
/// Larger values are none of capabilities.
const VALUE_LIMIT: usize = 64;

/// Whether an inode has attributes of ours.
pub(super) fn has_own(target: &Target) -> bool {
    xattr::list(&target.path, target.follow).is_ok_and(|names| {
        names
            .split(|byte| *byte == 0)
            .any(|name| name.starts_with(OWN_PREFIX))
    })
}

/// Takes the file capabilities away, as a change of owner does.
pub(super) fn drop_capabilities(pinned: &Pinned) {
    if !pinned.inode.is_directory() {
        let _ = xattr::remove(pinned.path(), true, KEPT_CAPABILITIES);
    }
}

/// What a call does with the attributes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Set { value: u64, size: u64, flags: u32 },
    Get { value: u64, size: u64 },
    List { value: u64, size: u64 },
    Remove,
}

impl Supervisor {
    pub(super) fn attribute(&self, caller: &Caller<'_>) -> Handled {
        let call = caller.call();
        let action = action(caller)?;
        if let Action::List { value, size } = action {
            return list(caller, &target(caller)?, value, size);
        }
        let is_at = (number::SETXATTRAT..=number::REMOVEXATTRAT).contains(&call);
        let address = caller.arguments()[if is_at { 3 } else { 1 }];
        let name = caller.memory().read_string(address)?;
        if name.to_bytes().starts_with(OWN_PREFIX) {
            let is_set = matches!(action, Action::Set { .. });
            return Err(if is_set { Errno::PERM } else { Errno::NODATA });
        }
        if matches!(action, Action::Set { .. } | Action::Remove) {
            self.refuse_read_only(&target(caller)?)?;
        }
        if name.as_c_str() != CAPABILITIES {
            return Ok(Reply::Continue);
        }
        let target = target(caller)?;
        if let Action::Get { value, size } = action {
            return give_capabilities(caller, &target, value, size);
        }
        // The kernel says what is wrong with a path.
        let Ok(pinned) = self.records.pin(&target.path, target.follow) else {
            return Ok(Reply::Continue);
        };
        if !self.who(caller).can(capability::SETFCAP) || pinned.inode.is_link() {
            return Err(Errno::PERM);
        }
        caller.check()?;
        match action {
            Action::Set { value, size, flags } => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size > VALUE_LIMIT {
                    return Err(Errno::INVAL);
                }
                let mut bytes = vec![0; size];
                caller.memory().read(value, &mut bytes)?;
                if !is_capability_set(&bytes) {
                    return Err(Errno::INVAL);
                }
                let flags = XattrFlags::from_bits_retain(flags);
                xattr::set(pinned.path(), true, KEPT_CAPABILITIES, &bytes, flags)?;
            }
            _ => xattr::remove(pinned.path(), true, KEPT_CAPABILITIES)?,
        }
        Ok(Reply::Value(0))
    }
}

/// The inode that a call of the family is about.
fn target(caller: &Caller<'_>) -> Result<Target, Errno> {
    let [first, second, ..] = caller.arguments();
    match caller.call() {
        libc::SYS_fsetxattr
        | libc::SYS_fgetxattr
        | libc::SYS_flistxattr
        | libc::SYS_fremovexattr => Ok(caller.descriptor(caller.int(0))),
        libc::SYS_lsetxattr
        | libc::SYS_lgetxattr
        | libc::SYS_llistxattr
        | libc::SYS_lremovexattr => caller.target(libc::AT_FDCWD, first, libc::AT_SYMLINK_NOFOLLOW),
        number::SETXATTRAT..=number::REMOVEXATTRAT => {
            caller.target(caller.int(0), second, caller.int(2))
        }
        _ => caller.target(libc::AT_FDCWD, first, 0),
    }
}

fn action(caller: &Caller<'_>) -> Result<Action, Errno> {
    let [_, _, third, fourth, fifth, _] = caller.arguments();
    Ok(match caller.call() {
        libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => Action::Set {
            value: third,
            size: fourth,
            flags: caller.unsigned(4),
        },
        libc::SYS_getxattr | libc::SYS_lgetxattr | libc::SYS_fgetxattr => Action::Get {
            value: third,
            size: fourth,
        },
        libc::SYS_listxattr | libc::SYS_llistxattr | libc::SYS_flistxattr => {
            let [_, value, size, ..] = caller.arguments();
            Action::List { value, size }
        }
        number::LISTXATTRAT => Action::List {
            value: fourth,
            size: fifth,
        },
        number::SETXATTRAT | number::GETXATTRAT => {
            // `struct xattr_args`: a pointer, a size and flags.
            let mut bytes = [0; 16];
            caller.memory().read(fifth, &mut bytes)?;
            let value = u64::from_ne_bytes(bytes[..8].try_into().unwrap_or_default());
            let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
            let (size, flags) = (u64::from(word(8)), word(12));
            match caller.call() {
                number::SETXATTRAT => Action::Set { value, size, flags },
                _ => Action::Get { value, size },
            }
        }
        _ => Action::Remove,
    })
}

/// Whether a value is a `struct vfs_cap_data` of a version that the kernel takes.
fn is_capability_set(value: &[u8]) -> bool {
    let version = value
        .first_chunk()
        .map(|head| u32::from_le_bytes(*head) >> 24);
    matches!((version, value.len()), (Some(2), 20) | (Some(3), 24))
}

fn give_capabilities(caller: &Caller<'_>, target: &Target, value: u64, size: u64) -> Handled {
    let mut buffer = [0; VALUE_LIMIT];
    let length = match xattr::get(&target.path, target.follow, KEPT_CAPABILITIES, &mut buffer) {
        Ok(length) => length,
        // A root that came as an image's own may have real ones.
        Err(_) => return Ok(Reply::Continue),
    };
    give(caller, &buffer[..length], value, size)
}

/// The names that the build may see.
fn list(caller: &Caller<'_>, target: &Target, value: u64, size: u64) -> Handled {
    // What cannot be listed is for the kernel to explain.
    let Ok(names) = xattr::list(&target.path, target.follow) else {
        return Ok(Reply::Continue);
    };
    let mut visible = Vec::with_capacity(names.len());
    let mut has_own = false;
    for name in names.split_inclusive(|byte| *byte == 0) {
        if name == KEPT_CAPABILITIES.to_bytes_with_nul() {
            visible.extend_from_slice(CAPABILITIES.to_bytes_with_nul());
        }
        if name.starts_with(OWN_PREFIX) {
            has_own = true;
        } else {
            visible.extend_from_slice(name);
        }
    }
    if !has_own {
        return Ok(Reply::Continue);
    }
    give(caller, &visible, value, size)
}

/// The result of a call that tells the length when its buffer is of size 0.
fn give(caller: &Caller<'_>, bytes: &[u8], value: u64, size: u64) -> Handled {
    if size != 0 {
        if size < bytes.len() as u64 {
            return Err(Errno::RANGE);
        }
        caller.give(value, bytes)?;
    }
    Ok(Reply::Value(i64::try_from(bytes.len()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_have_the_names_of_the_protocol() {
        use stagecraft_protocol::ownership::XATTR_NAME;
        assert_eq!(KEPT_CAPABILITIES.to_str(), Ok(CAPABILITY_XATTR_NAME));
        assert!(XATTR_NAME.as_bytes().starts_with(OWN_PREFIX));
        assert!(CAPABILITY_XATTR_NAME.as_bytes().starts_with(OWN_PREFIX));
    }
}
