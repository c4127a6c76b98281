//! The node: fresh namespaces of mounts, processes, network, ipc and host name, held by one process.
//!
//! `tests/cluster/node/node.sh` sets them up from inside. Ending its process ends all of them: every program and pod,
//! every mount, the bridge, the rules of kube-proxy and the link to the host.
//!
//! Invariant: outside the namespaces the cluster changes the link `stagecraft-host`, cgroups named `stagecraft` and the
//! kernel settings of [`SETTINGS`]; [`destroy`] takes all three back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::phases::{log_end, run_logged, wait_until};
use super::places::Places;
use super::process::Process;
use super::record::Record;
use crate::command::capture;

/// The node's address on its bridge. `tests/cluster/node` has it too.
pub(crate) const NODE_ADDRESS: &str = "10.200.0.1";
/// The cgroup above all pods, in every hierarchy. `kubelet.yaml` has it too.
const CGROUP: &str = "stagecraft";
const HOST_LINK: &str = "stagecraft-host";
const HOST_ADDRESS: &str = "10.200.0.2/24";
const NETWORK: &str = "10.200.0.0/24";
/// How long the link of an earlier cluster may take to go.
const NETWORK_LIMIT: Duration = Duration::from_secs(30);
/// Kernel settings outside of every namespace that a kubelet writes at its start.
const SETTINGS: &[&str] = &[
    "/proc/sys/kernel/keys/root_maxbytes",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
];

/// The kernel settings as they are.
pub(crate) fn settings() -> BTreeMap<PathBuf, String> {
    SETTINGS
        .iter()
        .filter_map(|path| Some((PathBuf::from(path), fs::read_to_string(path).ok()?)))
        .collect()
}

/// Makes the namespaces and the link; returns their process 1.
pub(crate) fn create(places: &Places) -> anyhow::Result<Process> {
    // The link of a cluster that was just cleared goes a moment after its namespaces.
    super::wait_until(
        "the network of the test cluster is free",
        NETWORK_LIMIT,
        || {
            let routes =
                capture(Command::new("ip").args(["-4", "route", "show", "root", NETWORK]))?;
            ensure!(
                routes.trim().is_empty(),
                "the network {NETWORK} of the test cluster is in use on this machine, perhaps by a cluster of another \
             user or cache directory: {}",
                routes.trim()
            );
            Ok(())
        },
    )?;
    for root in cgroup_hierarchies()? {
        let cgroup = root.join(CGROUP);
        fs::create_dir_all(&cgroup)
            .with_context(|| format!("cannot create {}", cgroup.display()))?;
    }
    let ready = places.cluster().join("ready");
    let log = places.daemon_logs().join("node.log");
    let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let errors = output.try_clone().context("cannot share a log file")?;
    let holder = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
        ])
        .args(["--mount-proc", "--propagation", "private", "/bin/sh"])
        .arg(places.sources().join("node/node.sh"))
        .args([places.cluster(), places.programs(), places.supplies()])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context("cannot start unshare")?;
    let holder = Process::identify(holder.id())?;
    let mut node = None;
    wait_until(
        "the node's namespaces are ready",
        Duration::from_secs(10),
        || {
            node = Some(holder.first_child().context(log_end(&log))?);
            ensure!(ready.exists(), "{}", log_end(&log));
            Ok(())
        },
    )?;
    node.context("the node has no process")
}

/// Joins the node's bridge and the host. The node is recorded before: its end takes the link with it.
pub(crate) fn link(places: &Places, node: Process) -> anyhow::Result<()> {
    let log = places.daemon_logs().join("node.log");
    let namespace = node.id.to_string();
    for arguments in [
        &[
            "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns", &namespace,
        ][..],
        &["address", "add", HOST_ADDRESS, "dev", HOST_LINK],
        &["link", "set", HOST_LINK, "up"],
    ] {
        run_logged(Command::new("ip").args(arguments), &log)?;
    }
    let mut inside = enter(node);
    inside.args(["ip", "link", "set", "host", "master", "stagecraft0", "up"]);
    run_logged(&mut inside, &log)
}

/// A command inside the node's namespaces; the caller adds the program and its arguments.
pub(crate) fn enter(node: Process) -> Command {
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &node.id.to_string()])
        .args(["--mount", "--net", "--pid", "--ipc", "--uts"])
        // Nothing of the caller's surroundings, proxies least of all, may steer the cluster.
        .env_clear()
        .env(
            "PATH",
            "/run/stagecraft/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/run/stagecraft/cluster/home");
    command
}

/// Starts a program that stays in the node's namespaces, with its output in a log file of its name.
pub(crate) fn start_daemon(
    places: &Places,
    node: Process,
    name: &str,
    command_line: &[String],
) -> anyhow::Result<Process> {
    let log = places.daemon_logs().join(format!("{name}.log"));
    let output = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let errors = output.try_clone().context("cannot share a log file")?;
    let daemon = enter(node)
        .args(command_line)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    Process::identify(daemon.id())
}

/// Ends everything that `record` names and removes all state of the cluster.
pub(crate) fn destroy(places: &Places, record: &Record) -> anyhow::Result<()> {
    let was_alive = record.node.is_alive();
    record.node.kill()?;
    for (name, daemon) in &record.daemons {
        wait_until(&format!("{name} ends"), Duration::from_secs(20), || {
            ensure!(!daemon.is_alive(), "process {} is still there", daemon.id);
            Ok(())
        })?;
    }
    for (path, value) in &record.settings {
        fs::write(path, value).with_context(|| format!("cannot restore {}", path.display()))?;
    }
    for root in cgroup_hierarchies()? {
        remove_cgroup(&root.join(CGROUP))?;
    }
    if was_alive {
        // The link goes with its other end, which the kernel clears up some time after the namespace's last process;
        // that it has done so already is fine. The link of a node that was dead before has long gone.
        let _ = capture(Command::new("ip").args(["link", "delete", HOST_LINK]));
    }
    let cluster = places.cluster();
    wait_until(
        "the cluster's files are released",
        Duration::from_secs(10),
        || {
            fs::remove_dir_all(&cluster)
                .with_context(|| format!("cannot remove {}", cluster.display()))
        },
    )
}

/// The mount points of every cgroup hierarchy of this machine, of version 1 and 2.
fn cgroup_hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    Ok(mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let point = fields.nth(1)?;
            let kind = fields.next()?;
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
        })
        .collect())
}

/// Removes a cgroup with all below it. Its processes have been killed; the kernel may take a moment to forget them.
fn remove_cgroup(cgroup: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(cgroup) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path())?;
        }
    }
    wait_until("a cgroup is empty", Duration::from_secs(10), || {
        fs::remove_dir(cgroup).with_context(|| format!("cannot remove {}", cgroup.display()))
    })
}
