//! Makes single nodes on disk: directories, files, links, pipes, and devices as files with a record.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use stagecraft_layer::{Node, NodeKind, name_of};
use stagecraft_protocol::ownership::SpecialOwner;

use super::beneath::{self, Standing};
use super::error::{failed, failed_io, show};
use super::{Rootfs, RootfsError, inode};

/// Bytes of content moved at a time.
pub(super) const PIECE: usize = 128 * 1024;

impl Rootfs {
    /// Makes `path` a directory and gives it the node's metadata but its time.
    pub(super) fn make_directory(&mut self, path: &[u8], node: &Node) -> Result<(), RootfsError> {
        if !path.is_empty() {
            let Some(parent) = self.beneath.parent(path)? else {
                return Ok(());
            };
            let made = rustix::fs::mkdirat(&parent, name_of(path), Mode::RWXU);
            if made == Err(Errno::EXIST) {
                match self.beneath.clear(path, true)? {
                    Standing::Nothing => rustix::fs::mkdirat(&parent, name_of(path), Mode::RWXU)
                        .map_err(failed("make the directory", path))?,
                    Standing::Mount => return Ok(()),
                    _ => {}
                }
            } else {
                made.map_err(failed("make the directory", path))?;
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = match self.beneath.open(path, flags) {
            Err(Errno::XDEV) => return Ok(()),
            opened => opened.map_err(failed("open the directory", path))?,
        };
        set_metadata(&directory, path, node)
    }

    /// Makes `path`, where the tree knew of nothing. A file takes its content from `content`.
    pub(super) fn make(
        &mut self,
        path: &[u8],
        node: &Node,
        content: &mut dyn Read,
    ) -> Result<(), RootfsError> {
        let Some(parent) = self.beneath.parent(path)? else {
            return Ok(());
        };
        let mut made = create(&parent, path, node);
        if matches!(made, Err(Errno::EXIST)) {
            if self.beneath.clear(path, false)? == Standing::Mount {
                return Ok(());
            }
            made = create(&parent, path, node);
        }
        match made.map_err(failed("make", path))? {
            Some(file) => {
                if let NodeKind::File { size } = node.kind {
                    let hash = fill(&self.hashes, &file, path, size, content)?;
                    let place = self.path_hash(path);
                    self.content_hashes.insert(place, hash);
                }
                set_metadata(&file, path, node)?;
                rustix::fs::futimens(&file, &inode::timestamps(node.mtime))
                    .map_err(failed("set the time of", path))
            }
            None => self.finish_special(&parent, path, node),
        }
    }

    /// Makes `path` another name of `target`.
    pub(super) fn make_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), RootfsError> {
        let hash = self.content_hashes.get(&self.path_hash(target)).copied();
        if let Some(hash) = hash {
            let place = self.path_hash(path);
            self.content_hashes.insert(place, hash);
        }
        let Some(from) = self.beneath.parent(target)? else {
            return Ok(());
        };
        let Some(to) = self.beneath.parent(path)? else {
            return Ok(());
        };
        let fail = || failed("make the hard link", path);
        // The tree alone knows a target that a mount hides, so it alone knows the link.
        let standing = beneath::standing(&from, name_of(target)).map_err(fail())?;
        if standing == Standing::Mount {
            self.tree_only.insert(path.to_vec());
            return Ok(());
        }
        let link =
            || rustix::fs::linkat(&from, name_of(target), &to, name_of(path), AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => match self.beneath.clear(path, false)? {
                Standing::Mount => Ok(()),
                _ => link().map_err(fail()),
            },
            made => made.map_err(fail()),
        }
    }

    /// Sets time and owner of a new link or pipe.
    fn finish_special(
        &mut self,
        parent: &Arc<OwnedFd>,
        path: &[u8],
        node: &Node,
    ) -> Result<(), RootfsError> {
        let name = name_of(path);
        let fail = |errno| failed("set the metadata of", path)(errno);
        if node.kind == NodeKind::Fifo {
            // Just made, so it is no link that could lead elsewhere.
            let mode = Mode::from_raw_mode(inode::real_mode(node));
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(fail)?;
        }
        let times = inode::timestamps(node.mtime);
        rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if let Some(attributes) = inode::override_of(node) {
            let name = CString::new(name).map_err(|_| fail(Errno::INVAL))?;
            let status = beneath::status(parent, &name).map_err(fail)?;
            let owner = SpecialOwner {
                key: inode::key_of(&status),
                attributes,
            };
            self.special_owners.insert(owner.key, owner.attributes);
            self.new_special_owners.push(owner);
        }
        Ok(())
    }
}

/// Makes the inode; what is a file underneath is returned open for writing.
fn create(parent: &OwnedFd, path: &[u8], node: &Node) -> rustix::io::Result<Option<OwnedFd>> {
    let name = name_of(path);
    match &node.kind {
        NodeKind::Symlink { target } => {
            rustix::fs::symlinkat(&**target, parent, name)?;
            Ok(None)
        }
        NodeKind::Fifo => {
            rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            Ok(None)
        }
        _ => beneath::create_file(parent, name).map(Some),
    }
}

/// Writes a file's content and returns its hash.
pub(super) fn fill(
    hashes: &RandomState,
    file: &OwnedFd,
    path: &[u8],
    size: u64,
    content: &mut dyn Read,
) -> Result<u64, RootfsError> {
    let mut hasher = hashes.build_hasher();
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE).max(1))];
    let mut written = 0;
    loop {
        let read = match content.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed_io("read the content of", path))?,
        };
        written += read as u64;
        if written > size || (read == 0 && written < size) {
            let path = show(path);
            return Err(RootfsError::ContentLength {
                path,
                expected: size,
                found: written,
            });
        }
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&buffer[..read]);
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let count = rustix::io::write(file, rest).map_err(failed("write", path))?;
            rest = &rest[count..];
        }
    }
}

/// Real mode and record of an open file or directory.
pub(super) fn set_metadata(opened: &OwnedFd, path: &[u8], node: &Node) -> Result<(), RootfsError> {
    let fail = |errno| failed("set the metadata of", path)(errno);
    let mode = Mode::from_raw_mode(inode::real_mode(node));
    rustix::fs::fchmod(opened, mode).map_err(fail)?;
    inode::set_override(opened, node).map_err(fail)?;
    inode::set_capability(opened, node).map_err(fail)
}
