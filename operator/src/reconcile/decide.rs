//! Decide: what is to be done for an object now. Pure.
//!
//! Invariant: no run starts before every pod of an earlier run is known to have ended.
//! Invariant: the same observation gives the same decision, however often it is made.

mod attempt;
mod display;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use stagecraft_api::v1alpha1::{RunStatus, Trigger};
use stagecraft_api::{Reason, labels};
use stagecraft_protocol::failure::Failure;
use stagecraft_protocol::request::{Mode, Pins};
use stagecraft_protocol::verdict::Shape;

pub(crate) use attempt::{deadline, pins as attempt_pins};

use super::evidence::{self, Waiting};
use super::observe::Observed;
use super::validate::{Rejection, ValidBuild, spec_hash};
use crate::config::Config;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The object cannot be built as it is.
    Reject {
        /// Why, in words.
        message: String,
    },
    /// A run is wanted and must wait before it starts.
    Queue(Wait),
    /// A run starts with its first attempt.
    Start(Claim),
    /// The attempt goes on.
    Track(Track),
    /// The attempt ended in a way that another one may mend.
    Retry(Retry),
    /// The run is over.
    Finish(Finish),
    /// Pods must end before anything else happens.
    Cancel {
        /// Why.
        reason: CancelReason,
        /// Pods that have not ended.
        pods: Vec<String>,
        /// What the run will have failed for, when that is known already.
        failure: Option<Box<Failure>>,
    },
    /// Nothing but housekeeping.
    Idle {
        /// Whether the last pod has stayed long enough.
        expired: bool,
    },
}

/// Why a run does not start yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Its class.
    pub(crate) reason: Reason,
    /// In words.
    pub(crate) message: String,
    /// Builds that go first, when it waits for its turn.
    pub(crate) ahead: Option<u32>,
}

/// An attempt that is written to the status before its pod is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Number of the run.
    pub(crate) run: i32,
    /// Number of the attempt.
    pub(crate) attempt: i32,
    /// Attempts of the run that followed a failure.
    pub(crate) retries: i32,
    /// What started the run.
    pub(crate) trigger: Trigger,
    /// Runners of its pod.
    pub(crate) runners: u32,
    /// What it must build from.
    pub(crate) pins: Option<Pins>,
}

/// How an attempt goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// Whether its pod must be made.
    pub(crate) create: bool,
    /// What it waits for; absent while it runs.
    pub(crate) waiting: Option<Waiting>,
}

/// How another attempt follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It starts later.
    Later {
        /// Why the last one failed.
        failure: Failure,
        /// When.
        time: Timestamp,
    },
    /// It starts now.
    Now(Claim),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The image was pushed.
    Succeeded {
        /// Its digest.
        digest: String,
        /// Bytes of its blobs.
        size_bytes: u64,
        /// What the plan needs another time.
        shape: Shape,
    },
    /// The plan was made.
    Planned {
        /// What the plan needs.
        shape: Shape,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Box<Failure>,
        /// Whether the pod must go: it is not what was asked for.
        remove_pod: bool,
    },
}

/// Why pods must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// The inputs are others now.
    Edited,
    /// `spec.suspend` was set.
    Suspended,
    /// The object cannot be built as it is now.
    Rejected,
    /// The timeout is over, and the kubelet has not ended the pod.
    TimedOut,
}

impl Decision {
    /// The attempt that must be in the status before anything else is done.
    pub(crate) fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Start(claim) | Self::Retry(Retry::Now(claim)) => Some(claim),
            _ => None,
        }
    }
}

/// What the current spec and annotations ask for.
struct Wanted {
    hash: String,
    requested_at: Option<String>,
}

/// Decides.
pub(crate) fn decide(
    observed: &Observed,
    valid: &Result<ValidBuild, Rejection>,
    config: &Config,
) -> Decision {
    if observed.build.metadata.deletion_timestamp.is_some() {
        // The garbage collector ends the pods by their owner.
        return Decision::Idle { expired: false };
    }
    let live: Vec<String> = observed
        .pods
        .iter()
        .filter(|pod| evidence::is_live(pod, observed.now))
        .map(ResourceExt::name_any)
        .collect();
    let valid = match valid {
        Err(rejection) => return reject(rejection, live),
        Ok(valid) => valid,
    };
    let run = observed
        .build
        .status
        .as_ref()
        .and_then(|status| status.run.as_ref());
    let wanted = Wanted {
        hash: spec_hash(&observed.build.spec),
        requested_at: observed
            .build
            .annotations()
            .get(labels::REQUESTED_AT)
            .cloned(),
    };
    let trigger = trigger(observed, run, &wanted);
    match (run, trigger) {
        (Some(run), None) if run.result.is_none() => {
            attempt::go_on(observed, valid, run, live, config)
        }
        (Some(run), None) => idle(observed, valid, run),
        (_, Some(trigger)) => begin(observed, valid, run, live, trigger, config),
        // Without a run there is always something to start.
        (None, None) => begin(observed, valid, None, live, Trigger::Created, config),
    }
}

fn reject(rejection: &Rejection, live: Vec<String>) -> Decision {
    if !live.is_empty() {
        return Decision::Cancel {
            reason: CancelReason::Rejected,
            pods: live,
            failure: None,
        };
    }
    Decision::Reject {
        message: rejection.problems.join("; "),
    }
}

/// What asks for a new run, if anything does.
fn trigger(observed: &Observed, run: Option<&RunStatus>, wanted: &Wanted) -> Option<Trigger> {
    let Some(run) = run else {
        return Some(Trigger::Created);
    };
    if run.spec_hash != wanted.hash {
        return Some(Trigger::SpecChanged);
    }
    if wanted.requested_at.is_some() && run.requested_at != wanted.requested_at {
        return Some(Trigger::Requested);
    }
    if run.result == Some(Reason::Cancelled) {
        return Some(Trigger::Resumed);
    }
    // Between this run, which failed, and now, the object was one that cannot be built: its failure is forgotten.
    let failure = observed
        .build
        .status
        .as_ref()
        .and_then(|status| status.failure.as_ref());
    let overwritten = match (run.result, failure) {
        (Some(result), Some(failure)) => {
            failure.reason == Reason::Configuration
                && result != failure.reason
                && !matches!(result, Reason::Succeeded | Reason::Planned)
        }
        _ => false,
    };
    overwritten.then_some(Trigger::SpecChanged)
}

/// A run is wanted that is not the one in the status.
fn begin(
    observed: &Observed,
    valid: &ValidBuild,
    run: Option<&RunStatus>,
    live: Vec<String>,
    trigger: Trigger,
    config: &Config,
) -> Decision {
    if !live.is_empty() {
        let reason = if valid.suspended {
            CancelReason::Suspended
        } else {
            CancelReason::Edited
        };
        return Decision::Cancel {
            reason,
            pods: live,
            failure: None,
        };
    }
    if valid.suspended {
        return suspended();
    }
    if let Some(missing) = &valid.missing {
        return Decision::Queue(Wait {
            reason: Reason::WaitingForReference,
            message: missing.clone(),
            ahead: None,
        });
    }
    if !observed.queue.admits(config.concurrency) {
        let ahead = observed.queue.ahead;
        return Decision::Queue(Wait {
            reason: Reason::Queued,
            message: format!(
                "{} builds may run at a time in this cluster; about {} wait before this one",
                config.concurrency,
                crate::queue::coarse_position(ahead) - 1
            ),
            ahead: Some(ahead),
        });
    }
    Decision::Start(Claim {
        run: run.map_or(0, |run| run.number).saturating_add(1),
        attempt: 1,
        retries: 0,
        trigger,
        runners: first_runners(valid, run, config),
        pins: None,
    })
}

fn suspended() -> Decision {
    Decision::Queue(Wait {
        reason: Reason::Suspended,
        message: "spec.suspend is set; unset it to build".to_owned(),
        ahead: None,
    })
}

/// Runners of a run's first pod: what the object's last plan needed, or the administrator's guess.
fn first_runners(valid: &ValidBuild, run: Option<&RunStatus>, config: &Config) -> u32 {
    if valid.request.mode == Mode::Plan {
        return 0;
    }
    match run.and_then(|run| run.planned_shape) {
        Some(shape) => runners_for(shape.runners.unsigned_abs(), valid, config),
        None => config.default_runners.min(config.max_runners),
    }
}

/// Runners for a plan with this many run chains.
fn runners_for(chains: u32, valid: &ValidBuild, config: &Config) -> u32 {
    chains
        .min(valid.request.parallel_stages)
        .min(config.max_runners)
}

/// The run in the status is the one that is wanted, and it is over.
fn idle(observed: &Observed, valid: &ValidBuild, run: &RunStatus) -> Decision {
    let ended = run.completion_time.as_ref().map(|time| time.0.as_second());
    let expired = match (ended, valid.ttl) {
        (Some(ended), Some(ttl)) => {
            observed.now.as_second().saturating_sub(ended) >= i64::try_from(ttl).unwrap_or(i64::MAX)
        }
        _ => false,
    };
    Decision::Idle { expired }
}
