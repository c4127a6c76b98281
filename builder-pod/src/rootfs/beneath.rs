//! Look-ups and removals below a root's descriptor, which never leave it and never touch a mount in it.
//!
//! From outside its mount namespace, removing a mount point succeeds and detaches the mount. So nothing is
//! removed before it was opened with `RESOLVE_NO_XDEV`, which fails on a mount point.
//! Invariant: paths hold no symbolic link; one that appears in them anyway fails the look-up.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use stagecraft_layer::{join_paths, name_of, parent_of};

use super::error::{RootfsError, failed, show};

/// How every path is looked up.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_SYMLINKS);

/// What is asked of every inode.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What stands at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// A mount of the container runtime: it is not touched, the tree alone knows the path.
    Mount,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// One entry of a directory that is walked.
pub(super) struct Found {
    pub(super) name: CString,
    pub(super) status: Statx,
}

impl Found {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.status.stx_mode.into())
    }

    /// Whether something is mounted there.
    pub(super) fn is_mount(&self) -> bool {
        self.status
            .stx_attributes
            .contains(StatxAttributes::MOUNT_ROOT)
    }
}

/// A root, and the directory that was used last.
pub(super) struct Beneath {
    root: Arc<OwnedFd>,
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Beneath {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Arc::new(root),
            last: None,
        }
    }

    /// Another view of the same root, for another thread.
    pub(super) fn sibling(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            last: None,
        }
    }

    /// Forgets the directory that was used last: processes of a step may have moved it.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory that `path` stands in; `None` when that lies below a mount.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Option<Arc<OwnedFd>>, RootfsError> {
        let parent = parent_of(path);
        if parent.is_empty() {
            return Ok(Some(Arc::clone(&self.root)));
        }
        if let Some((last, descriptor)) = &self.last
            && last == parent
        {
            return Ok(Some(Arc::clone(descriptor)));
        }
        let opened = open(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY);
        match opened {
            Ok(descriptor) => {
                let descriptor = Arc::new(descriptor);
                self.last = Some((parent.to_vec(), Arc::clone(&descriptor)));
                Ok(Some(descriptor))
            }
            Err(Errno::XDEV) => Ok(None),
            Err(errno) => Err(failed("open the directory", parent)(errno)),
        }
    }

    /// Opens `path`, which may be the root, without following a link.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open(&self.root, path, flags)
    }

    /// Opens `path` as a process inside the root would, links followed.
    pub(super) fn open_following(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = RESOLVE.difference(ResolveFlags::NO_SYMLINKS);
        rustix::fs::openat2(
            &self.root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// Removes `path` and everything below it but mounts; returns what is left there.
    pub(super) fn remove(&mut self, path: &[u8]) -> Result<Standing, RootfsError> {
        let Some(parent) = self.parent(path)? else {
            return Ok(Standing::Mount);
        };
        let name = name_of(path);
        let fail = |errno| failed("remove", path)(errno);
        match standing(&parent, name).map_err(fail)? {
            Standing::Other => {
                rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(fail)?;
                Ok(Standing::Nothing)
            }
            Standing::Directory => {
                self.last = None;
                self.remove_directory(path)
            }
            left => Ok(left),
        }
    }

    /// Children first; without recursion, for no directory is too deep for the stack or for descriptors.
    fn remove_directory(&mut self, path: &[u8]) -> Result<Standing, RootfsError> {
        let mut entered: Vec<Vec<u8>> = vec![path.to_vec()];
        let mut next = 0;
        while next < entered.len() {
            let directory = entered[next].clone();
            next += 1;
            let Some((descriptor, found)) = self.list(&directory)? else {
                continue;
            };
            for entry in found {
                if entry.is_mount() {
                    continue;
                }
                let name = entry.name.to_bytes();
                let inner = join_paths(&directory, name);
                if entry.file_type() == FileType::Directory {
                    entered.push(inner);
                } else {
                    rustix::fs::unlinkat(&descriptor, entry.name.as_c_str(), AtFlags::empty())
                        .map_err(failed("remove", &inner))?;
                }
            }
        }
        let mut left = Standing::Nothing;
        for directory in entered.iter().rev() {
            let Some(parent) = self.parent(directory)? else {
                continue;
            };
            match rustix::fs::unlinkat(&parent, name_of(directory), AtFlags::REMOVEDIR) {
                Ok(()) => left = Standing::Nothing,
                // A mount that was passed over keeps its directories.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => left = Standing::Directory,
                Err(errno) => return Err(failed("remove", directory)(errno)),
            }
            self.last = None;
        }
        Ok(left)
    }

    /// What stands in directory `path`, and the directory itself; `None` when that is a mount or gone.
    pub(super) fn list(&self, path: &[u8]) -> Result<Option<(OwnedFd, Vec<Found>)>, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let descriptor = match self.open(path, flags) {
            Ok(descriptor) => descriptor,
            Err(Errno::XDEV | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("open the directory", path)(errno)),
        };
        let fail = |errno| failed("list the directory", path)(errno);
        let mut found = Vec::new();
        for entry in Dir::read_from(&descriptor).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match status(&descriptor, name) {
                Ok(status) => found.push(Found {
                    name: name.to_owned(),
                    status,
                }),
                // Nothing works in the root now, but a name may come and go by itself (NFS).
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let inner = join_paths(path, name.to_bytes());
                    return Err(failed("look at", &inner)(errno));
                }
            }
        }
        Ok(Some((descriptor, found)))
    }

    /// Makes room for something new at `path`, where the tree knows of nothing: what a runtime left there is
    /// removed. A directory may stay when a directory is to be made.
    pub(super) fn clear(
        &mut self,
        path: &[u8],
        keep_directory: bool,
    ) -> Result<Standing, RootfsError> {
        let Some(parent) = self.parent(path)? else {
            return Ok(Standing::Mount);
        };
        let found = standing(&parent, name_of(path)).map_err(failed("look at", path))?;
        match found {
            Standing::Directory if keep_directory => Ok(found),
            Standing::Nothing | Standing::Mount => Ok(found),
            _ => match self.remove(path)? {
                Standing::Directory if keep_directory => Ok(Standing::Directory),
                Standing::Directory => Err(RootfsError::HoldsMount { path: show(path) }),
                left => Ok(left),
            },
        }
    }
}

fn open(root: &OwnedFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), RESOLVE)
}

/// Opens `name` in `directory`, neither following a link nor crossing into a mount.
pub(super) fn open_name(
    directory: &OwnedFd,
    name: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    open(directory, name, flags)
}

/// Makes a file that only its owner may use, where nothing is, open for writing.
pub(super) fn create_file(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
}

/// What stands at `name` in `directory`.
pub(super) fn standing(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<Standing> {
    let opened = match open(directory, name, OFlags::PATH) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(Standing::Nothing),
        Err(Errno::XDEV) => return Ok(Standing::Mount),
        Err(errno) => return Err(errno),
    };
    let status = rustix::fs::fstat(&opened)?;
    Ok(match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Standing::Directory,
        _ => Standing::Other,
    })
}

/// Metadata of `name` in `directory`, of a link itself.
pub(super) fn status(directory: &OwnedFd, name: &CStr) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(directory, name, flags, WANTED)
}
