//! Why a step failed, and the failure it makes with its place in the Dockerfile.

use std::sync::Arc;

use stagecraft_protocol::failure::{Failure, FailureReason};

use super::mounts::MountError;
use crate::copy::{CopyError, UserError};
use crate::failure::{chain, is_disk_full, reading};
use crate::remote::RemoteError;
use crate::rootfs::RootfsError;
use crate::runners::RunnerError;
use crate::store::StoreError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A layer could not be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer could not be read or written.
    #[error("cannot read or write a layer")]
    Layer(#[source] stagecraft_layer::LayerError),
    /// The stage's root could not be read or changed.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The runner failed.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The files cannot be copied as the instruction says.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A user or group does not exist.
    #[error(transparent)]
    User(#[from] UserError),
    /// Something that ADD fetches could not be had; several steps may want it.
    #[error(transparent)]
    Remote(#[from] Arc<RemoteError>),
    /// A file that is to be copied could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Its path in the source.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file in scratch could not be written.
    #[error("cannot write the layer {path}")]
    Write {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The program ended with another code than 0.
    #[error("the command {command:?} ended with exit code {code}")]
    Exit {
        /// What ran.
        command: String,
        /// Its code.
        code: i32,
    },
    /// A signal ended the program.
    #[error("the command {command:?} was ended by signal {signal}")]
    Signal {
        /// What ran.
        command: String,
        /// The signal's number.
        signal: i32,
    },
    /// The kernel's out-of-memory killer ended it.
    #[error("the command {command:?} was killed for memory{}", limit_text(*limit_bytes))]
    OutOfMemory {
        /// What ran.
        command: String,
        /// The pod's limit.
        limit_bytes: Option<u64>,
    },
    /// The program could not be started.
    #[error("the command could not be started: {0}")]
    NotStarted(String),
    /// Something cannot be mounted.
    #[error("cannot mount {target}")]
    Mount {
        /// Where.
        target: String,
        /// The cause.
        #[source]
        source: MountError,
    },
    /// Something that has no target cannot be mounted.
    #[error(transparent)]
    Unmountable(#[from] MountError),
    /// The pipes for its output could not be made.
    #[error("cannot make the pipes for the step's output")]
    Pipes(#[source] std::io::Error),
    /// The plan and its execution disagree: a defect.
    #[error("internal error: the plan names {0}")]
    Unplanned(&'static str),
}

fn limit_text(limit_bytes: Option<u64>) -> String {
    limit_bytes.map_or_else(String::new, |bytes| {
        format!(
            " (the pod's limit is {} MiB; raise spec.pod.resources)",
            bytes / (1 << 20)
        )
    })
}

/// A step's error with the step.
#[derive(Debug)]
pub struct StepFailure {
    /// The failure as data.
    pub failure: Failure,
}

impl StepError {
    /// The class of this error.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        if is_disk_full(self) {
            return FailureReason::OutOfDisk;
        }
        match self {
            Self::Store(StoreError::Fetch { source, .. }) => reading(source),
            Self::Store(StoreError::Malformed { .. } | StoreError::WrongContent { .. }) => {
                FailureReason::BaseImage
            }
            Self::Layer(_) => FailureReason::BaseImage,
            Self::Copy(_) | Self::User(_) => FailureReason::Dockerfile,
            Self::Read { .. } | Self::Remote(_) => FailureReason::Context,
            Self::Mount { source, .. } | Self::Unmountable(source) => source.reason(),
            Self::Exit { .. } | Self::Signal { .. } | Self::NotStarted(_) => {
                FailureReason::StepFailed
            }
            Self::OutOfMemory { .. } => FailureReason::OutOfMemory,
            Self::Runner(RunnerError::Lost { .. }) => FailureReason::Infrastructure,
            Self::Runner(_) => FailureReason::Isolation,
            Self::Store(_)
            | Self::Rootfs(_)
            | Self::Write { .. }
            | Self::Pipes(_)
            | Self::Unplanned(_) => FailureReason::Internal,
        }
    }

    /// The failure without its place.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let mut failure = Failure::new(self.reason(), chain(self));
        match self {
            Self::Exit { code, .. } => failure.exit_code = Some(*code),
            // A shell reports a signal as 128 and its number; people look for that.
            Self::Signal { signal, .. } => failure.exit_code = Some(128 + signal),
            Self::OutOfMemory { .. } => failure.exit_code = Some(137),
            Self::Store(StoreError::Fetch { source, .. }) => {
                failure.transient = source.is_transient();
            }
            Self::Remote(error) => failure.transient = error.is_transient(),
            Self::Runner(RunnerError::Lost { .. }) => failure.transient = true,
            _ => {}
        }
        failure
    }
}
