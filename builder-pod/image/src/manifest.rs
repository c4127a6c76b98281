//! Image manifests and indexes (OCI image-spec; Docker schema 2 has the same members).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Platform};

/// The manifest of an image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first; some images have null.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub layers: Vec<Descriptor>,
    /// Free text members.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Manifests of one image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub manifests: Vec<Descriptor>,
}

/// An index has nothing for a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no image for {wanted}, only for {}", available.join(", "))]
pub struct PlatformError {
    /// What was asked for.
    pub wanted: String,
    /// What there is.
    pub available: Vec<String>,
}

impl Manifest {
    /// A manifest of these blobs.
    #[must_use]
    pub fn new(media_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type.to_owned(),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }
}

impl Index {
    /// The first manifest for a platform.
    ///
    /// # Errors
    /// When there is none; the error lists those there are.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, PlatformError> {
        let with_platform = || {
            self.manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref().map(|p| (entry, p)))
        };
        let found = with_platform().find(|(_, platform)| wanted.accepts(platform));
        // An arm image runs on a newer variant: the nearest lower one is better than none.
        let found = found.or_else(|| {
            let mut lower: Vec<_> = with_platform()
                .filter(|(_, p)| p.os == wanted.os && p.architecture == wanted.architecture)
                .filter(|(_, p)| wanted.architecture == "arm" && p.variant < wanted.variant)
                .collect();
            lower.sort_by(|(_, a), (_, b)| a.variant.cmp(&b.variant));
            lower.pop()
        });
        found.map(|(entry, _)| entry).ok_or_else(|| PlatformError {
            wanted: wanted.to_string(),
            available: with_platform()
                .map(|(_, platform)| platform.to_string())
                .filter(|platform| platform != "unknown/unknown")
                .collect(),
        })
    }
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn index(platforms: &[&str]) -> Index {
        let entry = |text: &&str| Descriptor {
            platform: Some(text.parse().unwrap()),
            ..Descriptor::new("m", Digest::of(text.as_bytes()), 1)
        };
        Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: platforms.iter().map(entry).collect(),
        }
    }

    #[test]
    fn an_index_gives_the_exact_platform_or_says_what_it_has() {
        let index = index(&["linux/arm64", "linux/amd64", "linux/arm/v6"]);
        let chosen = |text: &str| index.choose(&text.parse().unwrap()).map(|d| d.digest);
        assert_eq!(chosen("linux/amd64"), Ok(Digest::of(b"linux/amd64")));
        assert_eq!(chosen("linux/arm/v7"), Ok(Digest::of(b"linux/arm/v6")));
        let error = chosen("linux/s390x").unwrap_err().to_string();
        assert!(
            error.contains("linux/s390x") && error.contains("linux/arm64"),
            "{error}"
        );
    }

    #[test]
    fn null_layers_are_no_layers() {
        let digest = Digest::of(b"");
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":2}},"layers":null}}"#
        );
        let manifest: Manifest = serde_json::from_str(&json).unwrap();
        assert!(manifest.layers.is_empty());
    }
}
