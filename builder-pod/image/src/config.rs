//! The image configuration, with every member Docker and BuildKit know (image-spec, "image configuration"; Docker's
//! extensions `Healthcheck`, `OnBuild`, `Shell`, `ArgsEscaped`).
//!
//! Invariant: what was read is written again; members unknown here are kept and follow the known ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{null_as_default, set};
use crate::{CONFIG_SIZE_LIMIT, Digest, DocumentError, Platform};

/// An image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `amd64`, `arm64`, … as written, see [`ImageConfig::platform`].
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// `linux`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// Version of the operating system, for Windows.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// `v7` in `arm/v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How containers of the image start.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: ContainerConfig,
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it (`MAINTAINER`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How it was made, first step first.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Its layers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub rootfs: RootFs,
    /// Members that are not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How containers of an image start. `null` and an absent member are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Host name of the container that made the image, from builders of old.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub hostname: String,
    /// Domain name of that container.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `port/protocol`.
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The command's executable and first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or its further arguments if there is an entrypoint.
    #[serde(skip_serializing_if = "is_none_or_empty")]
    pub cmd: Option<Vec<String>>,
    /// How to see whether a container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Whether the command is one escaped string already (Windows).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Paths whose content outlives a container.
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Where the command starts.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Instructions to run when the image is the base of another.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Labels.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks a container to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds until a container that was asked to end is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of shell-form instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Members that are not known here (`AttachStdin`, `Tty`, `Image`, … of builders of old).
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How to see whether a container is well. Times are nanoseconds; zero is the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty to inherit.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time one check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time to start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks while starting.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row until the container is unwell.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark; builders leave their name here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step has no layer.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// Digests of the uncompressed layers, bottom first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: layers(),
            diff_ids: Vec::new(),
        }
    }
}

impl ImageConfig {
    /// The configuration of `scratch` for a platform: no layer, nothing set.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// [`DocumentError::ConfigTooLarge`] above [`CONFIG_SIZE_LIMIT`], [`DocumentError::Config`] when it is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > CONFIG_SIZE_LIMIT {
            return Err(DocumentError::ConfigTooLarge(bytes.len() as u64));
        }
        serde_json::from_slice(bytes).map_err(DocumentError::Config)
    }

    /// What the image runs on, in normal form.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform {
            os_version: self.os_version.clone(),
            ..Platform::new(&self.os, &self.architecture, self.variant.as_deref())
        }
    }
}

fn layers() -> String {
    "layers".to_owned()
}

/// Docker and BuildKit write no empty list.
fn is_none_or_empty(words: &Option<Vec<String>>) -> bool {
    words.as_ref().is_none_or(Vec::is_empty)
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything at once, in the order it is written.
    const FULL: &str = concat!(
        r#"{"architecture":"arm","os":"linux","variant":"v7","config":{"Hostname":"h","Domainname":"d","User":"app:app","#,
        r#""ExposedPorts":{"53/udp":{},"80/tcp":{}},"Env":["PATH=/bin","B=2","A=1"],"Entrypoint":["/e"],"Cmd":["c"],"#,
        r#""Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3},"ArgsEscaped":true,"#,
        r#""Volumes":{"/data":{}},"WorkingDir":"/w","OnBuild":["RUN make"],"Labels":{"a":"1"},"StopSignal":"SIGINT","#,
        r#""StopTimeout":5,"Shell":["/bin/bash","-c"],"AttachStdin":false,"Tty":true},"#,
        r#""created":"2024-05-01T00:00:00Z","author":"me","#,
        r#""history":[{"created":"2024-05-01T00:00:00Z","created_by":"RUN x","comment":"c","empty_layer":true}],"#,
        r#""rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"#,
        r#""docker_version":"20.10","moby.buildkit.cache":{"x":[1,2]}}"#
    );

    #[test]
    fn a_full_configuration_is_written_as_it_was_read() {
        let config = ImageConfig::parse(FULL.as_bytes()).unwrap();
        assert_eq!(config.config.exposed_ports.len(), 2);
        assert_eq!(config.platform().to_string(), "linux/arm/v7");
        assert_eq!(serde_json::to_string(&config).unwrap(), FULL);
    }

    #[test]
    fn an_empty_command_is_read_and_not_written() {
        let config = ImageConfig::parse(FULL.replace(r#"["c"]"#, "[]").as_bytes()).unwrap();
        assert_eq!(config.config.cmd, Some(vec![]));
        let without = FULL.replace(r#""Cmd":["c"],"#, "");
        assert_eq!(serde_json::to_string(&config).unwrap(), without);
    }

    #[test]
    fn nulls_of_old_builders_mean_absent() {
        let old = r#"{"architecture":"amd64","os":"linux","config":{"Hostname":"","User":"","ExposedPorts":null,"Env":null,
            "Cmd":null,"Healthcheck":null,"Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,
            "StopSignal":null,"Shell":null},"created":null,"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ImageConfig::parse(old.as_bytes()).unwrap();
        assert_eq!(
            config,
            ImageConfig::scratch(&Platform::new("linux", "amd64", None))
        );
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#
        );
    }

    #[test]
    fn a_configuration_that_is_none_is_refused() {
        for (bytes, expected) in [
            ("[]".to_owned(), "the image configuration is malformed"),
            (
                r#"{"rootfs":{"diff_ids":["md5:1"]}}"#.to_owned(),
                "the image configuration is malformed",
            ),
            (" ".repeat(8 * 1024 * 1024 + 1), "more than 8388608"),
        ] {
            let error = ImageConfig::parse(bytes.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
