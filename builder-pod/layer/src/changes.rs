//! What differs between two trees, as a layer says it.
//!
//! Invariant: applying the changes to the old tree gives the new one, hard links included.

use std::collections::{BTreeSet, HashMap};

use crate::node::Node;
use crate::tree::{FsTree, compare_paths, is_below, parent_of};

/// The paths that a layer writes and removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths that are new or different, to be written as they are in the new tree.
    pub upserts: Vec<Box<[u8]>>,
    /// Paths that are gone while their directory is still one. What was below them is not listed.
    pub removals: Vec<Box<[u8]>>,
}

impl Changes {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a path that is new or different. A layer is written in tree order whatever the order here.
    pub fn upsert(&mut self, path: &[u8]) {
        self.upserts.push(path.into());
    }

    /// Adds a path that is gone.
    pub fn removal(&mut self, path: &[u8]) {
        self.removals.push(path.into());
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }

    /// What makes `new` of `old`. Contents are the same when they lie at the same place of the same layer, so
    /// whoever writes a file gives it a new place. The roots' own metadata is no part of any layer, and a
    /// directory that got another time only (a temporary file came and went) is no change, as with BuildKit.
    /// Both lists are in tree order.
    #[must_use]
    pub fn between(old: &FsTree, new: &FsTree) -> Self {
        let mut upserts: BTreeSet<OrderedPath<'_>> = BTreeSet::new();
        let mut removals: Vec<Box<[u8]>> = Vec::new();
        let mut removed: &[u8] = &[];
        for change in merge(old, new) {
            match change {
                (path, None, Some(_)) => {
                    upserts.insert(OrderedPath(path));
                }
                (path, Some(before), Some(after)) => {
                    if differs(path, before, after) {
                        upserts.insert(OrderedPath(path));
                    }
                }
                (path, Some(_), None) => {
                    let hidden_already = !removed.is_empty() && is_below(path, removed);
                    // Without a directory above it, it went with what replaced that directory.
                    if !hidden_already && new.get(parent_of(path)).is_some_and(Node::is_directory) {
                        removals.push(path.into());
                        removed = path;
                    }
                }
                (_, None, None) => {}
            }
        }
        relink(old, new, &mut upserts);
        Self {
            upserts: upserts.into_iter().map(|path| path.0.into()).collect(),
            removals,
        }
    }
}

fn differs(path: &[u8], before: &Node, after: &Node) -> bool {
    let moved = after.is_file()
        && (before.layer != after.layer || before.content_path(path) != after.content_path(path));
    let same = if before.is_directory() && after.is_directory() {
        before.same_metadata_but_time(after)
    } else {
        before.same_metadata(after)
    };
    moved || !same
}

/// Adds the paths that have to be written only because hard links came together or apart.
fn relink<'a>(old: &'a FsTree, new: &'a FsTree, upserts: &mut BTreeSet<OrderedPath<'a>>) {
    for (_, members) in new.link_groups() {
        let group = |path: &[u8]| old.get(path).and_then(|node| node.link_group);
        let first = group(members[0]);
        let together = members.len() == 1
            || (first.is_some() && members.iter().all(|path| group(path) == first));
        let written = members
            .iter()
            .any(|path| upserts.contains(&OrderedPath(path)));
        if !together || written {
            upserts.extend(members.into_iter().map(OrderedPath));
        }
    }
    for (_, members) in old.link_groups() {
        // Of the unchanged members, those that stay linked with the first need nothing.
        let mut stays: Option<Option<u32>> = None;
        for path in members {
            let Some(node) = new.get(path) else { continue };
            if upserts.contains(&OrderedPath(path)) {
                continue;
            }
            match (stays, node.link_group) {
                (None, group) => stays = Some(group),
                (Some(Some(first)), Some(group)) if first == group => {}
                _ => {
                    upserts.insert(OrderedPath(path));
                }
            }
        }
    }
}

/// Both trees' paths in order, with the node of each.
fn merge<'a>(
    old: &'a FsTree,
    new: &'a FsTree,
) -> impl Iterator<Item = (&'a [u8], Option<&'a Node>, Option<&'a Node>)> {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return None,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((old, _)), Some((new, _))) => compare_paths(old, new),
        };
        match order {
            std::cmp::Ordering::Less => olds.next().map(|(path, node)| (path, Some(node), None)),
            std::cmp::Ordering::Greater => news.next().map(|(path, node)| (path, None, Some(node))),
            std::cmp::Ordering::Equal => {
                let before = olds.next().map(|(_, node)| node);
                news.next().map(|(path, node)| (path, before, Some(node)))
            }
        }
    })
}

/// A path that orders as trees do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderedPath<'a>(pub(crate) &'a [u8]);

impl PartialOrd for OrderedPath<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedPath<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        compare_paths(self.0, other.0)
    }
}

/// What is written of `changes`, in order: removals, upserts, and the directories above either.
pub(crate) enum Written<'a> {
    Node(&'a Node),
    Whiteout,
}

/// Every entry of the layer that says `changes`, in tree order.
pub(crate) fn entries<'a>(
    new: &'a FsTree,
    changes: &'a Changes,
) -> Vec<(OrderedPath<'a>, Written<'a>)> {
    let mut entries: HashMap<&[u8], Written<'a>> = HashMap::new();
    for path in &changes.removals {
        entries.insert(path, Written::Whiteout);
    }
    for path in &changes.upserts {
        if let Some(node) = new.get(path) {
            entries.insert(path, Written::Node(node));
        }
    }
    for path in changes.removals.iter().chain(&changes.upserts) {
        let mut parent = parent_of(path);
        while !parent.is_empty() && !entries.contains_key(parent) {
            if let Some(node) = new.get(parent) {
                entries.insert(parent, Written::Node(node));
            }
            parent = parent_of(parent);
        }
    }
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(path, written)| (OrderedPath(path), written))
        .collect();
    entries.sort_unstable_by_key(|(path, _)| *path);
    entries
}

#[cfg(test)]
mod tests;
