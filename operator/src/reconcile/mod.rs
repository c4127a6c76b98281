//! Reconcile: observe -> validate -> decide -> desired -> apply -> status, one file each.
//!
//! Invariant: only `observe` and `apply` (and the writing of the status) talk to the apiserver; the rest is pure.
//! Invariant: an attempt stands in the status, under the resource version that the decision was made on, before its
//! pod is made. Whoever comes second, or comes again, finds it there.

pub(crate) mod apply;
pub(crate) mod decide;
pub(crate) mod desired;
pub(crate) mod evidence;
pub(crate) mod observe;
pub(crate) mod validate;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use stagecraft_api::Reason;
use stagecraft_api::v1alpha1::{ImageBuild, ImageBuildStatus};

use crate::config::Config;
use crate::events::Announcer;
use crate::metrics::Metrics;
use crate::queue::{self, Claims, Directory};
use crate::status::{self, write::StatusWriter};
use apply::{Applied, Applier};
use decide::{Decision, decide};
use desired::desired;
use evidence::PodPhase;
use observe::follow::{Followed, Followers};
use observe::{Observed, Reader};
use validate::{ValidBuild, validate};

/// How often something that can change without an event of ours is looked at.
const POLL_SOON: Duration = Duration::from_secs(3);
/// The same, once it has lasted.
const POLL_LATER: Duration = Duration::from_secs(10);
/// How long the first is kept up.
const SOON: i64 = 60;
/// How often an object that nothing is done for is looked at.
const POLL_IDLE: Duration = Duration::from_secs(600);

/// What a reconcile works with.
pub(crate) struct Reconciler {
    pub(crate) config: Config,
    pub(crate) reader: Reader,
    pub(crate) applier: Applier,
    pub(crate) writer: StatusWriter,
    pub(crate) followers: Followers,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Metrics,
    pub(crate) directory: Directory,
    pub(crate) claims: Claims,
}

/// A step that failed; all of them are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// Something could not be read.
    #[error("cannot observe")]
    Observe(#[from] observe::ObserveError),
    /// Something could not be made or deleted.
    #[error("cannot apply")]
    Apply(#[from] apply::ApplyError),
    /// The status could not be written.
    #[error("cannot write the status")]
    Write(#[from] status::write::WriteError),
}

impl ReconcileError {
    /// Whether it only says that the object has moved on, which the next reconcile sees.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(
            self,
            Self::Write(
                status::write::WriteError::Conflict { .. } | status::write::WriteError::Gone { .. }
            )
        )
    }
}

impl Reconciler {
    /// Brings an object one decision further; when to look at it again.
    pub(crate) async fn reconcile(&self, build: &ImageBuild) -> Result<Duration, ReconcileError> {
        let namespace = build.namespace().unwrap_or_default();
        let name = build.name_any();
        let uid = build.uid().unwrap_or_default();
        let observed = self.reader.observe(&namespace, &name, &self.config).await?;
        let Some(mut observed) = observed else {
            self.followers.stop(&uid).await;
            self.claims.release(&uid);
            return Ok(POLL_IDLE);
        };
        let uid = observed.build.uid().unwrap_or_default();

        // From looking at the queue until the claim is written, nobody else may start a run.
        let admission = self.claims.admission().await;
        let others = self.directory.builds();
        observed.queue = queue::view(&observed.build, others.iter().map(Arc::as_ref), |other| {
            self.claims.covers(other)
        });
        let valid = validate(&observed, &self.config);
        let decision = decide(&observed, &valid, &self.config);
        let valid = valid.ok();
        let changes = desired(&observed, valid.as_ref(), &decision, &self.config);
        let mut current = observed.build.clone();
        if let Some(claim) = decision.claim() {
            let claimed =
                status::compute(&observed, valid.as_ref(), &decision, &Applied::default());
            current = self.writer.replace(&current, &claimed).await?;
            self.claims.claim(&uid, claim.run);
        }
        drop(admission);

        tracing::debug!(%namespace, name, %decision, "decided");
        if !matches!(decision, Decision::Track(_)) {
            // Nothing may be written about the stages after the end.
            self.followers.stop(&uid).await;
        }
        let applied = self.applier.apply(&namespace, &changes).await?;
        let status = status::compute(&observed, valid.as_ref(), &decision, &applied);
        self.writer.replace(&current, &status).await?;
        self.follow(&observed, &decision, &namespace, &uid).await;
        self.tell(&observed, &decision, &status).await;
        Ok(look_again(&observed, valid.as_ref(), &decision, &status))
    }

    /// Follows the log of an engine that runs.
    async fn follow(&self, observed: &Observed, decision: &Decision, namespace: &str, uid: &str) {
        let run = observed
            .build
            .status
            .as_ref()
            .and_then(|status| status.run.as_ref());
        let pod = evidence::current_pod(&observed.build, &observed.pods);
        let (Decision::Track(_), Some(run), Some(pod)) = (decision, run, pod) else {
            return;
        };
        if evidence::phase(pod) == PodPhase::Running {
            let followed = Followed {
                namespace: namespace.to_owned(),
                build: observed.build.name_any(),
                attempt: (run.number, run.attempt),
                pod: pod.name_any(),
            };
            self.followers.follow(uid, followed).await;
        }
    }

    /// Events, metrics and a line in the log, where something has changed.
    async fn tell(&self, observed: &Observed, decision: &Decision, status: &ImageBuildStatus) {
        let before = observed.build.status.clone().unwrap_or_default();
        self.metrics.record(&before, status);
        if self
            .announcer
            .announce(&observed.build, &before, status)
            .await
        {
            tracing::info!(
                namespace = observed.build.namespace(),
                name = observed.build.name_any(),
                run = status.run.as_ref().map(|run| run.number),
                attempt = status.run.as_ref().map(|run| run.attempt),
                ready = status.conditions.first().map(|ready| ready.reason.as_str()),
                "{decision}"
            );
        }
    }
}

/// When an object is looked at again if no event comes before. Pure.
fn look_again(
    observed: &Observed,
    valid: Option<&ValidBuild>,
    decision: &Decision,
    status: &ImageBuildStatus,
) -> Duration {
    let until = |time: Timestamp| {
        let milliseconds = time.as_millisecond() - observed.now.as_millisecond();
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)) + Duration::from_millis(50)
    };
    let run = status.run.as_ref();
    let waited = run
        .and_then(|run| run.attempt_time.as_ref())
        .map_or(0, |time| observed.now.as_second() - time.0.as_second());
    let poll = if waited < SOON { POLL_SOON } else { POLL_LATER };
    match decision {
        Decision::Queue(wait) => match wait.reason {
            Reason::Suspended => POLL_IDLE,
            _ => POLL_SOON,
        },
        Decision::Retry(decide::Retry::Later { time, .. }) => until(*time),
        Decision::Start(_) | Decision::Retry(_) | Decision::Cancel { .. } => POLL_SOON,
        Decision::Track(track) => {
            let running = track.waiting.is_none() && !track.create;
            let next = if running { POLL_IDLE } else { poll };
            let deadline = run
                .zip(valid)
                .and_then(|(run, valid)| decide::deadline(run, valid))
                .filter(|deadline| *deadline > observed.now);
            // Past its deadline, the pod is the kubelet's to end for a while.
            deadline.map_or(poll, |deadline| next.min(until(deadline)))
        }
        Decision::Finish(_) | Decision::Idle { .. } | Decision::Reject { .. } => {
            let ended = run
                .and_then(|run| run.completion_time.as_ref())
                .map(|time| time.0.as_second());
            let ttl = valid
                .and_then(|valid| valid.ttl)
                .and_then(|ttl| i64::try_from(ttl).ok());
            let expiry = ended
                .zip(ttl)
                .and_then(|(ended, ttl)| Timestamp::from_second(ended.saturating_add(ttl)).ok())
                .filter(|expiry| *expiry > observed.now);
            expiry.map_or(POLL_IDLE, |expiry| POLL_IDLE.min(until(expiry)))
        }
    }
}
