//! Installs the product in the test cluster: our two images and the chart, as on anyone's cluster.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::cluster::{self, Cluster, Phases, REGISTRY, run_logged};
use crate::images;

/// Namespace of the operator.
pub(crate) const NAMESPACE: &str = "stagecraft-system";

/// `cargo xtask deploy`: the product as it is in this checkout, in the test cluster.
pub(crate) fn run() -> anyhow::Result<Cluster> {
    let cluster = cluster::up()?;
    let phases = Phases::start(cluster.places().logs())?;
    deploy(&cluster, &phases)?;
    phases.finish("the operator is ready");
    Ok(cluster)
}

/// Builds, pushes and installs what changed since the last time, and waits until the operator is ready.
pub(crate) fn deploy(cluster: &Cluster, phases: &Phases) -> anyhow::Result<()> {
    let images = images::push(cluster, phases)?;
    let values = json!({
        "image": {"repository": format!("{REGISTRY}/stagecraft/operator"), "digest": images.operator},
        "builder": {"image": {"repository": format!("{REGISTRY}/stagecraft/builder"), "digest": images.builder}},
        "builds": {
            // Requests are what one small node divides among all builds of the tests.
            "pod": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
            "registries": [
            {"host": "docker.io", "mirrors": [format!("http://{REGISTRY}")]},
            {"host": REGISTRY, "plainHTTP": true},
        ]},
    });
    phases.run("installing the chart", |log| {
        create_restricted_namespace(cluster, NAMESPACE)?;
        let file = cluster.places().cluster().join("values.json");
        fs::write(&file, values.to_string()).context("cannot write the chart's values")?;
        let mut helm = cluster.program("helm");
        helm.args(["upgrade", "--install", "stagecraft"])
            .arg(cluster.places().repository().join("charts/stagecraft"))
            .args([
                "--namespace",
                NAMESPACE,
                "--wait",
                "--timeout",
                "3m",
                "--values",
            ])
            .arg(&file);
        run_logged(&mut helm, log)
    })
}

/// Creates a namespace that admits only what passes Pod Security `restricted`, unless it is there.
pub(crate) fn create_restricted_namespace(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    apply(
        cluster,
        &json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            }},
        })
        .to_string(),
    )?;
    // The controller that makes it is some moments behind; a pod without it is refused.
    cluster::wait_until(
        "the namespace has its service account",
        std::time::Duration::from_secs(30),
        || {
            let mut command = cluster.program("kubectl");
            command.args(["get", "serviceaccount", "default", "--namespace", name]);
            crate::command::capture(&mut command).map(drop)
        },
    )
}

/// Applies objects given as YAML or JSON.
pub(crate) fn apply(cluster: &Cluster, objects: &str) -> anyhow::Result<()> {
    let mut command: Command = cluster.program("kubectl");
    let mut kubectl = command
        .args(["apply", "--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start kubectl")?;
    if let Some(mut input) = kubectl.stdin.take() {
        input
            .write_all(objects.as_bytes())
            .context("kubectl does not read its input")?;
    }
    let status = kubectl.wait().context("cannot wait for kubectl")?;
    ensure!(status.success(), "kubectl apply ended with {status}");
    Ok(())
}
