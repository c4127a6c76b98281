//! `cargo xtask cluster up|down|status`: a real Kubernetes on this machine, and supplies for it.
//!
//! The listing of this directory is the flow: `packages` (Debian's) and `programs` (Go modules) make what runs,
//! `supplies` what the pods of a machine without internet need, `node` the namespaces that all of it runs in,
//! `credentials` its keys, `boot` starts it, `record` remembers what runs, `status` tells.
//!
//! Invariant: all state lies in one directory below the user's cache directory, and every mount, process, bridge and
//! rule in namespaces of the node's own, so that they end with its process 1.
//! Invariant: nothing listens but on addresses inside the node's network namespace; the host reaches them by one link.

mod boot;
mod credentials;
mod daemons;
mod node;
mod packages;
mod phases;
mod places;
mod process;
mod programs;
mod record;
mod stamp;
mod status;
mod supplies;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Subcommand;

pub(crate) use self::phases::{Phases, run_logged, wait_until};
pub(crate) use self::places::Places;
use self::record::Record;
pub(crate) use self::stamp::hexadecimal;

/// The plain-http registry as pods and the node's container runtime name it.
pub(crate) const REGISTRY: &str = "registry.stagecraft-supplies:5000";
/// The same registry as programs on this machine reach it.
pub(crate) const REGISTRY_FROM_HOST: &str = "10.200.0.1:5000";
/// The registry with TLS and a password as pods name it.
pub(crate) const SECURE_REGISTRY: &str = "secure-registry.stagecraft-supplies:5443";
/// The same registry as programs on this machine reach it.
pub(crate) const SECURE_REGISTRY_FROM_HOST: &str = "10.200.0.1:5443";
/// A user that may pull from and push to [`SECURE_REGISTRY`], and the password that `htpasswd` has the hash of.
const SECURE_REGISTRY_LOGIN: (&str, &str) = ("builder", "open-sesame");
/// The package server as pods name it: an http proxy for `apt-get`, and a Go module proxy below `/go`.
pub(crate) const PACKAGES: &str = "http://packages.stagecraft-supplies:8080";

/// The release of Debian that base images are made of, and an apt source file for the mirror that this machine uses.
pub(crate) fn debian_sources() -> anyhow::Result<(&'static str, String)> {
    supplies::debian_sources()
}

/// What can be done with the cluster.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Build what is missing, boot Kubernetes and its supplies; quick where all of it is there
    Up,
    /// End everything that `up` started and remove its state; what was built stays cached
    Down,
    /// Say what runs, how it is, and how to reach it
    Status,
}

/// Builds BuildKit's programs, and the runc that they need, where that was not done before.
pub(crate) fn build_buildkit(places: &Places) -> anyhow::Result<()> {
    let _lock = places.lock()?;
    let phases = Phases::start(places.logs())?;
    programs::build_buildkit(places, &phases)
}

/// Makes the base images where that was not done before; returns where a registry finds them.
pub(crate) fn base_images() -> anyhow::Result<PathBuf> {
    let places = Places::find()?;
    let _lock = places.lock()?;
    let phases = Phases::start(places.logs())?;
    packages::install(&phases)?;
    programs::build(&places, &phases)?;
    supplies::prepare(&places, &phases)?;
    Ok(supplies::registry_storage(&places))
}

/// Carries out `action`.
pub(crate) fn run(action: &Action) -> anyhow::Result<()> {
    let places = Places::find()?;
    match action {
        Action::Up => {
            let cluster = up()?;
            println!("\nexport KUBECONFIG={}", cluster.kubeconfig().display());
            println!("export PATH={}:$PATH", places.programs().display());
            Ok(())
        }
        Action::Down => down(&places),
        Action::Status => status::print(&places),
    }
}

/// A cluster that runs.
pub(crate) struct Cluster {
    places: Places,
}

impl Cluster {
    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.places.kubeconfig()
    }

    /// One of the programs that belong to the cluster, set up to talk to it: `kubectl`, `helm`, `crane`.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.places.programs().join(name));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// The directories of the cluster.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }
}

/// Sees to it that the cluster runs, building and booting what is missing.
pub(crate) fn up() -> anyhow::Result<Cluster> {
    ensure_root()?;
    let places = Places::find()?;
    let _lock = places.lock()?;
    let phases = Phases::start(places.logs())?;
    packages::install(&phases)?;
    programs::build(&places, &phases)?;
    supplies::prepare(&places, &phases)?;
    let stamp = boot::stamp(&places)?;
    match Record::read(&places)? {
        Some(record) if record.booted && record.stamp == stamp && record.node.is_alive() => {
            boot::restart_dead(&places, &phases, record)?;
        }
        Some(record) => {
            phases.note(if record.booted && record.node.is_alive() {
                "the running cluster was made from other sources: booting it anew"
            } else {
                "the last cluster was not started or ended in an orderly way: clearing it up"
            });
            node::destroy(&places, &record)?;
            boot::boot(&places, &phases, stamp)?;
        }
        None => boot::boot(&places, &phases, stamp)?,
    }
    write_supplies(&places)?;
    phases.finish("the cluster is up");
    Ok(Cluster { places })
}

/// Writes down, beside the kubeconfig, where the supplies are: the end-to-end tests read it.
fn write_supplies(places: &Places) -> anyhow::Result<()> {
    let (user, password) = SECURE_REGISTRY_LOGIN;
    let supplies = serde_json::json!({
        "registry": {"host": REGISTRY, "fromHere": REGISTRY_FROM_HOST},
        "secureRegistry": {
            "host": SECURE_REGISTRY,
            "fromHere": SECURE_REGISTRY_FROM_HOST,
            "user": user,
            "password": password,
            "authority": places.pki().join("supplies-ca.crt"),
        },
        "packages": PACKAGES,
    });
    let path = places.kubeconfig().with_file_name("supplies.json");
    std::fs::write(&path, supplies.to_string())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn down(places: &Places) -> anyhow::Result<()> {
    ensure_root()?;
    let _lock = places.lock()?;
    match Record::read(places)? {
        Some(record) => {
            node::destroy(places, &record)?;
            println!("the cluster is down; nothing of it is left but what was built");
        }
        None => println!("no cluster runs here"),
    }
    Ok(())
}

fn ensure_root() -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let user = std::fs::metadata("/proc/self")
        .context("cannot read /proc")?
        .uid();
    ensure!(
        user == 0,
        "the test cluster needs root: it makes namespaces, cgroups and mounts.\n\
         Try `sudo --preserve-env=PATH,HOME cargo xtask cluster up`, or use a cluster of your own (see README.md)."
    );
    Ok(())
}
