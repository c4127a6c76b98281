//! What runs, written down the moment it starts: `down` ends exactly this.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::places::Places;
use super::process::Process;

/// The record of a running cluster.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// What the cluster was made from.
    pub(crate) stamp: String,
    /// Whether it was ready once. A boot that was interrupted is done anew, not continued.
    pub(crate) booted: bool,
    /// Process 1 of the node's namespaces; everything in them ends with it.
    pub(crate) node: Process,
    /// The programs of the cluster by name. Each is the host-side parent of one that runs in the namespaces.
    pub(crate) daemons: BTreeMap<String, Process>,
    /// Kernel settings that the kubelet changes for the whole machine, as they were.
    pub(crate) settings: BTreeMap<PathBuf, String>,
}

impl Record {
    /// Reads the record of the cluster that was started last and not taken down.
    pub(crate) fn read(places: &Places) -> anyhow::Result<Option<Self>> {
        let path = Self::path(places);
        match fs::read(&path) {
            Ok(content) => serde_json::from_slice(&content)
                .map(Some)
                .with_context(|| format!("cannot understand {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes it.
    pub(crate) fn write(&self, places: &Places) -> anyhow::Result<()> {
        let path = Self::path(places);
        let beside = path.with_extension("new");
        let content = serde_json::to_vec_pretty(self).context("cannot write a record")?;
        fs::write(&beside, content)
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(places: &Places) -> PathBuf {
        places.cluster().join("record.json")
    }
}
