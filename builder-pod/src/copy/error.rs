//! Why files cannot be copied.

use stagecraft_dockerfile::ignore::IgnoreError;
use stagecraft_plan::ModeError;

/// Why files cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// A source does not exist.
    #[error("the source {source_path:?} does not exist{}", hint(nearest.as_deref(), *ignored))]
    NotFound {
        /// The source as written.
        source_path: String,
        /// A path that exists and looks like it.
        nearest: Option<String>,
        /// Whether it is there, but the ignore file hides it.
        ignored: bool,
    },
    /// Wildcards match nothing.
    #[error("the wildcard {0:?} matches no file")]
    NoMatch(String),
    /// A wildcard cannot be understood.
    #[error("the wildcard {0:?} is malformed")]
    Pattern(String),
    /// `--parents` of the root itself, or of nothing behind `/./`.
    #[error(
        "--parents needs a path below the source's root, and {0:?} names none; name what is in it, with * for all of it"
    )]
    ParentsOfRoot(String),
    /// `--parents` of a path through a symbolic link.
    #[error(
        "--parents cannot copy {0:?}: it leads through a symbolic link, which cannot arrive as a directory; name where it leads"
    )]
    ParentIsLink(String),
    /// A file stands where a directory must be.
    #[error("cannot copy to {0:?}: a file is there, not a directory")]
    NotADirectory(String),
    /// A directory stands where a file must be.
    #[error("cannot copy a file over the directory {0:?}")]
    IsADirectory(String),
    /// A name that means something else in a layer.
    #[error("cannot copy {0:?}: in a layer, names that begin with .wh. mark removed files")]
    WhiteoutName(String),
    /// Symbolic links go in circles.
    #[error("too many levels of symbolic links at {0:?}")]
    Loop(String),
    /// A pattern of `--exclude` cannot be understood. Its number is its line.
    #[error("--exclude cannot be understood")]
    Exclude(#[from] IgnoreError),
    /// `--chmod` cannot be understood.
    #[error(transparent)]
    Mode(#[from] ModeError),
}

fn hint(nearest: Option<&str>, ignored: bool) -> String {
    match (ignored, nearest) {
        (true, _) => ": the ignore file hides it".to_owned(),
        (false, Some(nearest)) => format!(", did you mean {nearest:?}?"),
        (false, None) => String::new(),
    }
}
