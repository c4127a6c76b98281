//! File trees and layer archives over `Read` and `Write`.
//!
//! Invariant: this crate opens no path and starts no process. Paths are byte strings relative to a root,
//! without a leading or trailing slash; the root itself is the empty path.

mod apply;
mod changes;
mod compress;
mod decode;
mod error;
mod index;
mod node;
#[cfg(test)]
mod random;
mod read;
mod tree;
mod write;

pub use apply::{Applier, Operation, apply_layer};
pub use changes::Changes;
pub use compress::{CompressError, CompressedLayer, compress};
pub use decode::{Compression, DecodeError, DecodeLimits, Decoder};
pub use error::LayerError;
pub use index::{ContentReader, TarIndex};
pub use node::{ExtendedAttribute, LayerId, Node, NodeKind, Time, device, device_numbers};
pub use read::{
    CAPABILITY_ATTRIBUTE, Entry, EntryKind, LayerReader, Limits, SparseMap, is_whiteout_name,
};
pub use tree::{
    Children, FsTree, ResolveError, TreeTextError, compare_paths, is_below, join_paths, name_of,
    parent_of,
};
pub use write::{LayerWriter, WriteOptions, WrittenLayer, write_layer};
