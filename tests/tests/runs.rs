//! When a run starts, when none does, and how one is ended: by edit, request, suspension, deletion and time to live.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use stagecraft_api::reasons::Reason;
use stagecraft_api::v1alpha1::Trigger;
use stagecraft_e2e::build::{BUILD_LIMIT, OPERATOR_LIMIT, spec_of};
use stagecraft_e2e::{Build, in_namespace, wait};

const SLOW: &str = "FROM busybox:latest\nRUN sleep 300\nRUN echo slow > /which\n";
const FAST: &str = "FROM busybox:latest\nRUN echo fast > /which\n";

#[test]
fn the_same_object_again_does_nothing_and_a_request_starts_a_run() -> anyhow::Result<()> {
    in_namespace("again", |namespace| {
        let mut spec = spec_of(namespace, "again", FAST);
        spec["timestamps"] = json!("Zero");
        let build = Build::apply(namespace, "again", &spec)?;
        let first = build.succeeds()?;
        let before = build.object()?;
        Build::apply(namespace, "again", &spec)?;
        // Only an edit that the operator has to look at shows that it had the chance to do something.
        build.patch(&json!({"retries": 1}))?;
        build.wait_for("the edit is seen", OPERATOR_LIMIT, |_| Some(()))?;
        let run = |object: &stagecraft_api::v1alpha1::ImageBuild| {
            object
                .status
                .as_ref()
                .and_then(|status| status.run.as_ref())
                .map(|run| run.number)
        };
        ensure!(
            run(&before) == Some(1),
            "the first run has number {:?}",
            run(&before)
        );
        ensure!(
            run(&build.object()?) == Some(1),
            "an edit that changes no image started a run"
        );
        build.request("now")?;
        build.wait_for("the requested run ends", BUILD_LIMIT, |status| {
            let run = status.run.as_ref()?;
            (run.number == 2 && run.result.is_some()).then_some(())
        })?;
        let second = build.succeeds()?;
        let trigger = build.status()?.run.map(|run| run.trigger);
        ensure!(
            trigger == Some(Trigger::Requested),
            "the second run was started by {trigger:?}"
        );
        ensure!(
            first.digest == second.digest,
            "with timestamps: Zero, the same inputs gave another digest"
        );
        Ok(())
    })
}

#[test]
fn an_edit_ends_the_old_pod_first_and_the_new_image_wins() -> anyhow::Result<()> {
    in_namespace("edit", |namespace| {
        let build = Build::of_dockerfile(namespace, "edit", SLOW)?;
        let old = build.running_pod()?;
        build.patch(&json!({"dockerfile": {"inline": FAST}}))?;
        let image = build.succeeds()?;
        let text = image.text_of("which")?;
        ensure!(text == "fast\n", "the image is of the {text:?} spec");
        ensure!(!build.pods()?.contains(&old), "the old pod is still there");
        let run = build.status()?.run.context("no run in the status")?;
        ensure!(
            run.number == 2 && run.trigger == Trigger::SpecChanged,
            "{run:?}"
        );
        Ok(())
    })
}

#[test]
fn suspension_ends_a_run_and_its_end_starts_one() -> anyhow::Result<()> {
    in_namespace("suspend", |namespace| {
        let build = Build::of_dockerfile(namespace, "suspend", SLOW)?;
        let pod = build.running_pod()?;
        build.patch(&json!({"suspend": true}))?;
        build.waits(Reason::Suspended)?;
        wait::until("the suspended pod ends", OPERATOR_LIMIT, || {
            let object = namespace.get(&["pod", &pod]);
            let running = object.is_ok_and(|object| object["status"]["phase"] == "Running");
            Ok((!running).then_some(()))
        })?;
        build.patch(&json!({"suspend": false, "dockerfile": {"inline": FAST}}))?;
        build.succeeds()?;
        Ok(())
    })
}

#[test]
fn deleting_the_object_ends_its_pod() -> anyhow::Result<()> {
    in_namespace("delete", |namespace| {
        let build = Build::of_dockerfile(namespace, "delete", SLOW)?;
        build.running_pod()?;
        namespace.kubectl(&["delete", "imagebuild", "delete", "--timeout=60s"])?;
        wait::until("pods and request are gone", OPERATOR_LIMIT, || {
            let left = namespace.kubectl(&["get", "pods,configmaps", "--output=name"])?;
            let left = left
                .lines()
                .filter(|name| *name != "configmap/kube-root-ca.crt")
                .count();
            Ok((left == 0).then_some(()))
        })
    })
}

#[test]
fn a_plan_shows_stages_and_pushes_nothing() -> anyhow::Result<()> {
    in_namespace("plan", |namespace| {
        let mut spec = spec_of(
            namespace,
            "plan",
            "FROM busybox:latest AS a\nRUN touch /a\nFROM a AS b\nRUN touch /b\n",
        );
        spec["mode"] = json!("Plan");
        let build = Build::apply(namespace, "plan", &spec)?;
        let status = build.wait_for("the plan is made", BUILD_LIMIT, |status| {
            let ready = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")?;
            (ready.status == "True").then(|| (ready.reason.clone(), status.clone()))
        })?;
        ensure!(
            status.0 == Reason::Planned.as_str(),
            "its reason is {}",
            status.0
        );
        ensure!(status.1.outputs.is_empty(), "a plan has outputs");
        let names: Vec<&str> = status
            .1
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        ensure!(names == ["a", "b"], "its stages are {names:?}");
        build.has_pushed_nothing()
    })
}

#[test]
fn the_last_pod_goes_when_its_time_is_over() -> anyhow::Result<()> {
    in_namespace("time-to-live", |namespace| {
        let mut spec = spec_of(namespace, "short", FAST);
        spec["ttlAfterFinished"] = json!("1s");
        let build = Build::apply(namespace, "short", &spec)?;
        build.succeeds()?;
        wait::until("its pod is gone", OPERATOR_LIMIT, || {
            Ok(build.pods()?.is_empty().then_some(()))
        })?;
        build.succeeds()?;
        Ok(())
    })
}

#[test]
fn several_images_get_one_digest_and_the_labels() -> anyhow::Result<()> {
    in_namespace("several", |namespace| {
        let mut spec = spec_of(namespace, "several", FAST);
        let repository = namespace.repository("several");
        spec["outputs"][0]["images"] = json!([
            format!("{repository}:one"),
            format!("{repository}:two"),
            format!("{repository}-too:one")
        ]);
        spec["outputs"][0]["labels"] = json!({"example.com/team": "blue"});
        let build = Build::apply(namespace, "several", &spec)?;
        let image = build.succeeds()?;
        let from_here = &namespace.cluster.supplies.registry.from_here;
        for name in ["several:one", "several:two", "several-too:one"] {
            let reference = format!("{from_here}/{}/{name}", namespace.name);
            let digest = namespace
                .cluster
                .crane(&["digest", "--insecure", &reference])?;
            ensure!(digest.trim() == image.digest, "{name} is {digest}");
        }
        let config = image.config()?;
        ensure!(
            config["config"]["Labels"]["example.com/team"] == "blue",
            "the label is not there"
        );
        Ok(())
    })
}

#[test]
fn people_and_scripts_see_the_result_with_kubectl() -> anyhow::Result<()> {
    in_namespace("kubectl", |namespace| {
        let build = Build::of_dockerfile(namespace, "seen", FAST)?;
        let limit = format!("--timeout={}s", BUILD_LIMIT.as_secs());
        namespace.kubectl(&["wait", "--for=condition=Ready", &limit, "imagebuild/seen"])?;
        let table = namespace.kubectl(&["get", "ib", "seen", "--output=wide"])?;
        let digest = build.succeeds()?.digest;
        for word in [
            "READY",
            "REASON",
            "PROGRESS",
            "DIGEST",
            "True",
            "Succeeded",
            "1/1",
            &digest,
        ] {
            ensure!(table.contains(word), "the table has no {word}:\n{table}");
        }
        let log = build.log("engine")?;
        ensure!(
            log.contains("RUN echo fast"),
            "the engine's log does not show the step:\n{log}"
        );
        Ok(())
    })
}

#[test]
fn a_build_never_looks_finished_before_it_is() -> anyhow::Result<()> {
    in_namespace("kstatus", |namespace| {
        let build = Build::of_dockerfile(namespace, "honest", FAST)?;
        wait::until("it is Ready", Duration::from_secs(420), || {
            let object = build.object()?;
            let status = object.status.unwrap_or_default();
            let condition = |kind: &str| {
                status
                    .conditions
                    .iter()
                    .find(|condition| condition.type_ == kind)
            };
            let ready = condition("Ready").is_some_and(|condition| condition.status == "True");
            if ready {
                ensure!(
                    condition("Reconciling").is_none(),
                    "it is Ready and Reconciling at once"
                );
                ensure!(!status.outputs.is_empty(), "it is Ready without an output");
            } else if status.observed_generation == object.metadata.generation {
                ensure!(
                    condition("Stalled").is_none(),
                    "it is Stalled: {:?}",
                    status.failure
                );
                ensure!(
                    condition("Reconciling").is_some_and(|condition| condition.status == "True"),
                    "it is neither Ready nor Reconciling"
                );
            }
            Ok(ready.then_some(()))
        })
    })
}
