//! An image that was pushed, as crane and tar read it: neither is ours.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, run};

/// An image in the plain registry.
#[derive(Debug)]
pub struct Image {
    cluster: Cluster,
    /// As builds and the node name it, by digest.
    pub reference: String,
    /// As this machine reaches it, by digest.
    from_here: String,
    /// Digest of its manifest.
    pub digest: String,
}

impl Image {
    /// The image that a build says it pushed as `tagged`. The registry must agree on the digest.
    pub(crate) fn in_plain_registry(
        cluster: &Cluster,
        tagged: &str,
        digest: &str,
    ) -> anyhow::Result<Self> {
        let from_here = reach(cluster, tagged)?;
        let found = cluster.crane(&["digest", "--insecure", &from_here])?;
        ensure!(
            found.trim() == digest,
            "{tagged} is {} in the registry and {digest} in the status",
            found.trim()
        );
        let repository = |reference: &str| {
            reference
                .rsplit_once(':')
                .map_or(reference, |(repository, _)| repository)
                .to_owned()
        };
        Ok(Self {
            cluster: cluster.clone(),
            reference: format!("{}@{digest}", repository(tagged)),
            from_here: format!("{}@{digest}", repository(&from_here)),
            digest: digest.to_owned(),
        })
    }

    /// Whether `tagged` is in its registry. Registries that this machine cannot reach hold nothing.
    pub(crate) fn exists(cluster: &Cluster, tagged: &str) -> bool {
        reach(cluster, tagged)
            .is_ok_and(|from_here| cluster.crane(&["digest", "--insecure", &from_here]).is_ok())
    }

    /// The image's configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn config(&self) -> anyhow::Result<Value> {
        let text = self
            .cluster
            .crane(&["config", "--insecure", &self.from_here])?;
        serde_json::from_str(&text).context("the configuration is no JSON")
    }

    /// The digests of its layers.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn layers(&self) -> anyhow::Result<Vec<String>> {
        let text = self
            .cluster
            .crane(&["manifest", "--insecure", &self.from_here])?;
        let manifest: Value = serde_json::from_str(&text).context("the manifest is no JSON")?;
        Ok(manifest["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|layer| layer["digest"].as_str().map(str::to_owned))
            .collect())
    }

    /// The files of its root file system by path, without a leading slash.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, File>> {
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let archive = self.export(directory.path())?;
        let mut tar = Command::new("tar");
        tar.args([
            "--list",
            "--verbose",
            "--numeric-owner",
            "--quoting-style=literal",
            "--file",
        ]);
        tar.arg(&archive);
        Ok(run(tar, "")?.lines().filter_map(File::parse).collect())
    }

    /// The text of one file.
    ///
    /// # Errors
    /// When the image has no such file.
    pub fn text_of(&self, path: &str) -> anyhow::Result<String> {
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let archive = self.export(directory.path())?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--to-stdout", "--file"])
            .arg(&archive)
            .arg(path);
        run(tar, "").with_context(|| format!("{} has no {path}", self.reference))
    }

    fn export(&self, directory: &std::path::Path) -> anyhow::Result<std::path::PathBuf> {
        let archive = directory.join("image.tar");
        let path = archive.to_string_lossy().into_owned();
        self.cluster
            .crane(&["export", "--insecure", &self.from_here, &path])?;
        Ok(archive)
    }
}

/// A file as `tar --list --verbose` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Type and permissions, such as `-rwxr-xr-x`.
    pub mode: String,
    /// Owner and group, such as `0/0`.
    pub owner: String,
}

impl File {
    fn parse(line: &str) -> Option<(String, Self)> {
        // MODE OWNER/GROUP SIZE DATE TIME NAME, and `NAME -> TARGET` or `NAME link to TARGET`.
        let mut rest = line;
        let mut next = || {
            rest = rest.trim_start();
            let (field, after) = rest.split_once(' ')?;
            rest = after;
            Some(field.to_owned())
        };
        let mode = next()?;
        let owner = next()?;
        for _ in ["size", "date", "time"] {
            next()?;
        }
        let name = rest.split(" -> ").next()?.split(" link to ").next()?;
        let name = name.trim_start_matches("./").trim_end_matches('/');
        Some((name.to_owned(), Self { mode, owner }))
    }
}

/// `reference` as this machine reaches it.
fn reach(cluster: &Cluster, reference: &str) -> anyhow::Result<String> {
    let registry = &cluster.supplies.registry;
    reference
        .strip_prefix(&registry.host)
        .map(|rest| format!("{}{rest}", registry.from_here))
        .with_context(|| format!("{reference} is not in the plain registry"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tar_gives_mode_owner_and_name() {
        let line = "-rwxr-xr-x 0/0         1234 2026-11-24 10:00 root/app";
        let (name, file) = File::parse(line).unwrap();
        assert_eq!(name, "root/app");
        assert_eq!(file.mode, "-rwxr-xr-x");
        assert_eq!(file.owner, "0/0");
        let link = "lrwxrwxrwx 0/0 0 2026-11-24 10:00 ./bin -> usr/bin";
        assert_eq!(File::parse(link).unwrap().0, "bin");
    }
}
