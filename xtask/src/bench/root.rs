//! The file system that loads run on: a Debian with a compiler, as an engine would have unpacked it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cluster::{Places, debian_sources};
use crate::command::run;

/// Packages beside the smallest system.
const PACKAGES: &str = "--include=gcc,libc6-dev";
/// The attribute in which the runner finds owners; the loads' times depend on it, nothing else does.
const ATTRIBUTE: &str = "user.stagecraft.override";

/// Makes the file system, unless it is there.
pub(super) fn prepare() -> anyhow::Result<PathBuf> {
    let place = Places::find()?.bench();
    let root = place.join("root");
    if root.exists() {
        return Ok(root);
    }
    let unfinished = place.join("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("cannot remove an unfinished file system")?;
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let sources = place.join("debian.sources");
    let (release, text) = debian_sources()?;
    fs::write(&sources, text).with_context(|| format!("cannot write {}", sources.display()))?;
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        PACKAGES,
    ]);
    command.args([Path::new(release), &unfinished, &sources]);
    run(&mut command)?;
    // Devices are the runner's affair.
    let devices = unfinished.join("dev");
    fs::remove_dir_all(&devices).context("cannot empty /dev")?;
    fs::create_dir(&devices).context("cannot create /dev")?;
    disown(&unfinished)?;
    fs::rename(&unfinished, &root).context("cannot name the file system")?;
    Ok(root)
}

/// Makes everything below root's, and records what was not.
fn disown(directory: &Path) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let found = path.symlink_metadata()?;
        if found.is_dir() {
            disown(&path)?;
        }
        let (mode, is_plain) = (found.mode(), found.is_dir() || found.is_file());
        let needed = if found.is_dir() { 0o700 } else { 0o600 };
        let is_native =
            (found.uid(), found.gid()) == (0, 0) && mode & 0o6000 == 0 && mode & needed == needed;
        if is_native {
            continue;
        }
        lchown(&path, Some(0), Some(0))
            .with_context(|| format!("cannot take over {}", path.display()))?;
        if is_plain {
            let real = fs::Permissions::from_mode(mode & 0o777 | needed);
            fs::set_permissions(&path, real)?;
            let value = format!("{}:{}:{mode:o}:0", found.uid(), found.gid());
            run(Command::new("setfattr")
                .args(["-n", ATTRIBUTE, "-v", &value])
                .arg(&path))?;
        }
    }
    Ok(())
}
