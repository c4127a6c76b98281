//! What the operator saw and did.
//!
//! Invariant: every list is bounded, so that the object stays small however large its Dockerfile is.

// The derive writes an `unwrap` for each rule and list type; they can fail only for a schema without properties.
#![allow(clippy::unwrap_used)]
// It also repeats each structure where nobody can reach it.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spec::Isolation;
// `Reason` alone is what the derive calls the reason of a rule.
use crate::reasons::Reason as BuildReason;

/// What became of the spec: conditions, the current run, and the result of the last success.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageBuildStatus {
    /// The generation of the object that this status speaks about; -1 as long as the operator has not seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready says whether the image of the current spec was pushed; Reconciling and Stalled are there while work goes
    /// on, and while only a change helps.
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// The current run, or else the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,

    /// Stages that are done, of those that the build needs, such as 3/5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,

    /// The stages that the build needs, in the order of the Dockerfile; the first 64 of them.
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageStatus>,

    /// What the last successful run pushed.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputStatus>,

    /// The source that the last successful run was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,

    /// The images that the last successful run was built on, with the digests they had.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base_images: Vec<ImageStatus>,

    /// Why the last run failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,

    /// What the build waits for before its run starts; absent when it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,

    /// Memory of the largest process of the last run, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<i64>,
}

/// A run: one state of the inputs being built.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Number of the run, from 1.
    pub number: i32,

    /// Number of the attempt within the run, from 1: each is one pod.
    pub attempt: i32,

    /// Attempts that followed a failure of the infrastructure; spec.retries is their maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,

    /// What started the run.
    pub trigger: Trigger,

    /// Digest of the fields that decide about the image. Another one starts a new run.
    #[schemars(length(max = 80))]
    pub spec_hash: String,

    /// Value of the annotation stagecraft.dev/requestedAt when the run started.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,

    /// What the pod of the attempt has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapeStatus>,

    /// What the plan of the object needed last; the first pod of the next run has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_shape: Option<ShapeStatus>,

    /// What an earlier attempt of this run resolved; later ones build from the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinsStatus>,

    /// When the first attempt started; the timeout counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the current attempt started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_time: Option<Time>,

    /// When the next attempt starts, after a failure that may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,

    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// How the run ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BuildReason>,

    /// Pod of the current or last attempt: `kubectl logs POD -c engine` shows the whole build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// The isolation that the pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// What started a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// The object is new.
    #[default]
    Created,
    /// A field that decides about the image was changed.
    SpecChanged,
    /// The annotation stagecraft.dev/requestedAt was changed.
    Requested,
    /// The build went on after `spec.suspend` had ended a run.
    Resumed,
}

/// What a pod has for RUN steps.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShapeStatus {
    /// Containers that execute RUN steps.
    pub runners: i32,
}

/// What an attempt resolved.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinsStatus {
    /// Digests of images, by the names that the plan gives them.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageStatus>,

    /// Digest or revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,

    /// Digest of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// One stage.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Its name, or its number as text.
    pub name: String,

    /// Its number in the Dockerfile, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<i32>,

    /// How far it came.
    pub state: StageState,

    /// Steps it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<i32>,

    /// Steps whose result was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_steps: Option<i32>,

    /// When its first step started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When its last step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// How far a stage came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StageState {
    /// None of its steps has started.
    #[default]
    Pending,
    /// A step of it has started.
    Running,
    /// All its steps ended well.
    Succeeded,
    /// A step of it failed.
    Failed,
    /// It was ended because something else failed.
    Cancelled,
}

/// An image that was pushed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatus {
    /// Stage it was built from, as the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,

    /// Digest of its manifest.
    pub digest: String,

    /// Bytes of all its layers and configuration, as stored in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,

    /// References that it was pushed to.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// The source of a run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Digest of the source's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// An image and the digest it had.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Reference of the image.
    pub image: String,

    /// Digest it had.
    pub digest: String,
}

/// Why a run failed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// The class of the failure; the same word as in the conditions.
    pub reason: BuildReason,

    /// What happened, and the way out.
    pub message: String,

    /// The stage it happened in: its name, or its number as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,

    /// The instruction as written, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,

    /// The file that line and column are of, relative to the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,

    /// Line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i32>,

    /// Column in the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i32>,

    /// Exit code of the RUN step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// The last lines that the failed step printed.
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

/// What a build waits for.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Builds that go first, coarsely: exact up to 10, then rounded up to tens. Absent when it waits for something
    /// else than its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i32>,

    /// What it waits for.
    pub reason: BuildReason,

    /// Since when it waits: older builds go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}
