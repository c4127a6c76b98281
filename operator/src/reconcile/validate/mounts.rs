//! What a RUN may mount, as the engine is told of it and as it is mounted into the engine.

use stagecraft_api::v1alpha1::ImageBuildSpec;
use stagecraft_protocol::request::{KeyFile, SecretFile};

use super::{Lent, Mounts};
use crate::config::Config;

/// Where the engine finds secrets of steps, in a directory each.
const SECRETS_PATH: &str = "/run/stagecraft/secrets";
/// Where it finds keys, likewise.
const SSH_PATH: &str = "/run/stagecraft/ssh";
/// Where the volume of caches is mounted.
pub(crate) const CACHES_PATH: &str = "/run/stagecraft/caches";
/// The directory of the volume that is ours: a volume may have others, such as `lost+found`.
const CACHES_DIRECTORY: &str = "stagecraft";
/// The key of a Secret of type kubernetes.io/ssh-auth.
const SSH_KEY: &str = "ssh-privatekey";

/// The secrets that steps may mount.
pub(super) fn secrets(spec: &ImageBuildSpec, mounts: &mut Mounts) -> Vec<SecretFile> {
    let mut files = Vec::new();
    for (index, secret) in spec.secrets.iter().enumerate() {
        let reference = &secret.secret_key_ref;
        let directory = format!("{SECRETS_PATH}/{index}");
        files.push(SecretFile {
            id: secret.id.clone(),
            path: format!("{directory}/{}", reference.key),
        });
        mounts.lent.push(Lent {
            volume: format!("secret-{index}"),
            secret: reference.name.clone(),
            key: reference.key.clone(),
            directory,
        });
    }
    files
}

/// The keys that steps may have something signed with.
pub(super) fn ssh(spec: &ImageBuildSpec, mounts: &mut Mounts) -> Vec<KeyFile> {
    let mut files = Vec::new();
    for (index, key) in spec.ssh.iter().enumerate() {
        let directory = format!("{SSH_PATH}/{index}");
        files.push(KeyFile {
            id: key.id.clone(),
            path: format!("{directory}/{SSH_KEY}"),
        });
        mounts.lent.push(Lent {
            volume: format!("ssh-{index}"),
            secret: key.secret_ref.name.clone(),
            key: SSH_KEY.to_owned(),
            directory,
        });
    }
    files
}

/// Where the caches of steps outlive the build, if the object or the configuration names a claim.
pub(super) fn cache_directory(
    spec: &ImageBuildSpec,
    config: &Config,
    mounts: &mut Mounts,
) -> Option<String> {
    let named = spec.cache_volume.as_ref();
    let claim = named
        .map(|volume| volume.claim_name.clone())
        .or_else(|| config.cache_volume_claim.clone())?;
    mounts.cache_claim = Some(claim);
    Some(format!("{CACHES_PATH}/{CACHES_DIRECTORY}"))
}
