//! The forms of a plan beside its text, and what is shown of a file that cannot be planned.
//!
//! `UPDATE_GOLDEN=1` writes what comes out; reading the difference is the review.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says best where it failed by failing there"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use stagecraft_dockerfile::Diagnostic;
use stagecraft_image::{Digest, ImageConfig};
use stagecraft_plan::{BuildPlan, PlanInputs, Planner, Progress};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What the command line shows: the plan, whole or understood, and what is wrong. Images of example.com do not exist.
fn explained(text: &str) -> (BuildPlan, Vec<Diagnostic>) {
    let (dockerfile, mut diagnostics) = stagecraft_dockerfile::parse(text);
    let platform = "linux/amd64".parse().unwrap();
    let inputs = PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: BTreeMap::new(),
        contexts: BTreeMap::new(),
        target: None,
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform,
        build_platform: "linux/amd64".parse().unwrap(),
        labels: BTreeMap::new(),
        source_date_epoch: None,
    };
    let mut planner = Planner::new(&dockerfile, inputs).whole();
    let plan = loop {
        match planner.step() {
            Ok(Progress::Ready(plan)) => {
                diagnostics.extend(plan.warnings.iter().chain(&plan.refused).cloned());
                break *plan;
            }
            Ok(Progress::Images(requests)) => {
                let mut is_missing = false;
                for request in requests {
                    let name = request.reference.to_string();
                    if name.contains("example.com") {
                        is_missing = true;
                        continue;
                    }
                    let config = ImageConfig::scratch(&request.platform);
                    planner.provide(request.id, Digest::of(name), config);
                }
                if is_missing {
                    break planner.understood().unwrap();
                }
            }
            Err(found) => {
                diagnostics.extend(found);
                break planner.understood().unwrap();
            }
        }
    };
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (plan, diagnostics)
}

#[test]
fn every_form_says_what_its_golden_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in ["site", "with-errors", "unresolved"] {
        let directory = root().join("tests/fixtures/outputs").join(case);
        let text = std::fs::read_to_string(directory.join("Dockerfile")).unwrap();
        let (plan, diagnostics) = explained(&text);
        let document = serde_json::to_string_pretty(&plan.document(&diagnostics)).unwrap();
        for (name, actual) in [
            ("plan.txt", plan.to_string()),
            ("plan.json", document + "\n"),
            ("plan.mmd", plan.mermaid()),
            ("plan.dot", plan.dot()),
        ] {
            let path = directory.join(name);
            if update {
                std::fs::write(&path, &actual).unwrap();
            }
            if std::fs::read_to_string(&path).unwrap_or_default() != actual {
                wrong.push(format!("{case}/{name} is now\n{actual}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of members, but for those of an image's configuration, which is the OCI's.
fn members(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                found.insert(name.clone());
                if name != "config" {
                    members(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(value, found)),
        _ => {}
    }
}

#[test]
fn the_page_names_every_member_of_the_document() {
    let page = std::fs::read_to_string(root().join("docs/using/plan.md")).unwrap();
    let text = "FROM a AS b\nRUN --mount=type=cache,target=/a --mount=type=secret,id=s,env=E,mode=0400,uid=1,gid=2 \
                --mount=type=tmpfs,target=/t --mount=type=ssh --mount=target=/b --network=none \
                --security=insecure --device=x.example/y=z w\n\
                RUN <<E\n#!/bin/x\nE\nWORKDIR /w\n\
                COPY --link --parents --exclude=x --chown=1 c d <<F /\nF\nCOPY --chmod=1 c /\n\
                ADD --unpack https://e.example/f https://e.example/g.git /\n\
                FROM unused\nFROM scratch\nCOPY --from=b / /\nRUN --mount=from=b,target=/z x\nENV A=$B\n";
    let (plan, diagnostics) = explained(text);
    let errors = plan.refused.len();
    assert!(errors > 1 && diagnostics.len() > errors, "{diagnostics:?}");
    let mut found = BTreeSet::new();
    members(&plan.document(&diagnostics), &mut found);
    let is_missing = |name: &&String| !page.contains(&format!("`{name}`"));
    let missing: Vec<&String> = found.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_was_understood_is_all_that_has_a_right_from() {
    let (plan, diagnostics) =
        explained("FROM $X AS a\nFROM a AS b\nFROM scratch\nCOPY --from=b / /\nCMD x\n");
    let labels: Vec<String> = plan
        .stages
        .iter()
        .map(stagecraft_plan::StagePlan::label)
        .collect();
    assert_eq!(labels, ["2"]);
    assert_eq!(plan.skipped.len(), 2);
    assert!(diagnostics.iter().any(Diagnostic::is_error));
}
