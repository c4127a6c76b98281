//! Following paths through a tree's symbolic links, the way a process inside the root would.

use super::{FsTree, join_paths};

/// Most symbolic links that one look-up follows.
const LINK_LIMIT: u32 = 255;

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// More symbolic links than anything but a loop has.
    #[error("too many levels of symbolic links at {}", String::from_utf8_lossy(.0))]
    TooManyLinks(Vec<u8>),
}

impl FsTree {
    /// The path without symbolic links that `path` leads to. It never leaves the root: `..` of the root is the
    /// root, and absolute links start there. `path` may have a leading slash, `.` and `..`. What does not exist
    /// is taken as written, so the result need not exist; neither need its parents be directories.
    /// The last component is followed only when `follow_last` says so.
    ///
    /// # Errors
    /// When the links go in circles.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, ResolveError> {
        let mut resolved: Vec<u8> = Vec::new();
        let mut links = 0;
        // What is still to be walked, in reverse.
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        while let Some(component) = pending.pop() {
            if component == b".." {
                let parent = super::parent_of(&resolved).len();
                resolved.truncate(parent);
                continue;
            }
            let next = join_paths(&resolved, &component);
            let target = self.get(&next).and_then(|node| node.symlink_target());
            match target {
                Some(target) if follow_last || !pending.is_empty() => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(ResolveError::TooManyLinks(path.to_vec()));
                    }
                    if target.first() == Some(&b'/') {
                        resolved.clear();
                    }
                    pending.extend(components(target).rev().map(<[u8]>::to_vec));
                }
                _ => resolved = next,
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
