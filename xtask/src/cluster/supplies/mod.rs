//! The supplies: what the pods of a cluster without internet build with, made beforehand from ordinary packages.
//!
//! `debian` mirrors the packages that are needed, `modules` the Go modules, `images` makes base images under the names
//! people write. Each is cached with a stamp.
//!
//! Invariant: nothing of this shows in a Dockerfile; build arguments and a registry mirror lead here.

mod debian;
mod images;
mod modules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use self::debian::Mirror;
use super::phases::Phases;
use super::places::Places;

/// Where the storage of the plain registry lies that every new cluster starts with.
pub(crate) fn registry_storage(places: &Places) -> PathBuf {
    places.supplies().join("registry")
}

/// The directory of stamps of all supplies.
pub(crate) fn stamps(places: &Places) -> PathBuf {
    places.supplies().join(".stamps")
}

/// The release of the base images, and an apt source file for it.
pub(crate) fn debian_sources() -> anyhow::Result<(&'static str, String)> {
    Ok((debian::RELEASE, Mirror::of_this_machine()?.sources(false)))
}

/// Makes what is missing, outdated or was made from other sources.
pub(crate) fn prepare(places: &Places, phases: &Phases) -> anyhow::Result<()> {
    let stamps = stamps(places);
    fs::create_dir_all(&stamps).with_context(|| format!("cannot create {}", stamps.display()))?;
    let mirror = Mirror::of_this_machine()?;
    let mirror_stamp = debian::prepare(places, phases, &mirror)?;
    modules::prepare(places, phases)?;
    images::prepare(places, phases, &mirror, &mirror_stamp)
}

/// Removes `directory` with all below it, if it is there, and creates it empty.
fn create_empty(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

/// A server that is needed while supplies are made, and ends with this value.
struct Server {
    child: Child,
}

impl Server {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours and holds nothing; that it has ended already is fine too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
