//! What the tests of this module share: a root in a temporary directory, layers from text, the disk as a tree.

mod advisory;
mod attack;
mod mounts;
mod order;
mod snapshot;
mod unpack;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use stagecraft_layer::{Changes, FsTree, LayerId, Node, write_layer};
use stagecraft_protocol::ownership::SpecialOwner;

use super::Rootfs;

/// A root in a temporary directory, with its tree.
struct Fixture {
    directory: tempfile::TempDir,
    rootfs: Rootfs,
    tree: FsTree,
    next_layer: u32,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::new(open(directory.path()));
        Self {
            directory,
            rootfs,
            tree: FsTree::new(),
            next_layer: 1,
        }
    }

    /// A root with this tree, ready for a step.
    fn with(text: &str) -> Self {
        let mut fixture = Self::new();
        fixture.unpack(&layer_of(text));
        fixture.begin();
        fixture
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn layer(&mut self) -> LayerId {
        self.next_layer += 1;
        LayerId(self.next_layer)
    }

    fn unpack(&mut self, archive: &[u8]) {
        let layer = self.layer();
        self.rootfs.unpack(&mut self.tree, layer, archive).unwrap();
    }

    fn begin(&mut self) {
        self.rootfs.begin_step().unwrap();
    }

    /// What a step changed, one word a path: `+path` or `-path`.
    fn changes(&mut self) -> String {
        self.changes_with(&[])
    }

    fn changes_with(&mut self, special_owners: &[SpecialOwner]) -> String {
        let layer = self.layer();
        let changes = self
            .rootfs
            .snapshot(&mut self.tree, layer, special_owners)
            .unwrap();
        show(&changes)
    }

    /// The disk as a tree, read from nothing.
    fn disk(&self) -> FsTree {
        let mut reader = Rootfs::new(open(self.directory.path()));
        reader
            .special_owners
            .clone_from(&self.rootfs.special_owners);
        let mut tree = FsTree::new();
        reader.snapshot(&mut tree, LayerId(0), &[]).unwrap();
        tree
    }

    fn assert_disk_is_the_tree(&self) {
        assert_eq!(self.disk().to_detailed_text(), self.tree.to_detailed_text());
    }
}

fn open(path: &Path) -> OwnedFd {
    std::fs::File::open(path).unwrap().into()
}

fn show(changes: &Changes) -> String {
    let mut words: Vec<String> = Vec::new();
    for (sign, paths) in [('+', &changes.upserts), ('-', &changes.removals)] {
        words.extend(
            paths
                .iter()
                .map(|path| format!("{sign}{}", String::from_utf8_lossy(path))),
        );
    }
    words.join(" ")
}

/// A layer with this tree; a file's content is the first letter of its name as often as it has bytes.
fn layer_of(text: &str) -> Vec<u8> {
    let tree = FsTree::parse(text).unwrap();
    layer_of_tree(&tree, &Changes::between(&FsTree::new(), &tree))
}

fn layer_of_tree(tree: &FsTree, changes: &Changes) -> Vec<u8> {
    let mut bytes = Vec::new();
    let open = |path: &[u8], node: &Node| {
        Ok(std::io::repeat(stagecraft_layer::name_of(path)[0]).take(node.size()))
    };
    write_layer(tree, changes, &mut bytes, None, open).unwrap();
    bytes
}
