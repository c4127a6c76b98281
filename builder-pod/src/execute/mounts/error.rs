//! Why something cannot be mounted.

use stagecraft_protocol::failure::FailureReason;

use super::super::StepError;
use crate::agents::AgentError;
use crate::caches::CacheError;
use crate::failure::is_disk_full;
use crate::secrets::SecretError;

/// Why something cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The links of the target go in circles.
    #[error("too many symbolic links lead on from it")]
    Loop,
    /// A file is mounted where a directory is.
    #[error("a file cannot be mounted over a directory")]
    OverDirectory,
    /// A directory is mounted where a file is.
    #[error("a directory cannot be mounted over a file")]
    OverFile,
    /// A part of the target is no directory.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// The container runtime has something there.
    #[error("the container runtime has mounted something at {0}: choose another target")]
    Runtime(String),
    /// A secret that is required is not there.
    #[error("the secret {0} is required and the build has none of that name{1}")]
    NoSecret(String, &'static str),
    /// A secret that is there cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret for a variable is no text.
    #[error("the secret {0} holds bytes that no environment variable can")]
    NotText(String),
    /// An agent that is required is not there.
    #[error(
        "the SSH agent {0} is required and the build has none of that name: give it with --ssh NAME, or under spec.ssh of an ImageBuild"
    )]
    NoAgent(String),
    /// An agent that is there has no key that can be used.
    #[error(transparent)]
    Keys(#[from] AgentError),
    /// An agent cannot be lent.
    #[error("cannot lend the SSH agent")]
    Agent(#[source] std::io::Error),
    /// A cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl MountError {
    /// The class of this error.
    pub(in crate::execute) fn reason(&self) -> FailureReason {
        match self {
            _ if is_disk_full(self) => FailureReason::OutOfDisk,
            Self::NoSecret(..)
            | Self::Secret(_)
            | Self::NotText(_)
            | Self::NoAgent(_)
            | Self::Keys(_) => FailureReason::Configuration,
            Self::Cache(_) | Self::Agent(_) => FailureReason::Internal,
            _ => FailureReason::Dockerfile,
        }
    }
}

impl StepError {
    /// An error of a mount gets its target.
    pub(super) fn at(self, target: &str) -> Self {
        match self {
            Self::Unmountable(source) => Self::Mount {
                target: target.to_owned(),
                source,
            },
            other => other,
        }
    }
}

impl From<CacheError> for StepError {
    fn from(error: CacheError) -> Self {
        Self::Unmountable(MountError::Cache(error))
    }
}
