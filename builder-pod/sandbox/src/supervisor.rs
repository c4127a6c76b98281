//! The fake-root supervisor: answers the calls that the kernel would refuse to a root without capabilities, or
//! answer by what files are underneath.
//!
//! It is not a security boundary, the pod is: a wrong answer may only hurt the build that asked.
//! Invariant: a call is answered by at most one thread, and a thread never waits for a process of the step.
//! Invariant: nothing takes effect before the caller was found to wait still, since process numbers come back.

mod attributes;
mod caller;
mod create;
mod credentials;
mod identity;
mod owner;
mod peer;
mod permission;
mod places;
mod records;
mod reserve;
mod socket;
mod status;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use stagecraft_protocol::runner::MountPoint;

pub(crate) use credentials::Credentials;
pub(crate) use records::Records;

use crate::filter::number;
use crate::system::memory::Reach;
use crate::system::notification::{Notification, Notifications, Reply};
use caller::Caller;
use credentials::CredentialTable;
use places::Places;
use reserve::Reserve;
use socket::PendingSocket;

/// Answers the calls of one step's processes.
pub(crate) struct Supervisor {
    reach: Reach,
    credentials: CredentialTable,
    records: Arc<Records>,
    /// Sockets whose bind(2) the kernel carries out while their owner is not noted yet.
    pending: Mutex<Vec<PendingSocket>>,
    has_pending: AtomicBool,
    stopped: AtomicBool,
    reserve: Reserve,
    checks_permissions: bool,
    places: Places,
}

/// A thread looks this often whether calls wait for an answer: looking costs a call of its own.
const CALLS_PER_LOOK: u32 = 16;

/// Which of a step's supervisor threads one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one that always answers.
    First,
    /// One that helps when there is more than one can answer.
    Reserve,
}

/// What a handler found: a reply, or the error that the call fails with.
type Handled = Result<Reply, Errno>;

impl Supervisor {
    /// A supervisor for a step that starts with these credentials and has these mounts. The calling process carries their number from
    /// here on, and so do the processes that it forks.
    ///
    /// # Errors
    /// When the process's limits cannot be changed.
    pub(crate) fn new(
        reach: Reach,
        first: Credentials,
        records: Arc<Records>,
        mounts: Vec<MountPoint>,
    ) -> Result<Self, Errno> {
        Ok(Self {
            checks_permissions: !first.is_root(),
            reach,
            credentials: CredentialTable::carried_by_this_process(first)?,
            records,
            pending: Mutex::default(),
            has_pending: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            reserve: Reserve::default(),
            places: Places::new(mounts),
        })
    }

    /// Whether steps of this user are checked when they open files: another than root may not do everything.
    pub(crate) const fn checks_permissions(&self) -> bool {
        self.checks_permissions
    }

    /// Answers calls until [`Self::stop`] is called and the thread interrupted, or no process is left.
    ///
    /// The kernel wakes every thread that waits for a call, though only one can have it. So one thread waits, and
    /// those in `reserve` join it only while calls come faster than they are answered.
    pub(crate) fn serve(&self, notifications: &Notifications, place: Place) {
        let mut answered: u32 = 0;
        if place == Place::Reserve {
            self.reserve.rest();
        }
        while !self.stopped.load(Ordering::Acquire) {
            match notifications.receive() {
                Some(notification) => self.answer(notifications, &notification),
                None if notifications.is_deserted() => {
                    self.reserve.dissolve();
                    return;
                }
                None => {}
            }
            answered = answered.wrapping_add(1);
            if answered.is_multiple_of(CALLS_PER_LOOK) {
                match (notifications.is_pending(), place) {
                    (true, _) => self.reserve.call_one(),
                    (false, Place::Reserve) => self.reserve.rest(),
                    (false, Place::First) => {}
                }
            }
        }
    }

    /// Lets the threads end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.reserve.dissolve();
    }

    /// Completes the records when every process is dead.
    pub(crate) fn settle(&self) {
        self.settle_sockets(None);
    }

    fn answer(&self, notifications: &Notifications, notification: &Notification) {
        let caller = Caller::new(notifications, notification, self.reach);
        if self.has_pending.load(Ordering::Acquire) {
            self.settle_sockets(Some(caller.thread()));
        }
        let reply = self.handle(&caller).unwrap_or_else(Reply::Error);
        notifications.reply(notification, reply);
    }

    fn handle(&self, caller: &Caller<'_>) -> Handled {
        if self.checks_permissions
            || self.credentials.has_dropped() && permission::is_checked_of_all(caller.call())
        {
            self.check_permissions(caller)?;
        }
        self.check_places(caller)?;
        match caller.call() {
            libc::SYS_getuid
            | libc::SYS_geteuid
            | libc::SYS_getgid
            | libc::SYS_getegid
            | libc::SYS_getresuid
            | libc::SYS_getresgid
            | libc::SYS_getgroups => self.tell_identity(caller),
            libc::SYS_setuid
            | libc::SYS_setgid
            | libc::SYS_setreuid
            | libc::SYS_setregid
            | libc::SYS_setresuid
            | libc::SYS_setresgid
            | libc::SYS_setfsuid
            | libc::SYS_setfsgid
            | libc::SYS_setgroups => self.change_identity(caller),
            libc::SYS_execve | libc::SYS_execveat => self.execute(caller),
            libc::SYS_capget => self.tell_capabilities(caller),
            libc::SYS_capset => self.change_capabilities(caller),
            libc::SYS_prctl => self.control_process(caller),
            libc::SYS_prlimit64 => self.limit(caller),
            libc::SYS_fstat | libc::SYS_newfstatat | libc::SYS_statx => self.status(caller),
            libc::SYS_fchown | libc::SYS_fchownat => self.change_owner(caller),
            libc::SYS_fchmod | libc::SYS_fchmodat | number::FCHMODAT2 => self.change_mode(caller),
            libc::SYS_mkdirat => self.make_directory(caller),
            libc::SYS_mknodat => self.make_node(caller),
            libc::SYS_symlinkat => self.make_link(caller),
            libc::SYS_openat | libc::SYS_openat2 => self.open(caller),
            libc::SYS_bind => self.bind(caller),
            libc::SYS_getsockopt => self.tell_peer(caller),
            libc::SYS_setxattr..=libc::SYS_fremovexattr
            | number::SETXATTRAT..=number::REMOVEXATTRAT => self.attribute(caller),
            _ => self.handle_old(caller),
        }
    }

    /// Calls that newer architectures do not have.
    #[cfg(target_arch = "x86_64")]
    fn handle_old(&self, caller: &Caller<'_>) -> Handled {
        match caller.call() {
            libc::SYS_stat | libc::SYS_lstat => self.status(caller),
            libc::SYS_chown | libc::SYS_lchown => self.change_owner(caller),
            libc::SYS_chmod => self.change_mode(caller),
            libc::SYS_mkdir => self.make_directory(caller),
            libc::SYS_mknod => self.make_node(caller),
            libc::SYS_symlink => self.make_link(caller),
            libc::SYS_open | libc::SYS_creat => self.open(caller),
            libc::SYS_getrlimit | libc::SYS_setrlimit => self.limit(caller),
            _ => Ok(Reply::Continue),
        }
    }

    /// Calls that newer architectures do not have.
    #[cfg(not(target_arch = "x86_64"))]
    fn handle_old(&self, _: &Caller<'_>) -> Handled {
        Ok(Reply::Continue)
    }
}
