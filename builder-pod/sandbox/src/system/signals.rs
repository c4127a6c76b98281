//! Signals as data: every signal of the runner is blocked and read from a descriptor, signalfd(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{check, last_error};

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Its number.
    pub(crate) signal: i32,
    /// Whether it came from outside of this process namespace, or from the kernel.
    pub(crate) from_outside: bool,
}

/// Blocks every signal of the calling thread (and the threads it will make) and gives a descriptor that reads
/// those that a runner acts on.
///
/// # Errors
/// When no descriptor is left.
pub(crate) fn take_over() -> Result<OwnedFd, Errno> {
    // SAFETY: the sets are initialised by sigfillset and sigemptyset before they are read.
    let descriptor = unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::sigdelset(&raw mut all, INTERRUPTING);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        let mut wanted = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut wanted);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
            libc::sigaddset(&raw mut wanted, signal);
        }
        libc::signalfd(
            -1,
            &raw const wanted,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    check(libc::c_long::from(descriptor))?;
    // SAFETY: the kernel just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The signals that wait on a descriptor of [`take_over`].
pub(crate) fn arrived(descriptor: &OwnedFd) -> Vec<Arrived> {
    let mut signals = Vec::new();
    loop {
        // SAFETY: the structure is plain integers, for which zero is a value.
        let mut information = unsafe { std::mem::zeroed::<libc::signalfd_siginfo>() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into the structure.
        let count =
            unsafe { libc::read(descriptor.as_raw_fd(), (&raw mut information).cast(), size) };
        if usize::try_from(count) != Ok(size) {
            return signals;
        }
        signals.push(Arrived {
            signal: i32::try_from(information.ssi_signo).unwrap_or(0),
            // Who queues a signal by rt_sigqueueinfo(2) chooses its process number, but not such a code.
            from_outside: information.ssi_pid == 0 && information.ssi_code >= 0,
        });
    }
}

/// The signal that takes a supervisor's thread out of its wait; it does nothing else.
pub(crate) const INTERRUPTING: i32 = libc::SIGURG;

extern "C" fn nothing(_: i32) {}

/// Lets [`INTERRUPTING`] interrupt waits instead of being ignored.
///
/// # Errors
/// Never in practice: the signal exists.
pub(crate) fn prepare_interrupting() -> Result<(), Errno> {
    // SAFETY: the action is initialised whole, and its handler does nothing.
    let result = unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        libc::sigaction(INTERRUPTING, &raw const action, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Interrupts a thread of this process that has not been joined.
pub(crate) fn interrupt<T>(thread: &std::thread::JoinHandle<T>) {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: the handle is not joined yet, so the thread's identity is still its own.
    let _ = unsafe { libc::pthread_kill(thread.as_pthread_t(), INTERRUPTING) };
}
