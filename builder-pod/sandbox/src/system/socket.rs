//! Who is at the other end of a unix socket.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use super::last_error;

/// The user at the other end of a socket (`SO_PEERCRED`). Asked of the kernel directly: a peer in another process
/// namespace has process number 0, which safe wrappers take for an error.
///
/// # Errors
/// When the socket is none of the unix family.
pub(crate) fn peer_user(socket: &OwnedFd) -> Result<u32, Errno> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: `peer` and `length` are of the types that the kernel fills for this option.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(peer.uid)
    } else {
        Err(last_error())
    }
}
