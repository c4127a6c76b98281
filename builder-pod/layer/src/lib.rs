//! File trees and layer archives over `Read` and `Write`.
//!
//! Invariant: this crate opens no path and starts no process. Paths are byte strings relative to a root,
//! without a leading or trailing slash; the root itself is the empty path.

mod node;
mod tree;

pub use node::{ExtendedAttribute, LayerId, Node, NodeKind, Time, device, device_numbers};
pub use tree::{
    Children, FsTree, ResolveError, TreeTextError, compare_paths, join_paths, name_of, parent_of,
};
