//! How an attempt ended. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodStatus};
use stagecraft_protocol::PROTOCOL_VERSION;
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::verdict::{NEEDS_RUNNERS_EXIT_CODE, Outcome, Shape};

use super::{ENGINE, statuses, terminated, verdict};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The image was pushed.
    Succeeded {
        /// Its manifest digest.
        digest: String,
        /// Bytes of its blobs.
        size_bytes: u64,
        /// What the plan needs another time.
        shape: Shape,
    },
    /// The plan was made, and that was all.
    Planned {
        /// What the plan needs.
        shape: Shape,
    },
    /// The pod has too few runners.
    NeedsRunners {
        /// What the plan needs.
        shape: Shape,
    },
    /// It failed. `transient` says whether another attempt may help.
    Failed(Failure),
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded {
                digest,
                size_bytes,
                shape,
            } => Self::Succeeded {
                digest,
                size_bytes,
                shape,
            },
            Outcome::Planned { shape } => Self::Planned { shape },
            Outcome::NeedsRunners { shape } => Self::NeedsRunners { shape },
            Outcome::Failed(failure) => Self::Failed(failure),
        }
    }
}

/// Whether the pod itself will say why its engine ended: somebody ended the engine, or a runner under it, and the
/// kubelet gives its reason (a deadline, an eviction) no sooner than every container has ended.
pub(super) fn may_be_told_later(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    !is_over && verdict(pod).is_some_and(|verdict| was_interrupted(&verdict.outcome))
}

/// A signal from outside ends engine and runners in any order: an engine that sees a runner go first calls that a lost
/// connection.
fn was_interrupted(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Failed(failure)
            if matches!(failure.reason, FailureReason::Cancelled | FailureReason::Infrastructure)
    )
}

/// Reads the end of a pod whose engine has ended.
pub(super) fn read(pod: &Pod, memory_limit: Option<u64>) -> Ending {
    match verdict(pod) {
        Some(verdict) if verdict.protocol_version != PROTOCOL_VERSION => failed(
            FailureReason::Configuration,
            format!(
                "the builder image speaks protocol {}, the operator {PROTOCOL_VERSION}: install images of one release",
                verdict.protocol_version
            ),
        ),
        Some(verdict) => by_verdict(verdict.outcome, pod, memory_limit),
        None => without_verdict(pod, memory_limit),
    }
}

fn by_verdict(outcome: Outcome, pod: &Pod, memory_limit: Option<u64>) -> Ending {
    if was_interrupted(&outcome)
        && let Some(ending) = by_the_cluster(pod)
    {
        return ending;
    }
    match outcome {
        Outcome::Failed(failure) if failure.reason == FailureReason::Cancelled => lost(
            "the engine was told to stop: somebody deleted the pod, or its node shut down"
                .to_owned(),
        ),
        Outcome::Failed(failure) => Ending::Failed(blamed_on_memory(failure, pod, memory_limit)),
        outcome => outcome.into(),
    }
}

/// A step whose runner the kernel killed for memory looks to the engine like a runner that went away.
fn blamed_on_memory(failure: Failure, pod: &Pod, memory_limit: Option<u64>) -> Failure {
    let may_be = matches!(
        failure.reason,
        FailureReason::StepFailed | FailureReason::Infrastructure | FailureReason::Internal
    );
    let killed = statuses(pod).iter().find(|status| {
        let terminated = status
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        status.name != ENGINE
            && terminated.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"))
    });
    match killed {
        Some(status) if may_be => Failure {
            reason: FailureReason::OutOfMemory,
            message: format!(
                "a process of {} was killed for memory{}; give the build more with spec.pod.resources.limits.memory",
                status.name,
                limit_text(memory_limit)
            ),
            transient: false,
            ..failure
        },
        _ => failure,
    }
}

fn limit_text(memory_limit: Option<u64>) -> String {
    memory_limit.map_or_else(String::new, |limit| {
        format!(": the pod's limit is {} MiB", limit >> 20)
    })
}

fn without_verdict(pod: &Pod, memory_limit: Option<u64>) -> Ending {
    if let Some(ending) = by_the_cluster(pod) {
        return ending;
    }
    terminated(pod).map_or_else(
        || {
            let status = pod.status.clone().unwrap_or_default();
            lost(format!(
                "the pod ended without its engine{}",
                words(&status)
            ))
        },
        |end| by_exit_code(end, memory_limit),
    )
}

/// The ends that the kubelet or the control plane made.
fn by_the_cluster(pod: &Pod) -> Option<Ending> {
    let status = pod.status.as_ref()?;
    let text = words(status);
    match status.reason.as_deref() {
        Some("DeadlineExceeded") => {
            return Some(failed(
                FailureReason::Timeout,
                "the build took longer than its timeout".to_owned(),
            ));
        }
        Some("Evicted") => {
            let message = status.message.as_deref().unwrap_or_default();
            // The kubelet names the limit that was passed; a node short of something names the node.
            let own_limit = message.contains("exceeds the total limit of containers")
                || message.contains("exceeded its local ephemeral storage limit")
                || message.contains("exceeds the limit");
            return Some(if own_limit {
                failed(
                    FailureReason::OutOfDisk,
                    format!(
                        "the build used more disk than it may{text}; raise spec.pod.ephemeralStorage"
                    ),
                )
            } else {
                lost(format!("the pod was evicted{text}"))
            });
        }
        Some(
            reason @ ("NodeLost"
            | "Shutdown"
            | "Terminated"
            | "NodeShutdown"
            | "Preempting"
            | "NodeAffinity"
            | "UnexpectedAdmissionError"
            | "OutOfcpu"
            | "OutOfmemory"
            | "OutOfpods"),
        ) => {
            return Some(lost(format!("the node ended the pod: {reason}{text}")));
        }
        _ => {}
    }
    let disruption =
        status.conditions.iter().flatten().find(|condition| {
            condition.type_ == "DisruptionTarget" && condition.status == "True"
        })?;
    Some(lost(format!(
        "the cluster ended the pod: {}: {}",
        disruption.reason.as_deref().unwrap_or("no reason given"),
        disruption.message.as_deref().unwrap_or_default()
    )))
}

fn words(status: &PodStatus) -> String {
    status
        .message
        .as_ref()
        .map_or_else(String::new, |message| format!(": {message}"))
}

fn by_exit_code(end: &ContainerStateTerminated, memory_limit: Option<u64>) -> Ending {
    let code = end.exit_code;
    if end.reason.as_deref() == Some("OOMKilled") {
        return failed(
            FailureReason::OutOfMemory,
            format!(
                "the engine was killed for memory{}",
                limit_text(memory_limit)
            ),
        );
    }
    if matches!(
        end.reason.as_deref(),
        Some("StartError" | "ContainerCannotRun")
    ) {
        return lost(format!(
            "the engine could not be started: {}",
            end.message.as_deref().unwrap_or_default()
        ));
    }
    if code == i32::from(NEEDS_RUNNERS_EXIT_CODE) || code == 0 {
        // Both need a verdict to mean something.
        return failed(
            FailureReason::Internal,
            format!("the engine ended with exit code {code} and left no verdict"),
        );
    }
    if let Some(reason) = FailureReason::from_exit_code(code) {
        if reason == FailureReason::Cancelled {
            return lost("the engine was told to stop, and not by this operator".to_owned());
        }
        let mut failure = Failure::new(
            reason,
            format!("the engine ended with exit code {code} and left no verdict; see its log"),
        );
        failure.transient = reason.is_transient();
        return Ending::Failed(failure);
    }
    if code > 128 {
        return lost(format!("the engine was killed by signal {}", code - 128));
    }
    failed(
        FailureReason::Internal,
        format!("the engine ended with exit code {code}; see its log"),
    )
}

fn failed(reason: FailureReason, message: String) -> Ending {
    Ending::Failed(Failure::new(reason, message))
}

/// A failure of the cluster, which may pass.
fn lost(message: String) -> Ending {
    let mut failure = Failure::new(FailureReason::Infrastructure, message);
    failure.transient = true;
    Ending::Failed(failure)
}
