//! The images of the corpus: a registry in a file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use stagecraft_image::{Digest, ImageConfig, Platform, Reference};

use crate::case::corpus;

/// Images by familiar name, with or without tag; `*` is every other one.
pub(crate) struct Images(BTreeMap<String, Image>);

/// An image that exists only here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    /// Platforms that its index has; all if there are none here.
    #[serde(default)]
    platforms: Vec<String>,
    /// There is no index: every platform gets the configuration as it stands.
    #[serde(default)]
    single: bool,
    image: Value,
}

impl Images {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(corpus().join("images.json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    /// What a registry would say; nothing where the image, or one for the platform, does not exist.
    pub(crate) fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Option<(Digest, ImageConfig)> {
        let familiar = reference.familiar();
        let short = short_name(&familiar);
        if short.starts_with("missing") {
            return None;
        }
        let named = self.0.get(&familiar).or_else(|| self.0.get(short));
        let image = named.unwrap_or_else(|| &self.0["*"]);
        let wanted = platform.to_string();
        if !image.platforms.is_empty() && !image.platforms.contains(&wanted) {
            return None;
        }
        let mut config: ImageConfig = serde_json::from_value(image.image.clone()).unwrap();
        if !image.single {
            config.os = platform.os.clone();
            config.architecture = platform.architecture.clone();
            config.variant = platform.variant.clone();
        }
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => Digest::of(format!("{reference} {wanted}")),
        };
        Some((digest, config))
    }
}

/// A familiar name without tag and digest.
fn short_name(familiar: &str) -> &str {
    let name = familiar.split('@').next().unwrap_or(familiar);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}
