//! Leader election on a Lease: of several instances one works.
//!
//! Invariant: a holder counts as gone only when its Lease did not change for the whole of its duration, measured on
//! this process's own monotonic clock; the times in the Lease are for people.
//! Invariant: every write carries the resource version that was read, so that of two takers one fails.
//! Invariant: who cannot renew in time stops before anybody else can begin.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout};

/// How long a Lease is good after its last renewal.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a leader tries to renew before it gives up; shorter, so that it stops before another begins.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between tries.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Why an instance does not lead any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaderError {
    /// Somebody else holds the Lease.
    #[error("lease {lease} was taken by {holder}")]
    Taken {
        /// The Lease.
        lease: String,
        /// Who has it.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("lease {lease} could not be renewed for {} s", RENEW_DEADLINE.as_secs())]
    Expired {
        /// The Lease.
        lease: String,
    },
}

/// An instance that leads or wants to.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Seen,
}

/// The Lease as it was seen last, and since when it is like that.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

/// What a look at the Lease leads to.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// There is none: make it.
    Create(Box<Lease>),
    /// It is ours, or free: write this.
    Write(Box<Lease>),
    /// Somebody holds it.
    Wait {
        /// Who.
        holder: String,
    },
}

impl Candidate {
    /// A candidate for a Lease. The identity differs between processes, also between two of one pod.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: Seen {
                version: None,
                since: Instant::now(),
            },
        }
    }

    /// Returns once this instance is the leader.
    pub(crate) async fn acquire(&mut self) {
        let mut told = None;
        loop {
            match timeout(RENEW_DEADLINE, self.attempt()).await {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(holder))) if told.as_ref() != Some(&holder) => {
                    tracing::info!(lease = self.name, holder, "standing by");
                    told = Some(holder);
                }
                Ok(Ok(Some(_))) => {}
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "cannot take the lease")
                }
                Err(_) => tracing::warn!(lease = self.name, "the apiserver does not answer"),
            }
            sleep(RETRY_PERIOD).await;
        }
    }

    /// Renews until it cannot.
    pub(crate) async fn hold(&mut self) -> LeaderError {
        let mut renewed = Instant::now();
        loop {
            sleep(RETRY_PERIOD).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match timeout(left, self.attempt()).await {
                Ok(Ok(None)) => renewed = Instant::now(),
                Ok(Ok(Some(holder))) => {
                    return LeaderError::Taken {
                        lease: self.name.clone(),
                        holder,
                    };
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "cannot renew the lease")
                }
                Err(_) => {}
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                return LeaderError::Expired {
                    lease: self.name.clone(),
                };
            }
        }
    }

    /// Gives the Lease back, so that another instance need not wait for its end.
    pub(crate) async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else {
            return;
        };
        let Some(spec) = lease.spec.as_mut() else {
            return;
        };
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await
        {
            tracing::debug!(lease = self.name, %error, "cannot release the lease");
        }
    }

    /// Takes or renews the Lease; who holds it, if it is somebody else.
    pub(crate) async fn attempt(&mut self) -> kube::Result<Option<String>> {
        let lease = self.api.get_opt(&self.name).await?;
        self.seen.look(lease.as_ref(), Instant::now());
        let step = step(
            lease.as_ref(),
            &self.name,
            &self.identity,
            self.seen.since.elapsed(),
            Timestamp::now(),
        );
        let written = match step {
            Step::Wait { holder } => return Ok(Some(holder)),
            Step::Create(lease) => self.api.create(&PostParams::default(), &lease).await,
            Step::Write(lease) => {
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await
            }
        };
        match written {
            Ok(lease) => {
                self.seen.look(Some(&lease), Instant::now());
                Ok(None)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(Some("another instance, which was faster".to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}

impl Seen {
    fn look(&mut self, lease: Option<&Lease>, now: Instant) {
        let version = lease.and_then(|lease| lease.metadata.resource_version.clone());
        if version != self.version {
            self.version = version;
            self.since = now;
        }
    }
}

/// What to do about the Lease, which has not changed for this long. Pure.
fn step(
    lease: Option<&Lease>,
    name: &str,
    identity: &str,
    unchanged: Duration,
    now: Timestamp,
) -> Step {
    let Some(lease) = lease else {
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease.spec = Some(held(identity, now, now, 0));
        return Step::Create(Box::new(lease));
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let duration =
        u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
    let ours = holder == identity;
    if !ours && !holder.is_empty() && unchanged < Duration::from_secs(duration) {
        return Step::Wait { holder };
    }
    let transitions = spec.lease_transitions.unwrap_or_default();
    let acquired = spec.acquire_time.as_ref().map_or(now, |time| time.0);
    let mut lease = lease.clone();
    lease.spec = Some(if ours {
        held(identity, acquired, now, transitions)
    } else {
        held(identity, now, now, transitions.saturating_add(1))
    });
    Step::Write(Box::new(lease))
}

fn held(identity: &str, acquired: Timestamp, renewed: Timestamp, transitions: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: Some(MicroTime(acquired)),
        renew_time: Some(MicroTime(renewed)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests;
