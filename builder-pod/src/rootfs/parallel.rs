//! Unpacks several layers side by side, with the result of unpacking them one after the other.
//!
//! Each layer's files are written, by whichever thread is free, under numbers in a directory of their own
//! beside everything else, with all their metadata. Only when every layer is read are the entries applied to
//! the tree, in the order of the layers and without touching the disk; then each file that the tree ends up
//! with is moved to its path, and what upper layers replaced is thrown away. So no order of arrival can matter,
//! and no link of one layer can redirect a write of another.

use std::collections::HashMap;
use std::hash::RandomState;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use stagecraft_layer::{
    Applier, Entry, EntryKind, FsTree, LayerId, LayerReader, Node, join_paths, name_of,
};

use super::beneath::{self, Beneath, Standing};
use super::create::{fill, set_metadata};
use super::error::failed;
use super::{Rootfs, RootfsError, inode};

/// Files of one directory of waiting files: more make look-ups slow.
const SHARD: usize = 1024;

/// A file that waits for its place.
#[derive(Clone, Debug)]
struct Waiting {
    /// Its path, below the root like every other.
    path: Vec<u8>,
    hash: u64,
}

/// One layer, read and waiting.
struct ReadLayer {
    layer: LayerId,
    entries: Vec<(Entry, Option<Waiting>)>,
}

/// Contents by layer and path in the layer's archive.
type Contents = HashMap<(LayerId, Vec<u8>), Waiting>;

impl Rootfs {
    /// Applies several layers, the lowest first, each an uncompressed archive; `threads` of them are read at a
    /// time. Into anything but an empty tree they are unpacked one after the other.
    ///
    /// # Errors
    /// When an archive is malformed or a file cannot be made. Tree and files are of no use then.
    pub fn unpack_all<R: Read + Send>(
        &mut self,
        tree: &mut FsTree,
        layers: Vec<(LayerId, R)>,
        threads: usize,
    ) -> Result<(), RootfsError> {
        if layers.len() < 2 || threads < 2 || !tree.is_empty() {
            for (layer, archive) in layers {
                self.unpack(tree, layer, archive)?;
            }
            return Ok(());
        }
        self.waiting = self.beneath.sibling();
        let waiting_room = format!(".stagecraft-{:016x}", self.path_hash(b"")).into_bytes();
        rustix::fs::mkdirat(self.beneath.root(), &*waiting_room, Mode::RWXU)
            .map_err(failed("make the directory", &waiting_room))?;
        let read = read_side_by_side(&self.beneath, &waiting_room, layers, threads, &self.hashes)?;
        let contents = merge(tree, read)?;
        self.place(tree, contents)?;
        self.beneath.remove(&waiting_room)?;
        self.touch_parent(tree, b"");
        self.settle_directories()
    }

    /// Makes everything that the tree has, files from where they wait.
    fn place(&mut self, tree: &FsTree, mut contents: Contents) -> Result<(), RootfsError> {
        let mut first_of_group: HashMap<u32, &[u8]> = HashMap::new();
        let mut placed: HashMap<(LayerId, Vec<u8>), &[u8]> = HashMap::new();
        if let Some(root) = tree.get(b"") {
            self.make_directory(b"", root)?;
        }
        for (path, node) in tree.iter() {
            if node.is_directory() {
                self.make_directory(path, node)?;
                self.directory_times.insert(path.to_vec(), node.mtime);
                continue;
            }
            if let Some(group) = node.link_group {
                if let Some(first) = first_of_group.get(&group) {
                    self.make_link(path, first)?;
                    continue;
                }
                first_of_group.insert(group, path);
            }
            if node.size() == 0 {
                self.make(path, node, &mut std::io::empty())?;
                continue;
            }
            let content = (node.layer, node.content_path(path).to_vec());
            if let Some(waiting) = contents.remove(&content) {
                self.move_in(path, &waiting)?;
                placed.insert(content, path);
            } else if let Some(twin) = placed.get(&content) {
                // The same layer twice in one stack, seen through different links.
                let mut twin = self.open_file(twin)?;
                self.make(path, node, &mut twin)?;
            } else {
                return Err(failed("find the content of", path)(Errno::NOENT));
            }
        }
        Ok(())
    }

    fn move_in(&mut self, path: &[u8], waiting: &Waiting) -> Result<(), RootfsError> {
        let Some(to) = self.beneath.parent(path)? else {
            return Ok(());
        };
        let from = self.waiting.parent(&waiting.path)?;
        let Some(from) = from else { return Ok(()) };
        let name = name_of(path);
        let rename = || {
            let flags = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(&from, name_of(&waiting.path), &to, name, flags)
        };
        let mut moved = rename();
        if moved == Err(Errno::EXIST) {
            if self.beneath.clear(path, false)? == Standing::Mount {
                return Ok(());
            }
            moved = rename();
        }
        moved.map_err(failed("make", path))?;
        let place = self.path_hash(path);
        self.content_hashes.insert(place, waiting.hash);
        Ok(())
    }
}

/// Applies the entries of all layers to the tree, lowest layer first.
fn merge(tree: &mut FsTree, layers: Vec<ReadLayer>) -> Result<Contents, RootfsError> {
    let mut contents = Contents::new();
    for ReadLayer { layer, entries } in layers {
        let mut applier = Applier::new(layer);
        for (entry, waiting) in entries {
            if let Some(waiting) = waiting {
                contents.insert((layer, entry.path.clone()), waiting);
            } else if let EntryKind::Link { target } = &entry.kind
                && let Some(content) = contents.get(&(layer, target.clone())).cloned()
            {
                contents.insert((layer, entry.path.clone()), content);
            }
            applier.apply(tree, entry)?;
        }
    }
    Ok(contents)
}

/// Reads all layers on several threads; files wait in `waiting_room`.
fn read_side_by_side<R: Read + Send>(
    beneath: &Beneath,
    waiting_room: &[u8],
    layers: Vec<(LayerId, R)>,
    threads: usize,
    hashes: &RandomState,
) -> Result<Vec<ReadLayer>, RootfsError> {
    let count = layers.len();
    let queue: Vec<Mutex<Option<(LayerId, R)>>> = layers
        .into_iter()
        .map(|layer| Mutex::new(Some(layer)))
        .collect();
    let results: Vec<Mutex<Option<Result<ReadLayer, RootfsError>>>> =
        (0..count).map(|_| Mutex::new(None)).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = queue.get(number) else { break };
            let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((layer, archive)) = taken else { break };
            let directory = join_paths(waiting_room, number.to_string().as_bytes());
            let room = WaitingRoom {
                beneath: beneath.sibling(),
                directory,
                hashes,
                shard: None,
            };
            let read = room.read(layer, archive, &stop);
            if read.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            *results[number]
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(read);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(work);
        }
        work();
    });
    let results = results
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    // A layer that was not read for the failure of another is missing here, but then that failure is not.
    results.collect()
}

/// Where one layer's files wait.
struct WaitingRoom<'a> {
    beneath: Beneath,
    directory: Vec<u8>,
    hashes: &'a RandomState,
    shard: Option<(Vec<u8>, OwnedFd)>,
}

impl WaitingRoom<'_> {
    fn read(
        mut self,
        layer: LayerId,
        archive: impl Read,
        stop: &AtomicBool,
    ) -> Result<ReadLayer, RootfsError> {
        self.make(&self.directory.clone())?;
        let mut reader = LayerReader::new(archive);
        let mut entries = Vec::new();
        let mut files = 0;
        while let Some(entry) = reader.next_entry()? {
            let waiting = match &entry.kind {
                EntryKind::Node(node) if node.size() > 0 => {
                    files += 1;
                    Some(self.keep(files - 1, &entry.path, node, &mut reader)?)
                }
                _ => None,
            };
            entries.push((entry, waiting));
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        reader.drain()?;
        Ok(ReadLayer { layer, entries })
    }

    fn make(&self, path: &[u8]) -> Result<(), RootfsError> {
        rustix::fs::mkdirat(self.beneath.root(), path, Mode::RWXU)
            .map_err(failed("make the directory", path))
    }

    fn keep(
        &mut self,
        number: usize,
        shown: &[u8],
        node: &Node,
        content: &mut dyn Read,
    ) -> Result<Waiting, RootfsError> {
        if number.is_multiple_of(SHARD) {
            let path = join_paths(&self.directory, (number / SHARD).to_string().as_bytes());
            self.make(&path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = self
                .beneath
                .open(&path, flags)
                .map_err(failed("open the directory", &path))?;
            self.shard = Some((path, opened));
        }
        let Some((directory, shard)) = &self.shard else {
            return Err(failed("make", shown)(Errno::NOENT));
        };
        let name = number.to_string();
        let file = beneath::create_file(shard, name.as_bytes()).map_err(failed("make", shown))?;
        let hash = fill(self.hashes, &file, shown, node.size(), content)?;
        set_metadata(&file, shown, node)?;
        rustix::fs::futimens(&file, &inode::timestamps(node.mtime))
            .map_err(failed("set the time of", shown))?;
        Ok(Waiting {
            path: join_paths(directory, name.as_bytes()),
            hash,
        })
    }
}
