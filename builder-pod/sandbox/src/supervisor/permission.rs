//! What a user may do with files that are not its own.
//!
//! In a step that starts as another user than root, all of it is tested. In one that starts as root, where opens to
//! read are not answered because there are so many, processes that became another user are kept from making and removing
//! names, from writing, and from being told that they may.
//! Underneath, every file is root's and the process is root, so the kernel permits all: the modes and owners that
//! the build sees are tested here, as path_resolution(7) has it.
//! What a link leads through is not tested, only where it leads to.

use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use stagecraft_protocol::ownership::Override;

use super::Supervisor;
use super::caller::{Caller, Target, parent};
use super::create::Opening;
use super::credentials::{Credentials, capability};
use crate::filter::number;

const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
const EXECUTE: u32 = 1;
/// Directories that the kernel or the runtime keeps: what is in them is not of the build.
const FOREIGN: [&[u8]; 3] = [b"/proc", b"/dev", b"/sys"];

/// What a call wants, besides that every directory on the way can be searched.
pub(super) enum Wish {
    /// This of what is at the path.
    Access(Target, u32),
    /// A new name in the directory of the path.
    Enter(Target),
    /// The path's name to be gone.
    Leave(Target),
    /// New times: its owner's right, or that of who may write when they are the present.
    Touch(Target, bool),
}

/// Whether a call is tested too of a process that became another user in a step that started as root.
pub(super) fn is_checked_of_all(call: libc::c_long) -> bool {
    match call {
        libc::SYS_openat
        | libc::SYS_openat2
        | libc::SYS_mkdirat
        | libc::SYS_mknodat
        | libc::SYS_symlinkat
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_unlinkat
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_linkat
        | libc::SYS_truncate
        | libc::SYS_fchmodat
        | number::FCHMODAT2
        | libc::SYS_fchownat => true,
        _ => is_checked_of_all_old(call),
    }
}

#[cfg(target_arch = "x86_64")]
const fn is_checked_of_all_old(call: libc::c_long) -> bool {
    matches!(
        call,
        libc::SYS_open
            | libc::SYS_creat
            | libc::SYS_mkdir
            | libc::SYS_mknod
            | libc::SYS_symlink
            | libc::SYS_access
            | libc::SYS_unlink
            | libc::SYS_rmdir
            | libc::SYS_rename
            | libc::SYS_link
            | libc::SYS_chmod
            | libc::SYS_chown
            | libc::SYS_lchown
    )
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_checked_of_all_old(_: libc::c_long) -> bool {
    false
}

impl Supervisor {
    /// Fails with what the kernel would say to the user that the caller is to the build.
    pub(super) fn check_permissions(&self, caller: &Caller<'_>) -> Result<(), Errno> {
        let who = self.who(caller);
        if who.can(capability::DAC_OVERRIDE) {
            return Ok(());
        }
        for wish in wishes(caller)? {
            match wish {
                Wish::Access(target, want) => self.check_access(&who, &target, want)?,
                Wish::Enter(target) => self.check_directory(&who, &target, false)?,
                Wish::Leave(target) => self.check_directory(&who, &target, true)?,
                Wish::Touch(target, is_now) => self.check_touch(&who, &target, is_now)?,
            }
        }
        Ok(())
    }

    fn check_access(&self, who: &Credentials, target: &Target, want: u32) -> Result<(), Errno> {
        // What is not there, the kernel says so.
        let Some(place) = locate(&target.path, target.follow) else {
            return Ok(());
        };
        if is_foreign(&place) {
            return Ok(());
        }
        self.check_way(who, &place)?;
        if want == 0 {
            return Ok(());
        }
        let Ok(inode) = self.records.inode(&target.path, target.follow) else {
            return Ok(());
        };
        permit(who, &inode.seen, want)
    }

    /// Whether every directory above a place can be searched.
    fn check_way(&self, who: &Credentials, place: &CStr) -> Result<(), Errno> {
        let bytes = place.to_bytes();
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let directory = CString::new(&bytes[..at.max(1)]).unwrap_or_default();
            // The root of a whole name is its own way.
            if directory.to_bytes() == bytes {
                break;
            }
            if let Ok(inode) = self.records.inode(&directory, true) {
                permit(who, &inode.seen, EXECUTE)?;
            }
        }
        Ok(())
    }

    /// Whether a name may be made in the directory of a path, or removed from it.
    fn check_directory(
        &self,
        who: &Credentials,
        target: &Target,
        removes: bool,
    ) -> Result<(), Errno> {
        let directory = Target {
            path: parent(&target.path),
            follow: true,
            start: None,
        };
        // A name that is there cannot be made, and one that is not cannot be removed: that comes before the right to.
        let found = self.records.inode(&target.path, false);
        if found.is_ok() != removes {
            return self.check_access(who, &directory, EXECUTE);
        }
        self.check_access(who, &directory, WRITE | EXECUTE)?;
        if !removes || locate(&directory.path, true).is_none_or(|place| is_foreign(&place)) {
            return Ok(());
        }
        let (Ok(above), Ok(inode)) = (self.records.inode(&directory.path, true), found) else {
            return Ok(());
        };
        let is_sticky = above.seen.mode & libc::S_ISVTX != 0;
        let owns = [above.seen.uid, inode.seen.uid].contains(&who.user.file);
        if is_sticky && !owns {
            Err(Errno::PERM)
        } else {
            Ok(())
        }
    }

    fn check_touch(&self, who: &Credentials, target: &Target, is_now: bool) -> Result<(), Errno> {
        self.check_access(who, target, 0)?;
        let Ok(inode) = self.records.inode(&target.path, target.follow) else {
            return Ok(());
        };
        if inode.seen.uid == who.user.file {
            return Ok(());
        }
        if is_now {
            permit(who, &inode.seen, WRITE)
        } else {
            Err(Errno::PERM)
        }
    }
}

/// The test of the nine bits: the first class that fits decides.
fn permit(who: &Credentials, seen: &Override, want: u32) -> Result<(), Errno> {
    let shift = if who.user.file == seen.uid {
        6
    } else if who.is_in_group(seen.gid) {
        3
    } else {
        0
    };
    if seen.mode >> shift & want == want {
        Ok(())
    } else {
        Err(Errno::ACCESS)
    }
}

/// The whole name of what is at a path, without links; `None` when nothing is there.
pub(super) fn locate(path: &CStr, follow: bool) -> Option<CString> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let own = format!("/proc/self/fd/{}", opened.as_raw_fd());
    rustix::fs::readlink(own, Vec::new()).ok()
}

/// Whether a place is no file of the root: a pipe or a socket has no path.
fn is_foreign(place: &CStr) -> bool {
    let bytes = place.to_bytes();
    !bytes.starts_with(b"/")
        || FOREIGN.iter().any(|directory| {
            bytes
                .strip_prefix(*directory)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
}

/// What a call wants.
pub(super) fn wishes(caller: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    let [_, second, third, fourth, ..] = caller.arguments();
    let no_follow = libc::AT_SYMLINK_NOFOLLOW;
    let named = |directory, path| caller.target(directory, path, no_follow);
    Ok(match caller.call() {
        libc::SYS_openat | libc::SYS_openat2 => open_wishes(caller)?,
        libc::SYS_faccessat | libc::SYS_faccessat2 => {
            let flags = if caller.call() == libc::SYS_faccessat2 {
                caller.int(3)
            } else {
                0
            };
            let target = caller.target(caller.int(0), second, flags)?;
            vec![Wish::Access(target, caller.unsigned(2) & 7)]
        }
        libc::SYS_fchmodat => vec![Wish::Access(caller.target(caller.int(0), second, 0)?, 0)],
        number::FCHMODAT2 | libc::SYS_fchownat => {
            let position = if caller.call() == libc::SYS_fchownat {
                4
            } else {
                3
            };
            let flags = caller.int(position);
            if flags & libc::AT_EMPTY_PATH != 0 {
                return Ok(Vec::new());
            }
            vec![Wish::Access(
                caller.target(caller.int(0), second, flags)?,
                0,
            )]
        }
        libc::SYS_mkdirat | libc::SYS_mknodat => vec![Wish::Enter(named(caller.int(0), second)?)],
        libc::SYS_symlinkat => vec![Wish::Enter(named(caller.int(1), third)?)],
        libc::SYS_linkat => link_wishes(caller)?,
        libc::SYS_unlinkat => vec![Wish::Leave(named(caller.int(0), second)?)],
        libc::SYS_renameat | libc::SYS_renameat2 => vec![
            Wish::Leave(named(caller.int(0), second)?),
            Wish::Leave(named(caller.int(2), fourth)?),
            Wish::Enter(named(caller.int(2), fourth)?),
        ],
        libc::SYS_utimensat if second == 0 => {
            vec![Wish::Touch(caller.descriptor(caller.int(0)), third == 0)]
        }
        libc::SYS_utimensat => {
            let target = caller.target(caller.int(0), second, caller.int(3))?;
            vec![Wish::Touch(target, third == 0)]
        }
        libc::SYS_execveat => {
            let target = caller.target(caller.int(0), second, caller.int(4))?;
            vec![Wish::Access(target, EXECUTE)]
        }
        libc::SYS_newfstatat | libc::SYS_statx => {
            let flags = if caller.call() == libc::SYS_statx {
                caller.int(2)
            } else {
                caller.int(3)
            };
            if flags & libc::AT_EMPTY_PATH != 0 {
                return Ok(Vec::new());
            }
            vec![Wish::Access(
                caller.target(caller.int(0), second, flags)?,
                0,
            )]
        }
        _ => plain_wishes(caller)?,
    })
}

fn link_wishes(caller: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    let [_, second, _, fourth, ..] = caller.arguments();
    let flags = caller.int(4);
    let no_follow = libc::AT_SYMLINK_NOFOLLOW;
    let mut wishes = Vec::new();
    // Without a path it is the descriptor's inode that gets a name.
    if flags & libc::AT_EMPTY_PATH == 0 {
        let follow = if flags & libc::AT_SYMLINK_FOLLOW == 0 {
            no_follow
        } else {
            0
        };
        let old = caller.target(caller.int(0), second, follow)?;
        wishes.push(Wish::Access(old, 0));
    }
    let new = caller.target(caller.int(2), fourth, no_follow)?;
    wishes.push(Wish::Enter(new));
    Ok(wishes)
}

/// Calls whose path is their first argument.
fn plain_wishes(caller: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    let first = caller.arguments()[0];
    let at = |flags| caller.target(libc::AT_FDCWD, first, flags);
    Ok(match caller.call() {
        libc::SYS_execve | libc::SYS_chdir => vec![Wish::Access(at(0)?, EXECUTE)],
        libc::SYS_truncate => vec![Wish::Access(at(0)?, WRITE)],
        _ => old_wishes(caller)?,
    })
}

#[cfg(target_arch = "x86_64")]
fn old_wishes(caller: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    let [first, second, third, ..] = caller.arguments();
    let at = |path, flags| caller.target(libc::AT_FDCWD, path, flags);
    let no_follow = libc::AT_SYMLINK_NOFOLLOW;
    Ok(match caller.call() {
        libc::SYS_open | libc::SYS_creat => open_wishes(caller)?,
        libc::SYS_access => vec![Wish::Access(at(first, 0)?, caller.unsigned(1) & 7)],
        libc::SYS_stat | libc::SYS_chmod | libc::SYS_chown => {
            vec![Wish::Access(at(first, 0)?, 0)]
        }
        libc::SYS_lstat | libc::SYS_lchown => vec![Wish::Access(at(first, no_follow)?, 0)],
        libc::SYS_mkdir | libc::SYS_mknod => vec![Wish::Enter(at(first, no_follow)?)],
        libc::SYS_symlink => vec![Wish::Enter(at(second, no_follow)?)],
        libc::SYS_link => vec![
            Wish::Access(at(first, no_follow)?, 0),
            Wish::Enter(at(second, no_follow)?),
        ],
        libc::SYS_unlink | libc::SYS_rmdir => vec![Wish::Leave(at(first, no_follow)?)],
        libc::SYS_rename => {
            vec![
                Wish::Leave(at(first, no_follow)?),
                Wish::Leave(at(second, no_follow)?),
                Wish::Enter(at(second, no_follow)?),
            ]
        }
        libc::SYS_utime | libc::SYS_utimes => vec![Wish::Touch(at(first, 0)?, second == 0)],
        libc::SYS_futimesat => {
            let target = caller.target(caller.int(0), second, 0)?;
            vec![Wish::Touch(target, third == 0)]
        }
        _ => Vec::new(),
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn old_wishes(_: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    Ok(Vec::new())
}

fn open_wishes(caller: &Caller<'_>) -> Result<Vec<Wish>, Errno> {
    let Some(opening) = Opening::read(caller)? else {
        return Ok(Vec::new());
    };
    let flags = opening.flags;
    let no_follow = flags.contains(OFlags::NOFOLLOW) || flags.contains(OFlags::EXCL);
    let at = if no_follow {
        libc::AT_SYMLINK_NOFOLLOW
    } else {
        0
    };
    let target = caller.target(opening.directory, opening.path, at)?;
    if flags.contains(OFlags::TMPFILE) {
        return Ok(vec![Wish::Access(target, WRITE | EXECUTE)]);
    }
    if flags.contains(OFlags::CREATE) && locate(&target.path, target.follow).is_none() {
        return Ok(vec![Wish::Enter(target)]);
    }
    if flags.contains(OFlags::PATH) {
        return Ok(vec![Wish::Access(target, 0)]);
    }
    let mut want = match flags.bits() & OFlags::RWMODE.bits() {
        mode if mode == OFlags::RDONLY.bits() => READ,
        mode if mode == OFlags::WRONLY.bits() => WRITE,
        _ => READ | WRITE,
    };
    if flags.contains(OFlags::TRUNC) {
        want |= WRITE;
    }
    Ok(vec![Wish::Access(target, want)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_class_that_fits_decides() {
        let seen = Override {
            uid: 5,
            gid: 6,
            mode: 0o100_064,
            rdev: 0,
        };
        let may = |uid, gid, groups: &[u32], want| {
            permit(&Credentials::new(uid, gid, groups.to_vec()), &seen, want).is_ok()
        };
        assert!(
            !may(5, 6, &[], READ),
            "the owner has no bit, whatever its group has"
        );
        assert!(may(7, 6, &[], READ | WRITE));
        assert!(may(7, 7, &[6], WRITE));
        assert!(may(7, 7, &[], READ));
        assert!(!may(7, 7, &[], READ | WRITE));
    }

    #[test]
    fn what_the_runtime_keeps_is_foreign() {
        for (place, foreign) in [
            (c"/proc/1/status", true),
            (c"/dev", true),
            (c"pipe:[12]", true),
            (c"/devices", false),
            (c"/etc/hosts", false),
        ] {
            assert_eq!(is_foreign(place), foreign, "{place:?}");
        }
    }
}
