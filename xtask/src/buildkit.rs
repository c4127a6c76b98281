//! BuildKit on this machine, built from its Go module: the judge that `cargo xtask test engine --against buildkit` asks.
//!
//! Invariant: the daemon ends with the value that stands for it, by the process that was started and no other.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::cluster::{Places, build_buildkit, wait_until};

/// A daemon that runs, with a state of its own that is empty at the start.
pub(crate) struct BuildKit {
    process: Child,
    address: String,
    buildctl: PathBuf,
    mirror: u16,
    state: tempfile::TempDir,
}

impl BuildKit {
    /// Builds it where that was not done before, and starts it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let user = fs::metadata("/proc/self")
            .context("cannot read /proc")?
            .uid();
        ensure!(
            user == 0,
            "BuildKit needs root here: it mounts layers and runs runc"
        );
        let places = Places::find()?;
        build_buildkit(&places)?;
        let programs = places.programs();
        let parent = places.bench();
        fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let state = tempfile::Builder::new()
            .prefix("buildkit-")
            .tempdir_in(&parent)
            .context("cannot make a directory for BuildKit's state")?;
        let mirror = free_port()?;
        let address = format!("unix://{}/socket", state.path().display());
        let process = spawn(&programs, state.path(), &address, mirror)?;
        let daemon = Self {
            process,
            address,
            buildctl: programs.join("buildctl"),
            mirror,
            state,
        };
        daemon.wait()?;
        Ok(daemon)
    }

    /// The address that `buildctl --addr` takes.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The client.
    pub(crate) fn buildctl(&self) -> &Path {
        &self.buildctl
    }

    /// The port of the loopback where it looks for the images of docker.io.
    pub(crate) fn mirror(&self) -> u16 {
        self.mirror
    }

    fn wait(&self) -> anyhow::Result<()> {
        let log = self.state.path().join("log");
        wait_until("BuildKit answers", Duration::from_mins(1), || {
            let mut ask = Command::new(&self.buildctl);
            ask.args(["--addr", &self.address, "debug", "workers"]);
            let answer = ask.output().context("cannot start buildctl")?;
            ensure!(
                answer.status.success(),
                "its log ends with:\n{}",
                end_of(&log)
            );
            Ok(())
        })
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        // SIGTERM lets it unmount what it mounted; it has no children then.
        let id = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn spawn(programs: &Path, state: &Path, address: &str, mirror: u16) -> anyhow::Result<Child> {
    let bin = state.join("bin");
    fs::create_dir(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    symlink(programs.join("runc"), bin.join("runc")).context("cannot link runc")?;
    let configuration = state.join("buildkitd.toml");
    fs::write(&configuration, self::configuration(state, address, mirror))
        .with_context(|| format!("cannot write {}", configuration.display()))?;
    let log = File::create(state.join("log")).context("cannot create BuildKit's log")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))
        .context("PATH cannot be extended")?;
    let mut daemon = Command::new(programs.join("buildkitd"));
    daemon.arg("--config").arg(&configuration).env("PATH", path);
    daemon
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    daemon.spawn().context("cannot start buildkitd")
}

/// Only the images that the tests serve can be had, and a build step shares this machine's network.
fn configuration(state: &Path, address: &str, mirror: u16) -> String {
    format!(
        "root = \"{root}\"\n\
         [grpc]\naddress = [\"{address}\"]\n\
         [worker.containerd]\nenabled = false\n\
         [worker.oci]\nenabled = true\nsnapshotter = \"overlayfs\"\nnetworkMode = \"host\"\n\
         gc = false\n\
         [registry.\"docker.io\"]\nmirrors = [\"127.0.0.1:{mirror}\"]\n\
         [registry.\"127.0.0.1:{mirror}\"]\nhttp = true\n",
        root = state.join("root").display(),
    )
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
    Ok(listener
        .local_addr()
        .context("a port has no number")?
        .port())
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
