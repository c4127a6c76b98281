//! What files are: the stat family. Most files are what the kernel says, and then it answers itself.

use super::caller::{Caller, Target};
use super::{Handled, Supervisor};
use crate::system::memory::{bytes_of, extended_status, status};
use crate::system::notification::Reply;

impl Supervisor {
    pub(super) fn status(&self, caller: &Caller<'_>) -> Handled {
        let [first, second, third, _, fifth, _] = caller.arguments();
        match caller.call() {
            libc::SYS_fstat => self.give_status(caller, &caller.descriptor(caller.int(0)), second),
            libc::SYS_newfstatat => {
                let target = caller.target(caller.int(0), second, caller.int(3))?;
                self.give_status(caller, &target, third)
            }
            libc::SYS_statx => {
                let target = caller.target(caller.int(0), second, caller.int(2))?;
                self.give_extended_status(caller, &target, fifth)
            }
            call => {
                let flags = if is_lstat(call) {
                    libc::AT_SYMLINK_NOFOLLOW
                } else {
                    0
                };
                let target = caller.target(libc::AT_FDCWD, first, flags)?;
                self.give_status(caller, &target, second)
            }
        }
    }

    fn give_status(&self, caller: &Caller<'_>, target: &Target, address: u64) -> Handled {
        let Some(seen) = self.records.look_up(&target.path, target.follow) else {
            return Ok(Reply::Continue);
        };
        let mut status = status(&target.path, target.follow)?;
        status.st_uid = seen.uid;
        status.st_gid = seen.gid;
        status.st_mode = seen.mode;
        if is_device(seen.mode) {
            status.st_rdev = seen.rdev;
        }
        caller.give(address, bytes_of(&status))?;
        Ok(Reply::Value(0))
    }

    fn give_extended_status(&self, caller: &Caller<'_>, target: &Target, address: u64) -> Handled {
        let Some(seen) = self.records.look_up(&target.path, target.follow) else {
            return Ok(Reply::Continue);
        };
        let kept = libc::AT_STATX_SYNC_TYPE | libc::AT_NO_AUTOMOUNT;
        let no_follow = if target.follow {
            0
        } else {
            libc::AT_SYMLINK_NOFOLLOW
        };
        let flags = caller.int(2) & kept | no_follow;
        let mut status = extended_status(&target.path, flags, caller.unsigned(3))?;
        status.stx_uid = seen.uid;
        status.stx_gid = seen.gid;
        status.stx_mode = u16::try_from(seen.mode).unwrap_or(status.stx_mode);
        if is_device(seen.mode) {
            status.stx_rdev_major = libc::major(seen.rdev);
            status.stx_rdev_minor = libc::minor(seen.rdev);
        }
        caller.give(address, bytes_of(&status))?;
        Ok(Reply::Value(0))
    }
}

const fn is_device(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
}

#[cfg(target_arch = "x86_64")]
const fn is_lstat(call: libc::c_long) -> bool {
    call == libc::SYS_lstat
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_lstat(_: libc::c_long) -> bool {
    false
}
