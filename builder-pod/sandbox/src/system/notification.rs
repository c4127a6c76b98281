//! Seccomp filters and their user notifications: seccomp(2), `SECCOMP_IOCTL_NOTIF_*` of seccomp_unotify(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_long, c_ulong};
use rustix::io::Errno;

use super::{check, last_error};

/// Wakes the answering and the answered task on one processor (Linux 6.6).
const SYNCHRONOUS_WAKE_UP: u64 = 1;

/// A call of another process that waits for its answer.
#[derive(Clone, Copy)]
pub(crate) struct Notification(libc::seccomp_notif);

impl Notification {
    /// The thread that called, in this process namespace.
    pub(crate) const fn thread(&self) -> u32 {
        self.0.pid
    }

    /// Number of the call.
    pub(crate) fn call(&self) -> c_long {
        c_long::from(self.0.data.nr)
    }

    /// Its six arguments.
    pub(crate) const fn arguments(&self) -> &[u64; 6] {
        &self.0.data.args
    }
}

/// What the calling process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The kernel carries out the call as it stands.
    Continue,
    /// The call is done and returns this.
    Value(i64),
    /// The call fails.
    Error(Errno),
    /// The answer was given together with a descriptor.
    Given,
}

/// The descriptor on which a filter's notifications arrive.
#[derive(Debug)]
pub(crate) struct Notifications {
    descriptor: OwnedFd,
}

/// Installs a filter for the calling thread and those that it will make.
///
/// # Errors
/// When the kernel knows no filters or the process may gain privileges.
pub(crate) fn install(program: &[libc::sock_filter]) -> Result<(), Errno> {
    set_filter(program, 0).map(|_| ())
}

/// Installs a filter for the calling thread whose notifications arrive on the descriptor that comes back.
///
/// # Errors
/// When the kernel knows no notifications, or a filter of this thread already has them.
pub(crate) fn install_notifying(program: &[libc::sock_filter]) -> Result<Notifications, Errno> {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let descriptor = match set_filter(
        program,
        listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    ) {
        // Before Linux 5.19 a signal can interrupt a call that is being answered: it is repeated then.
        Err(Errno::INVAL) => set_filter(program, listener)?,
        other => other?,
    };
    let number = i32::try_from(descriptor).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel just made this descriptor for the caller, and nobody else knows its number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: the request takes its flags as a value and touches no memory.
    let _ = unsafe {
        libc::ioctl(
            descriptor.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNCHRONOUS_WAKE_UP,
        )
    };
    Ok(Notifications { descriptor })
}

fn set_filter(program: &[libc::sock_filter], flags: c_ulong) -> Result<c_long, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` describes a live slice, which the kernel only reads during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    })
}

impl Notifications {
    /// Waits for a notification. `None` when a signal came, the caller died meanwhile, or no process is left
    /// that could notify.
    pub(crate) fn receive(&self) -> Option<Notification> {
        // SAFETY: the structure is plain integers, for which zero is a value; the kernel wants it zeroed.
        let mut notification = unsafe { std::mem::zeroed::<libc::seccomp_notif>() };
        // SAFETY: the kernel writes one `seccomp_notif` there.
        let result = unsafe {
            libc::ioctl(
                self.descriptor.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut notification,
            )
        };
        (result == 0).then_some(Notification(notification))
    }

    /// Waits up to some milliseconds for a notification to receive.
    pub(crate) fn wait(&self, milliseconds: i32) -> bool {
        let mut entry = libc::pollfd {
            fd: self.descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: the kernel writes to one live entry.
        unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
        entry.revents & libc::POLLIN != 0
    }

    /// Whether a notification is there to receive.
    pub(crate) fn is_pending(&self) -> bool {
        self.wait(0)
    }

    /// Whether no process is left that could notify.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut entry = libc::pollfd {
            fd: self.descriptor.as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // SAFETY: the kernel writes to one live entry.
        unsafe { libc::poll(&raw mut entry, 1, 0) };
        entry.revents & libc::POLLHUP != 0
    }

    /// Answers a notification. That its process is gone meanwhile is no error.
    pub(crate) fn reply(&self, notification: &Notification, reply: Reply) {
        let mut response = libc::seccomp_notif_resp {
            id: notification.0.id,
            val: 0,
            error: 0,
            flags: 0,
        };
        match reply {
            Reply::Continue => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Reply::Value(value) => response.val = value,
            Reply::Error(error) => response.error = -error.raw_os_error(),
            Reply::Given => return,
        }
        // SAFETY: the kernel reads one `seccomp_notif_resp` there.
        let _ = unsafe {
            libc::ioctl(
                self.descriptor.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut response,
            )
        };
    }

    /// Whether the process still waits: what was read from its memory before is its own then.
    pub(crate) fn is_waiting(&self, notification: &Notification) -> bool {
        let id = notification.0.id;
        // SAFETY: the kernel reads one u64 there.
        let result = unsafe {
            libc::ioctl(
                self.descriptor.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
                &raw const id,
            )
        };
        result == 0
    }

    /// Answers with a copy of a descriptor: the call returns its number in the calling process.
    pub(crate) fn reply_with_descriptor(
        &self,
        notification: &Notification,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Reply {
        let number = u32::try_from(descriptor.as_raw_fd()).unwrap_or(u32::MAX);
        let request = libc::seccomp_notif_addfd {
            id: notification.0.id,
            flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            srcfd: number,
            newfd: 0,
            newfd_flags: if close_on_exec {
                libc::O_CLOEXEC as u32
            } else {
                0
            },
        };
        // SAFETY: the kernel reads one `seccomp_notif_addfd` there.
        let result = unsafe {
            libc::ioctl(
                self.descriptor.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                &raw const request,
            )
        };
        if result >= 0 {
            Reply::Given
        } else {
            Reply::Error(last_error())
        }
    }
}
