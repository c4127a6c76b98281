//! What a person asks for.
//!
//! Invariant: every list and string has a maximum, every rule a sentence that says the way out.
//! Invariant: absent and empty mean the same, and no default is written into the object.

// The derive writes an `unwrap` for each rule and list type; they can fail only for a schema without properties.
#![allow(clippy::unwrap_used)]
// It also repeats each structure where nobody can reach it.
#![allow(unreachable_pub)]
// Printer columns are given by one attribute each, and clippy takes their equal members for repetitions.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::limits::*;
use super::mounts::{BuildSecret, BuildSshKey, CacheVolume};
use super::status::ImageBuildStatus;

/// What to build, from what, where the image goes, and how.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "stagecraft.dev",
    version = "v1alpha1",
    kind = "ImageBuild",
    namespaced,
    status = "ImageBuildStatus",
    shortname = "ib",
    category = "stagecraft",
    derive = "PartialEq",
    derive = "Default",
    doc = "An image that is built from a Dockerfile in a pod of this namespace and pushed to a registry. Every change of what goes into the image starts a new run.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the image of the current spec was pushed"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress",
        description = "Stages that are done, of those there are"
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        priority = "1",
        json_path = ".status.outputs[0].digest",
        description = "Digest of the image that was pushed last"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "When the object was made"
    )
)]
#[x_kube(
    validation = Rule::new("(has(self.mode) && self.mode == 'Plan') || self.outputs.all(o, has(o.images) && o.images.size() > 0)")
        .message("outputs[0].images: name at least one image to push to, or set mode: Plan")
        .field_path(".outputs"),
    validation = Rule::new("!has(self.dockerfile) || has(self.dockerfile.inline) || has(self.source)")
        .message("dockerfile.path names a file of the source, and there is no source: set spec.source, or use dockerfile.inline")
        .field_path(".dockerfile"),
    validation = Rule::new("has(self.dockerfile) || has(self.source)")
        .message("there is nothing to build: set spec.source (its Dockerfile is used) or spec.dockerfile.inline"),
)]
#[serde(rename_all = "camelCase")]
pub struct ImageBuildSpec {
    /// Where the build context comes from, the files that COPY and ADD can reach. At most one member is set. Without
    /// a source the context is empty, and the Dockerfile has to be inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,

    /// Directory of the source that is the context, such as services/web. Default: the whole source.
    #[schemars(length(max = PATH_LIMIT))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')")
        .message("contextPath is a directory inside the source: without a leading / and without .."))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_path: Option<String>,

    /// Where the Dockerfile comes from. Default: the file Dockerfile (or else dockerfile) of the context directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<Dockerfile>,

    /// Values for the ARG instructions of the Dockerfile, by name. Proxy variables such as http_proxy reach every RUN
    /// without an ARG. They are no place for secrets: they can show in the image's history.
    #[schemars(length(max = BUILD_ARGS_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_args: Vec<BuildArg>,

    /// What is built: one entry, with the stage that it comes from and the images that it is pushed to.
    #[schemars(length(min = 1, max = 1))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub outputs: Vec<Output>,

    /// Which times stand in the image. BuildTime (default): files keep their own times, and a RUN adds the time it ran
    /// at. SourceTime: no time is later than the newest file of the source. Zero, or a number of seconds since 1970 as
    /// text: no time is later than that. The last three set SOURCE_DATE_EPOCH for every RUN, so that the same inputs
    /// can give the same digest.
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^(BuildTime|SourceTime|Zero|[0-9]{1,11})$')")
        .message("timestamps is one of BuildTime, SourceTime, Zero, or seconds since 1970 such as \"1700000000\""))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<String>,

    /// Secrets of type kubernetes.io/dockerconfigjson in this namespace with credentials for pulling and pushing. They
    /// are mounted into the engine; no RUN can see them. The image pull secrets of the pod's service account are used
    /// as well.
    #[schemars(length(max = REGISTRY_SECRETS_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registry_secrets: Vec<SecretName>,

    /// How registries are reached: mirrors, plain HTTP, own certificate authorities. An entry replaces the operator's
    /// own entry for the same host.
    #[schemars(length(max = REGISTRIES_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<Registry>,

    /// What RUN --mount=type=secret may have, by the id that the Dockerfile names.
    #[schemars(length(max = SECRETS_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<BuildSecret>,

    /// What RUN --mount=type=ssh may have something signed with, by the id that the Dockerfile names.
    #[schemars(length(max = SSH_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<BuildSshKey>,

    /// Where the caches of RUN --mount=type=cache are kept between builds. Default: the operator's; where that has none,
    /// a cache lasts as long as the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_volume: Option<CacheVolume>,

    /// How RUN steps are kept apart from the node: the schema has the type's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,

    /// What the build's pod gets, and where it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,

    /// What a run does: the schema has the type's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,

    /// How long a run may take, such as 90s, 30m or 1h30m, from the creation of its first pod; waiting in the queue
    /// does not count. Default: 1h. At most 168h.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self.size() > 0 && duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message("timeout is a duration between 1s and 168h, such as 90s, 30m or 1h30m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,

    /// How many times a run is tried again after a failure that may pass: a lost node, an eviction, a registry that
    /// was down. Mistakes in the build are never retried. Default: 2.
    #[schemars(range(min = 0, max = RETRIES_LIMIT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,

    /// How long the last pod, with its logs, stays after a run has ended, such as 10m or 24h. The object and its
    /// status stay. Default: the pod stays until the next run.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self.size() > 0 && duration(self) <= duration('8760h')")
        .message("ttlAfterFinished is a duration of at most 8760h, such as 0s, 10m or 24h"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<String>,

    /// Starts no run while true, and ends the one that is under way. What was built stays as it is. Unset it to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Where the build context comes from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.inline), has(self.configMap), has(self.http)].filter(x, x).size() == 1")
    .message("source has exactly one of inline, configMap and http; for an empty context leave source out"))]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Files that stand in the object itself, 256 KiB in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,

    /// A ConfigMap of this namespace; its keys become files. When it does not exist yet, the build waits for it. A
    /// change of its content alone starts no new run: annotate the object with stagecraft.dev/requestedAt for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,

    /// An archive that is fetched over HTTP: tar, tar.gz or tar.zst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
}

/// Files that stand in the object.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.files.map(f, f.content.size()).sum() <= 262144")
    .message("the inline files have more than 256 KiB together: use a ConfigMap or an HTTP archive"))]
#[serde(rename_all = "camelCase")]
pub struct InlineSource {
    /// The files, by path.
    #[schemars(length(min = 1, max = INLINE_FILES_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    pub files: Vec<InlineFile>,
}

/// One file.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineFile {
    /// Path relative to the source's root, such as cmd/main.go.
    #[schemars(length(min = 1, max = PATH_LIMIT))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && !self.split('/').exists(p, p in ['', '.', '..'])")
        .message("path is a file inside the source: without a leading or trailing / and without empty, . or .. parts"))]
    pub path: String,

    /// Content of the file, as text.
    #[schemars(length(max = INLINE_SOURCE_LIMIT))]
    pub content: String,

    /// Permission bits, as a decimal number or (in YAML) with a leading 0 or 0o: 0755. Default: 0644.
    #[schemars(range(min = 0, max = 511))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<i32>,
}

/// A ConfigMap as build context.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap, in this namespace.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    pub name: String,

    /// Which keys become files, and where. Default: every key becomes the file of its name.
    #[schemars(length(max = CONFIG_MAP_ITEMS_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["path".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ConfigMapItem>,
}

/// One key of a ConfigMap and the file it becomes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapItem {
    /// Key of the ConfigMap.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    pub key: String,

    /// Path of the file relative to the source's root, such as cmd/main.go.
    #[schemars(length(min = 1, max = PATH_LIMIT))]
    #[x_kube(validation = Rule::new("self.matches('^([^./][^/]*|[.][^./][^/]*)(/([^./][^/]*|[.][^./][^/]*))*$')")
        .message("path is a file inside the source: without a leading or trailing /, and no part is empty, . or starts with .."))]
    pub path: String,

    /// Permission bits, as a decimal number or (in YAML) with a leading 0 or 0o: 0755. Default: 0644.
    #[schemars(range(min = 0, max = 511))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<i32>,
}

/// An archive that is fetched over HTTP.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// Address of the archive, http:// or https://. It holds no credentials: they would show in the object.
    #[schemars(length(max = URL_LIMIT))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/@?#]+([/?].*)?$')")
        .message("url starts with http:// or https://, names a host, and holds no user or password"))]
    pub url: String,

    /// SHA-256 of the archive as it is served, 64 hexadecimal digits. The build fails when it is another.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')")
        .message("sha256 has 64 hexadecimal digits in lower case, as sha256sum prints them"))]
    pub sha256: String,
}

/// Where the Dockerfile comes from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.path) != has(self.inline)")
    .message("dockerfile has exactly one of path and inline"))]
#[serde(rename_all = "camelCase")]
pub struct Dockerfile {
    /// Path relative to the context directory, such as deploy/Dockerfile.
    #[schemars(length(min = 1, max = PATH_LIMIT))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(p, p == '..')")
        .message("dockerfile.path is a file inside the context: without a leading / and without .."))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// The text of the Dockerfile itself, up to 128 KiB.
    #[schemars(length(min = 1, max = INLINE_DOCKERFILE_LIMIT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

/// The value of one ARG.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)")
    .message("a build argument has exactly one of value and valueFrom"))]
#[serde(rename_all = "camelCase")]
pub struct BuildArg {
    /// Name of the ARG.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_.-]*$')")
        .message("the name of a build argument starts with a letter or _ and goes on with letters, digits, _, . and -"))]
    pub name: String,

    /// The text that ARG expands to; it may be empty.
    #[schemars(length(max = BUILD_ARG_VALUE_LIMIT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// Where its value comes from. It is read when a run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<BuildArgSource>,
}

/// Where the value of a build argument comes from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildArgSource {
    /// A key of a ConfigMap of this namespace. The build waits until both exist.
    pub config_map_key_ref: KeyReference,
}

/// A key of an object of this namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    pub name: String,

    /// Which of its keys is used.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message("a key has letters, digits, -, _ and . only"))]
    pub key: String,
}

/// One image: the stage it comes from and where it goes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Stage of the Dockerfile, by name or number. Default: the last one. Stages that it does not need are not built.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9_.-]*$')")
        .message("target is the name or number of a stage: letters, digits, _, . and -"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,

    /// Images that are pushed, such as registry.example.com/team/web:1.2. All of them get the same digest. The tag is
    /// latest when there is none.
    #[schemars(length(max = IMAGES_LIMIT), inner(length(max = REFERENCE_LIMIT)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(i, !i.contains('://'))")
            .message("an image is named without a scheme: leave https:// out"),
        validation = Rule::new("self.all(i, !i.contains('@'))")
            .message("an image is pushed to a tag, not to a digest: leave @sha256:… out"),
        validation = Rule::new("self.all(i, i.contains('://') || i.contains('@') || i.matches('^(([a-zA-Z0-9.-]+|\\\\[[0-9a-fA-F:.]+\\\\])(:[0-9]+)?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$'))")
            .message("an image is [host[:port]/]repository[:tag]; the repository has lower-case letters, digits, and single separators . _ - / between them"),
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,

    /// Labels of the image, over those of the Dockerfile.
    #[schemars(extend("maxProperties" = LABELS_LIMIT))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() > 0 && k.size() <= 256 && self[k].size() <= 4096)")
        .message("a label's name has 1 to 256 characters, and its value at most 4096"))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The name of a Secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret, in this namespace. When it does not exist yet, the build waits for it.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    pub name: String,
}

/// How one registry is reached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Host and port as in image references, such as docker.io or registry.example.com:5000.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    #[x_kube(validation = Rule::new("self.matches('^([a-zA-Z0-9.-]+|\\\\[[0-9a-fA-F:.]+\\\\])(:[0-9]+)?$')")
        .message("host is host[:port] as in image references, without a scheme and without a path"))]
    pub host: String,

    /// Registries that are asked first, in this order, and for reading only: host, host:port or a URL, with a path
    /// where images stand below one.
    #[schemars(length(max = MIRRORS_LIMIT), inner(length(max = REFERENCE_LIMIT)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(m, m.matches('^(https?://)?([a-zA-Z0-9.-]+|\\\\[[0-9a-fA-F:.]+\\\\])(:[0-9]+)?(/[A-Za-z0-9._/-]*)?$'))")
            .message("a mirror is [http://|https://]host[:port][/path]"),
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,

    /// Speak HTTP without TLS to the host.
    #[serde(rename = "plainHTTP", default, skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<bool>,

    /// Certificates (PEM) of authorities that are trusted for this host and its mirrors, beside the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Where certificates come from.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.configMapKeyRef) != has(self.secretKeyRef)")
    .message("caBundle has exactly one of configMapKeyRef and secretKeyRef"))]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// A key of a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,

    /// A key of a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
}

/// How RUN steps are kept apart from the node. Restricted (default): the pod passes the Pod Security standard restricted;
/// root in a RUN is root of a user namespace without capabilities.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Isolation {
    /// A user namespace without capabilities; passes the Pod Security standard `restricted`.
    #[default]
    Restricted,
}

impl Isolation {
    /// The name, as it stands in the object.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "Restricted",
        }
    }
}

/// Build (default) builds and pushes. Plan stops after planning: mistakes, stages and digests are shown in the status,
/// nothing is run or pushed, and the outputs of an earlier build stay in the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Build and push.
    #[default]
    Build,
    /// Stop after planning.
    Plan,
}

/// What the build's pod gets, and where it may run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// CPU and memory of the whole pod; engine and RUN steps share them. Default: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<PodResources>,

    /// Disk for the engine's scratch space, and as much again for the root file system of each stage that runs at a
    /// time, such as 20Gi. Default: the operator's.
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = Rule::new("type(self) == int ? self > 0 : (isQuantity(self) && quantity(self).isGreaterThan(quantity('0')))")
        .message("ephemeralStorage is an amount of bytes such as 10Gi"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Quantity>,

    /// How many RUN steps of independent stages may run at a time, 1 to 8. Default: the operator's.
    #[schemars(range(min = 1, max = PARALLEL_STAGES_LIMIT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel_stages: Option<i32>,

    /// Labels that a node must have, beside those that the operator asks for.
    #[schemars(extend("maxProperties" = NODE_SELECTOR_LIMIT))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the pod puts up with, beside those that the operator allows.
    #[schemars(length(max = TOLERATIONS_LIMIT))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// Service account of the pod. It gets no token; its image pull secrets are used as registry credentials.
    /// Default: the namespace's default.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// Requests and limits of the whole pod.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodResources {
    /// What the scheduler sets aside for the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceAmounts>,

    /// The most that the pod may use. Memory beyond it ends the build as OutOfMemory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceAmounts>,
}

/// Amounts of CPU and memory.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceAmounts {
    /// Processors, such as 2 or 500m.
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = Rule::new("type(self) == int ? self > 0 : (isQuantity(self) && quantity(self).isGreaterThan(quantity('0')))")
        .message("cpu is a number of processors such as 2 or 500m"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,

    /// Bytes of memory, such as 4Gi.
    #[schemars(schema_with = "quantity")]
    #[x_kube(validation = Rule::new("type(self) == int ? self > 0 : (isQuantity(self) && quantity(self).isGreaterThan(quantity('0')))")
        .message("memory is an amount of bytes such as 4Gi"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// A quantity is written as a number or as text; the length bounds the cost of its rule.
fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 32,
        "x-kubernetes-int-or-string": true,
    })
}
