//! `cargo xtask demo`: from nothing to an image that runs, on a cluster of its own.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster, PACKAGES, Phases, REGISTRY, REGISTRY_FROM_HOST};
use crate::command::capture;
use crate::deploy::{apply, create_restricted_namespace, deploy};

const NAMESPACE: &str = "stagecraft-demo";
const BUILD: &str = "href-counter";
/// The examples' stand-in for a registry.
const PLACEHOLDER: &str = "registry.example.com";
const LIMIT: Duration = Duration::from_mins(15);
/// The page that the built program counts the links of.
const PAGE: &str = "<html><body><a href=/one>one</a><a href=/two>two</a>\
                    <a href=http://elsewhere.example/>three</a></body></html>";

/// Brings up the cluster, installs the product, builds the first example, and runs the image.
pub(crate) fn run() -> anyhow::Result<()> {
    let cluster = cluster::up()?;
    let phases = Phases::start(cluster.places().logs())?;
    deploy(&cluster, &phases)?;
    create_restricted_namespace(&cluster, NAMESPACE)?;
    forget_last_time(&cluster)?;
    phases.note("kubectl apply -f examples/href-counter/imagebuild.yaml");
    apply(&cluster, &example(&cluster)?)?;
    let build = wait(&cluster, &phases)?;
    phases.note("the ImageBuild is Ready");
    show_build(&build);
    let digest = build["status"]["outputs"][0]["digest"]
        .as_str()
        .context("no digest in status")?;
    show_image(&cluster, digest)?;
    run_image(&cluster, digest)?;
    println!(
        "\nIt ran in namespace {NAMESPACE}, which admits only what passes Pod Security `restricted`.\n\
         Look around:  export KUBECONFIG={}\n              kubectl -n {NAMESPACE} get imagebuilds,pods -o wide",
        cluster.kubeconfig().display()
    );
    Ok(())
}

/// Removes the object of an earlier demo: applied again as it is, it would rightly do nothing.
fn forget_last_time(cluster: &Cluster) -> anyhow::Result<()> {
    let mut command = cluster.program("kubectl");
    command.args(["delete", "imagebuild", BUILD, "--namespace", NAMESPACE]);
    command.args(["--ignore-not-found", "--wait"]);
    crate::command::capture(&mut command).map(drop)
}

/// The first object of the example with its sources, pushing to the cluster's registry. How packages and modules are
/// reached here is said by build arguments, as behind anyone's proxy.
fn example(cluster: &Cluster) -> anyhow::Result<String> {
    let path = cluster
        .places()
        .repository()
        .join("examples/href-counter/imagebuild.yaml");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .replace(PLACEHOLDER, REGISTRY);
    let mut items = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let mut object: Value = serde::Deserialize::deserialize(document)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        if object["kind"] == "ImageBuild" {
            if object["metadata"]["name"] != BUILD {
                continue;
            }
            object["spec"]["buildArgs"] = json!([
                {"name": "http_proxy", "value": PACKAGES},
                {"name": "GOPROXY", "value": format!("{PACKAGES}/go")},
            ]);
        }
        object["metadata"]["namespace"] = json!(NAMESPACE);
        items.push(object);
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn get(cluster: &Cluster) -> anyhow::Result<Value> {
    let mut command = cluster.program("kubectl");
    command.args([
        "get",
        "imagebuild",
        BUILD,
        "--namespace",
        NAMESPACE,
        "--output=json",
    ]);
    serde_json::from_str(&capture(&mut command)?).context("cannot understand the ImageBuild")
}

/// Waits until the build is Ready, saying what changes.
fn wait(cluster: &Cluster, phases: &Phases) -> anyhow::Result<Value> {
    let mut said = String::new();
    let mut build = Value::Null;
    cluster::wait_until("the ImageBuild is Ready", LIMIT, || {
        build = get(cluster)?;
        let current = build["status"]["observedGeneration"] == build["metadata"]["generation"];
        let ready = condition(&build, "Ready");
        let reason = ready["reason"].as_str().unwrap_or("not seen yet");
        let now = format!(
            "    {reason} {}: {}",
            build["status"]["progress"].as_str().unwrap_or_default(),
            ready["message"].as_str().unwrap_or_default()
        );
        if now != said {
            phases.note(&now);
            said = now;
        }
        let stalled = current && condition(&build, "Stalled")["status"] == "True";
        ensure!(
            stalled || (current && ready["status"] == "True"),
            "it is {reason}"
        );
        Ok(())
    })?;
    if condition(&build, "Ready")["status"] != "True" {
        bail!(
            "the build failed: {}",
            serde_json::to_string_pretty(&build["status"]["failure"]).unwrap_or_default()
        );
    }
    Ok(build)
}

fn condition<'a>(build: &'a Value, kind: &str) -> &'a Value {
    build["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind))
        .unwrap_or(&Value::Null)
}

fn show_build(build: &Value) {
    let output = &build["status"]["outputs"][0];
    println!("\ndigest  {}", text(&output["digest"]));
    for image in output["images"].as_array().into_iter().flatten() {
        println!("image   {}", text(image));
    }
    println!(
        "\n{:<5} {:<12} {:<10} {:>5} {:>7}",
        "STAGE", "NAME", "STATE", "STEPS", "CACHED"
    );
    for stage in build["status"]["stages"].as_array().into_iter().flatten() {
        println!(
            "{:<5} {:<12} {:<10} {:>5} {:>7}",
            text(&stage["index"]),
            text(&stage["name"]),
            text(&stage["state"]),
            text(&stage["steps"]),
            text(&stage["cachedSteps"]),
        );
    }
}

/// A value as a person writes it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What is in the image, as a program that is not ours reads it.
fn show_image(cluster: &Cluster, digest: &str) -> anyhow::Result<()> {
    let image = format!("{REGISTRY_FROM_HOST}/demo/{BUILD}@{digest}");
    let crane = |arguments: &[&str]| -> anyhow::Result<String> {
        capture(
            cluster
                .program("crane")
                .args(arguments)
                .arg("--insecure")
                .arg(&image),
        )
    };
    let manifest: Value =
        serde_json::from_str(&crane(&["manifest"])?).context("cannot understand the manifest")?;
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    println!("\nlayers, as crane reads them:");
    for layer in layers {
        println!(
            "    {} {:>10} bytes",
            text(&layer["digest"]),
            text(&layer["size"])
        );
    }
    let archive = cluster.places().cluster().join("demo.tar");
    let mut export = cluster.program("crane");
    export.args(["export", "--insecure", &image]).arg(&archive);
    capture(&mut export)?;
    let names = capture(
        std::process::Command::new("tar")
            .arg("--list")
            .arg("--file")
            .arg(&archive),
    )?;
    fs::remove_file(&archive).context("cannot remove an archive")?;
    println!("\nfiles below /root, and whether the Go SDK is in the image:");
    for name in names.lines().filter(|name| name.starts_with("root/")) {
        println!("    {name}");
    }
    let sdk = names.lines().any(|name| name.starts_with("usr/local/go/"));
    println!(
        "    usr/local/go: {}",
        if sdk { "PRESENT" } else { "absent" }
    );
    ensure!(!sdk, "the Go SDK is in the image");
    Ok(())
}

/// Runs the image as a pod beside a small web page and shows its output.
fn run_image(cluster: &Cluster, digest: &str) -> anyhow::Result<()> {
    let mut kubectl = cluster.program("kubectl");
    kubectl.args([
        "delete",
        "pod",
        BUILD,
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
    ]);
    capture(&mut kubectl)?;
    let confined = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let serve = format!(
        "mkdir /tmp/page && echo '{PAGE}' > /tmp/page/index.html && httpd -f -p 8080 -h /tmp/page"
    );
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": BUILD, "namespace": NAMESPACE},
        "spec": {
            "hostUsers": false,
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{
                "name": "page",
                "image": "busybox:latest",
                "restartPolicy": "Always",
                "command": ["sh", "-c", serve],
                "securityContext": confined,
                "startupProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            }],
            "containers": [{
                "name": BUILD,
                "image": format!("{REGISTRY}/demo/{BUILD}@{digest}"),
                "env": [{"name": "url", "value": "http://127.0.0.1:8080/"}],
                "securityContext": confined,
            }],
        },
    });
    apply(cluster, &pod.to_string())?;
    cluster::wait_until("the image has run", Duration::from_mins(2), || {
        let mut command = cluster.program("kubectl");
        command.args(["get", "pod", BUILD, "--namespace", NAMESPACE]);
        let phase = capture(command.arg("--output=jsonpath={.status.phase}"))?;
        ensure!(
            phase == "Succeeded" || phase == "Failed",
            "its pod is {phase}"
        );
        Ok(())
    })?;
    let mut logs = cluster.program("kubectl");
    logs.args([
        "logs",
        BUILD,
        "--namespace",
        NAMESPACE,
        "--container",
        BUILD,
    ]);
    let output = capture(&mut logs)?;
    println!(
        "\nthe image, run as a pod on a page with three links, prints:\n    {}",
        output.trim()
    );
    ensure!(
        output.contains("\"internal\": 2") && output.contains("\"external\": 1"),
        "that is not what it should print"
    );
    Ok(())
}
