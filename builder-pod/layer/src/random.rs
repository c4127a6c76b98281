//! Random trees and random changes of them, from a seed: what the property tests run on.

use std::collections::BTreeMap;

use crate::node::{LayerId, Node, NodeKind, Time, device};
use crate::tree::{FsTree, join_paths};

/// A small generator (xorshift64*), so that a failing seed fails again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

/// Contents of the files of every layer, by place.
pub(crate) type Contents = BTreeMap<(LayerId, Vec<u8>), Vec<u8>>;

const NAMES: [&[u8]; 7] = [
    b"a",
    b"b-b",
    b"b",
    b"name with blanks",
    "\u{e9}t\u{e9}".as_bytes(),
    b"\xff\xfe",
    b"long-0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
];

fn some_directory(tree: &FsTree, random: &mut Random) -> Vec<u8> {
    let mut directories: Vec<&[u8]> = vec![b""];
    directories.extend(
        tree.iter()
            .filter(|(_, node)| node.is_directory())
            .map(|(path, _)| path),
    );
    directories[usize::try_from(random.below(directories.len() as u64)).unwrap()].to_vec()
}

fn some_path(tree: &FsTree, random: &mut Random) -> Option<Vec<u8>> {
    let count = u64::try_from(tree.len()).unwrap();
    let index = usize::try_from(random.below(count.max(1))).unwrap();
    tree.iter().nth(index).map(|(path, _)| path.to_vec())
}

fn some_node(layer: LayerId, random: &mut Random) -> Node {
    let kind = match random.below(12) {
        0..=3 => NodeKind::Directory,
        4..=8 => NodeKind::File {
            size: [0, 1, 511, 512, 513, 3000][random.below(6) as usize],
        },
        9 => NodeKind::Symlink {
            target: NAMES[random.below(7) as usize].into(),
        },
        10 => NodeKind::CharacterDevice { rdev: device(1, 3) },
        _ => NodeKind::Fifo,
    };
    let ids = [0, 1000, 65_534, 3_000_000, u32::MAX - 1];
    let (uid, gid) = (ids[random.below(5) as usize], ids[random.below(5) as usize]);
    let mut node = Node::new(
        kind,
        [0o755, 0o644, 0o4755, 0][random.below(4) as usize],
        uid,
        gid,
    );
    node.mtime = Time {
        seconds: [0, 1_700_000_000, -5, 1 << 34][random.below(4) as usize],
        nanoseconds: [0, 0, 1, 500_000_000][random.below(4) as usize],
    };
    if node.is_directory() {
        // A directory's time alone is no change.
        node.mtime = Time::default();
    }
    if node.is_file() && random.below(4) == 0 {
        node.set_attribute(crate::CAPABILITY_ATTRIBUTE, Some(b"\x01\0\n=\0"));
    }
    node.in_layer(layer)
}

fn put(tree: &mut FsTree, path: &[u8], node: Node, contents: &mut Contents, random: &mut Random) {
    if node.is_file() {
        contents.insert((node.layer, path.to_vec()), random.bytes(node.size()));
    }
    tree.insert(path, node);
}

/// Does `count` random things to `tree`, as `layer`.
pub(crate) fn change(
    tree: &mut FsTree,
    layer: LayerId,
    count: usize,
    contents: &mut Contents,
    random: &mut Random,
) {
    for _ in 0..count {
        match random.below(10) {
            0..=5 => {
                let directory = some_directory(tree, random);
                let path = join_paths(&directory, NAMES[random.below(7) as usize]);
                if directory.len() < 600 {
                    put(tree, &path, some_node(layer, random), contents, random);
                }
            }
            6 => {
                if let Some(path) = some_path(tree, random) {
                    tree.remove(&path);
                }
            }
            7 => change_metadata(tree, layer, contents, random),
            _ => add_link(tree, layer, contents, random),
        }
    }
}

/// A changed inode is written anew under all of its names, so its content is in `layer` then.
fn change_metadata(
    tree: &mut FsTree,
    layer: LayerId,
    contents: &mut Contents,
    random: &mut Random,
) {
    let Some(path) = some_path(tree, random) else {
        return;
    };
    let mut node = tree.get(&path).unwrap().clone();
    if node.symlink_target().is_none() {
        node.mode ^= 0o111;
    }
    node.uid ^= 1;
    let members = match node.link_group {
        Some(group) => paths_of(tree, group),
        None => vec![path.clone()],
    };
    node = node.in_layer(layer);
    node.set_content_path(None);
    let content = random.bytes(node.size());
    for member in members {
        contents.insert((layer, member.clone()), content.clone());
        tree.insert(&member, node.clone());
    }
}

fn add_link(tree: &mut FsTree, layer: LayerId, contents: &mut Contents, random: &mut Random) {
    let Some(target) = some_path(tree, random) else {
        return;
    };
    let path = join_paths(
        &some_directory(tree, random),
        NAMES[random.below(7) as usize],
    );
    let target_node = tree.get(&target).unwrap();
    if target_node.is_directory() || tree.contains(&path) || path.len() > 600 {
        return;
    }
    let content_at = (
        target_node.layer,
        target_node.content_path(&target).to_vec(),
    );
    let group = target_node
        .link_group
        .unwrap_or_else(|| tree.new_link_group());
    tree.get_mut(&target).unwrap().link_group = Some(group);
    tree.insert(&path, tree.get(&target).unwrap().clone());
    // All names are written in this layer.
    for member in paths_of(tree, group) {
        let node = tree.get_mut(&member).unwrap();
        node.layer = layer;
        node.set_content_path(None);
        if let Some(content) = contents.get(&content_at).cloned() {
            contents.insert((layer, member), content);
        }
    }
}

fn paths_of(tree: &FsTree, group: u32) -> Vec<Vec<u8>> {
    let members = tree
        .iter()
        .filter(|(_, node)| node.link_group == Some(group));
    members.map(|(path, _)| path.to_vec()).collect()
}
