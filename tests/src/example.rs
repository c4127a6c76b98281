//! The examples of this repository, with the cluster's registries in the place of nobody's.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::build::Build;
use crate::namespace::Namespace;

/// The registries that the examples name.
const PLAIN: &str = "registry.example.com";
const PRIVATE: &str = "private.example.com";

/// The directory of all examples.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Applies the objects of an example as they are, but for registries and `build_args` (added to every build), and
/// returns its builds in their order.
///
/// # Errors
/// When an object cannot be read or is refused.
pub fn apply<'a>(
    namespace: &'a Namespace,
    name: &str,
    build_args: &[(&str, &str)],
) -> anyhow::Result<Vec<Build<'a>>> {
    let path = directory().join(name).join("imagebuild.yaml");
    let supplies = &namespace.cluster.supplies;
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .replace(
            PLAIN,
            &format!("{}/{}", supplies.registry.host, namespace.name),
        )
        .replace(PRIVATE, &supplies.secure_registry.host);
    let mut builds = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let mut object = Value::deserialize(document)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        let is_build = object["kind"] == "ImageBuild";
        if is_build && !build_args.is_empty() {
            let mut all = object["spec"]["buildArgs"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            all.extend(
                build_args
                    .iter()
                    .map(|(name, value)| json!({"name": name, "value": value})),
            );
            object["spec"]["buildArgs"] = json!(all);
        }
        namespace.apply(&object)?;
        if is_build {
            let name = object["metadata"]["name"]
                .as_str()
                .context("a build without a name")?;
            builds.push(Build::named(namespace, name));
        }
    }
    Ok(builds)
}
