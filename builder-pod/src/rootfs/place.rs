//! What stands in the root for one step alone: put in its place before the step, taken away after it.
//!
//! Nobody in a pod may mount, so a mount is files that are made at its target. What stood there is moved aside and
//! comes back as the same inode: only its own change time moved, so the snapshot finds it as it was.
//!
//! Invariant: whatever a step did, after [`Rootfs::clear`] nothing that was placed stands in its place, and what it hid
//! is back; else the step failed.
//! Invariant: what is placed shares no inode with anything that outlives the step, so no link to it and no
//! descriptor of it reaches further than a copy would.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use stagecraft_layer::{FsTree, Node, join_paths, name_of, parent_of};
use stagecraft_protocol::ownership::{Override, SpecialOwner, real_permissions};

use super::beneath::{self, Standing};
use super::error::{failed, failed_io, show};
use super::{Rootfs, RootfsError, inode};

/// Where hidden things stand while the step runs, in the root: nowhere else can they be moved without a copy.
const ASIDE: &str = ".stagecraft-hidden";

/// The type of a socket in a mode.
const SOCKET: u32 = 0o140_000;

/// Everything that was placed for a step.
pub struct Places {
    /// The stage's files with what was placed among them.
    view: FsTree,
    placed: Vec<Place>,
    /// The directory of what is hidden, once there is something.
    aside: Option<Vec<u8>>,
    /// What was touched to place something.
    touched: Vec<Touched>,
}

/// An inode whose change time moved because something was placed.
struct Touched {
    /// Its path before and after the step.
    path: Vec<u8>,
    /// Its path while the step runs.
    meanwhile: Vec<u8>,
    /// How it was when everything was placed: the step left it alone if it still is when the step is over.
    state: State,
}

/// What tells that an inode was touched: device, inode, and change time.
type State = (u32, u32, u64, i64, u32);

/// One of them.
struct Place {
    path: Vec<u8>,
    /// The inode that was put there; none before it was.
    inode: Option<(u64, u64)>,
    /// Where what stood there is now.
    hidden: Option<Vec<u8>>,
    /// Parents that were made for it, topmost first.
    parents: Vec<Vec<u8>>,
}

impl Places {
    /// Nothing placed yet among the files of `tree`.
    #[must_use]
    pub fn new(tree: FsTree) -> Self {
        Self {
            view: tree,
            placed: Vec::new(),
            aside: None,
            touched: Vec::new(),
        }
    }

    /// Where a target leads, links followed; `None` when they go in circles.
    #[must_use]
    pub fn resolve(&self, target: &str) -> Option<Vec<u8>> {
        self.view.resolve(target.as_bytes(), true).ok()
    }

    /// What stands at a path that [`Self::resolve`] gave.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.view.get(path)
    }
}

impl Rootfs {
    /// Makes room at `path`, which [`Places::resolve`] gave: parents are made, what stands there is moved aside.
    /// Then [`Self::put_in_place`] puts something there.
    ///
    /// # Errors
    /// When the container runtime has mounted something there, or a parent is no directory.
    pub fn make_room(&mut self, places: &mut Places, path: &[u8]) -> Result<(), RootfsError> {
        self.beneath.forget();
        let mut place = Place {
            path: path.to_vec(),
            inode: None,
            hidden: None,
            parents: Vec::new(),
        };
        let missing = places.view.missing_parents(path);
        let above = missing
            .first()
            .map_or(parent_of(path), |path| parent_of(path));
        if !places.view.get(above).is_some_and(Node::is_directory) {
            return Err(RootfsError::NotADirectory { path: show(above) });
        }
        for parent in missing {
            if self.standing(parent)? == Standing::Nothing {
                place.parents.push(parent.to_vec());
            }
            self.write_entry(&mut places.view, parent, &Node::implicit_directory(), None)?;
        }
        let hidden = match self.standing(path)? {
            Standing::Nothing => false,
            Standing::Mount => return Err(RootfsError::HoldsMount { path: show(path) }),
            Standing::Directory if self.holds_mount(path)? => {
                return Err(RootfsError::HoldsMount { path: show(path) });
            }
            Standing::Directory | Standing::Other => true,
        };
        if hidden {
            let aside = self.aside(places)?;
            let number = places.placed.len().to_string();
            let hidden = join_paths(&aside, number.as_bytes());
            self.rename(path, &hidden)?;
            place.hidden = Some(hidden);
        }
        places.view.remove(path);
        places.placed.push(place);
        Ok(())
    }

    /// Puts a node at `path`, which is where room was made or below it.
    ///
    /// # Errors
    /// As [`Self::write_entry`].
    pub fn put_in_place(
        &mut self,
        places: &mut Places,
        path: &[u8],
        node: &Node,
        content: Option<&mut dyn std::io::Read>,
    ) -> Result<(), RootfsError> {
        // What the tree's own files contain is remembered by path: those of a mount must not take their place.
        let contents = std::mem::take(&mut self.content_hashes);
        let written = self.write_entry(&mut places.view, path, node, content);
        self.content_hashes = contents;
        written
    }

    /// Listens on a socket at `path`, where room was made, of this mode and owner.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn put_socket(
        &mut self,
        path: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> Result<UnixListener, RootfsError> {
        let fail = || failed("make the socket", path);
        let directory = self.parent_directory(path)?;
        let name = CString::new(name_of(path)).map_err(|_| fail()(Errno::INVAL))?;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let address = Path::new(&link).join(OsStr::from_bytes(name.to_bytes()));
        let listener = UnixListener::bind(address).map_err(failed_io("make the socket", path))?;
        let mode = SOCKET | (mode & 0o7777);
        let real = Mode::from_raw_mode(real_permissions(mode));
        rustix::fs::chmodat(&directory, &name, real, AtFlags::empty()).map_err(fail())?;
        let status = beneath::status(&directory, &name).map_err(fail())?;
        let (uid, gid) = owner;
        let record = SpecialOwner {
            key: inode::key_of(&status),
            attributes: Override {
                uid,
                gid,
                mode,
                rdev: 0,
            },
        };
        self.new_special_owners.push(record);
        Ok(listener)
    }

    /// Notes what was placed, when all of it is.
    ///
    /// # Errors
    /// When it is not there.
    pub fn finish_places(&mut self, places: &mut Places) -> Result<(), RootfsError> {
        self.settle_directories()?;
        self.copied_links.clear();
        for place in &mut places.placed {
            place.inode = self.inode_at(&place.path)?;
            let first = place.parents.first().unwrap_or(&place.path);
            let parent = parent_of(first).to_vec();
            let hidden = place
                .hidden
                .clone()
                .map(|hidden| (place.path.clone(), hidden));
            for (path, meanwhile) in [(parent.clone(), parent)].into_iter().chain(hidden) {
                if let Some(state) = self.state(&meanwhile)? {
                    places.touched.push(Touched {
                        path,
                        meanwhile,
                        state,
                    });
                }
            }
        }
        Ok(())
    }

    fn state(&self, path: &[u8]) -> Result<Option<State>, RootfsError> {
        let status = self.status_at(path)?;
        Ok(status.map(|status| {
            let changed = status.stx_ctime;
            let (major, minor) = (status.stx_dev_major, status.stx_dev_minor);
            (
                major,
                minor,
                status.stx_ino,
                changed.tv_sec,
                changed.tv_nsec,
            )
        }))
    }

    fn status_at(&self, path: &[u8]) -> Result<Option<rustix::fs::Statx>, RootfsError> {
        // The root's own metadata is no part of any layer.
        if path.is_empty() {
            return Ok(None);
        }
        let directory = match self.beneath.open(parent_of(path), OFlags::PATH) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
            Err(errno) => return Err(failed("open the directory", parent_of(path))(errno)),
        };
        let fail = || failed("look at", path);
        let name = CString::new(name_of(path)).map_err(|_| fail()(Errno::INVAL))?;
        match beneath::status(&directory, &name) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(fail()(errno)),
        }
    }

    /// Takes away everything that was placed, and brings back what it hid.
    ///
    /// # Errors
    /// When the step put something else in a place, or moved what leads to it. The root is of no use then.
    pub fn clear(&mut self, places: Places) -> Result<(), RootfsError> {
        self.beneath.forget();
        let mut untouched = Vec::new();
        for touched in places.touched {
            if self.state(&touched.meanwhile)? == Some(touched.state) {
                untouched.push(touched.path);
            }
        }
        for place in places.placed.iter().rev() {
            self.clear_place(place)?;
        }
        if let Some(aside) = &places.aside {
            self.keeping_time(b"", |root| {
                match rustix::fs::unlinkat(
                    root.beneath.root(),
                    aside.as_slice(),
                    AtFlags::REMOVEDIR,
                ) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(errno) => Err(failed("remove", aside)(errno)),
                }
            })?;
        }
        self.directory_times.clear();
        // The step did nothing to them, so the snapshot has nothing to look for.
        for path in untouched {
            if let Some(status) = self.status_at(&path)? {
                let seen = self.fingerprint(&path, &status);
                self.index.insert(seen);
            }
        }
        Ok(())
    }

    fn clear_place(&mut self, place: &Place) -> Result<(), RootfsError> {
        let found = self.inode_at(&place.path)?;
        if found.is_some() && place.inode.is_some() && found != place.inode {
            let path = show(&place.path);
            return Err(RootfsError::Replaced { path });
        }
        self.keeping_time(parent_of(&place.path), |root| {
            if found.is_some() {
                root.beneath.remove(&place.path)?;
            }
            match &place.hidden {
                Some(hidden) => root.rename(hidden, &place.path),
                None => Ok(()),
            }
        })?;
        for parent in place.parents.iter().rev() {
            self.keeping_time(parent_of(parent), |root| {
                let Some(above) = root.beneath.parent(parent)? else {
                    return Ok(());
                };
                // A parent in which the step made something stays, as does what leads to it.
                match rustix::fs::unlinkat(&above, name_of(parent), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {
                        Ok(())
                    }
                    Err(errno) => Err(failed("remove", parent)(errno)),
                }
            })?;
        }
        Ok(())
    }

    /// The directory for what is hidden; its name is none that the stage has.
    fn aside(&mut self, places: &mut Places) -> Result<Vec<u8>, RootfsError> {
        if let Some(aside) = &places.aside {
            return Ok(aside.clone());
        }
        let mut name = ASIDE.to_owned();
        while self.standing(name.as_bytes())? != Standing::Nothing {
            name.push('-');
        }
        self.keeping_time(b"", |root| {
            rustix::fs::mkdirat(root.beneath.root(), name.as_str(), Mode::RWXU)
                .map_err(failed("make the directory", name.as_bytes()))
        })?;
        let name = name.into_bytes();
        places.aside = Some(name.clone());
        Ok(name)
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), RootfsError> {
        let fail = || failed("move", from);
        let source = self.parent_directory(from)?;
        let target = self.parent_directory(to)?;
        let times = modified(&source).map_err(fail())?;
        rustix::fs::renameat(&source, name_of(from), &target, name_of(to)).map_err(fail())?;
        self.beneath.forget();
        rustix::fs::futimens(&source, &times).map_err(fail())
    }

    fn parent_directory(&self, path: &[u8]) -> Result<OwnedFd, RootfsError> {
        let parent = parent_of(path);
        self.beneath
            .open(parent, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(failed("open the directory", parent))
    }

    /// Works in a directory that has the time afterwards that it had before. One that is gone is no concern.
    fn keeping_time(
        &mut self,
        directory: &[u8],
        work: impl FnOnce(&mut Self) -> Result<(), RootfsError>,
    ) -> Result<(), RootfsError> {
        let fail = || failed("set the time of", directory);
        let opened = match self
            .beneath
            .open(directory, OFlags::RDONLY | OFlags::DIRECTORY)
        {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return work(self),
            Err(errno) => return Err(failed("open the directory", directory)(errno)),
        };
        let times = modified(&opened).map_err(fail())?;
        work(self)?;
        rustix::fs::futimens(&opened, &times).map_err(fail())
    }

    fn standing(&mut self, path: &[u8]) -> Result<Standing, RootfsError> {
        let Some(parent) = self.beneath.parent(path)? else {
            return Ok(Standing::Mount);
        };
        beneath::standing(&parent, name_of(path)).map_err(failed("look at", path))
    }

    /// Whether the runtime has mounted something right in a directory; nowhere does it mount deeper.
    fn holds_mount(&self, path: &[u8]) -> Result<bool, RootfsError> {
        let listed = self.beneath.list(path)?;
        Ok(listed.is_some_and(|(_, found)| found.iter().any(beneath::Found::is_mount)))
    }

    /// Device and inode of what is at a path; `None` where nothing is, and where that lies behind a mount.
    fn inode_at(&self, path: &[u8]) -> Result<Option<(u64, u64)>, RootfsError> {
        match self.beneath.open(path, OFlags::PATH) {
            Ok(opened) => {
                let status = rustix::fs::fstat(&opened).map_err(failed("look at", path))?;
                Ok(Some((status.st_dev, status.st_ino)))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(errno) => Err(failed("look at", path)(errno)),
        }
    }
}

/// The modification time of an open directory, to set it again.
fn modified(directory: impl AsFd) -> rustix::io::Result<rustix::fs::Timestamps> {
    let status = rustix::fs::statx(
        directory,
        c"",
        AtFlags::EMPTY_PATH,
        rustix::fs::StatxFlags::MTIME,
    )?;
    Ok(inode::timestamps(inode::time_of(&status)))
}
