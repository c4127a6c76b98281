//! ADD of a local archive: its entries over the destination, as `tar -x` would put them.
//!
//! A file, directory or link at an entry's place is replaced without an error, and the archive's own `./` never
//! changes the destination. Owners are the archive's unless the instruction has one; modes always are.

use stagecraft_layer::{FsTree, Node, join_paths, name_of, parent_of};

use super::plan::CopyPlan;
use super::{CopyEntry, CopyError};

impl CopyPlan<'_> {
    /// The entries of one source that is an archive.
    ///
    /// # Errors
    /// When a file stands where the destination must be a directory.
    pub fn unpack(&mut self, archive: &FsTree) -> Result<Vec<CopyEntry>, CopyError> {
        let destination = self.target.resolve(self.request.destination.as_bytes())?;
        self.ensure_directory(&destination, None)?;
        for (path, node) in archive.iter() {
            let joined = join_paths(&destination, path);
            let parent = self.target.resolve(parent_of(&joined))?;
            let place = join_paths(&parent, name_of(path));
            if is_implicit(node) {
                // A parent that the archive does not describe leaves what is there as it is.
                let place = self.target.resolve(&place)?;
                self.ensure_directory(&place, None)?;
                continue;
            }
            self.ensure_directory(&parent, None)?;
            let node = self.copied(node, None);
            self.make(place, Some(path), node)?;
        }
        Ok(self.take_entries())
    }
}

/// Whether it is a directory that only stands in the tree because something is in it.
fn is_implicit(node: &Node) -> bool {
    node.same_metadata(&Node::implicit_directory())
}
