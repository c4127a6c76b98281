//! What COPY and ADD put where: pure planning over metadata trees, no contents and no I/O.
//!
//! Rules are BuildKit's, with three documented differences: wildcards that together match nothing are an error,
//! an unknown `--chown` name is an error, and a directory copied onto a symbolic link follows it inside the root.
//!
//! Invariant: every path that comes out was resolved inside the destination's tree.
//! Invariant: parents come before children, and what is made twice comes twice, the later one last.
//! It must not know Dockerfiles, layers' contents or how an entry is written.

mod archive;
mod error;
mod overlay;
mod plan;
mod sources;
mod users;
mod visible;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_layer::{FsTree, LayerId, Node, Time};
use stagecraft_plan::ModeChange;

pub use error::CopyError;
pub use plan::CopyPlan;
pub use sources::{FoundSource, find_sources};
pub use users::{USER_FILE_LIMIT, User, UserError, Users, resolve_owner, resolve_user};

/// One COPY or ADD, with everything its text needs resolved.
#[derive(Clone, Copy)]
pub struct CopyRequest<'a> {
    /// The files that may be copied.
    pub source: &'a FsTree,
    /// What must not be seen in `source`.
    pub ignore: Option<&'a IgnoreFile>,
    /// The sources, expanded: files, directories and wildcards.
    pub sources: &'a [String],
    /// `--parents`: what a source names arrives with the directories above it, `**` matches any number of them, and
    /// what stands before a `/./` is left out.
    pub parents: bool,
    /// `--exclude`: what is left out of copied directories, relative to each.
    pub exclude: Option<&'a IgnoreFile>,
    /// Absolute destination; a slash at its end means a directory.
    pub destination: &'a str,
    /// Owner of everything that is made; `None` keeps the source's.
    pub owner: Option<(u32, u32)>,
    /// Change of every mode.
    pub mode: Option<&'a ModeChange>,
    /// The tree that is copied into.
    pub target: &'a FsTree,
    /// The layer that the copied files will be in.
    pub layer: LayerId,
    /// Time of directories that nobody described.
    pub implicit_time: Time,
}

impl<'a> CopyRequest<'a> {
    /// A copy without flags.
    #[must_use]
    pub fn plain(
        source: &'a FsTree,
        sources: &'a [String],
        target: &'a FsTree,
        destination: &'a str,
    ) -> Self {
        Self {
            source,
            ignore: None,
            sources,
            parents: false,
            exclude: None,
            destination,
            owner: None,
            mode: None,
            target,
            layer: LayerId::NONE,
            implicit_time: Time::default(),
        }
    }
}

/// Something that the copy makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyEntry {
    /// Where, in the destination's tree.
    pub path: Vec<u8>,
    /// Where its content is in the source's tree; `None` for directories that nobody described.
    pub source: Option<Vec<u8>>,
    /// What it is.
    pub node: Node,
}

/// A path for messages and patterns.
fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests;
