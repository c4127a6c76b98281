//! Why a root file system cannot be read or changed.

use rustix::io::Errno;
use stagecraft_layer::LayerError;

/// Why a root file system cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A call on one path failed.
    #[error("cannot {action} {path} in the root file system")]
    Path {
        /// What was tried.
        action: &'static str,
        /// The path inside the root.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A layer could not be read or applied.
    #[error("cannot apply a layer")]
    Layer(#[from] LayerError),
    /// Something that must be removed holds a mount of the container runtime.
    #[error("cannot replace {path}: the container runtime has mounted something there")]
    HoldsMount {
        /// The path inside the root.
        path: String,
    },
    /// What something is to be put into is no directory.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path inside the root.
        path: String,
    },
    /// A step put something else where a mount was.
    #[error("the step replaced {path}, where something was mounted")]
    Replaced {
        /// The path inside the root.
        path: String,
    },
    /// A file's content is not as long as its metadata says.
    #[error("{path} has {found} bytes where {expected} were announced")]
    ContentLength {
        /// The path inside the root.
        path: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes found, at least.
        found: u64,
    },
    /// A file is larger than what is read of it.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The path inside the root.
        path: String,
        /// Most bytes that are read.
        limit: u64,
    },
    /// What is to be read as a file is none.
    #[error("{path} is no regular file")]
    NotRegular {
        /// The path inside the root.
        path: String,
    },
}

/// Makes the error of a failed call on `path`.
pub(super) fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> RootfsError {
    let path = show(path);
    move |errno| RootfsError::Path {
        action,
        path,
        source: errno.into(),
    }
}

/// Makes the error of failed reading or writing at `path`.
pub(super) fn failed_io(
    action: &'static str,
    path: &[u8],
) -> impl FnOnce(std::io::Error) -> RootfsError {
    let path = show(path);
    move |source| RootfsError::Path {
        action,
        path,
        source,
    }
}

/// A path for messages.
pub(super) fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
