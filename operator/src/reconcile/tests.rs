//! Golden cases: every arm of `Decision`, from an object and what was observed to decision, changes and status.
//!
//! A case is a folder of `tests/fixtures/reconcile`; `UPDATE_GOLDEN=1` writes what it leads to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apply::{PodOutcome, refusal_for_tests};
use super::observe::{Account, ArgumentValue, PodEvent};
use super::*;
use crate::queue::QueueView;

/// `observed.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// What the case shows.
    #[serde(rename = "about")]
    _about: String,
    now: Timestamp,
    #[serde(default)]
    pods: Vec<CasePod>,
    #[serde(default)]
    events: Vec<CaseEvent>,
    report: Option<stagecraft_protocol::report::BuildReport>,
    #[serde(default)]
    arguments: BTreeMap<String, Value>,
    #[serde(default)]
    account: CaseAccount,
    #[serde(default)]
    queue: CaseQueue,
    /// What the apiserver answers to the pod.
    refusal: Option<CaseRefusal>,
}

/// A pod as the operator makes it for an attempt, and what came to it since.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasePod {
    run: i32,
    attempt: i32,
    runners: u32,
    #[serde(default)]
    merge: Value,
    /// A container that somebody added.
    inject: Option<Value>,
}

#[derive(Deserialize)]
struct CaseEvent {
    reason: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseAccount {
    exists: bool,
    #[serde(default)]
    pull_secrets: Vec<String>,
}

impl Default for CaseAccount {
    fn default() -> Self {
        Self {
            exists: true,
            pull_secrets: Vec::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CaseQueue {
    running: u32,
    ahead: u32,
}

#[derive(Deserialize)]
struct CaseRefusal {
    code: u16,
    message: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/reconcile")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The object of a case; `specHash: current` stands for the hash of its spec.
fn build(folder: &Path) -> ImageBuild {
    let mut build: ImageBuild = serde_yaml::from_str(&read(&folder.join("imagebuild.yaml")))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let hash = validate::spec_hash(&build.spec);
    let run = build.status.as_mut().and_then(|status| status.run.as_mut());
    if let Some(run) = run.filter(|run| run.spec_hash == "current") {
        run.spec_hash = hash;
    }
    build
}

fn argument(value: Value) -> ArgumentValue {
    match value.as_str() {
        Some("NoKey") => ArgumentValue::NoKey,
        Some("NoConfigMap") => ArgumentValue::NoConfigMap,
        _ => ArgumentValue::Found(value["found"].as_str().unwrap().to_owned()),
    }
}

/// The pod that an attempt of this object gets, with the case's changes.
fn pod(observed: &Observed, config: &Config, case: &CasePod) -> Pod {
    let mut maker = observed.clone();
    // A pod is made of a spec that was valid; some cases are about one that is not.
    maker.build.spec.source = None;
    let valid = validate(&maker, config).unwrap();
    let claim = decide::Claim {
        run: case.run,
        attempt: case.attempt,
        retries: 0,
        trigger: stagecraft_api::v1alpha1::Trigger::Created,
        runners: case.runners,
        pins: None,
    };
    let changes = desired(&maker, Some(&valid), &Decision::Start(claim), config);
    let mut pod = serde_json::to_value(changes.attempt.unwrap().pod).unwrap();
    merge(&mut pod, &case.merge);
    if let Some(container) = &case.inject {
        pod["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(container.clone());
    }
    serde_json::from_value(pod).unwrap()
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *target = patch.clone();
        }
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn observed(folder: &Path, config: &Config) -> (Observed, Option<CaseRefusal>) {
    let case: Case = serde_yaml::from_str(&read(&folder.join("observed.yaml")))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut observed = Observed {
        build: build(folder),
        now: case.now,
        pods: Vec::new(),
        pod_events: case
            .events
            .into_iter()
            .map(|event| PodEvent {
                reason: event.reason,
                message: event.message,
                time: None,
            })
            .collect(),
        report: case.report,
        arguments: case
            .arguments
            .into_iter()
            .map(|(name, value)| (name, argument(value)))
            .collect(),
        account: Account {
            exists: case.account.exists,
            pull_secrets: case.account.pull_secrets,
        },
        queue: QueueView {
            running: case.queue.running,
            ahead: case.queue.ahead,
        },
    };
    observed.pods = case
        .pods
        .iter()
        .map(|case| pod(&observed, config, case))
        .collect();
    (observed, case.refusal)
}

/// The changes as a reader wants to see them.
fn render(changes: &desired::Changes) -> String {
    let mut text = String::new();
    for (kind, names) in [
        ("Pod", &changes.delete_pods),
        ("ConfigMap", &changes.delete_config_maps),
    ] {
        for name in names {
            writeln!(text, "# delete {kind} {name}").unwrap();
        }
    }
    if let Some(attempt) = &changes.attempt {
        text.push_str("# create\n");
        text.push_str(&serde_yaml::to_string(&attempt.request).unwrap());
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&attempt.pod).unwrap());
    }
    if text.is_empty() {
        text.push_str("# nothing\n");
    }
    text
}

/// What kstatus makes of a status (sigs.k8s.io/cli-utils, `Compute`), for an object that says what it observed.
fn kstatus(build: &ImageBuild, status: &ImageBuildStatus) -> &'static str {
    if build.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    if status.observed_generation != build.metadata.generation {
        return "InProgress";
    }
    let is = |name: &str, value: &str| {
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == name && condition.status == value)
    };
    if is("Reconciling", "True") {
        return "InProgress";
    }
    if is("Stalled", "True") {
        return "Failed";
    }
    if is("Ready", "True") {
        "Current"
    } else {
        "InProgress"
    }
}

/// What the decision means to whoever waits for the object.
fn expected_kstatus(
    observed: &Observed,
    decision: &Decision,
    status: &ImageBuildStatus,
) -> &'static str {
    let of_result = |result: Option<Reason>| match result {
        Some(Reason::Succeeded | Reason::Planned) => "Current",
        Some(_) => "Failed",
        None => "InProgress",
    };
    if observed.build.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    match decision {
        Decision::Reject { .. } => "Failed",
        Decision::Queue(_) | Decision::Cancel { .. } => "InProgress",
        _ => of_result(status.run.as_ref().and_then(|run| run.result)),
    }
}

fn check(path: &Path, text: &str, differences: &mut Vec<String>) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected != text {
        let (case, file) = (
            path.parent().unwrap().file_name().unwrap(),
            path.file_name().unwrap(),
        );
        let line = expected
            .lines()
            .zip(text.lines())
            .find(|(old, new)| old != new);
        differences.push(format!("{case:?} {file:?}: {line:?}"));
    }
}

#[test]
fn every_case_leads_to_its_decision_changes_and_status() {
    let config: Config = serde_yaml::from_str(&read(&fixtures().join("config.yaml"))).unwrap();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let mut differences = Vec::new();
    let mut arms = std::collections::BTreeSet::new();
    for folder in &folders {
        let (observed, refusal) = observed(folder, &config);
        let valid = validate(&observed, &config);
        let decision = decide(&observed, &valid, &config);
        let valid = valid.ok();
        let changes = desired(&observed, valid.as_ref(), &decision, &config);
        let pod = changes.attempt.is_some().then(|| {
            refusal.map_or(PodOutcome::Present, |refusal| {
                refusal_for_tests(refusal.code, &refusal.message).unwrap()
            })
        });
        let status = status::compute(&observed, valid.as_ref(), &decision, &Applied { pod });

        let text = decision.to_string();
        arms.insert(text.split([' ', ':', ',']).next().unwrap().to_owned());
        check(
            &folder.join("decision.txt"),
            &format!("{text}\n"),
            &mut differences,
        );
        check(
            &folder.join("resources.yaml"),
            &render(&changes),
            &mut differences,
        );
        let yaml = serde_yaml::to_string(&status).unwrap();
        check(&folder.join("status.yaml"), &yaml, &mut differences);
        let expected = expected_kstatus(&observed, &decision, &status);
        assert_eq!(
            kstatus(&observed.build, &status),
            expected,
            "{}",
            folder.display()
        );
        // Deciding is repeated whenever something stirs: it must come to rest.
        let mut again = observed.clone();
        again.build.status = Some(status.clone());
        if !matches!(
            decision,
            Decision::Start(_) | Decision::Track(_) | Decision::Retry(_)
        ) {
            again
                .pods
                .retain(|pod| !changes.delete_pods.contains(&pod.name_any()));
            let valid = validate(&again, &config);
            let next = decide(&again, &valid, &config);
            let ends = matches!(decision, Decision::Finish(_));
            assert!(
                !ends || matches!(next, Decision::Idle { .. }),
                "{}: {next}",
                folder.display()
            );
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let expected = [
        "Cancel", "Finish", "Idle", "Queue", "Reject", "Retry", "Start", "Track",
    ];
    assert!(arms.iter().map(String::as_str).eq(expected), "{arms:?}");
}

#[test]
fn an_attempt_that_was_claimed_is_never_started_again() {
    let config: Config = serde_yaml::from_str(&read(&fixtures().join("config.yaml"))).unwrap();
    let (mut observed, _) = observed(&fixtures().join("new-object"), &config);
    let valid = validate(&observed, &config);
    let decision = decide(&observed, &valid, &config);
    let valid_build = valid.clone().ok();
    let changes = desired(&observed, valid_build.as_ref(), &decision, &config);
    let claimed = status::compute(
        &observed,
        valid_build.as_ref(),
        &decision,
        &Applied::default(),
    );
    observed.build.status = Some(claimed);
    let next = decide(&observed, &valid, &config);
    assert_eq!(next.to_string(), "Track, create the pod");
    let repeated = desired(&observed, valid_build.as_ref(), &next, &config);
    assert_eq!(
        repeated.attempt.as_ref().unwrap().pod,
        changes.attempt.unwrap().pod
    );
}
