//! Apply: makes and deletes what a decision asks for. The only writer of pods and ConfigMaps.
//!
//! Invariant: the request is there before its pod, and deletions come before creations.
//! Invariant: what is there already counts as made; what is gone already counts as deleted.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kube::core::Status;
use kube::{Client, ResourceExt};
use stagecraft_api::Reason;
use stagecraft_protocol::failure::{Failure, FailureReason};

use super::desired::{AttemptObjects, Changes};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Applied {
    /// The attempt's pod, if one was asked for.
    pub(crate) pod: Option<PodOutcome>,
}

/// What came of a pod that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodOutcome {
    /// It is there.
    Present,
    /// The apiserver does not want it.
    Refused {
        /// What is waited for, unless it is hopeless.
        reason: Reason,
        /// The server's words.
        message: String,
        /// Set when only a change helps.
        failure: Option<Box<Failure>>,
    },
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// A ConfigMap could not be made.
    #[error("cannot create configmap {name}")]
    CreateConfigMap {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// A pod could not be made.
    #[error("cannot create pod {name}")]
    CreatePod {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// A ConfigMap could not be deleted.
    #[error("cannot delete configmap {name}")]
    DeleteConfigMap {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
    /// A pod could not be deleted.
    #[error("cannot delete pod {name}")]
    DeletePod {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
}

/// Carries changes out.
#[derive(Clone)]
pub(crate) struct Applier {
    client: Client,
}

impl Applier {
    /// An applier that calls through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes the changes in a namespace.
    pub(crate) async fn apply(
        &self,
        namespace: &str,
        changes: &Changes,
    ) -> Result<Applied, ApplyError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        for name in &changes.delete_pods {
            let deleted = pods.delete(name, &DeleteParams::default()).await;
            absent_is_fine(deleted.map(drop)).map_err(|source| ApplyError::DeletePod {
                name: name.clone(),
                source: Box::new(source),
            })?;
        }
        for name in &changes.delete_config_maps {
            let deleted = config_maps.delete(name, &DeleteParams::default()).await;
            absent_is_fine(deleted.map(drop)).map_err(|source| ApplyError::DeleteConfigMap {
                name: name.clone(),
                source: Box::new(source),
            })?;
        }
        let pod = match &changes.attempt {
            Some(attempt) => Some(make(&config_maps, &pods, attempt).await?),
            None => None,
        };
        Ok(Applied { pod })
    }
}

async fn make(
    config_maps: &Api<ConfigMap>,
    pods: &Api<Pod>,
    attempt: &AttemptObjects,
) -> Result<PodOutcome, ApplyError> {
    let parameters = PostParams::default();
    match config_maps.create(&parameters, &attempt.request).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(kube::Error::Api(status)) if refusal(&status).is_some() => {
            return Ok(refusal(&status).unwrap_or(PodOutcome::Present));
        }
        Err(source) => {
            return Err(ApplyError::CreateConfigMap {
                name: attempt.request.name_any(),
                source: Box::new(source),
            });
        }
    }
    match pods.create(&parameters, &attempt.pod).await {
        Ok(_) => Ok(PodOutcome::Present),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(PodOutcome::Present),
        Err(error) => {
            let refused = match &error {
                kube::Error::Api(status) => refusal(status),
                _ => None,
            };
            refused.ok_or_else(|| ApplyError::CreatePod {
                name: attempt.pod.name_any(),
                source: Box::new(error),
            })
        }
    }
}

fn absent_is_fine(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}

/// What an answer of the apiserver says about the pod; `None` when it says something about the server or about this
/// operator.
fn refusal(status: &Status) -> Option<PodOutcome> {
    let message = status.message.clone();
    if status.code == 403 {
        if message.contains("exceeded quota") {
            return Some(wait(Reason::WaitingForQuota, message));
        }
        if message.contains("error looking up service account") {
            return Some(wait(Reason::WaitingForReference, message));
        }
        if message.contains("violates PodSecurity") {
            return Some(hopeless(FailureReason::Policy, pod_security(&message)));
        }
        // A namespace that is going refuses everything, and takes the object with it.
        if message.contains("because it is being terminated") {
            return Some(wait(Reason::Building, message));
        }
        // `User … cannot create resource` is about the operator's own rights.
        if message.contains("cannot create resource") {
            return None;
        }
        return Some(hopeless(
            FailureReason::Policy,
            format!("the cluster refused the pod: {message}"),
        ));
    }
    if status.code == 422 {
        return Some(hopeless(
            FailureReason::Configuration,
            format!("the pod that spec.pod asks for is not valid: {message}"),
        ));
    }
    // An admission webhook that denies answers with a code of its choice.
    (status.code == 400 && message.contains("admission webhook")).then(|| {
        hopeless(
            FailureReason::Policy,
            format!("the cluster refused the pod: {message}"),
        )
    })
}

/// The words of Pod Security admission, and where the policy is set.
fn pod_security(message: &str) -> String {
    let level = message
        .split_once("violates PodSecurity \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(level, _)| level);
    let (level, version) = level.split_once(':').unwrap_or((level, "latest"));
    let old = version != "latest";
    let hint = if old {
        "; policies of version v1.34 and older do not know user namespaces: raise \
         pod-security.kubernetes.io/enforce-version to v1.35 or later"
    } else {
        ""
    };
    format!(
        "the namespace's label pod-security.kubernetes.io/enforce: {level} (version {version}) forbids the pod{hint}: {message}"
    )
}

fn wait(reason: Reason, message: String) -> PodOutcome {
    PodOutcome::Refused {
        reason,
        message,
        failure: None,
    }
}

fn hopeless(reason: FailureReason, message: String) -> PodOutcome {
    PodOutcome::Refused {
        reason: crate::status::failure_reason(reason),
        message: message.clone(),
        failure: Some(Box::new(Failure::new(reason, message))),
    }
}

#[cfg(test)]
mod tests;

/// The outcome of an answer, for golden cases.
#[cfg(test)]
pub(super) fn refusal_for_tests(code: u16, message: &str) -> Option<PodOutcome> {
    let status = Status {
        code,
        message: message.to_owned(),
        ..Status::default()
    };
    refusal(&status)
}
