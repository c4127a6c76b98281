//! The image's configuration and manifest, as bytes.

use std::collections::BTreeMap;

use stagecraft_image::{Descriptor, Index, Manifest, Platform, RootFs, media_type};

use crate::execute::StageResult;
use crate::store::{LayerOrigin, Store, StoreError};

/// The configuration's JSON: members in Docker's order, layers and history of this stage.
pub(super) fn render(stage: &StageResult, store: &Store) -> Result<Vec<u8>, StoreError> {
    let mut config = stage.config.clone();
    let mut diff_ids = Vec::with_capacity(stage.stack.len());
    for &id in &stage.stack {
        diff_ids.push(match store.origin(id)? {
            LayerOrigin::Image(layer) => layer.diff_id.clone(),
            LayerOrigin::Built(tar) => tar.diff_id.clone(),
        });
    }
    config.rootfs = RootFs {
        kind: "layers".to_owned(),
        diff_ids,
    };
    config.history = stage.history.clone();
    config.created = Some(stage.created.to_string());
    Ok(serde_json::to_vec(&config).unwrap_or_default())
}

/// The JSON of an index of manifests, each for a platform.
pub(super) fn index<'a>(images: impl Iterator<Item = (&'a Descriptor, &'a Platform)>) -> Vec<u8> {
    let manifests = images.map(|(manifest, platform)| Descriptor {
        platform: Some(platform.clone()),
        ..manifest.clone()
    });
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: manifests.collect(),
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&index).unwrap_or_default()
}

/// The manifest's JSON.
pub(super) fn manifest<'a>(
    config: &Descriptor,
    layers: impl Iterator<Item = &'a Descriptor>,
) -> Vec<u8> {
    let manifest = Manifest::new(
        media_type::OCI_MANIFEST,
        config.clone(),
        layers.cloned().collect(),
    );
    serde_json::to_vec(&manifest).unwrap_or_default()
}
