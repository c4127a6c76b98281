//! Extended attributes by path, with and without following a last symbolic link.

use std::ffi::CStr;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Reads an attribute into the buffer and gives its length; with an empty buffer, the length alone.
pub(crate) fn get(
    path: &CStr,
    follow: bool,
    name: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    if follow {
        rustix::fs::getxattr(path, name, buffer)
    } else {
        rustix::fs::lgetxattr(path, name, buffer)
    }
}

/// Writes an attribute.
pub(crate) fn set(
    path: &CStr,
    follow: bool,
    name: &CStr,
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    if follow {
        rustix::fs::setxattr(path, name, value, flags)
    } else {
        rustix::fs::lsetxattr(path, name, value, flags)
    }
}

/// Removes an attribute.
pub(crate) fn remove(path: &CStr, follow: bool, name: &CStr) -> Result<(), Errno> {
    if follow {
        rustix::fs::removexattr(path, name)
    } else {
        rustix::fs::lremovexattr(path, name)
    }
}

/// The names of a path's attributes, each ended by a zero byte. Nearly every inode has none, or few.
pub(crate) fn list(path: &CStr, follow: bool) -> Result<Vec<u8>, Errno> {
    const USUAL: usize = 512;
    const LIST_LIMIT: usize = 64 * 1024;
    match list_into(path, follow, vec![0; USUAL]) {
        Err(Errno::RANGE) => list_into(path, follow, vec![0; LIST_LIMIT]),
        other => other,
    }
}

fn list_into(path: &CStr, follow: bool, mut names: Vec<u8>) -> Result<Vec<u8>, Errno> {
    let length = if follow {
        rustix::fs::listxattr(path, &mut names[..])?
    } else {
        rustix::fs::llistxattr(path, &mut names[..])?
    };
    names.truncate(length);
    Ok(names)
}
