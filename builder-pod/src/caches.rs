//! The directories of `RUN --mount=type=cache`: kept between steps, and between builds where their directory is.
//!
//! A step works on a copy: what it changed is carried back when it ends, so a step that is killed midway or a build
//! that is killed leaves the cache as it was.
//!
//! Invariant: the name of a cache never is a path: whatever an id holds, its directory is a hash.
//! Invariant: a cache that was being written when its writer died is thrown away, not used.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use stagecraft_dockerfile::{Access, CacheSharing};

use crate::rootfs::Rootfs;

/// What tells one cache from another.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CacheName {
    /// What `BUILDKIT_CACHE_MOUNT_NS` says.
    pub namespace: Option<String>,
    /// Its id.
    pub id: String,
    /// Mode and owner that its directory began with.
    pub access: Access,
    /// What it began as: a hash of the files.
    pub origin: Option<String>,
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Its directory or one of its locks.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CacheError {
    move |source| CacheError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Where caches are kept.
#[derive(Clone, Debug)]
pub struct Caches {
    directory: PathBuf,
}

/// A cache while a step uses it.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    /// Keeps others away as the mount's sharing says, until it is dropped.
    _use: File,
}

/// A cache's files; nobody else reads or writes them until this is dropped.
pub struct CacheFiles {
    /// The files.
    pub root: Rootfs,
    /// Whether there was no such cache, or none that could be used.
    pub is_new: bool,
    dirty: PathBuf,
    _lock: File,
}

impl CacheName {
    /// The name of its directory.
    fn hash(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Caches {
    /// Caches below this directory, which is made when the first is needed.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What several mounts of one step are opened in the order of, so that no two steps wait for each other.
    #[must_use]
    pub fn order(&self, name: &CacheName) -> String {
        name.hash()
    }

    /// Opens a cache. Blocks while a step has it for itself, or, where this one wants that, while any has it.
    ///
    /// # Errors
    /// When its directory or its locks cannot be made.
    pub fn open(&self, name: &CacheName, sharing: CacheSharing) -> Result<Cache, CacheError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed("make", &self.directory))?;
        let hash = name.hash();
        let mut number: u64 = 0;
        loop {
            let own = match number {
                0 => hash.clone(),
                number => format!("{hash}-{number}"),
            };
            let directory = self.directory.join(own);
            let path = with_suffix(&directory, ".used");
            let lock = lock_file(&path)?;
            let locked = match sharing {
                CacheSharing::Shared => lock.lock_shared().map(|()| true),
                CacheSharing::Locked => lock.lock().map(|()| true),
                CacheSharing::Private => match lock.try_lock() {
                    Ok(()) => Ok(true),
                    Err(TryLockError::WouldBlock) => Ok(false),
                    Err(TryLockError::Error(error)) => Err(error),
                },
            };
            if locked.map_err(failed("lock", &path))? {
                return Ok(Cache {
                    directory,
                    _use: lock,
                });
            }
            number += 1;
        }
    }
}

impl Cache {
    /// Its files, to be read or written. Blocks while another step does that.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn files(&self) -> Result<CacheFiles, CacheError> {
        let path = with_suffix(&self.directory, ".lock");
        let lock = lock_file(&path)?;
        lock.lock().map_err(failed("lock", &path))?;
        let dirty = with_suffix(&self.directory, ".dirty");
        if dirty.exists() && self.directory.exists() {
            std::fs::remove_dir_all(&self.directory).map_err(failed("remove", &self.directory))?;
        }
        let is_new = !self.directory.exists();
        if is_new {
            std::fs::create_dir(&self.directory).map_err(failed("make", &self.directory))?;
            // Until something was carried here it is as good as not there.
            File::create(&dirty).map_err(failed("make", &dirty))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.directory, flags, Mode::empty())
            .map_err(|errno| failed("open", &self.directory)(errno.into()))?;
        Ok(CacheFiles {
            root: Rootfs::new(root),
            is_new,
            dirty,
            _lock: lock,
        })
    }
}

impl CacheFiles {
    /// Writes to the files: they count only if `write` succeeds.
    ///
    /// # Errors
    /// What `write` fails with, or that the cache cannot be marked.
    pub fn write<E: From<CacheError>>(
        &mut self,
        write: impl FnOnce(&mut Rootfs) -> Result<(), E>,
    ) -> Result<(), E> {
        File::create(&self.dirty).map_err(failed("make", &self.dirty))?;
        write(&mut self.root)?;
        std::fs::remove_file(&self.dirty).map_err(failed("remove", &self.dirty))?;
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn lock_file(path: &Path) -> Result<File, CacheError> {
    let mut options = File::options();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> CacheName {
        CacheName {
            namespace: None,
            id: id.to_owned(),
            access: Access::default(),
            origin: None,
        }
    }

    #[test]
    fn no_id_leads_out_of_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let caches = Caches::new(place.path().join("caches"));
        for id in ["../../x", "/etc", "", ".", "a/../../b"] {
            let cache = caches.open(&name(id), CacheSharing::Shared).unwrap();
            drop(cache.files().unwrap());
            let parent = cache.directory.parent().unwrap();
            assert_eq!(parent, place.path().join("caches"));
        }
        let entries = std::fs::read_dir(place.path()).unwrap().count();
        assert_eq!(entries, 1);
    }

    #[test]
    fn a_private_cache_is_for_one_step_and_a_second_one_gets_its_own() {
        let place = tempfile::tempdir().unwrap();
        let caches = Caches::new(place.path().to_owned());
        let open = || caches.open(&name("x"), CacheSharing::Private).unwrap();
        let (first, second) = (open(), open());
        assert_ne!(first.directory, second.directory);
        let freed = first.directory.clone();
        drop(first);
        assert_eq!(open().directory, freed);
        drop(second);
        // Those that share are together, whatever came before.
        let shared = || caches.open(&name("x"), CacheSharing::Shared).unwrap();
        assert_eq!(shared().directory, shared().directory);
    }

    #[test]
    fn what_was_half_written_is_thrown_away() {
        let place = tempfile::tempdir().unwrap();
        let caches = Caches::new(place.path().to_owned());
        let cache = caches.open(&name("x"), CacheSharing::Locked).unwrap();
        let file = cache.directory.join("file");
        let write = |_: &mut Rootfs| std::fs::write(&file, "whole").map_err(failed("write", &file));
        cache.files().unwrap().write(write).unwrap();
        assert!(!cache.files().unwrap().is_new && file.exists());
        let torn = cache.files().unwrap().write(|_: &mut Rootfs| {
            std::fs::write(&file, "ha").unwrap();
            Err(failed("write", &file)(
                std::io::ErrorKind::StorageFull.into(),
            ))
        });
        assert!(torn.is_err());
        assert!(cache.files().unwrap().is_new && !file.exists());
    }
}
