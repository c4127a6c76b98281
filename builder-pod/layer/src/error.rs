//! Why a layer archive cannot be read, applied or written.

use crate::tree::ResolveError;

/// Why a layer archive cannot be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The bytes could not be read.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// How far into the uncompressed archive.
        offset: u64,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The bytes could not be written.
    #[error("cannot write the archive at byte {offset}")]
    Write {
        /// How far into the uncompressed archive.
        offset: u64,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The content of a file could not be had.
    #[error("cannot read the content of {}", show(.path))]
    Content {
        /// The file's path.
        path: Vec<u8>,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file's content is not as long as its metadata says.
    #[error("{} has {found} bytes where {expected} were announced", show(.path))]
    ContentLength {
        /// The file's path.
        path: Vec<u8>,
        /// Bytes announced.
        expected: u64,
        /// Bytes found, at least.
        found: u64,
    },
    /// A block of the archive is no header.
    #[error("no valid tar header at byte {offset}: {problem}")]
    Header {
        /// Where it stands in the uncompressed archive.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// An extended header is not of its form.
    #[error("malformed extended header at byte {offset}: {problem}")]
    ExtendedHeader {
        /// Where the entry it belongs to begins.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// An entry is larger than what is accepted.
    #[error("the archive exceeds a limit at byte {offset}: {limit}")]
    Limit {
        /// Where the entry begins.
        offset: u64,
        /// Which limit.
        limit: &'static str,
    },
    /// An entry is of a type that a layer cannot hold.
    #[error("{} is of the unknown type {kind:?}", show(.path))]
    UnknownType {
        /// Its path.
        path: Vec<u8>,
        /// The type flag.
        kind: char,
    },
    /// An entry has no name that a file could have.
    #[error("an entry at byte {offset} has the impossible name {}", show(.name))]
    Name {
        /// Where the entry begins.
        offset: u64,
        /// The name as it stands in the archive.
        name: Vec<u8>,
    },
    /// A hard link points at nothing.
    #[error("the hard link {} points at {}, which does not exist", show(.path), show(.target))]
    LinkTarget {
        /// The link.
        path: Vec<u8>,
        /// Where it points.
        target: Vec<u8>,
    },
    /// An entry stands below something that is no directory.
    #[error("{} stands below {}, which is no directory", show(.path), show(.parent))]
    ParentNotDirectory {
        /// The entry.
        path: Vec<u8>,
        /// What it stands below.
        parent: Vec<u8>,
    },
    /// A path leads in circles.
    #[error("cannot find the place of {}", show(.path))]
    Resolve {
        /// The entry's path.
        path: Vec<u8>,
        /// The cause.
        #[source]
        source: ResolveError,
    },
    /// A file of this name would be taken for the removal of another.
    #[error("{} cannot stand in a layer: names that begin with .wh. mark removed files", show(.path))]
    WhiteoutName {
        /// Its path.
        path: Vec<u8>,
    },
}

/// A path for messages.
fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
