//! What is made belongs to who made it: directories, nodes, links, and opens that create.
//!
//! What root makes with the bits that an owner needs is made by the kernel, which is right and fast. The
//! supervisor makes it where another user made it, where the directory hands down its group, or where the owner
//! would lack bits that root does not need and a root without capabilities does.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use stagecraft_protocol::ownership::{Override, real_permissions};

use super::caller::{Caller, Target, parent};
use super::credentials::{Credentials, capability};
use super::{Handled, Supervisor};
use crate::system::notification::Reply;

/// A program that becomes its group.
const GROUP_PROGRAM: u32 = libc::S_ISGID | libc::S_IXGRP;

/// An open, however it was asked for.
pub(super) struct Opening {
    pub(super) directory: i32,
    /// Where its path is in the caller's memory.
    pub(super) path: u64,
    pub(super) flags: OFlags,
    mode: u32,
    resolve: ResolveFlags,
}

impl Opening {
    /// Whether what is written through the descriptor changes the file.
    fn writes(&self) -> bool {
        self.flags.intersects(OFlags::WRONLY | OFlags::RDWR) && !self.flags.contains(OFlags::PATH)
    }

    /// What a call of the open family asks for; `None` when the kernel will refuse it.
    pub(super) fn read(caller: &Caller<'_>) -> Result<Option<Self>, Errno> {
        let [first, second, ..] = caller.arguments();
        let here = libc::AT_FDCWD;
        let creating = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC).cast_unsigned();
        let (directory, path, flags, mode, resolve) = match caller.call() {
            libc::SYS_openat => (
                caller.int(0),
                second,
                caller.unsigned(2),
                caller.unsigned(3),
                0,
            ),
            libc::SYS_openat2 => {
                let Some((flags, mode, resolve)) = read_how(caller)? else {
                    return Ok(None);
                };
                (caller.int(0), second, flags, mode, resolve)
            }
            call if is_creat(call) => (here, first, creating, caller.unsigned(1), 0),
            _ => (here, first, caller.unsigned(1), caller.unsigned(2), 0),
        };
        let resolve = ResolveFlags::from_bits_retain(resolve);
        let flags = OFlags::from_bits_retain(flags);
        Ok(Some(Self {
            directory,
            path,
            flags,
            mode,
            resolve,
        }))
    }
}

impl Supervisor {
    pub(super) fn make_directory(&self, caller: &Caller<'_>) -> Handled {
        let [first, second, ..] = caller.arguments();
        let (directory, path, mode) = match caller.call() {
            libc::SYS_mkdirat => (caller.int(0), second, caller.unsigned(2)),
            _ => (libc::AT_FDCWD, first, caller.unsigned(1)),
        };
        let target = caller.target(directory, path, libc::AT_SYMLINK_NOFOLLOW)?;
        let Some(new) = self.plan(caller, &target.path, libc::S_IFDIR, mode & 0o1777) else {
            return Ok(Reply::Continue);
        };
        caller.check()?;
        let permissions = Mode::from_raw_mode(real_permissions(new.mode));
        rustix::fs::mkdir(target.path.as_c_str(), permissions)?;
        self.records.record_new(&target.path, false, new)?;
        Ok(Reply::Value(0))
    }

    pub(super) fn make_node(&self, caller: &Caller<'_>) -> Handled {
        let [first, second, ..] = caller.arguments();
        let (directory, path, mode, device) = match caller.call() {
            libc::SYS_mknodat => (
                caller.int(0),
                second,
                caller.unsigned(2),
                caller.unsigned(3),
            ),
            _ => (
                libc::AT_FDCWD,
                first,
                caller.unsigned(1),
                caller.unsigned(2),
            ),
        };
        let kind = match mode & libc::S_IFMT {
            0 => libc::S_IFREG,
            kind => kind,
        };
        let is_device = matches!(kind, libc::S_IFCHR | libc::S_IFBLK);
        let is_known = matches!(kind, libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK);
        if !is_device && !is_known {
            return Ok(Reply::Continue);
        }
        if is_device && !self.who(caller).can(capability::MKNOD) {
            return Err(Errno::PERM);
        }
        let target = caller.target(directory, path, libc::AT_SYMLINK_NOFOLLOW)?;
        let Some(mut new) = self.plan(caller, &target.path, kind, mode & 0o7777) else {
            return Ok(Reply::Continue);
        };
        // A device is an empty file that only the build takes for one.
        let real_kind = match kind {
            libc::S_IFIFO => FileType::Fifo,
            libc::S_IFSOCK => FileType::Socket,
            _ => FileType::RegularFile,
        };
        if is_device {
            new.rdev = u64::from(device);
        }
        caller.check()?;
        let permissions = Mode::from_raw_mode(real_permissions(new.mode));
        rustix::fs::mknodat(CWD, target.path.as_c_str(), real_kind, permissions, 0)?;
        self.records.record_new(&target.path, false, new)?;
        Ok(Reply::Value(0))
    }

    pub(super) fn make_link(&self, caller: &Caller<'_>) -> Handled {
        let [content, second, third, ..] = caller.arguments();
        let (directory, path) = match caller.call() {
            libc::SYS_symlinkat => (caller.int(1), third),
            _ => (libc::AT_FDCWD, second),
        };
        let target = caller.target(directory, path, libc::AT_SYMLINK_NOFOLLOW)?;
        let Some(new) = self.plan(caller, &target.path, libc::S_IFLNK, 0o777) else {
            return Ok(Reply::Continue);
        };
        let content = caller.memory().read_string(content)?;
        caller.check()?;
        rustix::fs::symlink(content.as_c_str(), target.path.as_c_str())?;
        let mode = libc::S_IFLNK | 0o777;
        self.records
            .record_new(&target.path, false, Override { mode, ..new })?;
        Ok(Reply::Value(0))
    }

    pub(super) fn open(&self, caller: &Caller<'_>) -> Handled {
        match Opening::read(caller)? {
            Some(opening) => {
                let reply = self.create(caller, &opening)?;
                if reply == Reply::Continue && opening.writes() {
                    self.take_set_ids(caller, &opening)?;
                }
                Ok(reply)
            }
            None => Ok(Reply::Continue),
        }
    }

    /// A write of another than root takes the set-id bits from a program. Writes are not answered: it is done when
    /// the file is opened for them.
    fn take_set_ids(&self, caller: &Caller<'_>, opening: &Opening) -> Result<(), Errno> {
        let who = self.who(caller);
        if who.can(capability::FSETID) {
            return Ok(());
        }
        let target = caller.target(opening.directory, opening.path, 0)?;
        let Ok(pinned) = self.records.pin(&target.path, target.follow) else {
            return Ok(());
        };
        let seen = pinned.inode.seen;
        let takes_group = seen.mode & libc::S_IXGRP != 0 || !who.is_in_group(seen.gid);
        let taken = if takes_group {
            libc::S_ISUID | libc::S_ISGID
        } else {
            libc::S_ISUID
        };
        let mode = seen.mode & !taken;
        if seen.mode & libc::S_IFMT == libc::S_IFREG && mode != seen.mode {
            caller.check()?;
            self.records.record(&pinned, Override { mode, ..seen })?;
        }
        Ok(())
    }

    fn create(&self, caller: &Caller<'_>, opening: &Opening) -> Handled {
        let flags = opening.flags;
        let is_unnamed = flags.contains(OFlags::TMPFILE);
        let may_create = flags.contains(OFlags::CREATE) && !flags.contains(OFlags::DIRECTORY);
        if !is_unnamed && !may_create {
            return Ok(Reply::Continue);
        }
        let target = caller.target(opening.directory, opening.path, 0)?;
        let mode = opening.mode & 0o7777;
        let place = if is_unnamed {
            join_name(&target.path)
        } else {
            target.path.clone()
        };
        let Some(new) = self.plan(caller, &place, libc::S_IFREG, mode) else {
            return Ok(Reply::Continue);
        };
        caller.check()?;
        let made = match make_through_links(caller, opening, target, real_permissions(new.mode)) {
            Ok(made) => made,
            // It is there, and opening it makes nothing.
            Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => return Ok(Reply::Continue),
            Err(error) => return Err(error),
        };
        self.records.record_new(&own_path(&made), true, new)?;
        Ok(caller.give_descriptor(made.as_fd(), flags.contains(OFlags::CLOEXEC)))
    }

    /// What a new inode at a path is to the build; `None` when the kernel makes it right.
    pub(super) fn plan(
        &self,
        caller: &Caller<'_>,
        path: &CStr,
        kind: u32,
        mode: u32,
    ) -> Option<Override> {
        let who = self.who(caller);
        let parent = self.records.look_up(&parent(path), true);
        let handing_down = parent.filter(|parent| parent.mode & libc::S_ISGID != 0);
        if who.makes_files_of_root() && handing_down.is_none() && is_native(kind, mode) {
            return None;
        }
        let mut new = described(&who, kind, mode & !umask(caller.thread()));
        if let Some(parent) = handing_down {
            new.gid = parent.gid;
            if kind == libc::S_IFDIR {
                new.mode |= libc::S_ISGID;
            } else if mode & GROUP_PROGRAM == GROUP_PROGRAM
                && !who.is_in_group(parent.gid)
                && !who.can(capability::FSETID)
            {
                new.mode &= !libc::S_ISGID;
            }
        }
        Some(new)
    }
}

/// Whether a root without capabilities can work with a new inode of this mode as root could.
const fn is_native(kind: u32, mode: u32) -> bool {
    let needed = match kind {
        libc::S_IFDIR => 0o700,
        libc::S_IFREG => 0o600,
        libc::S_IFCHR | libc::S_IFBLK => return false,
        _ => 0,
    };
    mode & needed == needed && mode & (libc::S_ISUID | libc::S_ISGID) == 0
}

const fn described(who: &Credentials, kind: u32, permissions: u32) -> Override {
    Override {
        uid: who.user.file,
        gid: who.group.file,
        mode: kind | permissions,
        rdev: 0,
    }
}

/// Makes the file of an open and opens it, unless something is there.
fn make(
    caller: &Caller<'_>,
    opening: &Opening,
    target: &Target,
    permissions: u32,
) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(permissions);
    let mut flags = opening.flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    if !flags.contains(OFlags::TMPFILE) {
        flags |= OFlags::EXCL;
    }
    if opening.resolve.is_empty() {
        return rustix::fs::open(target.path.as_c_str(), flags, mode);
    }
    let base = caller.open_base(opening.directory)?;
    let path = caller.memory().read_string(opening.path)?;
    rustix::fs::openat2(&base, path.as_c_str(), flags, mode, opening.resolve)
}

/// As [`make`], and where a link is that leads to nothing, makes that. Each try makes something or fails, so that
/// nothing which is there is ever opened by the supervisor's rights.
fn make_through_links(
    caller: &Caller<'_>,
    opening: &Opening,
    mut target: Target,
    permissions: u32,
) -> Result<OwnedFd, Errno> {
    /// As many as the kernel follows (path_resolution(7)).
    const LINKS: usize = 40;
    let refuses = OFlags::EXCL | OFlags::NOFOLLOW | OFlags::TMPFILE;
    let follows = !opening.flags.intersects(refuses) && opening.resolve.is_empty();
    for _ in 0..LINKS {
        match make(caller, opening, &target, permissions) {
            Err(Errno::EXIST) if follows => {}
            other => return other,
        }
        // Links in /proc have a text too, which is no path; they lead to something.
        let is_dangling = rustix::fs::stat(target.path.as_c_str()).err() == Some(Errno::NOENT);
        let text = rustix::fs::readlink(target.path.as_c_str(), Vec::new());
        let (true, Ok(text)) = (is_dangling, text) else {
            return Err(Errno::EXIST);
        };
        target = caller.beside(&target, text)?;
    }
    Err(Errno::LOOP)
}

/// `struct open_how` of openat2(2): flags, mode and resolve; `None` for one that the kernel refuses.
fn read_how(caller: &Caller<'_>) -> Result<Option<(u32, u32, u64)>, Errno> {
    const SIZE: usize = 24;
    let [_, _, address, size, ..] = caller.arguments();
    if size < SIZE as u64 {
        return Ok(None);
    }
    let mut bytes = [0; SIZE];
    caller.memory().read(address, &mut bytes)?;
    let word = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
    let narrow = |at: usize| u32::try_from(word(at)).ok();
    Ok(narrow(0)
        .zip(narrow(8))
        .map(|(flags, mode)| (flags, mode, word(16))))
}

/// The permission bits that a thread's new files do not get.
fn umask(thread: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o022)
}

/// A path of the supervisor to an open file of its own.
fn own_path(file: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()
}

/// A name in a directory, for asking about the directory as the parent of what has no name.
fn join_name(directory: &CStr) -> CString {
    let mut path = directory.to_bytes().to_vec();
    path.extend_from_slice(b"/unnamed");
    CString::new(path).unwrap_or_default()
}

#[cfg(target_arch = "x86_64")]
const fn is_creat(call: libc::c_long) -> bool {
    call == libc::SYS_creat
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_creat(_: libc::c_long) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_makes_what_its_owner_can_use() {
        for (kind, mode, native) in [
            (libc::S_IFREG, 0o666, true),
            (libc::S_IFREG, 0o444, false),
            (libc::S_IFREG, 0o4755, false),
            (libc::S_IFDIR, 0o777, true),
            (libc::S_IFDIR, 0o1777, true),
            (libc::S_IFDIR, 0o555, false),
            (libc::S_IFLNK, 0o777, true),
            (libc::S_IFCHR, 0o666, false),
        ] {
            assert_eq!(is_native(kind, mode), native, "{kind:o} {mode:o}");
        }
    }
}
