//! The calls behind [`Observed`].

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};
use stagecraft_api::v1alpha1::{ImageBuild, ImageBuildSpec};
use stagecraft_protocol::report::{self, BuildReport};
use tokio::time::sleep;

use super::{Account, ArgumentValue, Observed, PodEvent};
use crate::config::Config;
use crate::names;
use crate::queue::QueueView;
use crate::reconcile::evidence::{self, PodPhase};
use crate::reconcile::validate::service_account;

/// Lines of the engine's log that are read for its report, which is the last thing it prints.
const REPORT_LINES: i64 = 400;
/// How often reading it is tried: a node can be out of reach for a moment.
const REPORT_TRIES: u32 = 3;
/// Time between two tries.
const REPORT_PAUSE: Duration = Duration::from_millis(500);

/// Reads the state of one object's world.
#[derive(Clone)]
pub(crate) struct Reader {
    client: Client,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    /// The object could not be read.
    #[error("cannot read imagebuild {name}")]
    Build {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// The object's pods could not be listed.
    #[error("cannot list the pods of imagebuild {name}")]
    Pods {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// The events of a pod could not be listed.
    #[error("cannot list the events of pod {pod}")]
    Events {
        /// The pod.
        pod: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// A ConfigMap could not be read.
    #[error("cannot read configmap {name}")]
    ConfigMap {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// A service account could not be read.
    #[error("cannot read service account {name}")]
    Account {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
}

impl Reader {
    /// A reader that calls through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads everything about an object; `None` when it is gone.
    pub(crate) async fn observe(
        &self,
        namespace: &str,
        name: &str,
        config: &Config,
    ) -> Result<Option<Observed>, ObserveError> {
        let builds: Api<ImageBuild> = Api::namespaced(self.client.clone(), namespace);
        let Some(build) = builds
            .get_opt(name)
            .await
            .map_err(|source| ObserveError::Build {
                name: name.to_owned(),
                source: Box::new(source),
            })?
        else {
            return Ok(None);
        };
        let pods = self.pods(namespace, &build).await?;
        let current = evidence::current_pod(&build, &pods);
        let (mut pod_events, mut report) = (Vec::new(), None);
        // The end of a run that is over has been looked at.
        let active = build.status.as_ref().and_then(|status| status.run.as_ref());
        let active = active.is_some_and(|run| run.result.is_none());
        if let (Some(pod), true) = (current, active) {
            match evidence::phase(pod) {
                PodPhase::Starting => pod_events = self.pod_events(namespace, pod).await?,
                PodPhase::Running => {}
                PodPhase::Ended => report = self.report(namespace, pod).await,
            }
        }
        let arguments = self.arguments(namespace, &build.spec).await?;
        let account = service_account(&build.spec, config);
        let account = self
            .account(namespace, account.as_deref().unwrap_or("default"))
            .await?;
        Ok(Some(Observed {
            now: Timestamp::now(),
            pods,
            pod_events,
            report,
            arguments,
            account,
            queue: QueueView::default(),
            build,
        }))
    }

    async fn pods(&self, namespace: &str, build: &ImageBuild) -> Result<Vec<Pod>, ObserveError> {
        let uid = build.uid().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels(&names::build_selector(&uid));
        let list = pods
            .list(&ours)
            .await
            .map_err(|source| ObserveError::Pods {
                name: build.name_any(),
                source: Box::new(source),
            })?;
        // A label can be forged by whoever may make pods here; an owner's uid says more.
        let owned = |pod: &Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
        Ok(list.items.into_iter().filter(owned).collect())
    }

    async fn pod_events(&self, namespace: &str, pod: &Pod) -> Result<Vec<PodEvent>, ObserveError> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let uid = pod.uid().unwrap_or_default();
        let of_pod = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let list = events
            .list(&of_pod)
            .await
            .map_err(|source| ObserveError::Events {
                pod: pod.name_any(),
                source: Box::new(source),
            })?;
        let mut events: Vec<PodEvent> = list.items.into_iter().map(pod_event).collect();
        events.sort_by_key(|event| event.time);
        Ok(events)
    }

    /// The engine's report. A log that cannot be read, or that is not what the verdict says, is as good as none: the
    /// verdict decides, and the report only adds to it.
    async fn report(&self, namespace: &str, pod: &Pod) -> Option<BuildReport> {
        let digest = evidence::verdict(pod)?.report_digest?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let name = pod.name_any();
        let parameters = LogParams {
            container: Some(evidence::ENGINE.to_owned()),
            tail_lines: Some(REPORT_LINES),
            ..LogParams::default()
        };
        for attempt in 1..=REPORT_TRIES {
            match pods.logs(&name, &parameters).await {
                Ok(log) => return checked_report(&log, &digest),
                Err(error) if attempt == REPORT_TRIES => {
                    tracing::warn!(pod = name, %error, "cannot read the engine's log");
                }
                Err(_) => sleep(REPORT_PAUSE).await,
            }
        }
        None
    }

    async fn arguments(
        &self,
        namespace: &str,
        spec: &ImageBuildSpec,
    ) -> Result<BTreeMap<String, ArgumentValue>, ObserveError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let mut config_maps: BTreeMap<&str, Option<ConfigMap>> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for argument in &spec.build_args {
            let Some(source) = &argument.value_from else {
                continue;
            };
            let reference = &source.config_map_key_ref;
            let name = reference.name.as_str();
            if !config_maps.contains_key(name) {
                let read = api.get_opt(name).await;
                let config_map = read.map_err(|source| ObserveError::ConfigMap {
                    name: name.to_owned(),
                    source: Box::new(source),
                })?;
                config_maps.insert(name, config_map);
            }
            let value = match config_maps.get(name) {
                Some(Some(config_map)) => config_map
                    .data
                    .as_ref()
                    .and_then(|data| data.get(&reference.key))
                    .map_or(ArgumentValue::NoKey, |value| {
                        ArgumentValue::Found(value.clone())
                    }),
                _ => ArgumentValue::NoConfigMap,
            };
            values.insert(argument.name.clone(), value);
        }
        Ok(values)
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Account, ObserveError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = api
            .get_opt(name)
            .await
            .map_err(|source| ObserveError::Account {
                name: name.to_owned(),
                source: Box::new(source),
            })?;
        let secrets = account
            .as_ref()
            .and_then(|account| account.image_pull_secrets.clone());
        let secrets = secrets.unwrap_or_default().into_iter();
        Ok(Account {
            exists: account.is_some(),
            pull_secrets: secrets.map(|secret| secret.name).collect(),
        })
    }
}

fn pod_event(event: Event) -> PodEvent {
    let series = event.series.and_then(|series| series.last_observed_time);
    let time = series
        .map(|time| time.0)
        .or(event.last_timestamp.map(|time| time.0))
        .or(event.event_time.map(|time| time.0))
        .or(event.first_timestamp.map(|time| time.0));
    PodEvent {
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        time,
    }
}

/// The report in a log, if it is the one whose digest the verdict names.
fn checked_report(log: &str, digest: &str) -> Option<BuildReport> {
    let json = report::join_frames(log.lines())?;
    let expected = digest.strip_prefix("sha256:")?;
    if names::sha256_hex(json.as_bytes()) != expected {
        tracing::warn!("the report in the engine's log is not the one of its verdict");
        return None;
    }
    serde_json::from_str(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_report_that_the_verdict_names_is_believed() {
        let report = BuildReport {
            digest: Some("sha256:1".into()),
            ..BuildReport::default()
        };
        let (json, lines) = report::frames(&report);
        let digest = format!("sha256:{}", names::sha256_hex(json.as_bytes()));
        let log = format!("#1 [internal] load\n{}\n", lines.join("\n"));
        assert_eq!(checked_report(&log, &digest), Some(report));
        let forged = format!("{log}#report 1/1 {{\"digest\":\"sha256:2\"}}\n");
        assert_eq!(checked_report(&forged, &digest), None);
    }
}
