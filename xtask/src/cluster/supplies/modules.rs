//! The Go modules that examples and tests fetch, in the layout of a module proxy.
//!
//! `tests/cluster/supplies/modules/go.mod` names them; the files are those that the Go command itself downloaded and
//! checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::super::phases::{Phases, run_logged};
use super::super::places::Places;
use super::super::stamp::{self, Stamp};
use super::create_empty;
use crate::command::capture;

/// Changes when this file makes something else of the same inputs.
const RECIPE: &str = "1";

/// Downloads the modules, unless they are there.
pub(super) fn prepare(places: &Places, phases: &Phases) -> anyhow::Result<()> {
    let source = places.sources().join("supplies/modules");
    let stamp = Stamp::default().text(RECIPE).tree(&source)?.finish();
    let stamp_file = super::stamps(places).join("modules");
    if stamp::is_current(&stamp_file, &stamp) {
        return Ok(());
    }
    let target = places.supplies().join("modules");
    phases.run("downloading Go modules", |log| {
        let work = places.supplies().join("modules.new");
        create_empty(&work)?;
        let go = |arguments: &[&str]| {
            let mut command = Command::new("go");
            command
                .args(arguments)
                .current_dir(&source)
                .env("GOMODCACHE", &work)
                .env("GOFLAGS", "-modcacherw -mod=mod");
            command
        };
        let modules = capture(&mut go(&[
            "list",
            "-m",
            "-f",
            "{{if .Version}}{{.Path}}@{{.Version}}{{end}}",
            "all",
        ]))?;
        let modules: Vec<&str> = modules.split_whitespace().collect();
        // By name and version: that leaves the .info files that `go get` asks for.
        run_logged(go(&["mod", "download"]).args(&modules), log)?;
        let downloads = work.join("cache/download");
        write_lists(&downloads)?;
        if target.exists() {
            fs::remove_dir_all(&target).context("cannot remove the old modules")?;
        }
        fs::rename(&downloads, &target).context("cannot put the modules in place")?;
        fs::remove_dir_all(&work).context("cannot remove a working directory")
    })?;
    stamp::set(&stamp_file, &stamp)
}

/// Writes the list of versions of every module below `directory`.
fn write_lists(directory: &Path) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut versions = Vec::new();
    for entry in entries.flatten() {
        let path: PathBuf = entry.path();
        if path.is_dir() {
            write_lists(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "zip")
            && let Some(version) = path.file_stem()
        {
            versions.push(version.to_string_lossy().into_owned());
        }
    }
    if !versions.is_empty() {
        versions.sort();
        fs::write(directory.join("list"), versions.join("\n") + "\n")
            .with_context(|| format!("cannot write {}/list", directory.display()))?;
    }
    Ok(())
}
