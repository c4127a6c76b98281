//! A tree while files are copied into it: what was made stands before what was there.
//!
//! Invariant: the tree below is neither changed nor copied, however large it is.

use std::collections::BTreeSet;

use stagecraft_layer::{FsTree, Node, join_paths, parent_of};

use super::CopyError;

/// Most symbolic links that one look-up follows, as in [`FsTree::resolve`].
const LINK_LIMIT: usize = 255;

pub(super) struct Overlay<'a> {
    below: &'a FsTree,
    made: FsTree,
    /// Directories of `below` that something else replaced: nothing under them is there any more.
    replaced: BTreeSet<Vec<u8>>,
    next_link_group: Option<u32>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(below: &'a FsTree) -> Self {
        Self {
            below,
            made: FsTree::new(),
            replaced: BTreeSet::new(),
            next_link_group: None,
        }
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&Node> {
        if path.is_empty() {
            return self.below.get(path);
        }
        self.made
            .get(path)
            .or_else(|| self.below.get(path).filter(|_| !self.is_replaced(path)))
    }

    fn is_replaced(&self, path: &[u8]) -> bool {
        let mut next = path;
        while !next.is_empty() && !self.replaced.is_empty() {
            if self.replaced.contains(next) {
                return true;
            }
            next = parent_of(next);
        }
        false
    }

    /// Puts a node at a path; what stood there is gone, except below a directory that stays one.
    pub(super) fn insert(&mut self, path: &[u8], node: Node) {
        let was_directory = self.below.get(path).is_some_and(Node::is_directory);
        if was_directory && !node.is_directory() {
            self.replaced.insert(path.to_vec());
        }
        self.made.insert(path, node);
    }

    /// A number for [`Node::link_group`] that no node has.
    pub(super) fn new_link_group(&mut self) -> u32 {
        let highest = || {
            self.below
                .iter()
                .filter_map(|(_, node)| node.link_group)
                .max()
        };
        let group = self
            .next_link_group
            .unwrap_or_else(|| highest().unwrap_or(0).saturating_add(1));
        self.next_link_group = Some(group.saturating_add(1));
        group
    }

    /// The path without symbolic links that `path` leads to, inside the root, with the rules of
    /// [`FsTree::resolve`].
    pub(super) fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, CopyError> {
        let mut resolved: Vec<u8> = Vec::new();
        let mut links = 0;
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        while let Some(component) = pending.pop() {
            if component == b".." {
                resolved.truncate(parent_of(&resolved).len());
                continue;
            }
            let next = join_paths(&resolved, &component);
            match self.get(&next).and_then(Node::symlink_target) {
                Some(_) if links == LINK_LIMIT => return Err(CopyError::Loop(super::text(path))),
                Some(target) => {
                    links += 1;
                    if target.first() == Some(&b'/') {
                        resolved.clear();
                    }
                    pending.extend(components(target).rev().map(<[u8]>::to_vec));
                }
                None => resolved = next,
            }
        }
        Ok(resolved)
    }
}

/// The components of a path that mean something: neither empty nor `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
}

#[cfg(test)]
mod tests {
    use stagecraft_layer::NodeKind;

    use super::*;

    fn file() -> Node {
        Node::new(NodeKind::File { size: 1 }, 0o644, 0, 0)
    }

    #[test]
    fn what_was_made_stands_before_what_was_there() {
        let below = FsTree::parse("d 0755 0:0 - a\nf 0600 0:0 1 a/b\n").unwrap();
        let mut overlay = Overlay::new(&below);
        overlay.insert(b"a/b", file());
        assert_eq!(overlay.get(b"a/b").map(|node| node.mode), Some(0o644));
        overlay.insert(b"a", Node::implicit_directory());
        assert!(
            overlay.get(b"a/b").is_some(),
            "a directory keeps what is in it"
        );
    }

    #[test]
    fn nothing_is_left_of_a_directory_that_was_replaced() {
        let below = FsTree::parse("d 0755 0:0 - a\nf 0600 0:0 1 a/b\n").unwrap();
        let mut overlay = Overlay::new(&below);
        overlay.insert(b"a", file());
        assert!(overlay.get(b"a/b").is_none());
        overlay.insert(b"a", Node::implicit_directory());
        assert!(overlay.get(b"a").is_some_and(Node::is_directory));
        assert!(overlay.get(b"a/b").is_none(), "it does not come back");
        overlay.insert(b"a/b", file());
        assert!(overlay.get(b"a/b").is_some());
    }

    #[test]
    fn links_that_were_made_are_followed_and_stay_inside_the_root() {
        let below = FsTree::parse("l 0777 0:0 - bin -> /usr/../usr/bin\nl 0777 0:0 - x -> x\n");
        let below = below.unwrap();
        let mut overlay = Overlay::new(&below);
        assert_eq!(overlay.resolve(b"/bin/./sh").unwrap(), b"usr/bin/sh");
        assert_eq!(overlay.resolve(b"../../bin").unwrap(), b"usr/bin");
        assert!(matches!(overlay.resolve(b"x"), Err(CopyError::Loop(_))));
        let target = b"../../opt".as_slice().into();
        overlay.insert(b"usr", Node::new(NodeKind::Symlink { target }, 0, 0, 0));
        assert_eq!(overlay.resolve(b"bin/sh").unwrap(), b"opt/bin/sh");
    }
}
