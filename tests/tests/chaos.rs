//! The operator and pods are killed at bad moments: a build ends once, with the right image.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use stagecraft_e2e::build::{BUILD_LIMIT, spec_of};
use stagecraft_e2e::cluster::{Cluster, SYSTEM_NAMESPACE};
use stagecraft_e2e::{Build, in_namespace, wait};

const STEPS: &str = "FROM busybox:latest\nRUN sleep 15\nRUN echo survived > /result\n";

/// Kills the operator's pod without notice and returns when another one is ready.
fn kill_operator(cluster: &Cluster) -> anyhow::Result<()> {
    let selector = "--selector=app.kubernetes.io/name=stagecraft";
    let names = || -> anyhow::Result<Vec<String>> {
        let text = cluster.kubectl(&[
            "--namespace",
            SYSTEM_NAMESPACE,
            "get",
            "pods",
            selector,
            "--field-selector=status.phase=Running",
            "--output=name",
        ])?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let before = names()?;
    ensure!(!before.is_empty(), "no pod of the operator is found");
    let mut arguments = vec![
        "--namespace",
        SYSTEM_NAMESPACE,
        "delete",
        "--grace-period=0",
        "--force",
        // Another test may have killed the same pod.
        "--ignore-not-found",
    ];
    arguments.extend(before.iter().map(String::as_str));
    cluster.kubectl(&arguments)?;
    wait::until("another operator runs", Duration::from_secs(90), || {
        Ok(names()?
            .iter()
            .any(|name| !before.contains(name))
            .then_some(()))
    })
}

/// Checks that a build ended once: one run, this many attempts, and the image that it should have.
fn ended_once(build: &Build<'_>, attempts: i32) -> anyhow::Result<()> {
    let image = build.succeeds()?;
    let text = image.text_of("result")?;
    ensure!(text == "survived\n", "the image holds {text:?}");
    let run = build.status()?.run.context("no run in the status")?;
    ensure!(run.number == 1, "it took {} runs", run.number);
    ensure!(run.attempt <= attempts, "it took {} attempts", run.attempt);
    ensure!(
        build.pods()?.len() <= 1,
        "pods of earlier attempts are left: {:?}",
        build.pods()?
    );
    Ok(())
}

#[test]
fn the_operator_is_killed_while_a_pod_runs() -> anyhow::Result<()> {
    in_namespace("operator-killed", |namespace| {
        let build = Build::of_dockerfile(namespace, "survivor", STEPS)?;
        build.running_pod()?;
        kill_operator(&namespace.cluster)?;
        ended_once(&build, 1)
    })
}

#[test]
fn the_operator_is_killed_right_after_it_created_a_pod() -> anyhow::Result<()> {
    in_namespace("operator-killed-early", |namespace| {
        let build = Build::of_dockerfile(namespace, "survivor", STEPS)?;
        wait::until("the pod is created", BUILD_LIMIT, || {
            Ok((!build.pods()?.is_empty()).then_some(()))
        })?;
        kill_operator(&namespace.cluster)?;
        ended_once(&build, 1)
    })
}

#[test]
fn the_pod_is_deleted_while_it_runs() -> anyhow::Result<()> {
    in_namespace("pod-deleted", |namespace| {
        let build = Build::of_dockerfile(namespace, "survivor", STEPS)?;
        let pod = build.running_pod()?;
        namespace.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"])?;
        ended_once(&build, 2)
    })
}

#[test]
fn the_pod_is_deleted_while_it_pushes() -> anyhow::Result<()> {
    in_namespace("pod-deleted-late", |namespace| {
        // Random bytes do not compress: their layer takes some seconds to push.
        let dockerfile = "FROM busybox:latest\nRUN head -c 300000000 /dev/urandom > /noise\n\
                          RUN echo survived > /result\n";
        let mut spec = spec_of(namespace, "survivor", dockerfile);
        spec["pod"] = json!({"resources": {"limits": {"memory": "1Gi"}}});
        let build = Build::apply(namespace, "survivor", &spec)?;
        build.running_pod()?;
        let pod = wait::until("it exports", BUILD_LIMIT, || {
            let Ok(log) = build.log("engine") else {
                return Ok(None);
            };
            let exports = log.lines().any(|line| {
                line.contains("[internal]") && (line.contains("export") || line.contains("push"))
            });
            Ok(exports
                .then(|| build.status().ok()?.run?.pod_name)
                .flatten())
        })?;
        namespace.kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"])?;
        ended_once(&build, 2)
    })
}
