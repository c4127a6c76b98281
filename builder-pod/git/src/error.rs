//! Why a repository cannot be read.

use std::io;

use crate::ObjectId;

/// Why a repository cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Bytes could not be read from the server.
    #[error("the server's answer broke off")]
    Read(#[source] io::Error),
    /// Objects could not be kept.
    #[error("cannot keep an object in scratch")]
    Store(#[source] io::Error),
    /// The server says why it does not go on.
    #[error("the server says: {0}")]
    Server(String),
    /// It is no git server, or one of the old kind that only hands out files.
    #[error("the address is no git repository, or its server does not speak git's smart protocol")]
    NoRepository,
    /// The server uses a hash that is not known here.
    #[error("the repository names its objects by {0}, which is not supported")]
    Format(String),
    /// Something that the server sent is not as it must be.
    #[error("the server sent {0} that is malformed")]
    Malformed(&'static str),
    /// An object that was made to have another one's SHA-1.
    #[error("an object is part of a SHA-1 collision")]
    Collision,
    /// More than is accepted.
    #[error("the repository has more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// An object is not in what the server sent.
    #[error("the server did not send the object {0}")]
    Missing(ObjectId),
    /// An object is of another kind.
    #[error("the object {id} is no {expected}")]
    Kind {
        /// The object.
        id: ObjectId,
        /// What it should be.
        expected: &'static str,
    },
    /// A name in a tree that no file may have.
    #[error("the repository has a file called {0:?}, which is refused")]
    Name(String),
    /// The revision does not exist.
    #[error("the repository has no branch, tag or commit {0:?}")]
    NoRevision(String),
    /// Nothing has been committed yet.
    #[error("the repository is empty")]
    Empty,
    /// A short commit means several.
    #[error("{0:?} is the beginning of several commits")]
    Ambiguous(String),
    /// A name that cannot be a revision.
    #[error("{0:?} cannot be the name of a branch, tag or commit")]
    BadRevision(String),
}
