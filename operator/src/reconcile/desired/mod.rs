//! Desired: what must exist and what must go, for a decision. Pure and infallible.
//!
//! Invariant: everything that is made belongs to its ImageBuild, so that the garbage collector removes it with it.

mod pod;
mod request;
mod security;
mod volumes;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use stagecraft_api::v1alpha1::{ImageBuild, RunStatus};
use stagecraft_protocol::request::Pins;

use super::decide::{Claim, Decision, Finish, Retry, attempt_pins, deadline};
use super::evidence;
use super::observe::Observed;
use super::validate::ValidBuild;
use crate::config::Config;
use crate::names::AttemptKey;

/// What is to be changed in the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    /// An attempt's request and pod, to be made if they are not there.
    pub(crate) attempt: Option<Box<AttemptObjects>>,
    /// Pods to be deleted.
    pub(crate) delete_pods: Vec<String>,
    /// ConfigMaps to be deleted.
    pub(crate) delete_config_maps: Vec<String>,
}

/// The objects of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AttemptObjects {
    /// The request, mounted into the engine.
    pub(crate) request: ConfigMap,
    /// The pod.
    pub(crate) pod: Pod,
}

/// An attempt as its pod needs to know it.
pub(super) struct Attempt<'a> {
    pub(super) build: &'a ImageBuild,
    pub(super) valid: &'a ValidBuild,
    pub(super) config: &'a Config,
    pub(super) key: AttemptKey<'a>,
    pub(super) runners: u32,
    pub(super) pins: Option<Pins>,
    /// Seconds until the run's time is over.
    pub(super) seconds_left: i64,
}

/// What is to be changed for a decision.
pub(crate) fn desired(
    observed: &Observed,
    valid: Option<&ValidBuild>,
    decision: &Decision,
    config: &Config,
) -> Changes {
    let run = observed
        .build
        .status
        .as_ref()
        .and_then(|status| status.run.as_ref());
    match decision {
        Decision::Start(claim) | Decision::Retry(Retry::Now(claim)) => {
            let name = attempt_name(&observed.build, claim.run, claim.attempt);
            let same_run = run.filter(|run| run.number == claim.run);
            Changes {
                attempt: valid.map(|valid| made(observed, valid, same_run, claim.into(), config)),
                delete_pods: pods_but(observed, Some(&name)),
                delete_config_maps: request_names(&observed.build, run),
            }
        }
        Decision::Track(track) if track.create => Changes {
            attempt: run
                .zip(valid)
                .map(|(run, valid)| made(observed, valid, Some(run), run.into(), config)),
            ..Changes::default()
        },
        Decision::Cancel { pods, .. } => Changes {
            delete_pods: pods.clone(),
            ..Changes::default()
        },
        Decision::Finish(finish) => {
            let remove = matches!(
                finish,
                Finish::Failed {
                    remove_pod: true,
                    ..
                }
            );
            Changes {
                delete_pods: pods_but(observed, current(observed).filter(|_| !remove).as_deref()),
                delete_config_maps: request_names(&observed.build, run),
                ..Changes::default()
            }
        }
        Decision::Reject { .. } | Decision::Queue(_) => Changes {
            delete_config_maps: request_names(
                &observed.build,
                run.filter(|run| run.result.is_none()),
            ),
            ..Changes::default()
        },
        Decision::Idle { expired } => Changes {
            delete_pods: pods_but(observed, current(observed).filter(|_| !expired).as_deref()),
            ..Changes::default()
        },
        Decision::Track(_) | Decision::Retry(Retry::Later { .. }) => Changes::default(),
    }
}

/// What an attempt's pod differs by from that of another attempt.
struct Needs {
    run: i32,
    attempt: i32,
    runners: u32,
    pins: Option<Pins>,
}

impl From<&Claim> for Needs {
    fn from(claim: &Claim) -> Self {
        Self {
            run: claim.run,
            attempt: claim.attempt,
            runners: claim.runners,
            pins: claim.pins.clone(),
        }
    }
}

impl From<&RunStatus> for Needs {
    fn from(run: &RunStatus) -> Self {
        Self {
            run: run.number,
            attempt: run.attempt,
            runners: run.shape.map_or(0, |shape| shape.runners.unsigned_abs()),
            pins: run.pins.as_ref().map(attempt_pins),
        }
    }
}

/// The objects of an attempt. `run` is the one that is under way; a new one has all its time left.
fn made(
    observed: &Observed,
    valid: &ValidBuild,
    run: Option<&RunStatus>,
    needs: Needs,
    config: &Config,
) -> Box<AttemptObjects> {
    let deadline = run.and_then(|run| deadline(run, valid));
    let seconds_left = deadline.map_or_else(
        || i64::try_from(valid.timeout).unwrap_or(i64::MAX),
        |deadline| deadline.as_second() - observed.now.as_second(),
    );
    let attempt = Attempt {
        build: &observed.build,
        valid,
        config,
        key: AttemptKey {
            build: &observed.build.name_any(),
            uid: &observed.build.uid().unwrap_or_default(),
            run: needs.run,
            attempt: needs.attempt,
        },
        runners: needs.runners,
        pins: needs.pins,
        seconds_left,
    };
    Box::new(AttemptObjects {
        request: request::config_map(&attempt),
        pod: pod::pod(&attempt),
    })
}

/// The pod of the attempt in the status.
fn current(observed: &Observed) -> Option<String> {
    evidence::current_pod(&observed.build, &observed.pods).map(ResourceExt::name_any)
}

/// Name of an attempt's pod, and of its request.
pub(crate) fn attempt_name(build: &ImageBuild, run: i32, attempt: i32) -> String {
    let key = AttemptKey {
        build: &build.name_any(),
        uid: &build.uid().unwrap_or_default(),
        run,
        attempt,
    };
    key.name()
}

/// Every pod of the object but one, unless it is going already.
fn pods_but(observed: &Observed, keep: Option<&str>) -> Vec<String> {
    let pods = observed.pods.iter();
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(ResourceExt::name_any)
        .filter(|name| Some(name.as_str()) != keep)
        .collect()
}

/// Names of the requests of a run's attempts so far. They are small in number: a run has few attempts.
fn request_names(build: &ImageBuild, run: Option<&RunStatus>) -> Vec<String> {
    let Some(run) = run else {
        return Vec::new();
    };
    (1..=run.attempt)
        .map(|attempt| attempt_name(build, run.number, attempt))
        .collect()
}

/// Name, labels and owner of an attempt's objects.
fn metadata(attempt: &Attempt<'_>) -> ObjectMeta {
    let owner = OwnerReference {
        // Without `blockOwnerDeletion`, which would need the right to change finalizers on some clusters.
        controller: Some(true),
        api_version: ImageBuild::api_version(&()).into_owned(),
        kind: ImageBuild::kind(&()).into_owned(),
        name: attempt.key.build.to_owned(),
        uid: attempt.key.uid.to_owned(),
        block_owner_deletion: None,
    };
    ObjectMeta {
        name: Some(attempt.key.name()),
        namespace: attempt.build.namespace(),
        labels: Some(attempt.key.labels()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
