//! What follows for the attempt that is under way. Pure.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use stagecraft_api::v1alpha1::{PinsStatus, RunStatus};
use stagecraft_api::{ConditionType, Reason};
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::request::Pins;
use stagecraft_protocol::verdict::Shape;

use super::{CancelReason, Claim, Decision, Finish, Retry, Track, runners_for, suspended};
use crate::config::Config;
use crate::reconcile::evidence::{self, Ending, Evidence, Waiting};
use crate::reconcile::observe::Observed;
use crate::reconcile::validate::ValidBuild;

/// Seconds before the second attempt; each further one waits twice as long.
const FIRST_BACKOFF: i64 = 5;
/// Most seconds between attempts.
const LONGEST_BACKOFF: i64 = 300;
/// Seconds that the kubelet has to end a pod whose deadline is over, before the operator does.
const DEADLINE_GRACE: i64 = 20;
/// Attempts of a run that may end for want of runners. One does, in a plan that depends on nothing but its inputs.
const MOST_SHAPES: i32 = 3;

/// What follows for the attempt in the status.
pub(super) fn go_on(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    live: Vec<String>,
    config: &Config,
) -> Decision {
    let runners = run.shape.map_or(0, |shape| shape.runners.unsigned_abs());
    let pod = evidence::current_pod(&observed.build, &observed.pods);
    let memory_limit = valid.request.memory_limit_bytes;
    let evidence = pod.map(|pod| evidence::read(pod, &observed.pod_events, runners, memory_limit));

    // An end that is there counts, whatever has been asked for since.
    match &evidence {
        Some(Evidence::Ended(ending)) => return ended(observed, valid, run, ending, config),
        Some(Evidence::Weakened(message)) => return weakened(message),
        _ => {}
    }
    if valid.suspended {
        if live.is_empty() {
            return suspended();
        }
        return Decision::Cancel {
            reason: CancelReason::Suspended,
            pods: live,
            failure: None,
        };
    }
    if let Some(failure) = overdue(observed, valid, run, pod) {
        if live.is_empty() {
            return finish(failure);
        }
        return Decision::Cancel {
            reason: CancelReason::TimedOut,
            pods: live,
            failure: Some(Box::new(failure)),
        };
    }
    match evidence {
        None => without_pod(observed, valid, run, config),
        Some(Evidence::Leaving) => {
            let gone = pod.is_some_and(|pod| !evidence::is_live(pod, observed.now));
            if gone {
                let message = "the pod's node does not answer any more".to_owned();
                return failed(observed, valid, run, lost(message), config);
            }
            track(Waiting {
                reason: Reason::Building,
                message: "somebody deleted the pod; waiting until it has ended".to_owned(),
            })
        }
        Some(Evidence::Starting(waiting)) => track(waiting),
        _ => Decision::Track(Track {
            create: false,
            waiting: None,
        }),
    }
}

fn track(waiting: Waiting) -> Decision {
    Decision::Track(Track {
        create: false,
        waiting: Some(waiting),
    })
}

/// The pod of the attempt is not there: it was not made yet, or somebody took it away.
fn without_pod(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    config: &Config,
) -> Decision {
    if run.pod_name.is_some() {
        let message = "the pod was deleted before it had ended".to_owned();
        return failed(observed, valid, run, lost(message), config);
    }
    match &valid.missing {
        Some(missing) => track(Waiting {
            reason: Reason::WaitingForReference,
            message: missing.clone(),
        }),
        None => Decision::Track(Track {
            create: true,
            waiting: None,
        }),
    }
}

/// What the run has failed for when its time is over.
fn overdue(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    pod: Option<&Pod>,
) -> Option<Failure> {
    let deadline = deadline(run, valid)?;
    // A pod that has started is ended by its kubelet, and keeps its logs.
    let started = pod
        .and_then(|pod| pod.status.as_ref())
        .is_some_and(|status| status.start_time.is_some());
    let grace = if started { DEADLINE_GRACE } else { 0 };
    if observed.now.as_second() < deadline.as_second().saturating_add(grace) {
        return None;
    }
    // While its pod ends, the status keeps what was waited for before.
    let status = observed.build.status.as_ref();
    let known = status.and_then(|status| status.failure.as_ref());
    let message = match known {
        Some(failure) if failure.reason == Reason::Timeout => failure.message.clone(),
        _ => timeout_message(valid.timeout, waited_for(observed)),
    };
    Some(Failure::new(FailureReason::Timeout, message))
}

fn timeout_message(seconds: u64, waited_for: Option<String>) -> String {
    let mut message = format!("the build took longer than its timeout of {seconds} s");
    if let Some(waited_for) = waited_for {
        message.push_str("; it waited: ");
        message.push_str(&waited_for);
    }
    message
}

/// When the run's time is over.
pub(crate) fn deadline(run: &RunStatus, valid: &ValidBuild) -> Option<Timestamp> {
    let timeout = SignedDuration::from_secs(i64::try_from(valid.timeout).unwrap_or(i64::MAX));
    run.start_time.as_ref()?.0.checked_add(timeout).ok()
}

/// What the conditions say that the build waits for.
fn waited_for(observed: &Observed) -> Option<String> {
    let status = observed.build.status.as_ref()?;
    let ready = ConditionType::Ready.as_str();
    let condition = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == ready)?;
    condition
        .reason
        .starts_with("WaitingFor")
        .then(|| condition.message.clone())
}

fn ended(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    ending: &Ending,
    config: &Config,
) -> Decision {
    match ending {
        Ending::Succeeded {
            digest,
            size_bytes,
            shape,
        } => Decision::Finish(Finish::Succeeded {
            digest: digest.clone(),
            size_bytes: *size_bytes,
            shape: *shape,
        }),
        Ending::Planned { shape } => Decision::Finish(Finish::Planned { shape: *shape }),
        Ending::NeedsRunners { shape } => needs_runners(observed, valid, run, *shape, config),
        Ending::Failed(failure) => failed(
            observed,
            valid,
            run,
            with_report(observed, valid, failure),
            config,
        ),
    }
}

/// The failure of the verdict with what only the report has room for.
fn with_report(observed: &Observed, valid: &ValidBuild, failure: &Failure) -> Failure {
    let mut failure = failure.clone();
    if failure.reason == FailureReason::Timeout {
        failure.message = timeout_message(valid.timeout, waited_for(observed));
    }
    let reported = observed
        .report
        .as_ref()
        .and_then(|report| report.failure.as_ref());
    if let Some(reported) = reported {
        failure.log_tail.clone_from(&reported.log_tail);
        // The verdict's texts may be cut; the report's are whole, and say the same.
        if reported.reason == failure.reason {
            failure.message.clone_from(&reported.message);
            failure.instruction.clone_from(&reported.instruction);
            failure.stage.clone_from(&reported.stage);
            failure.file.clone_from(&reported.file);
        }
    }
    failure
}

/// The pod had too few runners: the next one gets what the plan needs, and builds from what was resolved.
fn needs_runners(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    shape: Shape,
    config: &Config,
) -> Decision {
    let had = run.shape.map_or(0, |shape| shape.runners.unsigned_abs());
    let runners = runners_for(shape.runners, valid, config);
    let shapes = run.attempt - run.retries.unwrap_or_default();
    if runners <= had || shapes >= MOST_SHAPES {
        return finish(Failure::new(
            FailureReason::Internal,
            format!(
                "the engine asks for {} runners; its pod had {had} and could get {runners}",
                shape.runners
            ),
        ));
    }
    if valid.suspended {
        return suspended();
    }
    Decision::Retry(Retry::Now(Claim {
        runners,
        ..next_attempt(observed, run, runners)
    }))
}

fn next_attempt(observed: &Observed, run: &RunStatus, runners: u32) -> Claim {
    let reported = observed.report.as_ref().map(|report| report.pins.clone());
    Claim {
        run: run.number,
        attempt: run.attempt.saturating_add(1),
        retries: run.retries.unwrap_or_default(),
        trigger: run.trigger,
        runners,
        pins: reported
            .filter(|pins| *pins != Pins::default())
            .or_else(|| run.pins.as_ref().map(pins)),
    }
}

/// The pins that a status keeps, as the engine is given them.
pub(crate) fn pins(status: &PinsStatus) -> Pins {
    let images = status.images.iter();
    Pins {
        images: images
            .map(|pin| (pin.image.clone(), pin.digest.clone()))
            .collect(),
        source: status.source.clone(),
        plan: status.plan.clone(),
    }
}

/// The attempt failed: the run is over, or another attempt follows.
fn failed(
    observed: &Observed,
    valid: &ValidBuild,
    run: &RunStatus,
    failure: Failure,
    config: &Config,
) -> Decision {
    let retries = run.retries.unwrap_or_default();
    let may_pass = failure.transient || failure.reason == FailureReason::Infrastructure;
    if !may_pass || retries.unsigned_abs() >= valid.retries {
        return finish(failure);
    }
    if valid.suspended {
        return suspended();
    }
    let time = match &run.retry_time {
        Some(time) => time.0,
        None => backoff(observed.now, retries),
    };
    if deadline(run, valid).is_some_and(|deadline| time >= deadline) {
        return finish(failure);
    }
    if observed.now < time {
        return Decision::Retry(Retry::Later { failure, time });
    }
    let runners = run
        .shape
        .map_or(config.default_runners, |shape| shape.runners.unsigned_abs());
    Decision::Retry(Retry::Now(Claim {
        retries: retries.saturating_add(1),
        ..next_attempt(observed, run, runners)
    }))
}

fn backoff(now: Timestamp, retries: i32) -> Timestamp {
    let doublings = retries.unsigned_abs().min(16);
    let seconds = FIRST_BACKOFF
        .saturating_mul(1 << doublings)
        .min(LONGEST_BACKOFF);
    now.saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(now)
}

fn finish(failure: Failure) -> Decision {
    Decision::Finish(Finish::Failed {
        failure: Box::new(failure),
        remove_pod: false,
    })
}

fn weakened(message: &str) -> Decision {
    Decision::Finish(Finish::Failed {
        failure: Box::new(Failure::new(FailureReason::Isolation, message)),
        remove_pod: true,
    })
}

/// A failure of the cluster, which may pass.
fn lost(message: String) -> Failure {
    let mut failure = Failure::new(FailureReason::Infrastructure, message);
    failure.transient = true;
    failure
}
