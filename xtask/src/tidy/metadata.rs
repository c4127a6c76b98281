//! What cargo says about the workspace and everything it is built from.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::command::{capture, cargo};

/// The platform that the product is checked for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The manifests of the workspace, and what the product is built from.
#[derive(Default)]
pub(super) struct Metadata {
    /// The members of the workspace.
    pub(super) members: Vec<Package>,
    /// Every package that operator and builder are built from, by normal dependencies.
    pub(super) shipped: Vec<Shipped>,
}

/// One member of the workspace.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) manifest_path: String,
}

/// What a manifest declares.
#[derive(Clone, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev`, `build`, or none for a normal one.
    pub(super) kind: Option<String>,
    /// Set for a dependency on a folder of the workspace.
    pub(super) path: Option<String>,
}

/// One package of the product.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shipped {
    pub(super) name: String,
    pub(super) version: String,
    /// SPDX expression; empty when it names none.
    pub(super) licence: String,
}

#[derive(Deserialize)]
struct Manifests {
    packages: Vec<Package>,
}

impl Metadata {
    /// Asks cargo.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut command = cargo();
        command
            .current_dir(root)
            .args(["metadata", "--format-version=1", "--no-deps", "--locked"]);
        let manifests: Manifests = serde_json::from_str(&capture(&mut command)?)
            .context("cannot read what cargo metadata printed")?;
        // Not `metadata`, whose graph has optional packages that nothing turns on.
        let mut command = cargo();
        command
            .current_dir(root)
            .args([
                "tree",
                "--workspace",
                "--exclude",
                "xtask",
                "--exclude",
                "stagecraft-e2e",
            ])
            .args([
                "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}", "--locked",
            ])
            .args(["--target", PLATFORM]);
        let shipped = parse_tree(&capture(&mut command)?);
        Ok(Self {
            members: manifests.packages,
            shipped,
        })
    }
}

/// Lines `NAME vVERSION (…)|LICENCE`, repeated ones marked with `(*)`.
fn parse_tree(text: &str) -> Vec<Shipped> {
    let lines = text.lines().filter_map(|line| line.split_once('|'));
    let packages = lines.filter_map(|(package, licence)| {
        let mut words = package.split_whitespace();
        Some(Shipped {
            name: words.next()?.to_owned(),
            version: words.next()?.trim_start_matches('v').to_owned(),
            licence: licence.trim_end_matches("(*)").trim().to_owned(),
        })
    });
    let mut packages: Vec<Shipped> = packages.collect();
    packages.sort();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_the_tree_is_read_once() {
        let text = "a v1.0.0 (proc-macro)|MIT OR Apache-2.0\nb v0.2.0|\n\na v1.0.0 (proc-macro)|MIT OR Apache-2.0 (*)\n";
        let packages = parse_tree(text);
        assert_eq!(packages.len(), 2);
        assert_eq!(
            (packages[0].name.as_str(), packages[0].version.as_str()),
            ("a", "1.0.0")
        );
        assert_eq!(packages[0].licence, "MIT OR Apache-2.0");
        assert_eq!(packages[1].licence, "");
    }
}
