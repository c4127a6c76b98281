//! Observe: everything a decision is made of, read from the apiserver. Reads only.
//!
//! Invariant: the object and its pods are read fresh, never from a cache: a decision on an old state could start a
//! second pod for the same work.

pub(crate) mod follow;
mod reader;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use stagecraft_api::v1alpha1::ImageBuild;
use stagecraft_protocol::report::BuildReport;

pub(crate) use reader::{ObserveError, Reader};

use crate::queue::QueueView;

/// What is known at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// The object.
    pub(crate) build: ImageBuild,
    /// The moment.
    pub(crate) now: Timestamp,
    /// The object's pods, of whatever run and attempt.
    pub(crate) pods: Vec<Pod>,
    /// What the kubelet and the scheduler said about the current attempt's pod; read only while it does not run.
    pub(crate) pod_events: Vec<PodEvent>,
    /// What the engine of the current attempt told beyond its verdict, if it has ended and its log could be had.
    pub(crate) report: Option<BuildReport>,
    /// Values of the build arguments with `valueFrom`, by name.
    pub(crate) arguments: BTreeMap<String, ArgumentValue>,
    /// The pod's service account.
    pub(crate) account: Account,
    /// The other builds; filled in by the caller, who has them all.
    pub(crate) queue: QueueView,
}

/// The value of a build argument that comes from a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentValue {
    /// It is there.
    Found(String),
    /// The ConfigMap is there and has no such key.
    NoKey,
    /// The ConfigMap is not there.
    NoConfigMap,
}

/// A service account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Whether it is there.
    pub(crate) exists: bool,
    /// The image pull secrets that it names.
    pub(crate) pull_secrets: Vec<String>,
}

/// What was said about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodEvent {
    /// Its machine-readable reason, such as `FailedMount`.
    pub(crate) reason: String,
    /// Its text.
    pub(crate) message: String,
    /// When it was said last.
    pub(crate) time: Option<Timestamp>,
}
