//! A process that waits for an answer: its arguments, its memory, and its paths as paths of the supervisor.
//!
//! Invariant: the supervisor has the caller's root and mounts (no process of a step can change either), so an
//! absolute path means the same to both, and a relative one starts at a link in `/proc/PID`.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::c_long;
use rustix::io::Errno;

use crate::system::memory::{Memory, Reach};
use crate::system::notification::{Notification, Notifications, Reply};

/// The longest path that the kernel takes, with its zero byte (`PATH_MAX`).
const PATH_LIMIT: usize = 4096;

/// Where a call's path leads, as the supervisor says it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) path: CString,
    /// Whether a last symbolic link is followed.
    pub(super) follow: bool,
    /// The directory that a path starts at which would be too long from the caller's.
    #[allow(dead_code, reason = "it is held open for as long as the path is used")]
    pub(super) start: Option<OwnedFd>,
}

/// A call and who made it.
pub(super) struct Caller<'a> {
    notifications: &'a Notifications,
    notification: &'a Notification,
    memory: Memory,
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        notifications: &'a Notifications,
        notification: &'a Notification,
        reach: Reach,
    ) -> Self {
        let memory = Memory::new(notification.thread(), reach);
        Self {
            notifications,
            notification,
            memory,
        }
    }

    /// The thread that called.
    pub(super) const fn thread(&self) -> u32 {
        self.notification.thread()
    }

    /// Number of the call.
    pub(super) fn call(&self) -> c_long {
        self.notification.call()
    }

    /// Its arguments as they are in the registers.
    pub(super) const fn arguments(&self) -> [u64; 6] {
        *self.notification.arguments()
    }

    /// An argument of the C type `int`.
    pub(super) fn int(&self, position: usize) -> i32 {
        self.unsigned(position).cast_signed()
    }

    /// An argument of the C type `unsigned int`: the upper half of its register means nothing.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the kernel ignores the upper half too"
    )]
    pub(super) fn unsigned(&self, position: usize) -> u32 {
        self.arguments()
            .get(position)
            .map_or(0, |argument| *argument as u32)
    }

    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Fails when the caller is gone: what was read before may be of another process then.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if self.notifications.is_waiting(self.notification) {
            Ok(())
        } else {
            Err(Errno::SRCH)
        }
    }

    /// Writes the result of a call to the caller's memory.
    pub(super) fn give(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.check()?;
        self.memory.write(address, bytes)
    }

    /// Answers with a copy of a descriptor.
    pub(super) fn give_descriptor(&self, descriptor: BorrowedFd<'_>, close_on_exec: bool) -> Reply {
        self.notifications
            .reply_with_descriptor(self.notification, descriptor, close_on_exec)
    }

    /// What a descriptor of the caller is open on.
    pub(super) fn descriptor(&self, number: i32) -> Target {
        Target {
            path: self.link(number),
            follow: true,
            start: None,
        }
    }

    /// Whether a descriptor only names a file (`O_PATH`), so that calls about its inode are refused.
    pub(super) fn is_path_only(&self, number: i32) -> bool {
        let path = format!("/proc/{}/fdinfo/{number}", self.thread());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        flags
            .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
            .is_some_and(|flags| flags & libc::O_PATH != 0)
    }

    /// The link in `/proc` to a directory descriptor of the caller, or to its working directory.
    fn link(&self, directory: i32) -> CString {
        let thread = self.thread();
        let text = match directory {
            libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
            number => format!("/proc/{thread}/fd/{number}"),
        };
        CString::new(text).unwrap_or_default()
    }

    /// The directory that a relative path starts at.
    pub(super) fn open_base(&self, directory: i32) -> Result<OwnedFd, Errno> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.link(directory), flags, Mode::empty())
    }

    /// The path at `address`, which starts at `directory` when it is relative. `flags` are `AT_*`: an empty path
    /// means the descriptor itself with `AT_EMPTY_PATH`.
    pub(super) fn target(&self, directory: i32, address: u64, flags: i32) -> Result<Target, Errno> {
        let may_be_empty = flags & libc::AT_EMPTY_PATH != 0;
        let text = match address {
            0 if may_be_empty => CString::default(),
            address => self.memory.read_string(address)?,
        };
        if text.is_empty() {
            return if may_be_empty {
                Ok(self.descriptor(directory))
            } else {
                Err(Errno::NOENT)
            };
        }
        self.resolve(directory, text, flags)
    }

    /// What the text of a symbolic link means that is at a path.
    pub(super) fn beside(&self, link: &Target, text: CString) -> Result<Target, Errno> {
        let path = if text.to_bytes().starts_with(b"/") {
            translate(text, self.thread())
        } else {
            join(&parent(&link.path), &text)?
        };
        Ok(Target {
            path,
            follow: link.follow,
            start: None,
        })
    }

    /// A path of the caller's as one of the supervisor.
    pub(super) fn resolve(
        &self,
        directory: i32,
        text: CString,
        flags: i32,
    ) -> Result<Target, Errno> {
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        let mut start = None;
        let path = if text.to_bytes().starts_with(b"/") {
            translate(text, self.thread())
        } else {
            let path = join(&self.link(directory), &text)?;
            if path.count_bytes() < PATH_LIMIT {
                path
            } else {
                let (descriptor, path) = self.start_deeper(directory, &text)?;
                start = Some(descriptor);
                path
            }
        };
        Ok(Target {
            path,
            follow,
            start,
        })
    }

    /// A relative path that is as long as the kernel takes, from a directory some way down.
    fn start_deeper(&self, directory: i32, text: &CStr) -> Result<(OwnedFd, CString), Errno> {
        /// More than what leads to a descriptor takes.
        const WAY: usize = 256;
        use rustix::fs::{Mode, OFlags};
        let bytes = text.to_bytes();
        let slash = bytes.iter().skip(WAY).position(|byte| *byte == b'/');
        let slash = slash.ok_or(Errno::NAMETOOLONG)? + WAY;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = self.open_base(directory)?;
        let deeper = rustix::fs::openat(&base, &bytes[..slash], flags, Mode::empty())?;
        let link = format!("/proc/self/fd/{}", deeper.as_raw_fd());
        let rest = CString::new(&bytes[slash + 1..]).map_err(|_| Errno::INVAL)?;
        let path = join(&CString::new(link).unwrap_or_default(), &rest)?;
        Ok((deeper, path))
    }
}

fn join(base: &CStr, text: &CStr) -> Result<CString, Errno> {
    let mut path = Vec::with_capacity(base.count_bytes() + text.count_bytes() + 2);
    path.extend_from_slice(base.to_bytes());
    path.push(b'/');
    path.extend_from_slice(text.to_bytes());
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// An absolute path, with what means "the process that asks" replaced by the caller.
fn translate(text: CString, thread: u32) -> CString {
    const OWN: [(&[u8], &str); 6] = [
        (b"/proc/self", ""),
        (b"/proc/thread-self", ""),
        (b"/dev/fd", "/fd"),
        (b"/dev/stdin", "/fd/0"),
        (b"/dev/stdout", "/fd/1"),
        (b"/dev/stderr", "/fd/2"),
    ];
    let bytes = text.to_bytes();
    if !bytes.starts_with(b"/proc/") && !bytes.starts_with(b"/dev/") {
        return text;
    }
    for (prefix, replacement) in OWN {
        let Some(rest) = bytes.strip_prefix(prefix) else {
            continue;
        };
        if rest.is_empty() || rest.starts_with(b"/") {
            let mut path = format!("/proc/{thread}{replacement}").into_bytes();
            path.extend_from_slice(rest);
            return CString::new(path).unwrap_or(text);
        }
    }
    text
}

/// The directory that a path's last component is in. The path's own directory for one that ends in no name.
pub(super) fn parent(path: &CStr) -> CString {
    let bytes = path.to_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(0, |last| last + 1);
    let slash = bytes[..end]
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    CString::new(if slash == 0 {
        &b"/"[..]
    } else {
        &bytes[..slash]
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_paths_become_those_of_the_caller() {
        let translated = |text: &str| {
            translate(CString::new(text).unwrap(), 7)
                .into_string()
                .unwrap()
        };
        assert_eq!(translated("/proc/self/fd/3"), "/proc/7/fd/3");
        assert_eq!(translated("/proc/self"), "/proc/7");
        assert_eq!(translated("/proc/thread-self/attr"), "/proc/7/attr");
        assert_eq!(translated("/dev/fd/9"), "/proc/7/fd/9");
        assert_eq!(translated("/dev/stdout"), "/proc/7/fd/1");
        for other in [
            "/proc/selfish",
            "/dev/stdoutx",
            "/etc/passwd",
            "/proc/1/fd",
            "/",
        ] {
            assert_eq!(translated(other), other);
        }
    }

    #[test]
    fn parents_end_where_the_last_name_starts() {
        let parent = |text: &str| parent(&CString::new(text).unwrap()).into_string().unwrap();
        assert_eq!(parent("/a/b"), "/a/");
        assert_eq!(parent("/a/b//"), "/a/");
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("/proc/7/cwd/x"), "/proc/7/cwd/");
        assert_eq!(parent("/"), "/");
    }
}
