//! Volumes of the pod, and where the engine finds them.
//!
//! Invariant: Secrets and ConfigMaps are mounted by reference, into the engine alone.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
    SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use stagecraft_api::v1alpha1::KeyReference;

use super::Attempt;
use crate::reconcile::evidence;
use crate::reconcile::validate::{
    Authority, CA_PATH, CACHES_PATH, CREDENTIALS_PATH, REQUEST_PATH, SOURCE_PATH,
};

/// Where the engine has its scratch space.
const SCRATCH_PATH: &str = "/scratch";
/// Where a runner has its shared memory.
const SHARED_MEMORY_PATH: &str = "/dev/shm";
/// As much as other runtimes give a container.
const SHARED_MEMORY_SIZE: &str = "64Mi";
/// Owner and group may read. The owner is root, which the engine is in a pod with runners; else it is in the group.
const SECRET_MODE: i32 = 0o440;

/// A volume and where the engine mounts it.
struct Mounted {
    volume: Volume,
    path: String,
    read_only: bool,
}

/// The pod's volumes.
pub(super) fn volumes(attempt: &Attempt<'_>) -> Vec<Volume> {
    let engine = engine(attempt).into_iter().map(|mounted| mounted.volume);
    let shared_memory = evidence::runner_names(attempt.runners).map(|runner| Volume {
        name: shared_memory_name(&runner),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(SHARED_MEMORY_SIZE.to_owned())),
        }),
        ..Volume::default()
    });
    engine.chain(shared_memory).collect()
}

/// The engine's mounts.
pub(super) fn engine_mounts(attempt: &Attempt<'_>) -> Vec<VolumeMount> {
    let mount = |mounted: Mounted| VolumeMount {
        name: mounted.volume.name,
        mount_path: mounted.path,
        read_only: mounted.read_only.then_some(true),
        ..VolumeMount::default()
    };
    engine(attempt).into_iter().map(mount).collect()
}

/// A runner's mounts.
pub(super) fn runner_mounts(runner: &str) -> Vec<VolumeMount> {
    vec![VolumeMount {
        name: shared_memory_name(runner),
        mount_path: SHARED_MEMORY_PATH.to_owned(),
        ..VolumeMount::default()
    }]
}

fn shared_memory_name(runner: &str) -> String {
    format!("shm-{runner}")
}

fn engine(attempt: &Attempt<'_>) -> Vec<Mounted> {
    let mounts = &attempt.valid.mounts;
    let mut all = vec![scratch(attempt), request(attempt)];
    if let Some((name, items)) = &mounts.source {
        let items = items.iter().map(|item| key_to_path(&item.key, &item.path));
        let items: Vec<KeyToPath> = items.collect();
        all.push(Mounted {
            volume: config_map("source", name, (!items.is_empty()).then_some(items)),
            path: SOURCE_PATH.to_owned(),
            read_only: true,
        });
    }
    for (index, credentials) in mounts.credentials.iter().enumerate() {
        let mut volume = secret(
            &format!("credentials-{index}"),
            &credentials.secret,
            vec![key_to_path(".dockerconfigjson", ".dockerconfigjson")],
        );
        if let (true, Some(source)) = (credentials.optional, &mut volume.secret) {
            source.optional = Some(true);
        }
        all.push(Mounted {
            volume,
            path: format!("{CREDENTIALS_PATH}/{index}"),
            read_only: true,
        });
    }
    for (index, authority) in &mounts.authorities {
        let name = format!("ca-{index}");
        let volume = match authority {
            Authority::ConfigMap(KeyReference { name: object, key }) => {
                config_map(&name, object, Some(vec![key_to_path(key, key)]))
            }
            Authority::Secret(KeyReference { name: object, key }) => {
                secret(&name, object, vec![key_to_path(key, key)])
            }
        };
        all.push(Mounted {
            volume,
            path: format!("{CA_PATH}/{index}"),
            read_only: true,
        });
    }
    all.extend(lent(attempt));
    all
}

/// What steps may have something of, and the caches that they share with other builds. Without runners there are no
/// steps.
fn lent(attempt: &Attempt<'_>) -> Vec<Mounted> {
    if attempt.runners == 0 {
        return Vec::new();
    }
    let mounts = &attempt.valid.mounts;
    let mut all: Vec<Mounted> = mounts
        .lent
        .iter()
        .map(|lent| Mounted {
            volume: secret(
                &lent.volume,
                &lent.secret,
                vec![key_to_path(&lent.key, &lent.key)],
            ),
            path: lent.directory.clone(),
            read_only: true,
        })
        .collect();
    if let Some(claim) = &mounts.cache_claim {
        all.push(Mounted {
            volume: Volume {
                name: "caches".to_owned(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            },
            path: CACHES_PATH.to_owned(),
            read_only: false,
        });
    }
    all
}

fn scratch(attempt: &Attempt<'_>) -> Mounted {
    Mounted {
        volume: Volume {
            name: "scratch".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: None,
                size_limit: Some(attempt.valid.pod.ephemeral_storage.clone()),
            }),
            ..Volume::default()
        },
        path: SCRATCH_PATH.to_owned(),
        read_only: false,
    }
}

fn request(attempt: &Attempt<'_>) -> Mounted {
    Mounted {
        volume: config_map("request", &attempt.key.name(), None),
        path: REQUEST_PATH.to_owned(),
        read_only: true,
    }
}

fn config_map(volume: &str, name: &str, items: Option<Vec<KeyToPath>>) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: name.to_owned(),
            items,
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn secret(volume: &str, name: &str, items: Vec<KeyToPath>) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.to_owned()),
            items: Some(items),
            default_mode: Some(SECRET_MODE),
            optional: None,
        }),
        ..Volume::default()
    }
}

fn key_to_path(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    }
}
