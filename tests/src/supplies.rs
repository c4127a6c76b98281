//! Where the cluster's registries and packages are: `cargo xtask cluster up` writes it down beside the kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// Registries and packages that builds in the cluster reach.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Supplies {
    /// The registry that speaks plain http and mirrors docker.io.
    pub registry: Endpoint,
    /// The registry with TLS of an authority of its own and a password.
    pub secure_registry: SecureEndpoint,
    /// Address of the package server, for pods: an http proxy for Debian's packages, a Go module proxy below `/go`.
    pub packages: String,
}

/// A registry under its two names.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// As pods and the node name it.
    pub host: String,
    /// As this machine reaches it.
    pub from_here: String,
}

/// A registry that wants a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecureEndpoint {
    /// As pods and the node name it.
    pub host: String,
    /// As this machine reaches it.
    pub from_here: String,
    /// User that may pull and push.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// File with the certificate of the registry's authority.
    pub authority: PathBuf,
}

impl Supplies {
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(file).with_context(|| {
            format!(
                "cannot read {}, which says where the cluster's registries are",
                file.display()
            )
        })?;
        serde_json::from_slice(&text)
            .with_context(|| format!("cannot understand {}", file.display()))
    }
}
