//! Applies a layer's entries to a tree, and says what a file system has to do to follow.
//!
//! Whiteouts and opaque marks hide what lower layers have and nothing of their own layer, wherever they stand
//! in it. Parents are followed through symbolic links inside the root; the last component never is.
//! Invariant: paths of operations hold no symbolic link and their parents are directories of the tree.

use std::collections::HashSet;
use std::io::Read;

use crate::error::LayerError;
use crate::node::{LayerId, Node};
use crate::read::{Entry, EntryKind, LayerReader};
use crate::tree::{FsTree, is_below, join_paths, name_of, parent_of};

/// What a file system has to do, in order; what a path becomes stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Remove `path` and everything below it.
    Remove {
        /// Path without symbolic links.
        path: Vec<u8>,
    },
    /// Make the directory `path`, where nothing is.
    MakeDirectory {
        /// Path without symbolic links.
        path: Vec<u8>,
    },
    /// Give the directory `path` the metadata it has in the tree now. The root is the empty path.
    UpdateDirectory {
        /// Path without symbolic links.
        path: Vec<u8>,
    },
    /// Make the file, link, device or pipe `path`, where nothing is. A file's content is that of the entry.
    Make {
        /// Path without symbolic links.
        path: Vec<u8>,
    },
    /// Make `path`, where nothing is, another name of `target`, which is no directory.
    Link {
        /// Path without symbolic links.
        path: Vec<u8>,
        /// Path without symbolic links.
        target: Vec<u8>,
    },
}

/// Applies the entries of one layer to a tree.
pub struct Applier {
    layer: LayerId,
    /// Paths that this layer has written.
    written: HashSet<Box<[u8]>>,
}

impl Applier {
    /// An applier of `layer`'s entries, from the first to the last, to one tree.
    #[must_use]
    pub fn new(layer: LayerId) -> Self {
        Self {
            layer,
            written: HashSet::new(),
        }
    }

    /// Applies one entry.
    ///
    /// # Errors
    /// When the entry cannot stand where it is or is a hard link to nothing. The tree may have new parents then.
    pub fn apply(&mut self, tree: &mut FsTree, entry: Entry) -> Result<Vec<Operation>, LayerError> {
        let mut operations = Vec::new();
        match entry.kind {
            EntryKind::Opaque => {
                let path = resolve(tree, &entry.path, true)?;
                self.hide(tree, &path, false, &mut operations);
            }
            EntryKind::Whiteout => {
                let path = place_of(tree, &entry.path)?;
                if !path.is_empty() {
                    self.hide(tree, &path, true, &mut operations);
                }
            }
            EntryKind::Node(node) if entry.path.is_empty() => {
                tree.insert(b"", node.in_layer(self.layer));
                operations.push(Operation::UpdateDirectory { path: Vec::new() });
            }
            EntryKind::Node(node) => {
                let path = self.make_parents(tree, &entry.path, &mut operations)?;
                self.put(tree, path, &entry.path, node, &mut operations);
            }
            EntryKind::Link { target } => {
                let path = self.make_parents(tree, &entry.path, &mut operations)?;
                self.link(tree, path, &entry.path, &target, &mut operations)?;
            }
        }
        Ok(operations)
    }

    fn put(
        &mut self,
        tree: &mut FsTree,
        path: Vec<u8>,
        written_as: &[u8],
        mut node: Node,
        operations: &mut Vec<Operation>,
    ) {
        node.layer = self.layer;
        node.set_content_path((node.is_file() && path != written_as).then_some(written_as));
        let is_directory = node.is_directory();
        let standing = tree.get(&path).map(Node::is_directory);
        if let Some(standing_directory) = standing
            && !(standing_directory && is_directory)
        {
            tree.remove(&path);
            operations.push(Operation::Remove { path: path.clone() });
        }
        tree.insert(&path, node);
        self.written.insert(path.as_slice().into());
        operations.push(match (is_directory, standing) {
            (true, Some(true)) => Operation::UpdateDirectory { path },
            (true, _) => Operation::MakeDirectory { path },
            (false, _) => Operation::Make { path },
        });
    }

    fn link(
        &mut self,
        tree: &mut FsTree,
        path: Vec<u8>,
        written_as: &[u8],
        target_as_written: &[u8],
        operations: &mut Vec<Operation>,
    ) -> Result<(), LayerError> {
        let target = place_of(tree, target_as_written)?;
        let missing = || LayerError::LinkTarget {
            path: written_as.to_vec(),
            target: target_as_written.to_vec(),
        };
        if tree.get(&target).is_none_or(Node::is_directory) || is_below(&target, &path) {
            return Err(missing());
        }
        if path == target {
            return Ok(());
        }
        if tree.contains(&path) {
            tree.remove(&path);
            operations.push(Operation::Remove { path: path.clone() });
        }
        let new_group = tree.new_link_group();
        let original = tree.get_mut(&target).ok_or_else(missing)?;
        original.link_group.get_or_insert(new_group);
        let mut node = original.clone();
        if node.is_file() {
            if node.layer == self.layer {
                // The archive's index knows the content under the link's own name, and keeps knowing it
                // should the target be written once more.
                node.set_content_path((path != written_as).then_some(written_as));
            } else {
                node.set_content_path(Some(original.content_path(&target)));
            }
        }
        tree.insert(&path, node);
        self.written.insert(path.as_slice().into());
        operations.push(Operation::Link { path, target });
        Ok(())
    }

    /// Finds where an entry goes and makes the directories above it that nobody described.
    fn make_parents(
        &mut self,
        tree: &mut FsTree,
        path: &[u8],
        operations: &mut Vec<Operation>,
    ) -> Result<Vec<u8>, LayerError> {
        let place = place_of(tree, path)?;
        let mut end = 0;
        while let Some(slash) = place[end..].iter().position(|byte| *byte == b'/') {
            let parent = &place[..end + slash];
            match tree.get(parent) {
                Some(node) if node.is_directory() => {}
                Some(_) => {
                    let (path, parent) = (path.to_vec(), parent.to_vec());
                    return Err(LayerError::ParentNotDirectory { path, parent });
                }
                None => {
                    tree.insert(parent, Node::implicit_directory().in_layer(self.layer));
                    self.written.insert(parent.into());
                    operations.push(Operation::MakeDirectory {
                        path: parent.to_vec(),
                    });
                }
            }
            end += slash + 1;
        }
        Ok(place)
    }

    /// Removes what lower layers have below `path`, and at `path` itself if `itself` says so.
    fn hide(&self, tree: &mut FsTree, path: &[u8], itself: bool, operations: &mut Vec<Operation>) {
        let mut hidden: Vec<Vec<u8>> = Vec::new();
        let mut kept_by_children: Vec<Vec<u8>> = Vec::new();
        let mut last_kept: Vec<u8> = Vec::new();
        // From the end, so that children come before the directory that must stay because of them.
        for (found, _) in tree.walk(path).rev() {
            if found == path && !itself {
                continue;
            }
            let own = self.written.contains(found);
            if own || is_below(&last_kept, found) {
                last_kept = found.to_vec();
                if !own {
                    kept_by_children.push(found.to_vec());
                }
            } else {
                hidden.push(found.to_vec());
            }
        }
        let mut removed: Vec<u8> = Vec::new();
        for path in hidden.into_iter().rev() {
            if removed.is_empty() || !is_below(&path, &removed) {
                tree.remove(&path);
                operations.push(Operation::Remove { path: path.clone() });
                removed = path;
            }
        }
        for path in kept_by_children {
            tree.insert(&path, Node::implicit_directory().in_layer(self.layer));
            operations.push(Operation::UpdateDirectory { path });
        }
    }
}

/// Applies a whole layer to a tree; contents are passed over.
///
/// # Errors
/// When the archive cannot be read or applied.
pub fn apply_layer<R: Read>(
    tree: &mut FsTree,
    layer: LayerId,
    reader: &mut LayerReader<R>,
) -> Result<(), LayerError> {
    let mut applier = Applier::new(layer);
    while let Some(entry) = reader.next_entry()? {
        applier.apply(tree, entry)?;
    }
    reader.drain()
}

/// Where `path` stands: its parents' links are followed, its own name is not.
fn place_of(tree: &FsTree, path: &[u8]) -> Result<Vec<u8>, LayerError> {
    Ok(join_paths(
        &resolve(tree, parent_of(path), true)?,
        name_of(path),
    ))
}

fn resolve(tree: &FsTree, path: &[u8], follow_last: bool) -> Result<Vec<u8>, LayerError> {
    tree.resolve(path, follow_last)
        .map_err(|source| LayerError::Resolve {
            path: path.to_vec(),
            source,
        })
}

#[cfg(test)]
mod tests;
