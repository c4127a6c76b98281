//! Plans a COPY source by source.
//!
//! Invariant: a source sees what the sources before it made.

use std::collections::HashMap;

use stagecraft_layer::{
    FsTree, Node, NodeKind, is_below, is_whiteout_name, join_paths, name_of, parent_of,
};

use super::overlay::Overlay;
use super::sources::FoundSource;
use super::visible::Visible;
use super::{CopyEntry, CopyError, CopyRequest, ModeChange, text};

/// The mode of a directory that nobody described.
const IMPLICIT_MODE: u32 = 0o755;

/// A COPY or ADD while it is planned. The sources that [`super::find_sources`] gave are handed in one after the other:
/// ADD looks into each first and hands in an archive's tree instead.
pub struct CopyPlan<'a> {
    pub(super) request: &'a CopyRequest<'a>,
    pub(super) target: Overlay<'a>,
    entries: Vec<CopyEntry>,
    /// Hard links of the source directory that is being copied, and their number in the destination.
    groups: HashMap<u32, u32>,
}

impl<'a> CopyPlan<'a> {
    /// A plan that has made nothing yet.
    pub fn new(request: &'a CopyRequest<'a>) -> Self {
        Self {
            request,
            target: Overlay::new(request.target),
            entries: Vec::new(),
            groups: HashMap::new(),
        }
    }

    /// The entries of one source.
    ///
    /// # Errors
    /// When the destination cannot take it. What was planned for it before is lost then.
    pub fn copy(&mut self, found: &FoundSource) -> Result<Vec<CopyEntry>, CopyError> {
        let request = self.request;
        let destination = self.target.resolve(request.destination.as_bytes())?;
        match request.source.get(&found.path) {
            Some(node) if node.is_directory() => {
                let visible = Visible::new(request, found)?;
                self.directory_contents(request.source, &found.path, &destination, &visible)?;
            }
            Some(node) => self.named_file(&found.path, name_of(&found.name), node, destination)?,
            None => {
                return Err(CopyError::NotFound {
                    source_path: text(&found.name),
                    nearest: None,
                    ignored: false,
                });
            }
        }
        Ok(self.take_entries())
    }

    /// The entries of everything in another tree than the request's.
    ///
    /// # Errors
    /// When the destination cannot take it. What was planned for it before is lost then.
    pub fn copy_tree(&mut self, source: &FsTree) -> Result<Vec<CopyEntry>, CopyError> {
        let destination = self.target.resolve(self.request.destination.as_bytes())?;
        let visible = Visible::but(self.request.exclude);
        self.directory_contents(source, b"", &destination, &visible)?;
        Ok(self.take_entries())
    }

    /// The entry of a file that is in no source tree.
    ///
    /// # Errors
    /// When the destination cannot take it.
    pub fn copy_inline(&mut self, name: &[u8], node: &Node) -> Result<Vec<CopyEntry>, CopyError> {
        let destination = self.target.resolve(self.request.destination.as_bytes())?;
        self.named_file(name, name, node, destination)?;
        Ok(self.take_entries())
    }

    /// A file that was named: into a directory, or in the destination's place.
    fn named_file(
        &mut self,
        source: &[u8],
        name: &[u8],
        node: &Node,
        destination: Vec<u8>,
    ) -> Result<(), CopyError> {
        let there = self.target.get(&destination);
        let inside =
            self.request.destination.ends_with('/') || there.is_some_and(Node::is_directory);
        let place = match inside {
            true => join_paths(&destination, name),
            false => destination,
        };
        // Links to files that were not named are not its business.
        let mut node = node.clone();
        node.link_group = None;
        self.file(source, &node, place)
    }

    pub(super) fn take_entries(&mut self) -> Vec<CopyEntry> {
        self.groups.clear();
        std::mem::take(&mut self.entries)
    }

    pub(super) fn make(
        &mut self,
        path: Vec<u8>,
        source: Option<&[u8]>,
        mut node: Node,
    ) -> Result<(), CopyError> {
        if is_whiteout_name(name_of(&path)) {
            return Err(CopyError::WhiteoutName(text(source.unwrap_or(&path))));
        }
        node.layer = self.request.layer;
        self.target.insert(&path, node.clone());
        let source = source.map(<[u8]>::to_vec);
        self.entries.push(CopyEntry { path, source, node });
        Ok(())
    }

    /// Makes the directory and its parents where they are missing. `path` has no symbolic links.
    pub(super) fn ensure_directory(
        &mut self,
        path: &[u8],
        mode: Option<&ModeChange>,
    ) -> Result<(), CopyError> {
        let mut missing = Vec::new();
        let mut next = path;
        loop {
            match self.target.get(next) {
                Some(node) if node.is_directory() => break,
                Some(_) => return Err(CopyError::NotADirectory(text(next))),
                None => missing.push(next.to_vec()),
            }
            next = parent_of(next);
        }
        for path in missing.into_iter().rev() {
            let (uid, gid) = self.request.owner.unwrap_or((0, 0));
            let mode = mode
                .and_then(ModeChange::of_parents)
                .unwrap_or(IMPLICIT_MODE);
            let mut node = Node::new(NodeKind::Directory, mode, uid, gid);
            node.mtime = self.request.implicit_time;
            self.make(path, None, node)?;
        }
        Ok(())
    }

    fn file(&mut self, source: &[u8], node: &Node, place: Vec<u8>) -> Result<(), CopyError> {
        self.ensure_directory(parent_of(&place), self.request.mode)?;
        if self.target.get(&place).is_some_and(Node::is_directory) {
            return Err(CopyError::IsADirectory(text(&place)));
        }
        let node = self.copied(node, self.request.mode);
        self.make(place, Some(source), node)
    }

    /// Of a named directory the destination takes the time alone. A root has none of its own, and is in no layer.
    fn take_time(
        &mut self,
        tree: &FsTree,
        source: &[u8],
        destination: &[u8],
    ) -> Result<(), CopyError> {
        if source.is_empty() || destination.is_empty() {
            return Ok(());
        }
        let time = tree.get(source).map(|node| node.mtime);
        let (Some(time), Some(there)) = (time, self.target.get(destination)) else {
            return Ok(());
        };
        if there.mtime == time {
            return Ok(());
        }
        let mut node = there.clone();
        node.mtime = time;
        self.entries.retain(|entry| entry.path != destination);
        self.make(destination.to_vec(), None, node)
    }

    /// Copies what is in a directory; the destination itself keeps what it is, or is made anew.
    fn directory_contents(
        &mut self,
        tree: &FsTree,
        source: &[u8],
        destination: &[u8],
        visible: &Visible<'_>,
    ) -> Result<(), CopyError> {
        self.ensure_directory(destination, self.request.mode)?;
        self.take_time(tree, source, destination)?;
        // Where directories of the source ended up: the destination's links are followed.
        let mut places: HashMap<&[u8], Vec<u8>> = HashMap::new();
        places.insert(source, destination.to_vec());
        let mut unseen: Option<&[u8]> = None;
        for (path, node) in tree.walk(source) {
            if path.len() == source.len() || unseen.is_some_and(|hidden| is_below(path, hidden)) {
                continue;
            }
            if !visible.shows(path) {
                if node.is_directory() && !visible.may_show_below() {
                    unseen = Some(path);
                }
                continue;
            }
            let parent = self.place_of(tree, parent_of(path), &mut places)?;
            let place = join_paths(&parent, name_of(path));
            if node.is_directory() {
                let place = self.directory(path, node, &place)?;
                places.insert(path, place);
            } else {
                self.file(path, node, place)?;
            }
        }
        Ok(())
    }

    /// Where a directory of the source ended up. One that is hidden is made when something below it is shown.
    fn place_of<'s>(
        &mut self,
        source: &'s FsTree,
        path: &'s [u8],
        places: &mut HashMap<&'s [u8], Vec<u8>>,
    ) -> Result<Vec<u8>, CopyError> {
        let mut hidden = Vec::new();
        let mut next = path;
        let mut place = loop {
            match places.get(next) {
                Some(place) => break place.clone(),
                None => hidden.push(next),
            }
            next = parent_of(next);
        };
        for path in hidden.into_iter().rev() {
            place = join_paths(&place, name_of(path));
            if let Some(node) = source.get(path) {
                place = self.directory(path, node, &place)?;
            }
            places.insert(path, place.clone());
        }
        Ok(place)
    }

    /// A directory met inside a copied directory takes the source's metadata, also where it exists.
    fn directory(&mut self, path: &[u8], node: &Node, place: &[u8]) -> Result<Vec<u8>, CopyError> {
        let there = self.target.get(place);
        let place = match there.and_then(Node::symlink_target) {
            Some(_) => self.target.resolve(place)?,
            None => place.to_vec(),
        };
        if self
            .target
            .get(&place)
            .is_some_and(|there| !there.is_directory())
        {
            return Err(CopyError::NotADirectory(text(&place)));
        }
        self.ensure_directory(parent_of(&place), self.request.mode)?;
        let node = self.copied(node, self.request.mode);
        self.make(place.clone(), Some(path), node)?;
        Ok(place)
    }

    /// A node as it arrives: owner and mode of the instruction, links renumbered.
    pub(super) fn copied(&mut self, node: &Node, mode: Option<&ModeChange>) -> Node {
        let mut copied = node.clone();
        if let Some((uid, gid)) = self.request.owner {
            (copied.uid, copied.gid) = (uid, gid);
        }
        if let Some(change) = mode.filter(|_| node.symlink_target().is_none()) {
            copied.mode = change.apply(node.mode, node.is_directory());
        }
        copied.set_content_path(None);
        copied.link_group = node.link_group.map(|group| {
            let target = &mut self.target;
            *self
                .groups
                .entry(group)
                .or_insert_with(|| target.new_link_group())
        });
        copied
    }
}
