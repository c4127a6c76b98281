//! Indexes: one image for several platforms (image-spec, "image index"; Docker's manifest list has the same form).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;
use crate::{Descriptor, Platform};

/// A list of manifests. [`crate::Document::parse`] reads one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// OCI index or Docker manifest list; OCI allows it to be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What artifact it is, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// No manifest of an index is for the platform that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image is not there for platform {wanted}; it is there for {}",
    list(available)
)]
pub struct NoPlatform {
    /// The platform that is wanted.
    pub wanted: Box<Platform>,
    /// Those that are there, in the index's order.
    pub available: Vec<Platform>,
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Index {
    /// The manifest for `wanted`: the nearest of those that run there, the first among equals. An index whose only
    /// manifest names no platform gives that one; whether it fits stands in its configuration.
    ///
    /// # Errors
    /// [`NoPlatform`] with those that are there.
    pub fn choose(&self, wanted: &Platform) -> Result<&Descriptor, NoPlatform> {
        let images: Vec<&Descriptor> = self
            .manifests
            .iter()
            .filter(|entry| !is_attestation(entry))
            .collect();
        let nearest = images
            .iter()
            .filter_map(|entry| Some((wanted.distance(entry.platform.as_ref()?)?, *entry)))
            .min_by_key(|(distance, _)| *distance);
        match (nearest, images.as_slice()) {
            (Some((_, entry)), _) => Ok(entry),
            (None, [only]) if only.platform.is_none() => Ok(only),
            _ => {
                let mut available: Vec<Platform> = Vec::new();
                for platform in images.iter().filter_map(|entry| entry.platform.as_ref()) {
                    let platform = platform.normalised();
                    if !available.contains(&platform) {
                        available.push(platform);
                    }
                }
                Err(NoPlatform {
                    wanted: Box::new(wanted.clone()),
                    available,
                })
            }
        }
    }
}

/// Provenance and SBOMs stand in an index beside the images, for a platform that does not exist.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
        || entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, media_type};

    fn index(platforms: &[&str]) -> Index {
        let entry = |(number, text): (usize, &&str)| Descriptor {
            platform: text.split_once('/').map(|(os, rest)| {
                let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
                Platform {
                    architecture: architecture.to_owned(),
                    os: os.to_owned(),
                    os_version: None,
                    os_features: Vec::new(),
                    variant: Some(variant.to_owned()).filter(|variant| !variant.is_empty()),
                }
            }),
            ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of([number as u8]), 1)
        };
        Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests: platforms.iter().enumerate().map(entry).collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_nearest_manifest_is_chosen() {
        let cases: [(&[&str], &str, usize); 6] = [
            (&["linux/amd64", "linux/arm64/v8"], "linux/arm64", 1),
            (&["unknown/unknown", "linux/amd64"], "linux/amd64", 1),
            (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", 1),
            (&["linux/amd64", "linux/amd64"], "linux/amd64", 0),
            (&[""], "linux/amd64", 0),
            (&["", "linux/amd64"], "linux/amd64", 1),
        ];
        for (platforms, wanted, expected) in cases {
            let index = index(platforms);
            let chosen = index.choose(&wanted.parse().unwrap()).unwrap();
            assert_eq!(
                chosen, &index.manifests[expected],
                "{wanted} of {platforms:?}"
            );
        }
    }

    #[test]
    fn a_missing_platform_is_answered_with_those_that_are_there() {
        let index = index(&[
            "linux/amd64",
            "linux/arm64/v8",
            "unknown/unknown",
            "linux/amd64",
        ]);
        let error = index.choose(&"linux/s390x".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image is not there for platform linux/s390x; it is there for linux/amd64, linux/arm64"
        );
    }
}
