//! Boots a cluster: state directory, keys, namespaces, programs in their order, and the objects of the supplies.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::daemons::{PKI, daemons};
use super::node::{self, NODE_ADDRESS};
use super::phases::{Phases, log_end, run_logged, wait_until};
use super::places::Places;
use super::process::Process;
use super::record::Record;
use super::stamp::Stamp;
use super::{credentials, supplies};
use crate::command::capture;

/// Digest of all that a running cluster was made from.
pub(crate) fn stamp(places: &Places) -> anyhow::Result<String> {
    Ok(Stamp::default()
        .tree(&places.sources().join("node"))?
        .tree(&places.programs().join(".stamps"))?
        .tree(&supplies::stamps(places))?
        .text(&format!("{:?}", daemons()))
        .finish())
}

/// Starts everything from nothing.
pub(crate) fn boot(places: &Places, phases: &Phases, stamp: String) -> anyhow::Result<()> {
    let cluster = places.cluster();
    if cluster.exists() {
        fs::remove_dir_all(&cluster)
            .with_context(|| format!("cannot remove {}", cluster.display()))?;
    }
    phases.run("preparing the node", |log| prepare(places, log))?;
    let mut record = Record {
        stamp,
        booted: false,
        settings: node::settings(),
        node: node::create(places)?,
        daemons: BTreeMap::new(),
    };
    record.write(places)?;
    node::link(places, record.node)?;
    phases.run("starting the control plane", |_| {
        start(
            places,
            &mut record,
            &["etcd", "containerd", "kube-apiserver"],
        )?;
        wait_for_apiserver(places, &record)
    })?;
    phases.run("starting the node and the supplies", |log| {
        let rest: Vec<&str> = daemons()
            .iter()
            .map(|daemon| daemon.name)
            .filter(|name| !record.daemons.contains_key(*name))
            .collect();
        start(places, &mut record, &rest)?;
        let objects = places.sources().join("node/objects.yaml");
        run_logged(
            kubectl(places).args(["apply", "--filename"]).arg(objects),
            log,
        )?;
        import_pause(record.node, log)?;
        wait_for_supplies(log)?;
        wait_for_node(places)?;
        wait_until(
            "namespaces get their service accounts",
            Duration::from_secs(30),
            || {
                let mut command = kubectl(places);
                command.args([
                    "get",
                    "serviceaccount",
                    "default",
                    "--namespace=stagecraft-supplies",
                ]);
                capture(&mut command).map(drop)
            },
        )?;
        ensure_alive(places, &record)
    })?;
    record.booted = true;
    record.write(places)
}

/// Starts again what has died of a cluster whose node lives.
pub(crate) fn restart_dead(
    places: &Places,
    phases: &Phases,
    mut record: Record,
) -> anyhow::Result<()> {
    let dead: Vec<&str> = daemons()
        .iter()
        .map(|daemon| daemon.name)
        .filter(|name| {
            !record
                .daemons
                .get(*name)
                .is_some_and(|daemon| daemon.is_alive())
        })
        .collect();
    if !dead.is_empty() {
        phases.note(&format!(
            "starting again what has ended: {}",
            dead.join(" ")
        ));
        start(places, &mut record, &dead)?;
    }
    wait_for_apiserver(places, &record)?;
    wait_for_node(places)
}

/// Fills the state directory: configuration, keys, storage of the registries.
fn prepare(places: &Places, log: &Path) -> anyhow::Result<()> {
    let configuration = places.configuration();
    for directory in [
        configuration.join("cni"),
        places.daemon_logs(),
        places.cluster().join("home"),
        places.cluster().join("secure-registry"),
    ] {
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let sources = places.sources().join("node");
    for file in [
        "containerd.toml",
        "kubelet.yaml",
        "Corefile",
        "registry.yaml",
        "secure-registry.yaml",
        "htpasswd",
    ] {
        fs::copy(sources.join(file), configuration.join(file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    fs::copy(
        sources.join("bridge.conflist"),
        configuration.join("cni/bridge.conflist"),
    )
    .context("cannot copy bridge.conflist")?;
    // What the node itself uses is what its pods inherit with dnsPolicy Default: no name service at all.
    fs::write(configuration.join("resolv.conf"), "").context("cannot write resolv.conf")?;
    write_registry_hosts(&configuration.join("certs.d"))?;
    credentials::create(places, log)?;
    // The registry gets a copy: what tests push must not reach the cache.
    run_logged(
        Command::new("cp")
            .args(["--recursive", "--reflink=auto"])
            .arg(supplies::registry_storage(places))
            .arg(places.cluster().join("registry")),
        log,
    )
}

/// Tells the container runtime where to find the registries: it knows no cluster names.
fn write_registry_hosts(directory: &Path) -> anyhow::Result<()> {
    let plain = format!("server = \"http://{NODE_ADDRESS}:5000\"\n");
    let secure =
        format!("server = \"https://{NODE_ADDRESS}:5443\"\nca = \"{PKI}/supplies-ca.crt\"\n");
    for (host, content) in [
        ("docker.io", &plain),
        (super::REGISTRY, &plain),
        (super::SECURE_REGISTRY, &secure),
    ] {
        let directory = directory.join(host);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(directory.join("hosts.toml"), content))
            .with_context(|| format!("cannot write {}/hosts.toml", directory.display()))?;
    }
    Ok(())
}

/// Starts the named programs and records each at once.
fn start(places: &Places, record: &mut Record, names: &[&str]) -> anyhow::Result<()> {
    for daemon in daemons() {
        if names.contains(&daemon.name) {
            let process = node::start_daemon(places, record.node, daemon.name, &daemon.command)?;
            record.daemons.insert(daemon.name.to_owned(), process);
            record.write(places)?;
        }
    }
    Ok(())
}

/// `kubectl` as administrator.
pub(crate) fn kubectl(places: &Places) -> Command {
    let mut command = Command::new(places.programs().join("kubectl"));
    command.env("KUBECONFIG", places.kubeconfig());
    command
}

fn wait_for_apiserver(places: &Places, record: &Record) -> anyhow::Result<()> {
    let log = places.daemon_logs().join("kube-apiserver.log");
    wait_until("the apiserver is ready", Duration::from_secs(60), || {
        for name in ["etcd", "kube-apiserver"] {
            if record
                .daemons
                .get(name)
                .is_some_and(|daemon| !daemon.is_alive())
            {
                // Waiting on is pointless; the check below says why.
                return Ok(());
            }
        }
        capture(kubectl(places).args(["get", "--raw=/readyz", "--request-timeout=2s"]))
            .map(drop)
            .with_context(|| log_end(&log))
    })?;
    ensure_alive(places, record)
}

/// Fails with the last words of a program that has ended.
fn ensure_alive(places: &Places, record: &Record) -> anyhow::Result<()> {
    for (name, daemon) in &record.daemons {
        let log = places.daemon_logs().join(format!("{name}.log"));
        ensure!(daemon.is_alive(), "{name} has ended; {}", log_end(&log));
    }
    Ok(())
}

fn wait_for_node(places: &Places) -> anyhow::Result<()> {
    let log = places.daemon_logs().join("kubelet.log");
    wait_until("the node is ready", Duration::from_secs(60), || {
        let ready = capture(kubectl(places).args([
            "get",
            "node",
            "stagecraft",
            "--output=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
        ]))?;
        ensure!(ready == "True", "{}", log_end(&log));
        Ok(())
    })?;
    // Without it the isolation that builds rely on would silently be another one.
    let features = capture(kubectl(places).args([
        "get",
        "node",
        "stagecraft",
        "--output=jsonpath={.status.runtimeHandlers[*].features.userNamespaces}",
    ]))?;
    ensure!(
        features.contains("true"),
        "the node offers no user namespaces for pods: it needs Linux 6.3 or later and files that can be mapped to other owners"
    );
    Ok(())
}

fn wait_for_supplies(log: &Path) -> anyhow::Result<()> {
    for (url, authority) in [
        (format!("http://{}/v2/", super::REGISTRY_FROM_HOST), false),
        (format!("http://{NODE_ADDRESS}:8080/healthz"), false),
        // A challenge is an answer too: this one is asked without its password.
        (
            format!("https://{}/", super::SECURE_REGISTRY_FROM_HOST),
            true,
        ),
    ] {
        wait_until(&format!("{url} answers"), Duration::from_secs(20), || {
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
                "--max-time",
                "2",
            ]);
            if authority {
                curl.arg("--insecure");
            }
            run_logged(curl.arg(&url), log)
        })?;
    }
    Ok(())
}

/// Gives the container runtime the image that holds a pod's namespaces.
fn import_pause(node: Process, log: &Path) -> anyhow::Result<()> {
    wait_until("containerd answers", Duration::from_secs(20), || {
        run_logged(node::enter(node).args(["ctr", "version"]), log)
    })?;
    run_logged(
        node::enter(node).args([
            "ctr",
            "--namespace=k8s.io",
            "images",
            "import",
            "/run/stagecraft/supplies/pause.tar",
        ]),
        log,
    )
}
