//! Reads and writes memory of other processes: process_vm_readv(2), or `/proc/PID/mem` where that is denied.

use std::ffi::{CStr, CString};
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::{check, last_error};

/// The longest path that the kernel takes, with its zero byte.
const PATH_LIMIT: usize = 4096;
/// How much of a string is read at once: most paths end within it.
const PIECE: usize = 256;

/// How the memory of a process of the build is reached here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By process_vm_readv(2) and process_vm_writev(2).
    Calls,
    /// Through `/proc/PID/mem`, where the runtime's profile denies the calls.
    File,
}

/// The memory of one thread's process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    thread: u32,
    reach: Reach,
}

impl Memory {
    pub(crate) const fn new(thread: u32, reach: Reach) -> Self {
        Self { thread, reach }
    }

    /// Reads up to `buffer.len()` bytes; fewer where memory ends.
    fn read_some(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.reach == Reach::File {
            let file = std::fs::File::open(format!("/proc/{}/mem", self.thread));
            let read = file.and_then(|file| file.read_at(buffer, address));
            return read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::FAULT));
        }
        // The kernel gives what it could read up to the first page that is not there.
        let count = copy(
            Way::Here,
            self.thread,
            address,
            buffer.as_mut_ptr(),
            buffer.len(),
        );
        match count {
            Err(Errno::FAULT) => {
                let left = page_rest(address);
                if left >= buffer.len() {
                    return Err(Errno::FAULT);
                }
                copy(Way::Here, self.thread, address, buffer.as_mut_ptr(), left)
            }
            other => other,
        }
    }

    /// Fills the buffer.
    pub(crate) fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        match self.read_some(address, buffer) {
            Ok(count) if count == buffer.len() => Ok(()),
            Ok(_) => Err(Errno::FAULT),
            Err(error) => Err(error),
        }
    }

    /// Reads a number of the machine's byte order.
    pub(crate) fn read_u32(&self, address: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    /// Reads a string up to its zero byte.
    ///
    /// # Errors
    /// `ENAMETOOLONG` when it is longer than a path may be.
    pub(crate) fn read_string(&self, address: u64) -> Result<CString, Errno> {
        let mut text = Vec::with_capacity(PIECE);
        while text.len() < PATH_LIMIT {
            let start = text.len();
            text.resize(start + PIECE, 0);
            let count = self.read_some(address.wrapping_add(start as u64), &mut text[start..])?;
            if let Some(end) = text[start..start + count]
                .iter()
                .position(|byte| *byte == 0)
            {
                text.truncate(start + end);
                return CString::new(text).map_err(|_| Errno::INVAL);
            }
            if count < PIECE {
                return Err(Errno::FAULT);
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Writes all the bytes.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if self.reach == Reach::File {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(format!("/proc/{}/mem", self.thread));
            let written = file.and_then(|file| file.write_all_at(bytes, address));
            return written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::FAULT));
        }
        let source = bytes.as_ptr().cast_mut();
        match copy(Way::There, self.thread, address, source, bytes.len())? {
            count if count == bytes.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }
}

/// Bytes from an address to the end of its page.
fn page_rest(address: u64) -> usize {
    const SMALLEST_PAGE: u64 = 4096;
    usize::try_from(SMALLEST_PAGE - address % SMALLEST_PAGE).unwrap_or(0)
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Here,
    There,
}

/// One of the two calls, which differ in direction only.
fn copy(
    way: Way,
    thread: u32,
    address: u64,
    local: *mut u8,
    length: usize,
) -> Result<usize, Errno> {
    let ours = libc::iovec {
        iov_base: local.cast(),
        iov_len: length,
    };
    let theirs = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    let call = match way {
        Way::Here => libc::process_vm_readv,
        Way::There => libc::process_vm_writev,
    };
    // SAFETY: every caller passes `local` and `length` of one live slice, exclusive when it is written to. The
    // address in the other process is checked by the kernel.
    let count = unsafe {
        call(
            thread.cast_signed(),
            &raw const ours,
            1,
            &raw const theirs,
            1,
            0,
        )
    };
    usize::try_from(count).map_err(|_| last_error())
}

/// The bytes of a value that the kernel lays out.
pub(crate) fn bytes_of<T: KernelLayout>(value: &T) -> &[u8] {
    let start = std::ptr::from_ref(value).cast::<u8>();
    // SAFETY: implementors are structures of the kernel's interface whose every byte is initialised (they
    // start zeroed or are written whole by the kernel), and the slice lives no longer than the value.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }
}

/// Structures that go to a process's memory byte by byte.
pub(crate) trait KernelLayout {}
impl KernelLayout for libc::stat {}
impl KernelLayout for libc::statx {}

/// stat(2) on a path, into a structure whose padding is zero.
pub(crate) fn status(path: &CStr, follow: bool) -> Result<libc::stat, Errno> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut status = unsafe { std::mem::zeroed::<libc::stat>() };
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path ends with a zero byte, and the kernel writes one `stat`.
    check(libc::c_long::from(unsafe {
        libc::fstatat(libc::AT_FDCWD, path.as_ptr(), &raw mut status, flags)
    }))?;
    Ok(status)
}

/// statx(2) on a path with the caller's own flags and mask.
pub(crate) fn extended_status(path: &CStr, flags: i32, mask: u32) -> Result<libc::statx, Errno> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut status = unsafe { std::mem::zeroed::<libc::statx>() };
    // SAFETY: the path ends with a zero byte, and the kernel writes one `statx`.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            mask,
            &raw mut status,
        )
    })?;
    Ok(status)
}
