//! The build request: everything the engine is told, by the operator or by the command line.
//!
//! Invariant: it holds no secret. Credentials, secrets and CA bundles are named by path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What to build, from what, and where the result goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildRequest {
    /// [`crate::PROTOCOL_VERSION`] of the writer.
    pub protocol_version: u32,
    /// Whether to build, or to end after planning.
    pub mode: Mode,
    /// Where the build context comes from.
    pub source: Source,
    /// Directory of the source that is the context; empty for the whole source.
    #[serde(default)]
    pub context_path: String,
    /// Where the Dockerfile comes from.
    pub dockerfile: DockerfileSource,
    /// Build arguments by name.
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    /// What stands for a stage or image, by its name (`NAME::OS/ARCHITECTURE` where it does so for one platform
    /// only): the absolute path of a directory, `docker-image://NAME`, `oci-layout://PATH[:TAG][@DIGEST]`, or the
    /// address of a git repository or a file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The stage to build; the last one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Further stages to build in the same run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_outputs: Vec<FurtherOutput>,
    /// Stages that must succeed though nothing needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// Image references that the result is pushed to, all with the same digest.
    #[serde(default)]
    pub images: Vec<String>,
    /// Labels set on the image, over those of the Dockerfile.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which times stand in the image.
    #[serde(default)]
    pub timestamps: Timestamps,
    /// How to reach registries; hosts that are not listed are reached over TLS with the system's roots.
    #[serde(default)]
    pub registries: Vec<RegistrySettings>,
    /// Paths of `config.json`/`.dockerconfigjson` files with credentials, the first match wins.
    #[serde(default)]
    pub credential_files: Vec<String>,
    /// What steps may have as secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretFile>,
    /// Private keys that steps may have something signed with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<KeyFile>,
    /// Directory of the caches of `RUN --mount=type=cache`, which outlives the build; where absent, they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_directory: Option<String>,
    /// How many runners stand ready (containers of the pod, or local processes that may be started).
    pub runners: u32,
    /// How many `RUN` steps may execute at a time.
    pub parallel_stages: u32,
    /// Memory limit of the pod in bytes, for messages about its exhaustion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// What an earlier attempt of the same run resolved; this attempt must use the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<Pins>,
    /// `os/architecture[/variant]` to build for; that of the machine when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Further platforms, for which everything is built too; the result is an index then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_platforms: Vec<String>,
}

/// A stage besides the target whose result is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FurtherOutput {
    /// The stage, by name or by index.
    pub target: String,
    /// Image references that it is pushed to, all with the same digest.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Whether a run builds or only plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Build and push.
    #[default]
    Build,
    /// End after planning: errors, stages and digests, nothing is executed.
    Plan,
}

/// Where the build context comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", deny_unknown_fields)]
pub enum Source {
    /// No context: only Dockerfiles without COPY from it can be built.
    Empty,
    /// A directory that the engine can read (the local door). Times and modes are those of the files.
    #[serde(rename_all = "camelCase")]
    Directory {
        /// Absolute path.
        path: String,
    },
    /// Keys of a ConfigMap, mounted by the kubelet. Files have no time of their own.
    #[serde(rename_all = "camelCase")]
    ConfigMap {
        /// Absolute path of the mounted volume (its `..data` link names the current version).
        path: String,
        /// Permission bits by path relative to the volume, for those that differ from 0644.
        #[serde(default)]
        modes: BTreeMap<String, u32>,
    },
    /// Files that stand in the request itself. They have no time of their own.
    Inline {
        /// The files.
        files: Vec<InlineFile>,
    },
    /// An archive (tar, tar.gz, tar.zst) fetched over HTTP; any other file is a Dockerfile with nothing beside it.
    Http {
        /// `http://` or `https://` address.
        url: String,
        /// SHA-256 of the file as served, 64 hexadecimal digits; whatever is served where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// A commit of a git repository, fetched over HTTP. Files are as old as the commit.
    #[serde(rename_all = "camelCase")]
    Git {
        /// `http://` or `https://` address.
        url: String,
        /// Branch, tag, commit or the beginning of one; the repository's default where empty.
        #[serde(default)]
        revision: String,
        /// What the commit's id must begin with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        /// Whether submodules are fetched.
        submodules: bool,
        /// Whether `.git` is kept.
        #[serde(default)]
        keep_git_directory: bool,
        /// Whether the commit of `checksum` is fetched, whatever the revision is.
        #[serde(default)]
        fetch_by_commit: bool,
        /// Directory with files `username` and `password`, as the kubelet mounts a Secret of basic authentication.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<String>,
    },
    /// As `Http`, from a file that the engine can read (the local door).
    Archive {
        /// Absolute path.
        path: String,
    },
}

/// One file of an inline context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InlineFile {
    /// Path relative to the source's root.
    pub path: String,
    /// Content as text.
    pub content: String,
    /// Permission bits; 0644 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// Where the Dockerfile comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum DockerfileSource {
    /// A path relative to the context directory; a missing `Dockerfile` falls back to `dockerfile`.
    Path(String),
    /// The text itself.
    Inline(String),
}

/// Which times stand in the image (design: "time").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timestamps {
    /// Files keep their times; `created` is the newest time among a step's inputs, or the clock after a RUN.
    #[default]
    BuildTime,
    /// The time of the source revision: for sources here, the newest time of a file in it.
    SourceTime,
    /// Seconds since 1970: set as `SOURCE_DATE_EPOCH`; later times are clamped to it.
    Epoch(i64),
}

/// A secret for `RUN --mount=type=secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretFile {
    /// Its name in the Dockerfile.
    pub id: String,
    /// Absolute path of the file that holds its value.
    pub path: String,
}

/// A private key for `RUN --mount=type=ssh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFile {
    /// Its name in the Dockerfile.
    pub id: String,
    /// Absolute path of the file that holds it.
    pub path: String,
}

/// How to reach one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistrySettings {
    /// `host[:port]` as it stands in image references, e.g. `docker.io`.
    pub host: String,
    /// `[http://|https://]host[:port][/prefix]`, tried in order before the host itself, for reading only.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Speak http to `host`.
    #[serde(default)]
    pub plain_http: bool,
    /// Path of a PEM file with CA certificates trusted for `host` and its mirrors, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// What a first attempt resolved, so that a second attempt of the same run builds the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pins {
    /// Manifest digest by image reference as the plan names it.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Digest or revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Digest of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}
