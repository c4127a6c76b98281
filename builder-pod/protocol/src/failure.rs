//! The closed set of reasons a build fails for, and what is derived from them.
//!
//! Invariant: a reason alone decides exit code, condition reason, metric label and doc page.

use serde::{Deserialize, Serialize};

/// Why a build failed. The one enum behind exit codes, condition reasons, metric labels and docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureReason {
    /// The Dockerfile is wrong: syntax, unknown stage, a cycle, a missing COPY source.
    Dockerfile,
    /// The build context, or what `ADD` fetches, could not be had, or is not what its digest says.
    Context,
    /// An image named by `FROM` or `--from` does not exist or cannot be used.
    BaseImage,
    /// A registry refused the credentials, or wants some.
    RegistryAuth,
    /// A registry cannot be reached, is not trusted, or answers wrongly.
    Registry,
    /// A `RUN` step ended with another exit code than 0.
    StepFailed,
    /// The kernel ended a process of the build for memory.
    OutOfMemory,
    /// The scratch space or a stage's root file system is full.
    OutOfDisk,
    /// The build took longer than its `timeout`.
    Timeout,
    /// The build was cancelled: object deleted, suspended or edited, or a signal.
    Cancelled,
    /// The object or command line asks for something that cannot be: a bad value, a missing reference.
    Configuration,
    /// The cluster's policy forbids the pod.
    Policy,
    /// The node, the network or the cluster failed; the same build may succeed when tried again.
    Infrastructure,
    /// The isolation that was asked for is not to be had here.
    Isolation,
    /// A defect of Stagecraft.
    Internal,
}

impl FailureReason {
    /// Every reason, in the order of their exit codes.
    pub const ALL: [Self; 15] = [
        Self::Dockerfile,
        Self::Context,
        Self::BaseImage,
        Self::RegistryAuth,
        Self::Registry,
        Self::StepFailed,
        Self::OutOfMemory,
        Self::OutOfDisk,
        Self::Timeout,
        Self::Cancelled,
        Self::Configuration,
        Self::Policy,
        Self::Infrastructure,
        Self::Isolation,
        Self::Internal,
    ];

    /// The exit code of `stagecraft-builder` for this reason (10 to 24; 2 is a usage error).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        10 + self as u8
    }

    /// The reason with this exit code.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| i32::from(reason.exit_code()) == code)
    }

    /// The name, as it stands in conditions, `status.failure.reason` and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dockerfile => "Dockerfile",
            Self::Context => "Context",
            Self::BaseImage => "BaseImage",
            Self::RegistryAuth => "RegistryAuth",
            Self::Registry => "Registry",
            Self::StepFailed => "StepFailed",
            Self::OutOfMemory => "OutOfMemory",
            Self::OutOfDisk => "OutOfDisk",
            Self::Timeout => "Timeout",
            Self::Cancelled => "Cancelled",
            Self::Configuration => "Configuration",
            Self::Policy => "Policy",
            Self::Infrastructure => "Infrastructure",
            Self::Isolation => "Isolation",
            Self::Internal => "Internal",
        }
    }

    /// Whether another attempt may end differently without a change by the user.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Registry | Self::Infrastructure)
    }
}

impl std::fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A failure as data: the same members in the verdict, `status.failure` and `--error-format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The class of the failure.
    pub reason: FailureReason,
    /// One or more sentences for people: what happened, and the way out.
    pub message: String,
    /// The stage it happened in: its name, or its index as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The instruction as written, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The file that `line` and `column` refer to, relative to the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in `file`, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in `line`, from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The exit code of the `RUN` step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines that the failed step printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
    /// Whether trying again may help (a registry that was down), whatever the reason says in general.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

impl Failure {
    /// A failure with no place: the other members are filled by who knows them.
    #[must_use]
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            stage: None,
            instruction: None,
            file: None,
            line: None,
            column: None,
            exit_code: None,
            log_tail: Vec::new(),
            transient: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_exit_code_and_comes_back_from_it() {
        for reason in FailureReason::ALL {
            assert_eq!(
                FailureReason::from_exit_code(i32::from(reason.exit_code())),
                Some(reason)
            );
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
        }
        assert_eq!(FailureReason::Dockerfile.exit_code(), 10);
        assert_eq!(FailureReason::Internal.exit_code(), 24);
    }
}
