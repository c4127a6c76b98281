//! The number that a process carries in its soft `RLIMIT_RTTIME`: prlimit(2).

use rustix::io::Errno;

use super::check;

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// The limits of a thread's process; 0 is the caller's own.
///
/// # Errors
/// When the process is gone.
pub(crate) fn real_time_limits(thread: u32) -> Result<Limits, Errno> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    change(thread, None, Some(&mut old))?;
    Ok(Limits {
        soft: old.rlim_cur,
        hard: old.rlim_max,
    })
}

/// Changes the limits of a thread's process; 0 is the caller's own.
///
/// # Errors
/// When the process is gone or the soft limit is above the hard one.
pub(crate) fn set_real_time_limits(thread: u32, limits: Limits) -> Result<(), Errno> {
    let new = libc::rlimit64 {
        rlim_cur: limits.soft,
        rlim_max: limits.hard,
    };
    change(thread, Some(&new), None)
}

fn change(
    thread: u32,
    new: Option<&libc::rlimit64>,
    old: Option<&mut libc::rlimit64>,
) -> Result<(), Errno> {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    let old = old.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: both pointers are null or of live structures of the kernel's layout.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            thread as libc::pid_t,
            libc::RLIMIT_RTTIME,
            new,
            old,
        )
    })
    .map(|_| ())
}
