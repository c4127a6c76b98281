//! `FsTree`: the authoritative metadata of a file tree.
//!
//! Invariant: paths are ordered component by component, so a directory is followed by everything below it.
//! Invariant: the root always exists, is a directory, and is not among what the iterators yield.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::node::{LayerId, Node};

mod resolve;
mod text;

pub use resolve::ResolveError;
pub use text::TreeTextError;

/// A path as a key: `/` sorts before every other byte.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TreePath(Box<[u8]>);

/// What can be compared with the keys of a tree, so that look-ups need no allocation.
trait PathBytes {
    fn bytes(&self) -> &[u8];
}

impl PathBytes for TreePath {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PathBytes for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl PartialEq for dyn PathBytes + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for dyn PathBytes + '_ {}

impl PartialOrd for dyn PathBytes + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn PathBytes + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_paths(self.bytes(), other.bytes())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_paths(&self.0, &other.0)
    }
}

impl<'a> Borrow<dyn PathBytes + 'a> for TreePath {
    fn borrow(&self) -> &(dyn PathBytes + 'a) {
        self
    }
}

/// Orders paths component by component: a directory comes right before everything below it.
#[must_use]
pub fn compare_paths(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let rank = |path: &[u8]| match path.get(common) {
        None => 0,
        Some(b'/') => 1,
        Some(byte) => 2 + u16::from(*byte),
    };
    rank(left).cmp(&rank(right))
}

/// The directory that `path` stands in; the root's is the root.
#[must_use]
pub fn parent_of(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|byte| *byte == b'/')
        .map_or(&[], |slash| &path[..slash])
}

/// The last component of `path`; empty for the root.
#[must_use]
pub fn name_of(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|byte| *byte == b'/')
        .map_or(path, |slash| &path[slash + 1..])
}

/// Whether `path` stands below `directory`.
#[must_use]
pub fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.len() > directory.len()
        && path.starts_with(directory)
        && (directory.is_empty() || path[directory.len()] == b'/')
}

/// `path` below `directory`, which may be the root.
#[must_use]
pub fn join_paths(directory: &[u8], path: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(directory.len() + 1 + path.len());
    joined.extend_from_slice(directory);
    if !directory.is_empty() && !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(path);
    joined
}

/// The metadata of a file tree, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsTree {
    root: Node,
    nodes: BTreeMap<TreePath, Node>,
    next_link_group: u32,
}

impl Default for FsTree {
    fn default() -> Self {
        Self::new()
    }
}

impl FsTree {
    /// A tree with nothing but a root `0755` of `0:0`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            root: Node::implicit_directory(),
            nodes: BTreeMap::new(),
            next_link_group: 1,
        }
    }

    /// Number of paths, without the root.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What stands at `path`. No symbolic link is followed: see [`Self::resolve`].
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        if path.is_empty() {
            Some(&self.root)
        } else {
            self.nodes.get(&path as &dyn PathBytes)
        }
    }

    /// What stands at `path`, to be changed.
    pub fn get_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        if path.is_empty() {
            Some(&mut self.root)
        } else {
            self.nodes.get_mut(&path as &dyn PathBytes)
        }
    }

    /// Whether `path` exists.
    #[must_use]
    pub fn contains(&self, path: &[u8]) -> bool {
        self.get(path).is_some()
    }

    /// Puts `node` at `path` and returns what stood there. Nothing below `path` is touched when a directory
    /// replaces a directory; else it is removed. Parents are the caller's business, see
    /// [`Self::missing_parents`]. A root that is no directory is not accepted.
    pub fn insert(&mut self, path: &[u8], mut node: Node) -> Option<Node> {
        if node.symlink_target().is_some() {
            node.mode = 0o777;
        }
        if let Some(group) = node.link_group {
            self.next_link_group = self.next_link_group.max(group.saturating_add(1));
        }
        if path.is_empty() {
            return node
                .is_directory()
                .then(|| std::mem::replace(&mut self.root, node));
        }
        let stays_directory = node.is_directory();
        if let Some(standing) = self.nodes.get_mut(&path as &dyn PathBytes) {
            let old = std::mem::replace(standing, node);
            if old.is_directory() && !stays_directory {
                self.remove_below(path);
            }
            return Some(old);
        }
        self.nodes.insert(TreePath(path.into()), node)
    }

    /// Removes `path` and everything below it; returns whether `path` was there. The root only loses what is
    /// below it.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        self.remove_below(path);
        path.is_empty() || self.nodes.remove(&path as &dyn PathBytes).is_some()
    }

    /// Removes everything below `path`, but not `path`.
    pub fn remove_below(&mut self, path: &[u8]) {
        if path.is_empty() {
            self.nodes.clear();
            return;
        }
        let below: Vec<TreePath> = {
            let (start, end) = (path, after_subtree(path));
            let range = (
                Bound::Excluded(&start as &dyn PathBytes),
                Bound::Excluded(&end.as_slice() as &dyn PathBytes),
            );
            self.nodes
                .range::<dyn PathBytes, _>(range)
                .map(|(path, _)| path.clone())
                .collect()
        };
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// Every path with its node, in order, without the root.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &Node)> {
        self.nodes.iter().map(|(path, node)| (&*path.0, node))
    }

    /// `path` and everything below it, in order; the root itself is not among them.
    pub fn walk<'a>(
        &'a self,
        path: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Node)> {
        let end = after_subtree(path);
        let (start, end) = (path, end.as_slice());
        let range = if path.is_empty() {
            self.nodes.range::<dyn PathBytes, _>(..)
        } else {
            let bounds = (
                Bound::Included(&start as &dyn PathBytes),
                Bound::Excluded(&end as &dyn PathBytes),
            );
            self.nodes.range::<dyn PathBytes, _>(bounds)
        };
        range.map(|(path, node)| (&*path.0, node))
    }

    /// The entries of directory `path`: full path and node, in order.
    #[must_use]
    pub fn children<'a>(&'a self, path: &[u8]) -> Children<'a> {
        Children {
            tree: self,
            after: path.to_vec(),
            directory: path.into(),
        }
    }

    /// Whether directory `path` has an entry.
    #[must_use]
    pub fn has_children(&self, path: &[u8]) -> bool {
        self.children(path).next().is_some()
    }

    /// The directory `path` as a tree of its own; `None` when it is none. Files keep pointing at the content
    /// they have in their layers.
    #[must_use]
    pub fn subtree(&self, path: &[u8]) -> Option<Self> {
        let root = self.get(path).filter(|node| node.is_directory())?;
        if path.is_empty() {
            return Some(self.clone());
        }
        let mut tree = Self {
            root: root.clone(),
            ..Self::new()
        };
        for (full, node) in self.walk(path).skip(1) {
            let mut node = node.clone();
            if node.is_file() && node.layer != LayerId::NONE {
                let content = node.content_path(full).to_vec();
                node.set_content_path(Some(&content));
            }
            tree.insert(&full[path.len() + 1..], node);
        }
        Some(tree)
    }

    /// The ancestors of `path` that do not exist, topmost first.
    #[must_use]
    pub fn missing_parents<'a>(&self, path: &'a [u8]) -> Vec<&'a [u8]> {
        let mut missing = Vec::new();
        let mut parent = parent_of(path);
        while !parent.is_empty() && !self.contains(parent) {
            missing.push(parent);
            parent = parent_of(parent);
        }
        missing.reverse();
        missing
    }

    /// A number for [`Node::link_group`] that no node of this tree has.
    pub fn new_link_group(&mut self) -> u32 {
        let group = self.next_link_group;
        self.next_link_group = self.next_link_group.saturating_add(1);
        group
    }

    /// The paths of every hard link group, each in order, by the group's number.
    #[must_use]
    pub fn link_groups(&self) -> HashMap<u32, Vec<&[u8]>> {
        let mut groups: HashMap<u32, Vec<&[u8]>> = HashMap::new();
        for (path, node) in self.iter() {
            if let Some(group) = node.link_group {
                groups.entry(group).or_default().push(path);
            }
        }
        groups
    }
}

/// The least byte string after everything below `path`: no name holds a zero byte.
fn after_subtree(path: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(path.len() + 1);
    end.extend_from_slice(path);
    end.push(0);
    end
}

/// The entries of a directory; see [`FsTree::children`].
pub struct Children<'a> {
    tree: &'a FsTree,
    directory: Box<[u8]>,
    /// The next child comes after this path (at first) or after everything below it.
    after: Vec<u8>,
}

impl<'a> Iterator for Children<'a> {
    type Item = (&'a [u8], &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.after.as_slice();
        let bounds = (Bound::Excluded(&start as &dyn PathBytes), Bound::Unbounded);
        let (path, node) = self.tree.nodes.range::<dyn PathBytes, _>(bounds).next()?;
        let below = match self.directory.len() {
            0 => true,
            length => path.0.starts_with(&self.directory) && path.0.get(length) == Some(&b'/'),
        };
        if !below {
            return None;
        }
        self.after.clear();
        self.after.extend_from_slice(&path.0);
        self.after.push(0);
        Some((&path.0, node))
    }
}

#[cfg(test)]
mod tests;
