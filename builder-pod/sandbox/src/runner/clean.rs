//! Empties directories, past nothing that is mounted in them.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use stagecraft_protocol::ownership::XATTR_NAME;

use crate::system::sysv;

/// Deeper directories are moved up before they are emptied, so that descriptors suffice.
const DEPTH_LIMIT: usize = 128;

/// Why a directory could not be emptied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CleanError {
    #[error("cannot open {path}")]
    Open {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("cannot list {path}")]
    List {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("cannot remove {path}")]
    Remove {
        path: String,
        #[source]
        source: Errno,
    },
}

/// Empties a directory but for mount points and the directories that lead to them.
///
/// # Errors
/// When an entry stays that is no mount point.
pub(super) fn empty(path: &str) -> Result<(), CleanError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty()).map_err(|source| CleanError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut cleaner = Cleaner { top, moved: 0 };
    // Directories that were moved up are found by the next pass.
    loop {
        let moved = cleaner.moved;
        let directory = cleaner.top.try_clone().map_err(|error| CleanError::Open {
            path: path.to_owned(),
            source: Errno::from_io_error(&error).unwrap_or(Errno::MFILE),
        })?;
        cleaner.empty(&directory, path, 0)?;
        if cleaner.moved == moved {
            return Ok(());
        }
    }
}

struct Cleaner {
    top: OwnedFd,
    moved: u64,
}

impl Cleaner {
    /// Empties an open directory; gives whether it is empty now.
    fn empty(&mut self, directory: &OwnedFd, path: &str, depth: usize) -> Result<bool, CleanError> {
        let list = |source| CleanError::List {
            path: path.to_owned(),
            source,
        };
        let mut names: Vec<(CString, FileType)> = Vec::new();
        for entry in Dir::read_from(directory).map_err(list)? {
            let entry = entry.map_err(list)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        let mut is_empty = true;
        for (name, kind) in names {
            let path = format!("{}/{}", path.trim_end_matches('/'), name.to_string_lossy());
            let gone = match kind {
                FileType::Directory => self.remove_directory(directory, &name, &path, depth)?,
                _ => remove(directory, &name, &path, AtFlags::empty())?,
            };
            is_empty &= gone;
        }
        Ok(is_empty)
    }

    fn remove_directory(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        path: &str,
        depth: usize,
    ) -> Result<bool, CleanError> {
        if depth >= DEPTH_LIMIT {
            let higher = format!(".stagecraft-empty-{}", self.moved);
            if rustix::fs::renameat(parent, name, &self.top, higher).is_ok() {
                self.moved += 1;
                return Ok(true);
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let directory = match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Ok(directory) => directory,
            Err(Errno::XDEV) => return Ok(false),
            Err(source) => {
                return Err(CleanError::Open {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if self.empty(&directory, path, depth + 1)? {
            return remove(parent, name, path, AtFlags::REMOVEDIR);
        }
        // It leads to a mount point and stays, as nothing but that.
        let _ = rustix::fs::fremovexattr(&directory, XATTR_NAME);
        let _ = rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755));
        Ok(false)
    }
}

/// Removes an entry; gives whether it is gone. A mount point is busy and stays.
fn remove(
    parent: &OwnedFd,
    name: &CString,
    path: &str,
    flags: AtFlags,
) -> Result<bool, CleanError> {
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(source) => Err(CleanError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What a step may leave behind that is no file of its root: shared memory and System V objects.
pub(super) struct Leftovers {
    before: HashSet<(sysv::Kind, i32)>,
}

impl Leftovers {
    /// Notes what is there before a step.
    pub(super) fn before() -> Self {
        Self {
            before: sysv::objects(),
        }
    }

    /// Removes what is there after it and was not before.
    pub(super) fn remove(&self) {
        for (kind, id) in sysv::objects().difference(&self.before) {
            sysv::remove(*kind, *id);
        }
        // A missing or a read-only directory holds nothing of a step.
        let _ = empty("/dev/shm");
    }
}
