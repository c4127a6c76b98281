//! Evidence: what a pod tells about its attempt. Pure.
//!
//! Invariant: the engine's verdict decides how an attempt ended; only where there is none, or says that somebody ended
//! the engine, do the pod's other marks.
//! Invariant: words of the kubelet and the scheduler are passed on as they are.

mod ending;
mod isolation;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use stagecraft_api::Reason;
use stagecraft_api::v1alpha1::ImageBuild;
use stagecraft_protocol::verdict::Verdict;

pub(crate) use ending::Ending;
pub(crate) use isolation::runner_names;

use super::observe::PodEvent;
use crate::names::AttemptKey;

/// Name of the engine's container.
pub(crate) const ENGINE: &str = "engine";

/// Seconds after the end of its grace period when a pod on a silent node counts as ended.
const LOST_AFTER: i64 = 60;

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodPhase {
    /// Its engine has not started.
    Starting,
    /// Its engine runs.
    Running,
    /// Its engine has ended, or never will start.
    Ended,
}

/// What a pod tells.
#[derive(Clone, Debug)]
pub(crate) enum Evidence {
    /// The attempt is over.
    Ended(Ending),
    /// The cluster weakened what keeps RUN steps apart.
    Weakened(String),
    /// It is being deleted and has not ended.
    Leaving,
    /// It does not run yet, and why.
    Starting(Waiting),
    /// It runs.
    Running,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its class.
    pub(crate) reason: Reason,
    /// In words.
    pub(crate) message: String,
}

/// Reads a pod that should have this many runners.
pub(crate) fn read(
    pod: &Pod,
    events: &[PodEvent],
    runners: u32,
    memory_limit: Option<u64>,
) -> Evidence {
    if let Some(deviation) = isolation::deviation(pod, runners) {
        return Evidence::Weakened(deviation);
    }
    let is_deleted = pod.metadata.deletion_timestamp.is_some();
    match phase(pod) {
        PodPhase::Ended if !is_deleted && ending::may_be_told_later(pod) => {
            return Evidence::Running;
        }
        PodPhase::Ended => return Evidence::Ended(ending::read(pod, memory_limit)),
        _ if is_deleted => return Evidence::Leaving,
        PodPhase::Running => return Evidence::Running,
        PodPhase::Starting => {}
    }
    if let Some(event) = events
        .iter()
        .rev()
        .find(|event| isolation::is_refusal(event))
    {
        return Evidence::Weakened(format!(
            "the node cannot give the pod a user namespace: {}",
            event.message
        ));
    }
    Evidence::Starting(waiting(pod, events))
}

/// The pod of the run and attempt that the status names.
pub(crate) fn current_pod<'a>(build: &ImageBuild, pods: &'a [Pod]) -> Option<&'a Pod> {
    let run = build.status.as_ref()?.run.as_ref()?;
    let key = AttemptKey {
        build: &build.name_any(),
        uid: &build.uid().unwrap_or_default(),
        run: run.number,
        attempt: run.attempt,
    };
    let name = key.name();
    pods.iter().find(|pod| pod.name_any() == name)
}

/// How far a pod is.
pub(crate) fn phase(pod: &Pod) -> PodPhase {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) || terminated(pod).is_some() {
        return PodPhase::Ended;
    }
    let running = engine_state(pod).is_some_and(|state| state.running.is_some());
    if running {
        PodPhase::Running
    } else {
        PodPhase::Starting
    }
}

/// Whether a pod's engine may still push: it has not ended, and its node can be expected to know that it must.
pub(crate) fn is_live(pod: &Pod, now: Timestamp) -> bool {
    let overdue = pod
        .metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|time| {
            // The timestamp is the end of the grace period.
            now.as_second() - time.0.as_second() > LOST_AFTER
        });
    phase(pod) != PodPhase::Ended && !overdue
}

/// The engine's verdict, once it has ended.
pub(crate) fn verdict(pod: &Pod) -> Option<Verdict> {
    let message = terminated(pod)?.message.as_deref()?;
    Verdict::from_termination_message(message).ok()
}

fn statuses(pod: &Pod) -> &[ContainerStatus] {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default()
}

fn engine_state(pod: &Pod) -> Option<&ContainerState> {
    statuses(pod)
        .iter()
        .find(|status| status.name == ENGINE)?
        .state
        .as_ref()
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    engine_state(pod)?.terminated.as_ref()
}

/// What a pod that does not run yet waits for.
fn waiting(pod: &Pod, events: &[PodEvent]) -> Waiting {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let unscheduled = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        return Waiting {
            reason: Reason::WaitingForNode,
            message: condition
                .message
                .clone()
                .unwrap_or_else(|| "no node fits the pod".to_owned()),
        };
    }
    let waits = statuses(pod).iter().filter_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        Some((
            waiting.reason.as_deref()?,
            waiting.message.clone().unwrap_or_default(),
        ))
    });
    for (reason, message) in waits {
        match reason {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                return Waiting {
                    reason: Reason::WaitingForBuilderImage,
                    message: format!("{reason}: {message}"),
                };
            }
            "CreateContainerConfigError" if message.contains("not found") => {
                return Waiting {
                    reason: Reason::WaitingForReference,
                    message,
                };
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Waiting {
                    reason: Reason::Building,
                    message: format!("the pod does not start: {reason}: {message}"),
                };
            }
            _ => {}
        }
    }
    let last = events.iter().rev().find(|event| {
        matches!(
            event.reason.as_str(),
            "FailedMount" | "FailedCreatePodSandBox" | "Failed"
        )
    });
    match last {
        Some(event) if event.reason == "FailedMount" => Waiting {
            reason: Reason::WaitingForReference,
            message: event.message.clone(),
        },
        Some(event) => Waiting {
            reason: Reason::Building,
            message: format!("the pod does not start: {}", event.message),
        },
        None => Waiting {
            reason: Reason::Building,
            message: format!("pod {} is starting", pod.name_any()),
        },
    }
}

#[cfg(test)]
mod tests;
