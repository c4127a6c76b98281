//! `cargo xtask test run-matrix`: the loads of `tests/fixtures/loads`, built by BuildKit as real root and by us as an
//! ordinary user of this machine, and their files compared path by path.
//!
//! Packages come from the mirror that the base image names, so both builds need the network and get the same packages
//! only while the mirror does not change between them.
//! Invariant: a load that either builder fails is no load that passes.

mod loads;
mod tree;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use self::loads::{Load, Loads};
use self::tree::Comparison;
use crate::buildkit::BuildKit;
use crate::cluster::{self, wait_until};
use crate::command::{phase, workspace_root};
use crate::images::build_linked_statically;
use crate::setup;

/// Debian's `nobody`: it owns nothing, and no file gives it subordinate ids.
const ORDINARY_USER: u32 = 65534;
/// Differences of a load that are shown.
const SHOWN: usize = 25;
/// Last lines of a build that failed that are shown.
const LAST_LINES: usize = 15;

/// What all loads are built with.
struct Builders {
    buildkit: BuildKit,
    ours: PathBuf,
    images: Images,
}

/// A registry with the base images; it ends with this value.
struct Images(Child);

/// Builds the loads whose name contains `filter` with both builders.
///
/// # Errors
/// When a load cannot be built or its trees differ, or when there is none.
pub(crate) fn run(filter: Option<&str>) -> anyhow::Result<()> {
    let loads = Loads::read(&workspace_root())?;
    phase("set up local tests", setup::for_local_tests)?;
    let storage = phase("base images", cluster::base_images)?;
    let ours = phase("builder", builder)?;
    let buildkit = phase("start BuildKit", BuildKit::start)?;
    let images = Images::serve(&storage, buildkit.mirror())?;
    let builders = Builders {
        buildkit,
        ours,
        images,
    };
    println!("| load | paths | of them volatile | differences | BuildKit | ours |");
    println!("|---|---:|---:|---:|---:|---:|");
    let (mut built, mut wrong) = (0, Vec::new());
    let chosen = |load: &&Load| filter.is_none_or(|text| load.name.contains(text));
    for load in loads.loads.iter().filter(chosen) {
        built += 1;
        match builders.build(&loads, load) {
            Ok(true) => {}
            Ok(false) => wrong.push(load.name.as_str()),
            Err(error) => {
                println!("| {} | | | | | |\n{error:#}", load.name);
                wrong.push(load.name.as_str());
            }
        }
    }
    drop(builders.images);
    ensure!(
        built > 0,
        "no load has {:?} in its name",
        filter.unwrap_or_default()
    );
    ensure!(
        wrong.is_empty(),
        "{} of {built} loads differ or fail: {}",
        wrong.len(),
        wrong.join(", ")
    );
    println!("{built} loads, no difference");
    Ok(())
}

fn builder() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace_root().join("target"), PathBuf::from);
    Ok(build_linked_statically(&target, &["stagecraft-builder"])?.join("stagecraft-builder"))
}

impl Builders {
    /// Builds a load twice and prints its line. Whether the trees are equal.
    fn build(&self, loads: &Loads, load: &Load) -> anyhow::Result<bool> {
        let directory = tempfile::tempdir_in("/var/tmp").context("cannot make a directory")?;
        let directory = directory.path();
        let context = directory.join("context");
        fs::create_dir(&context).context("cannot make a context")?;
        fs::write(context.join("Dockerfile"), load.dockerfile())
            .context("cannot write a Dockerfile")?;
        for path in [directory, &context] {
            chown(path, Some(ORDINARY_USER), Some(ORDINARY_USER))
                .context("cannot give a directory away")?;
        }
        let (theirs, their_time) = self.with_buildkit(directory, &context)?;
        let (ours, our_time) = self.with_ours(directory, &context)?;
        let found = tree::compare(&tree::read(&theirs)?, &tree::read(&ours)?, |path| {
            loads.is_volatile(load, path)
        });
        print(load, &found, [their_time, our_time]);
        Ok(found.differences.is_empty())
    }

    fn with_buildkit(
        &self,
        directory: &Path,
        context: &Path,
    ) -> anyhow::Result<(PathBuf, Duration)> {
        let archive = directory.join("buildkit.tar");
        let mut command = Command::new(self.buildkit.buildctl());
        command.args([
            "--addr",
            self.buildkit.address(),
            "build",
            "--no-cache",
            "--progress",
            "plain",
        ]);
        command.args(["--frontend", "dockerfile.v0"]);
        for name in ["context", "dockerfile"] {
            command.args(["--local", &format!("{name}={}", context.display())]);
        }
        command.args(["--output", &format!("type=tar,dest={}", archive.display())]);
        let time = complete(&mut command, "BuildKit")?;
        Ok((archive, time))
    }

    fn with_ours(&self, directory: &Path, context: &Path) -> anyhow::Result<(PathBuf, Duration)> {
        let archive = directory.join("ours.tar");
        let user = ORDINARY_USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.arg(&self.ours).arg("build").arg(context);
        let mirror = format!("docker.io=http://127.0.0.1:{}", self.buildkit.mirror());
        command.args(["--registry-mirror", &mirror]);
        command.args(["--output", &format!("type=tar,dest={}", archive.display())]);
        command
            .env("HOME", directory)
            .env("TMPDIR", directory)
            .env_remove("SOURCE_DATE_EPOCH");
        let time = complete(&mut command, "our build")?;
        Ok((archive, time))
    }
}

/// Runs a build to its end; the end of what it printed is part of the error.
fn complete(command: &mut Command, name: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LAST_LINES)..)
            .unwrap_or_default();
        bail!("{name} ended with {}:\n{}", output.status, last.join("\n"));
    }
    Ok(start.elapsed())
}

fn print(load: &Load, found: &Comparison, [theirs, ours]: [Duration; 2]) {
    println!(
        "| {} | {} | {} | {} | {:.0} s | {:.0} s |",
        load.name,
        found.paths,
        found.volatile,
        found.differences.len(),
        theirs.as_secs_f64(),
        ours.as_secs_f64(),
    );
    for (path, theirs, ours) in found.differences.iter().take(SHOWN) {
        println!("    {path}\n      BuildKit {theirs:?}\n      ours     {ours:?}");
    }
}

impl Images {
    /// Serves a registry's storage to this machine.
    fn serve(storage: &Path, port: u16) -> anyhow::Result<Self> {
        let configuration = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile()
            .context("cannot make a file")?;
        let text = serde_json::json!({
            "version": "0.1",
            "log": {"accesslog": {"disabled": true}, "level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": storage},
                "maintenance": {"readonly": {"enabled": true}},
            },
            "http": {"addr": format!("127.0.0.1:{port}")},
        });
        fs::write(configuration.path(), text.to_string()).context("cannot write a file")?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(configuration.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start docker-registry")?;
        let images = Self(child);
        wait_until("the registry answers", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port))
                .map(drop)
                .context("it does not listen")
        })?;
        Ok(images)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        // It is ours and holds nothing; that it has ended already is fine too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
