//! Who is at the other end of a unix socket: `SO_PEERCRED` of socket(7), which database servers trust.
//!
//! The kernel knows the other socket (sock_diag(7)); whose it is stands in `/proc`, and who that is to the build
//! is known here. It is told as it is now, not as it was when the two connected.

use std::ffi::CString;

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::caller::Caller;
use super::{Handled, Supervisor};
use crate::system::notification::Reply;

/// Bytes of `struct ucred`.
const UCRED: usize = 12;

impl Supervisor {
    pub(super) fn tell_peer(&self, caller: &Caller<'_>) -> Handled {
        let [_, _, _, value, length_at, _] = caller.arguments();
        let socket = socket_inode(&caller.descriptor(caller.int(0)).path);
        // Without an answer, the kernel's own is at least right about the process.
        let Some(process) = socket.and_then(peer).and_then(owner) else {
            return Ok(Reply::Continue);
        };
        let who = self.credentials.of(process);
        let length = usize::try_from(caller.memory().read_u32(length_at)?)
            .unwrap_or(0)
            .min(UCRED);
        let ucred = [process, who.user.effective, who.group.effective].map(u32::to_ne_bytes);
        caller.give(value, &ucred.concat()[..length])?;
        caller.give(length_at, &u32::try_from(length).unwrap_or(0).to_ne_bytes())?;
        Ok(Reply::Value(0))
    }
}

/// The number of the socket that a path leads to, if it is one.
fn socket_inode(path: &CString) -> Option<u32> {
    let status = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
    let is_socket = FileType::from_raw_mode(status.stx_mode.into()) == FileType::Socket;
    is_socket.then(|| u32::try_from(status.stx_ino).ok())?
}

/// The socket that another is connected to.
fn peer(inode: u32) -> Option<u32> {
    const BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    const ANY: u32 = u32::MAX;
    const SHOW_PEER: u32 = 4;
    const LENGTH: u32 = 40;
    let family = u8::try_from(libc::AF_UNIX).ok()?;
    // `struct nlmsghdr`: length, type, flags, sequence, port; then `struct unix_diag_req`.
    let mut request = Vec::with_capacity(LENGTH as usize);
    request.extend_from_slice(&LENGTH.to_ne_bytes());
    request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[family, 0, 0, 0]);
    for word in [ANY, inode, SHOW_PEER, ANY, ANY] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, protocol).ok()?;
    rustix::net::send(&socket, &request, SendFlags::empty()).ok()?;
    let mut answer = [0; 512];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
    peer_attribute(answer.get(..length)?)
}

/// The attribute of an answer that names the other socket.
fn peer_attribute(answer: &[u8]) -> Option<u32> {
    const MESSAGE: usize = 16 + 16;
    const PEER: u16 = 2;
    let half = |bytes: &[u8]| Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    if half(answer.get(4..)?)? != 20 {
        return None;
    }
    let mut rest = answer.get(MESSAGE..)?;
    loop {
        let length = usize::from(half(rest)?);
        if half(rest.get(2..)?)? == PEER {
            return Some(u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        // Attributes start at multiples of 4; one of no length would never end.
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// A process that has a socket.
fn owner(inode: u32) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Some(number) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // The runner's own, and those of processes that just ended, cannot be listed or hold none.
        let descriptors = std::fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten();
        for descriptor in descriptors.flatten() {
            let link = std::fs::read_link(descriptor.path());
            if link.is_ok_and(|link| link.as_os_str().as_encoded_bytes() == wanted.as_bytes()) {
                return Some(number);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn the_kernel_tells_the_other_end_of_a_pair() {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let inode = |socket: &std::os::unix::net::UnixStream| {
            let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
            socket_inode(&CString::new(path).unwrap()).unwrap()
        };
        assert_eq!(peer(inode(&left)), Some(inode(&right)));
        assert_eq!(owner(inode(&right)), Some(std::process::id()));
        assert_eq!(peer(u32::MAX - 1), None);
    }

    #[test]
    fn an_answer_without_the_attribute_names_nobody() {
        assert_eq!(peer_attribute(&[]), None);
        assert_eq!(peer_attribute(&[0; 40]), None);
        let mut answer = [0_u8; 40];
        answer[4] = 20;
        assert_eq!(peer_attribute(&answer), None);
    }
}
