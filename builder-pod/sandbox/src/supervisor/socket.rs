//! Unix sockets: their files belong to who bound them.

use std::ffi::CString;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use stagecraft_protocol::ownership::Override;

use super::caller::{Caller, parent};
use super::{Handled, Supervisor};
use crate::system::notification::Reply;

/// A socket file that the kernel is making for a process.
#[derive(Debug)]
pub(super) struct PendingSocket {
    thread: u32,
    path: CString,
    uid: u32,
    gid: u32,
}

impl Supervisor {
    /// bind(2): the kernel does it, since only it can bind the caller's socket; whose file it made is noted
    /// before the next call of anybody is answered.
    pub(super) fn bind(&self, caller: &Caller<'_>) -> Handled {
        let Some(path) = socket_path(caller) else {
            return Ok(Reply::Continue);
        };
        let who = self.who(caller);
        let handing_down = self
            .records
            .look_up(&parent(&path), true)
            .filter(|parent| parent.mode & libc::S_ISGID != 0);
        if who.makes_files_of_root() && handing_down.is_none() {
            return Ok(Reply::Continue);
        }
        // Something is there already: the kernel will refuse.
        if self.records.inode(&path, false).is_ok() {
            return Ok(Reply::Continue);
        }
        caller.check()?;
        let gid = handing_down.map_or(who.group.file, |parent| parent.gid);
        let socket = PendingSocket {
            thread: caller.thread(),
            path,
            uid: who.user.file,
            gid,
        };
        self.pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(socket);
        self.has_pending.store(true, Ordering::Release);
        Ok(Reply::Continue)
    }

    /// Notes the owners of socket files that are there by now. A thread that calls again, or no thread at all,
    /// is done binding.
    pub(super) fn settle_sockets(&self, calling: Option<u32>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|socket| {
            if self.settle_one(socket) {
                return false;
            }
            calling.is_some_and(|thread| thread != socket.thread)
        });
        self.has_pending
            .store(!pending.is_empty(), Ordering::Release);
    }

    fn settle_one(&self, socket: &PendingSocket) -> bool {
        let Ok(pinned) = self.records.pin(&socket.path, false) else {
            return false;
        };
        if !pinned.inode.is_socket() {
            return false;
        }
        let new = Override {
            uid: socket.uid,
            gid: socket.gid,
            ..pinned.inode.seen
        };
        let _ = self.records.record(&pinned, new);
        true
    }
}

/// The path of the file that a bind makes, if it makes one.
fn socket_path(caller: &Caller<'_>) -> Option<CString> {
    const FAMILY: usize = 2;
    const LONGEST: usize = 110;
    let [_, address, ..] = caller.arguments();
    let length = usize::try_from(caller.unsigned(2)).ok()?.min(LONGEST);
    let mut bytes = vec![0; length];
    caller.memory().read(address, &mut bytes).ok()?;
    let (family, path) = bytes.split_at_checked(FAMILY)?;
    let is_unix = family == (libc::AF_UNIX as u16).to_ne_bytes();
    let end = path
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(path.len());
    if !is_unix || end == 0 {
        return None;
    }
    let text = CString::new(&path[..end]).ok()?;
    caller
        .resolve(libc::AT_FDCWD, text, libc::AT_SYMLINK_NOFOLLOW)
        .ok()
        .map(|target| target.path)
}
