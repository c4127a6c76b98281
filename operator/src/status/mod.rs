//! The status: what people and tools are told. Computed here, written by `write`.
//!
//! Invariant: at every moment the conditions are what kstatus makes of them: in progress while anything goes on, ready
//! or failed when nothing will happen without a change.

mod conditions;
mod ending;
pub(crate) mod progress;
pub(crate) mod write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use stagecraft_api::v1alpha1::{
    FailureStatus, ImageBuildStatus, ImageStatus, PinsStatus, QueueStatus, RunStatus, ShapeStatus,
};
use stagecraft_api::{Reason, labels};
use stagecraft_protocol::request::Pins;

pub(crate) use ending::reason as failure_reason;

use conditions::Situation;

use crate::queue;
use crate::reconcile::apply::{Applied, PodOutcome};
use crate::reconcile::decide::{CancelReason, Claim, Decision, Finish, Retry, Track, Wait};
use crate::reconcile::desired::attempt_name;
use crate::reconcile::observe::Observed;
use crate::reconcile::validate::{ValidBuild, spec_hash};

/// The status after a decision was carried out.
pub(crate) fn compute(
    observed: &Observed,
    valid: Option<&ValidBuild>,
    decision: &Decision,
    applied: &Applied,
) -> ImageBuildStatus {
    let mut status = observed.build.status.clone().unwrap_or_default();
    status.observed_generation = observed.build.metadata.generation;
    let situation = match decision {
        Decision::Reject { message } => rejected(observed, &mut status, message),
        Decision::Queue(wait) => waiting(observed, &mut status, wait),
        Decision::Start(claim) | Decision::Retry(Retry::Now(claim)) => {
            claimed(observed, valid, &mut status, claim);
            tracked(observed, &mut status, None, applied)
        }
        Decision::Track(track) => tracked(observed, &mut status, Some(track), applied),
        Decision::Retry(Retry::Later { failure, time }) => {
            let attempt = status.run.as_ref().map_or(0, |run| run.attempt);
            if let Some(run) = &mut status.run {
                run.retry_time = Some(Time(*time));
            }
            Situation::progress(
                Reason::BackingOff,
                format!(
                    "attempt {attempt} failed ({}: {}); the next one starts at {time:.0}",
                    failure.reason, failure.message
                ),
            )
        }
        Decision::Finish(finish) => finished(observed, valid, &mut status, finish),
        Decision::Cancel {
            reason,
            pods,
            failure,
        } => {
            status.queue = None;
            if let Some(failure) = failure {
                status.failure = Some(ending::failure_status(failure));
            }
            cancelling(*reason, pods)
        }
        Decision::Idle { .. } => idle(&mut status),
    };
    conditions::set(&mut status, &situation, observed.now);
    status
}

/// The object as it is cannot be built; a run that was under way is over.
fn rejected(observed: &Observed, status: &mut ImageBuildStatus, message: &str) -> Situation {
    close(observed, status);
    status.queue = None;
    status.progress = None;
    let message = ending::shortened(message);
    status.failure = Some(FailureStatus {
        message: message.clone(),
        ..ending::failure_of(Reason::Configuration)
    });
    Situation::failed(Reason::Configuration, message)
}

fn waiting(observed: &Observed, status: &mut ImageBuildStatus, wait: &Wait) -> Situation {
    close(observed, status);
    let before = status
        .queue
        .take()
        .filter(|queue| queue.reason == wait.reason);
    status.queue = Some(QueueStatus {
        position: wait.ahead.map(queue::coarse_position),
        reason: wait.reason,
        since: before
            .and_then(|queue| queue.since)
            .or(Some(Time(observed.now))),
    });
    Situation::progress(wait.reason, wait.message.clone())
}

/// Ends a run that will not go on and has no result.
fn close(observed: &Observed, status: &mut ImageBuildStatus) {
    if let Some(run) = status.run.as_mut().filter(|run| run.result.is_none()) {
        run.result = Some(Reason::Cancelled);
        run.completion_time = Some(Time(observed.now));
        run.retry_time = None;
        run.pins = None;
        ending::cancel_stages(&mut status.stages, observed.now);
    }
}

/// The attempt that is about to get a pod.
fn claimed(
    observed: &Observed,
    valid: Option<&ValidBuild>,
    status: &mut ImageBuildStatus,
    claim: &Claim,
) {
    let before = status.run.take();
    let same_run = before.as_ref().filter(|run| run.number == claim.run);
    let now = Time(observed.now);
    let requested = observed.build.annotations().get(labels::REQUESTED_AT);
    let run = RunStatus {
        number: claim.run,
        attempt: claim.attempt,
        retries: Some(claim.retries),
        trigger: claim.trigger,
        spec_hash: spec_hash(&observed.build.spec),
        requested_at: requested.map(|value| ending::cut(value, 256)),
        shape: Some(shape(claim.runners)),
        planned_shape: before.as_ref().and_then(|run| run.planned_shape),
        pins: claim.pins.as_ref().map(pins),
        start_time: same_run
            .and_then(|run| run.start_time.clone())
            .or(Some(now.clone())),
        attempt_time: Some(now),
        retry_time: None,
        completion_time: None,
        result: None,
        pod_name: None,
        isolation: valid.map(|valid| valid.pod.isolation),
    };
    status.run = Some(run);
    status.queue = None;
    status.failure = None;
    status.progress = None;
    status.stages.clear();
    status.peak_memory_bytes = None;
}

/// The attempt that has a pod, or should have one.
fn tracked(
    observed: &Observed,
    status: &mut ImageBuildStatus,
    track: Option<&Track>,
    applied: &Applied,
) -> Situation {
    status.queue = None;
    let Some(run) = status.run.as_mut() else {
        return Situation::progress(Reason::Building, "the run starts".to_owned());
    };
    let name = attempt_name(&observed.build, run.number, run.attempt);
    match &applied.pod {
        Some(PodOutcome::Refused {
            failure: Some(failure),
            ..
        }) => {
            run.completion_time = Some(Time(observed.now));
            run.result = Some(ending::reason(failure.reason));
            let failure = ending::failure_status(failure);
            let situation = Situation::failed(failure.reason, ending::sentence(&failure));
            status.failure = Some(failure);
            return situation;
        }
        Some(PodOutcome::Refused {
            reason,
            message,
            failure: None,
        }) => {
            return Situation::progress(*reason, message.clone());
        }
        Some(PodOutcome::Present) => run.pod_name = Some(name.clone()),
        // It exists, or it waits for something before it is made.
        None => {
            let there = observed.pods.iter().any(|pod| pod.name_any() == name);
            if there {
                run.pod_name = Some(name.clone());
            }
        }
    }
    match track.and_then(|track| track.waiting.as_ref()) {
        Some(waiting) => Situation::progress(waiting.reason, waiting.message.clone()),
        None => Situation::progress(Reason::Building, format!("pod {name} builds")),
    }
}

fn finished(
    observed: &Observed,
    valid: Option<&ValidBuild>,
    status: &mut ImageBuildStatus,
    finish: &Finish,
) -> Situation {
    let now = observed.now;
    status.queue = None;
    ending::apply_report(status, observed.report.as_ref());
    let (result, planned) = match finish {
        Finish::Succeeded {
            digest,
            size_bytes,
            shape,
        } => {
            ending::succeeded(status, observed, digest, *size_bytes);
            (Reason::Succeeded, Some(*shape))
        }
        Finish::Planned { shape } => {
            status.failure = None;
            (Reason::Planned, Some(*shape))
        }
        Finish::Failed { failure, .. } => {
            ending::cancel_stages(&mut status.stages, now);
            status.failure = Some(ending::failure_status(failure));
            (ending::reason(failure.reason), None)
        }
    };
    if let Some(run) = &mut status.run {
        run.result = Some(result);
        run.completion_time = Some(Time(now));
        run.retry_time = None;
        run.pins = None;
        run.isolation = valid.map(|valid| valid.pod.isolation).or(run.isolation);
        if let Some(planned) = planned {
            run.planned_shape = Some(shape(planned.runners));
        }
    }
    idle(status)
}

fn cancelling(reason: CancelReason, pods: &[String]) -> Situation {
    let pods = pods.join(", ");
    let message = match reason {
        CancelReason::Edited => {
            format!("the build was changed; pod {pods} must end before it starts again")
        }
        CancelReason::Suspended => format!("the build was suspended; pod {pods} is ending"),
        CancelReason::Rejected => format!("the build was changed; pod {pods} is ending"),
        CancelReason::TimedOut => format!("the timeout is over; pod {pods} is ending"),
    };
    Situation::progress(Reason::Cancelling, message)
}

/// What the last run says about an object that nothing is to be done for.
fn idle(status: &mut ImageBuildStatus) -> Situation {
    status.queue = None;
    let result = status.run.as_ref().and_then(|run| run.result);
    match result {
        Some(Reason::Succeeded) => {
            status.failure = None;
            Situation::ready(Reason::Succeeded, ending::pushed(&status.outputs))
        }
        Some(Reason::Planned) => {
            status.failure = None;
            Situation::ready(Reason::Planned, ending::planned(status))
        }
        Some(reason) => {
            let message = status.failure.as_ref().map(ending::sentence);
            Situation::failed(
                reason,
                message.unwrap_or_else(|| reason.description().trim().to_owned()),
            )
        }
        // Only an object that is being deleted is idle without a result.
        None => Situation::progress(Reason::Cancelling, "the object is being deleted".to_owned()),
    }
}

fn shape(runners: u32) -> ShapeStatus {
    ShapeStatus {
        runners: i32::try_from(runners).unwrap_or(i32::MAX),
    }
}

fn pins(pins: &Pins) -> PinsStatus {
    PinsStatus {
        images: ending::images(&pins.images).collect::<Vec<ImageStatus>>(),
        source: pins.source.clone(),
        plan: pins.plan.clone(),
    }
}
