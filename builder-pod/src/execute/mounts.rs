//! What a RUN mounts: gathered before its root is needed, put there right before the step, taken away right after it.
//!
//! Invariant: nothing of a mount is there when the snapshot looks, and everything that a mount hid is.
//! Invariant: a cache gets what the step left in it whether the step succeeded or not, as with BuildKit.

mod error;
mod gather;

use std::sync::Arc;

use stagecraft_dockerfile::CacheSharing;
use stagecraft_layer::{FsTree, LayerId, Node, NodeKind, join_paths};
use stagecraft_protocol::ownership::SpecialOwner;
use stagecraft_protocol::runner::MountPoint;

pub use error::MountError;

use super::StepError;
use super::put::Put;
use crate::agents::{Agent, Lent};
use crate::caches::{Cache, CacheName, Caches};
use crate::rootfs::{Places, Rootfs, RootfsError, Scan};
use crate::secrets::Mask;

/// Everything that a step mounts.
#[derive(Default)]
pub(super) struct Mounts {
    /// In the order of their targets, so that one may stand in another.
    list: Vec<Mount>,
    /// Variables that hold secrets.
    pub(super) environment: Vec<String>,
    /// Hides the step's secrets in what it prints.
    pub(super) mask: Mask,
}

/// One of them, with all that is needed to put it there.
struct Mount {
    /// Absolute, as planned.
    target: String,
    read_only: bool,
    content: Content,
}

enum Content {
    /// Copied files, by their paths below the target; the first is the target itself.
    Files(Vec<Put>),
    /// An empty directory. Where a directory is hidden by it, it gets that one's mode.
    Memory(Node),
    /// A file that is known.
    File(Node, Arc<[u8]>),
    /// A socket of this mode and owner that leads to an agent.
    Agent(u32, (u32, u32), Agent),
    /// A cache, with what it is when it is new.
    Cache {
        name: CacheName,
        sharing: CacheSharing,
        initial: Vec<Put>,
    },
}

/// Mounts that are in their places.
pub(super) struct Mounted {
    places: Places,
    caches: Vec<MountedCache>,
    points: Vec<MountPoint>,
    /// Dropped with the mounts: the step's end is the end of its agents.
    agents: Vec<Lent>,
}

/// A cache in its place.
struct MountedCache {
    cache: Cache,
    path: Vec<u8>,
    /// How it was when the step began; nothing where the step's changes are not kept.
    before: Option<Scan>,
}

impl Content {
    /// Whether it is a directory that is mounted.
    fn is_directory(&self) -> bool {
        match self {
            Self::Files(puts) => puts
                .first()
                .is_some_and(|put| put.entry.node.is_directory()),
            Self::Memory(_) | Self::Cache { .. } => true,
            Self::File(..) | Self::Agent(..) => false,
        }
    }
}

impl Mounts {
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Puts everything in its place, among the files of `tree`.
    pub(super) fn put(
        self,
        root: &mut Rootfs,
        tree: FsTree,
        caches: &Caches,
    ) -> Result<Mounted, StepError> {
        let mut opened = self.open_caches(caches)?;
        let mut mounted = Mounted {
            places: Places::new(tree),
            caches: Vec::new(),
            points: Vec::new(),
            agents: Vec::new(),
        };
        for (number, mount) in self.list.into_iter().enumerate() {
            let target = mount.target.clone();
            let cache = opened.get_mut(number).and_then(Option::take);
            mounted
                .put(root, mount, cache)
                .map_err(|error| error.at(&target))?;
        }
        root.finish_places(&mut mounted.places)?;
        for cache in mounted
            .caches
            .iter_mut()
            .filter(|cache| cache.before.is_some())
        {
            cache.before = Some(root.scan(&cache.path)?);
        }
        Ok(mounted)
    }

    /// Opens the caches, always in the same order: two steps that wait for each other's would wait for ever.
    fn open_caches(&self, caches: &Caches) -> Result<Vec<Option<Cache>>, StepError> {
        let mut wanted: Vec<(String, usize, &CacheName, CacheSharing)> = Vec::new();
        for (number, mount) in self.list.iter().enumerate() {
            if let Content::Cache { name, sharing, .. } = &mount.content {
                wanted.push((caches.order(name), number, name, *sharing));
            }
        }
        wanted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut opened: Vec<Option<Cache>> = self.list.iter().map(|_| None).collect();
        for (_, number, name, sharing) in wanted {
            opened[number] = Some(caches.open(name, sharing).map_err(MountError::Cache)?);
        }
        Ok(opened)
    }
}

impl Mounted {
    fn put(
        &mut self,
        root: &mut Rootfs,
        mount: Mount,
        cache: Option<Cache>,
    ) -> Result<(), StepError> {
        let path = self.places.resolve(&mount.target).ok_or(MountError::Loop)?;
        // In a container that is memory which is emptied with every step.
        if path == b"dev/shm" && matches!(mount.content, Content::Memory(_)) {
            return Ok(());
        }
        let standing = self.places.get(&path).cloned();
        match standing.as_ref().map(Node::is_directory) {
            Some(true) if !mount.content.is_directory() => {
                return Err(MountError::OverDirectory.into());
            }
            Some(false) if mount.content.is_directory() => return Err(MountError::OverFile.into()),
            _ => {}
        }
        match root.make_room(&mut self.places, &path) {
            Err(RootfsError::HoldsMount { path }) => return Err(MountError::Runtime(path).into()),
            Err(RootfsError::NotADirectory { path }) => {
                return Err(MountError::NotADirectory(path).into());
            }
            made => made?,
        }
        // The runner is told in text: at a name that is none, its programs see no mount.
        if let Ok(text) = std::str::from_utf8(&path) {
            self.points.push(MountPoint {
                path: format!("/{text}"),
                read_only: mount.read_only,
            });
        }
        match mount.content {
            Content::Files(puts) => self.files(root, &path, &puts),
            Content::Memory(mut node) => {
                node.mode = standing
                    .as_ref()
                    .map_or(node.mode, |standing| standing.mode);
                Ok(root.put_in_place(&mut self.places, &path, &node, None)?)
            }
            Content::File(node, content) => {
                let mut content = &*content;
                Ok(root.put_in_place(&mut self.places, &path, &node, Some(&mut content))?)
            }
            Content::Agent(mode, owner, agent) => {
                let listener = root.put_socket(&path, mode, owner)?;
                let lent = Lent::new(listener, agent).map_err(MountError::Agent)?;
                self.agents.push(lent);
                Ok(())
            }
            Content::Cache { name, initial, .. } => {
                let cache = cache.ok_or(StepError::Unplanned("a cache that was not opened"))?;
                self.cache(root, path, cache, &name, mount.read_only, &initial)
            }
        }
    }

    fn files(&mut self, root: &mut Rootfs, path: &[u8], puts: &[Put]) -> Result<(), StepError> {
        for put in puts {
            let path = join_paths(path, &put.entry.path);
            let node = put.entry.node.clone().in_layer(LayerId::NONE);
            if node.is_file() {
                let mut content = put.open_shown()?;
                root.put_in_place(&mut self.places, &path, &node, Some(&mut *content))?;
            } else {
                root.put_in_place(&mut self.places, &path, &node, None)?;
            }
        }
        Ok(())
    }

    fn cache(
        &mut self,
        root: &mut Rootfs,
        path: Vec<u8>,
        cache: Cache,
        name: &CacheName,
        read_only: bool,
        initial: &[Put],
    ) -> Result<(), StepError> {
        let mut files = cache.files().map_err(MountError::Cache)?;
        if files.is_new {
            let mut top = Node::implicit_directory();
            if let Some(first) = initial.first() {
                top = first.entry.node.clone();
            }
            let access = name.access;
            top.mode = access.mode.map_or(top.mode, |mode| mode & 0o7777);
            (top.uid, top.gid) = (access.uid.unwrap_or(top.uid), access.gid.unwrap_or(top.gid));
            root.put_in_place(&mut self.places, &path, &top, None)?;
            self.files(root, &path, initial.get(1..).unwrap_or_default())?;
        } else {
            let stored = files.root.scan(b"")?;
            if let Some(top) = stored.tree.get(b"") {
                root.put_in_place(&mut self.places, &path, top, None)?;
            }
            for (relative, node) in stored.tree.iter() {
                let path = join_paths(&path, relative);
                if node.is_file() {
                    let mut content = files.root.open_file(relative)?;
                    root.put_in_place(&mut self.places, &path, node, Some(&mut content))?;
                } else {
                    root.put_in_place(&mut self.places, &path, node, None)?;
                }
            }
        }
        self.caches.push(MountedCache {
            cache,
            path,
            before: (!read_only).then(Scan::empty),
        });
        Ok(())
    }

    /// Where something was put, for the runner.
    pub(super) fn take_points(&mut self) -> Vec<MountPoint> {
        std::mem::take(&mut self.points)
    }

    /// Takes everything away again, after every process of the step is dead.
    pub(super) fn take_away(
        self,
        root: &mut Rootfs,
        special_owners: &[SpecialOwner],
    ) -> Result<(), StepError> {
        root.learn_special_owners(special_owners);
        for mounted in &self.caches {
            if let Some(before) = &mounted.before {
                mounted.keep(root, before)?;
            }
        }
        Ok(root.clear(self.places)?)
    }
}

impl MountedCache {
    /// Gives the cache what the step made of it.
    fn keep(&self, root: &mut Rootfs, before: &Scan) -> Result<(), StepError> {
        let after = root.scan(&self.path)?;
        if after.is_same(before) {
            return Ok(());
        }
        let mut files = self.cache.files().map_err(MountError::Cache)?;
        let mut standing = files.root.scan(b"")?.tree;
        files.write(|store| {
            store
                .carry(&mut standing, root, &self.path, before, &after)
                .map_err(StepError::from)
        })
    }
}

/// A file or directory of this mode and owner, of no time.
fn node(kind: NodeKind, mode: u32, owner: (Option<u32>, Option<u32>)) -> Node {
    Node::new(kind, mode, owner.0.unwrap_or(0), owner.1.unwrap_or(0))
}
