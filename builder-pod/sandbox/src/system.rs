//! Calls of the kernel that have no safe interface elsewhere, each wrapped once.
//!
//! Invariant: every `unsafe` block of the crate is below this module.
//! It knows neither steps nor messages nor who a process pretends to be.
#![allow(
    unsafe_code,
    reason = "seccomp notification, fork, the allocator and other processes' memory have no safe interface"
)]

pub(crate) mod allocator;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod namespaces;
pub(crate) mod notification;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod sysv;
pub(crate) mod xattr;

use rustix::io::Errno;

/// The error of the C library call that failed last in this thread.
fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The result of a call that answers -1 for an error.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        Err(last_error())
    } else {
        Ok(result)
    }
}
