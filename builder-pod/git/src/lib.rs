//! Reading git repositories: what a client and a server say to each other, packs, commits and trees.
//!
//! Invariant: no program is started, no configuration is read and no file is named: bytes come from a `Read`, objects
//! go to a file that is given. There are no hooks, no filters, no transports and no working tree to attack.
//! Invariant: every object has the id that it is asked by; SHA-1 is computed with detection of collisions.
//! Invariant: what a server sends has limits, and memory does not grow with the size of files.

mod attributes;
mod commit;
mod delta;
mod directory;
mod error;
mod id;
mod message;
mod objects;
mod pack;
mod packet;
mod pattern;
mod revision;
mod submodules;
mod tree;

pub use attributes::{Attributes, LineEnds};
pub use commit::{Commit, Tag};
pub use directory::{GitDirectory, GitFile, PackEntry};
pub use error::GitError;
pub use id::{ObjectFormat, ObjectId};
pub use message::{
    Advertisement, FetchRequest, PackStream, RefsRequest, RemoteRef, fetch_request, parse_refs,
    read_advertisement, refs_request,
};
pub use objects::{Kind, ObjectReader, Objects};
pub use pack::{Limits, Pack, read_pack};
pub use revision::{Resolved, Revision};
pub use submodules::{Submodule, SubmoduleError, read_submodules, resolve_url};
pub use tree::{EntryKind, TreeEntry, walk_tree};
