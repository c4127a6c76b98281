//! The closed set of reasons that conditions, events and metrics give.
//!
//! Invariant: the reasons of failures carry the names that the builder gives them; a test of the operator compares.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $kind:ident,)+) => {
        /// Why an ImageBuild is in the condition it is in.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason: good ends, then what is under way, then failures.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            /// The name, as it stands in conditions, events and metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the reason says about the build.
            #[must_use]
            pub const fn kind(self) -> ReasonKind {
                match self { $(Self::$name => ReasonKind::$kind,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

/// What a reason says about a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonKind {
    /// It has what was asked for.
    Good,
    /// It works, or waits for something that may change by itself.
    Progress,
    /// It failed; only a change by somebody helps.
    Failure,
}

reasons! {
    /// The image was pushed to every destination.
    Succeeded Good,
    /// The plan was made, and nothing is to be built.
    Planned Good,

    /// The limit of builds that may run at a time is reached; older ones go first.
    Queued Progress,
    /// `spec.suspend` is set.
    Suspended Progress,
    /// A pod is planning, building or pushing.
    Building Progress,
    /// The pod of an earlier run must end before the next run starts.
    Cancelling Progress,
    /// A Secret, ConfigMap or service account that the object names does not exist yet.
    WaitingForReference Progress,
    /// No node fits the pod now.
    WaitingForNode Progress,
    /// A quota of the namespace leaves no room for the pod now.
    WaitingForQuota Progress,
    /// The image of engine and runners cannot be pulled now.
    WaitingForBuilderImage Progress,
    /// The last attempt failed in a way that may pass; the next one follows.
    BackingOff Progress,

    /// The Dockerfile is wrong: syntax, unknown stage, a cycle, a missing COPY source.
    Dockerfile Failure,
    /// The build context, or what ADD fetches, could not be had, or is not what its digest says.
    Context Failure,
    /// An image named by FROM or --from does not exist or cannot be used.
    BaseImage Failure,
    /// A registry refused the credentials, or wants some.
    RegistryAuth Failure,
    /// A registry cannot be reached, is not trusted, or answers wrongly.
    Registry Failure,
    /// A RUN step ended with another exit code than 0.
    StepFailed Failure,
    /// The kernel ended a process of the build for memory.
    OutOfMemory Failure,
    /// The scratch space or a stage's root file system is full.
    OutOfDisk Failure,
    /// The build took longer than `spec.timeout`.
    Timeout Failure,
    /// The build was ended by somebody before it was done.
    Cancelled Failure,
    /// The object asks for something that cannot be: a bad value, a missing key.
    Configuration Failure,
    /// The cluster's policy forbids the pod.
    Policy Failure,
    /// The node, the network or the cluster failed, and trying again did not help.
    Infrastructure Failure,
    /// The isolation that was asked for is not to be had here.
    Isolation Failure,
    /// A defect of Stagecraft.
    Internal Failure,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_written_as_it_is_named() {
        for reason in Reason::ALL {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
            assert!(reason.description().trim_end().ends_with('.'), "{reason}");
        }
    }
}
