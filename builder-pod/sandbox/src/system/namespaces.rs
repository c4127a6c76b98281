//! Namespaces, mounts' attributes and capabilities: unshare(2), mount_setattr(2), capset(2).

use std::ffi::CStr;

use rustix::io::Errno;

use super::check;

/// Moves this process, which has one thread, into new user, mount, UTS and IPC namespaces, and its children into
/// a new process namespace.
///
/// # Errors
/// `EPERM` or `ENOSPC` where the machine forbids user namespaces.
pub(crate) fn unshare_everything() -> Result<(), Errno> {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    // SAFETY: takes no memory, and the process has one thread.
    check(libc::c_long::from(unsafe { libc::unshare(flags) })).map(|_| ())
}

/// Makes a mount and all below it read-only and without devices, set-id programs or executables.
///
/// # Errors
/// `ENOSYS` before Linux 5.12.
pub(crate) fn seal_mounts(path: &CStr) -> Result<(), Errno> {
    /// `struct mount_attr` of linux/mount.h.
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const READ_ONLY_NO_SET_ID_NO_DEVICES_NO_EXECUTION: u64 = 0x1 | 0x2 | 0x4 | 0x8;
    let attributes = Attributes {
        set: READ_ONLY_NO_SET_ID_NO_DEVICES_NO_EXECUTION,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: the path ends with a zero byte, and the structure has the size that is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of_val(&attributes),
        )
    })
    .map(|_| ())
}

/// Gives up every capability, now and for whatever is executed later.
///
/// # Errors
/// When a set cannot be changed.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    const HIGHEST: libc::c_ulong = 63;
    for capability in 0..=HIGHEST {
        // SAFETY: takes numbers only. `EINVAL` ends the capabilities that the kernel knows.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = rustix::thread::CapabilitySets {
        effective: rustix::thread::CapabilitySet::empty(),
        permitted: rustix::thread::CapabilitySet::empty(),
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
}
