//! Who files belong to and who may do what with them: the chown and chmod families.

use rustix::io::Errno;
use stagecraft_protocol::ownership::{Override, real_permissions};

use super::attributes;
use super::caller::{Caller, Target};
use super::credentials::{Credentials, KEEP, capability};
use super::records::{Inode, Pinned};
use super::{Handled, Supervisor};
use crate::filter::number;
use crate::system::notification::Reply;

/// What fchownat(2) and fchmodat2(2) take.
const FLAGS: i32 = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
const SET_IDS: u32 = libc::S_ISUID | libc::S_ISGID;

impl Supervisor {
    pub(super) fn change_owner(&self, caller: &Caller<'_>) -> Handled {
        let here = libc::AT_FDCWD;
        let [first, second, ..] = caller.arguments();
        if caller.call() == libc::SYS_fchownat && caller.int(4) & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let (target, uid, gid) = match caller.call() {
            libc::SYS_fchown => (caller.descriptor(caller.int(0)), 1, 2),
            libc::SYS_fchownat => (caller.target(caller.int(0), second, caller.int(4))?, 2, 3),
            call => {
                let flags = if is_lchown(call) {
                    libc::AT_SYMLINK_NOFOLLOW
                } else {
                    0
                };
                (caller.target(here, first, flags)?, 1, 2)
            }
        };
        self.refuse_read_only(&target)?;
        let (uid, gid) = (caller.unsigned(uid), caller.unsigned(gid));
        let who = self.who(caller);
        let keeps_root = [uid, gid].iter().all(|id| [0, KEEP].contains(id));
        if keeps_root && who.can(capability::CHOWN) && self.is_native(&target) {
            return Ok(Reply::Continue);
        }
        // What is not there is not there for the kernel either, which says why.
        let Ok(pinned) = self.records.pin(&target.path, target.follow) else {
            return Ok(Reply::Continue);
        };
        let inode = &pinned.inode;
        check_change_of_owner(&who, &inode.seen, uid, gid)?;
        if caller.call() == libc::SYS_fchown && caller.is_path_only(caller.int(0)) {
            return Ok(Reply::Continue);
        }
        let new = with_owner(inode, uid, gid);
        caller.check()?;
        attributes::drop_capabilities(&pinned);
        if new == inode.seen && !inode.is_recorded && (new.uid, new.gid) == (0, 0) {
            return Ok(Reply::Continue);
        }
        self.records.record(&pinned, new)?;
        Ok(Reply::Value(0))
    }

    pub(super) fn change_mode(&self, caller: &Caller<'_>) -> Handled {
        let here = libc::AT_FDCWD;
        let [first, second, ..] = caller.arguments();
        if caller.call() == number::FCHMODAT2 && caller.int(3) & !FLAGS != 0 {
            return Err(Errno::INVAL);
        }
        let (target, mode) = match caller.call() {
            libc::SYS_fchmod => (caller.descriptor(caller.int(0)), 1),
            libc::SYS_fchmodat => (caller.target(caller.int(0), second, 0)?, 2),
            number::FCHMODAT2 => (caller.target(caller.int(0), second, caller.int(3))?, 2),
            _ => (caller.target(here, first, 0)?, 1),
        };
        self.refuse_read_only(&target)?;
        let who = self.who(caller);
        let permissions = caller.unsigned(mode) & 0o7777;
        // With these bits for its owner, the mode is real whatever kind of inode it is for.
        let is_usable = permissions & (SET_IDS | 0o700) == 0o700;
        if is_usable && who.can(capability::FOWNER) && self.is_native(&target) {
            return Ok(Reply::Continue);
        }
        let Ok(pinned) = self.records.pin(&target.path, target.follow) else {
            return Ok(Reply::Continue);
        };
        let inode = &pinned.inode;
        if inode.is_link() {
            return Ok(Reply::Continue);
        }
        if who.user.file != inode.seen.uid && !who.can(capability::FOWNER) {
            return Err(Errno::PERM);
        }
        let mut permissions = permissions;
        if !who.is_in_group(inode.seen.gid) && !who.can(capability::FSETID) {
            permissions &= !libc::S_ISGID;
        }
        self.set_mode(caller, &pinned, permissions)
    }

    /// Whether an inode is to the build what it is to the kernel: one look in nearly all cases.
    fn is_native(&self, target: &Target) -> bool {
        !attributes::has_own(target)
            && self
                .records
                .look_up_special(&target.path, target.follow)
                .is_none()
    }

    fn set_mode(&self, caller: &Caller<'_>, pinned: &Pinned, permissions: u32) -> Handled {
        let inode = &pinned.inode;
        let mode = inode.seen.mode & libc::S_IFMT | permissions;
        let is_native = permissions & SET_IDS == 0 && real_permissions(mode) == permissions & 0o777;
        let is_refused = caller.call() == libc::SYS_fchmod && caller.is_path_only(caller.int(0));
        if is_refused || !inode.is_recorded && is_native {
            return Ok(Reply::Continue);
        }
        caller.check()?;
        let new = Override { mode, ..inode.seen };
        self.records.record(pinned, new)?;
        Ok(Reply::Value(0))
    }
}

/// The rules of chown(2): an owner without the capability may give a file to one of its groups.
fn check_change_of_owner(
    who: &Credentials,
    seen: &Override,
    uid: u32,
    gid: u32,
) -> Result<(), Errno> {
    let owns = who.user.file == seen.uid;
    let keeps_owner = uid == KEEP || (owns && uid == seen.uid);
    let group_fits = gid == KEEP || (owns && (gid == seen.gid || who.is_in_group(gid)));
    if who.can(capability::CHOWN) || (keeps_owner && group_fits) {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// A change of owner takes the set-id bits from anything but a directory, even when root makes it.
fn with_owner(inode: &Inode, uid: u32, gid: u32) -> Override {
    let mut new = inode.seen;
    if uid != KEEP {
        new.uid = uid;
    }
    if gid != KEEP {
        new.gid = gid;
    }
    if !inode.is_directory() {
        let executes_as_group = new.mode & libc::S_IXGRP != 0;
        new.mode &= if executes_as_group {
            !SET_IDS
        } else {
            !libc::S_ISUID
        };
    }
    new
}

#[cfg(target_arch = "x86_64")]
const fn is_lchown(call: libc::c_long) -> bool {
    call == libc::SYS_lchown
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_lchown(_: libc::c_long) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Override = Override {
        uid: 5,
        gid: 6,
        mode: 0o100_644,
        rdev: 0,
    };

    #[test]
    fn root_may_change_any_owner_and_an_owner_only_the_group() {
        let root = Credentials::new(0, 0, vec![]);
        assert_eq!(check_change_of_owner(&root, &FILE, 7, 7), Ok(()));
        let owner = Credentials::new(5, 5, vec![8]);
        for (uid, gid, allowed) in [
            (KEEP, 8, true),
            (5, 6, true),
            (KEEP, 5, true),
            (KEEP, KEEP, true),
            (7, KEEP, false),
            (KEEP, 9, false),
        ] {
            let result = check_change_of_owner(&owner, &FILE, uid, gid);
            assert_eq!(result.is_ok(), allowed, "{uid}:{gid}");
        }
        let other = Credentials::new(9, 9, vec![6]);
        assert_eq!(
            check_change_of_owner(&other, &FILE, KEEP, 6),
            Err(Errno::PERM)
        );
    }
}
