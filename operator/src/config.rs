//! What an administrator decides: the configuration file.
//!
//! Invariant: it is read once, at start; every member has a default but the builder's image.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use stagecraft_api::v1alpha1::{Isolation, PARALLEL_STAGES_LIMIT, PodSettings};

/// The configuration file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Image of engine and runners.
    pub(crate) builder_image: String,
    /// When nodes pull it: `Always`, `IfNotPresent` or `Never`.
    pub(crate) builder_image_pull_policy: String,
    /// Isolation profiles that an object may ask for; the first is the default.
    pub(crate) allowed_isolation: Vec<Isolation>,
    /// Claim for the caches of `RUN --mount=type=cache`, in the namespace of each build, for builds that name none.
    pub(crate) cache_volume_claim: Option<String>,
    /// Runners of the first pod of an object that was never planned.
    pub(crate) default_runners: u32,
    /// Most runners of a pod.
    pub(crate) max_runners: u32,
    /// Runs at a time, in all namespaces together.
    pub(crate) concurrency: u32,
    /// How registries are reached; an object's entry for the same host replaces one.
    pub(crate) registries: Vec<RegistryDefaults>,
    /// Defaults of `spec.pod`.
    pub(crate) pod: PodSettings,
    /// Whether CPU and memory are set for the pod as a whole (Kubernetes 1.34 and later) or divided among containers.
    pub(crate) pod_level_resources: bool,
    /// Namespaces that are served; all of them when empty.
    pub(crate) namespaces: Vec<String>,
}

/// How one registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RegistryDefaults {
    /// `host[:port]`, as in image references.
    pub(crate) host: String,
    /// Registries that are asked first, for reading only.
    pub(crate) mirrors: Vec<String>,
    /// Speak HTTP without TLS to the host.
    #[serde(rename = "plainHTTP")]
    pub(crate) plain_http: bool,
    /// PEM certificates of authorities trusted for the host and its mirrors.
    pub(crate) ca_bundle: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            builder_image: String::new(),
            builder_image_pull_policy: "IfNotPresent".to_owned(),
            allowed_isolation: vec![Isolation::Restricted],
            cache_volume_claim: None,
            default_runners: 2,
            max_runners: 8,
            concurrency: 10,
            registries: Vec::new(),
            pod: PodSettings::default(),
            pod_level_resources: true,
            namespaces: Vec::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_yaml::Error,
    },
    /// No builder image is named.
    #[error("the configuration names no builderImage")]
    NoBuilderImage,
    /// No isolation profile is allowed.
    #[error("allowedIsolation is empty: no build could run")]
    NoIsolation,
    /// A number is out of its range.
    #[error("{name} is {value}; it must be between {minimum} and {maximum}")]
    OutOfRange {
        /// The member.
        name: &'static str,
        /// What was given.
        value: u32,
        /// The least it can be.
        minimum: u32,
        /// The most it can be.
        maximum: u32,
    },
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = serde_yaml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        config.checked()
    }

    /// The configuration, if it can be used.
    ///
    /// # Errors
    /// When a member is missing or out of range.
    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        if self.builder_image.is_empty() {
            return Err(ConfigError::NoBuilderImage);
        }
        if self.allowed_isolation.is_empty() {
            return Err(ConfigError::NoIsolation);
        }
        let most_runners = PARALLEL_STAGES_LIMIT.unsigned_abs();
        for (name, value, minimum, maximum) in [
            ("maxRunners", self.max_runners, 1, most_runners),
            ("defaultRunners", self.default_runners, 0, self.max_runners),
            ("concurrency", self.concurrency, 1, 100_000),
        ] {
            if !(minimum..=maximum).contains(&value) {
                return Err(ConfigError::OutOfRange {
                    name,
                    value,
                    minimum,
                    maximum,
                });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_gets_defaults_and_a_misspelt_member_is_an_error() {
        let config: Config = serde_yaml::from_str("builderImage: builder:1").unwrap();
        let config = config.checked().unwrap();
        assert_eq!((config.default_runners, config.concurrency), (2, 10));
        assert!(serde_yaml::from_str::<Config>("builderImg: x").is_err());
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let config = Config {
            builder_image: "builder:1".into(),
            default_runners: 9,
            ..Config::default()
        };
        let error = config.checked().unwrap_err().to_string();
        assert!(error.starts_with("defaultRunners is 9"), "{error}");
    }
}
