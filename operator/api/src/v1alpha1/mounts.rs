//! What a RUN may mount: secrets, SSH keys and the volume of its caches.
//!
//! Invariant: everything is named, nothing is held here: values stay in their objects, which the kubelet mounts into
//! the engine alone.

// The derive writes an `unwrap` for each rule and list type; they can fail only for a schema without properties.
#![allow(clippy::unwrap_used)]
// It also repeats each structure where nobody can reach it.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::limits::{ID_LIMIT, NAME_LIMIT};
use super::spec::{KeyReference, SecretName};

/// A secret for `RUN --mount=type=secret`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSecret {
    /// Its id in the Dockerfile.
    #[schemars(length(min = 1, max = ID_LIMIT))]
    pub id: String,

    /// The key of a Secret of this namespace that has the value. While Secret or key does not exist, the build waits.
    pub secret_key_ref: KeyReference,
}

/// An SSH key for `RUN --mount=type=ssh`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSshKey {
    /// Its id in the Dockerfile; a mount that names none means default.
    #[schemars(length(min = 1, max = ID_LIMIT))]
    pub id: String,

    /// A Secret of this namespace, of type kubernetes.io/ssh-auth: its key ssh-privatekey has a private key without a
    /// passphrase. Steps can have something signed with it and never see it. While it does not exist, the build waits.
    pub secret_ref: SecretName,
}

/// Where the caches of `RUN --mount=type=cache` are kept between builds.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheVolume {
    /// A PersistentVolumeClaim of this namespace. Builds that name one claim share its caches, by their ids, also at the
    /// same time. It is mounted into the engine alone: a step gets a copy of the caches that it names.
    #[schemars(length(min = 1, max = NAME_LIMIT))]
    pub claim_name: String,
}
