//! BuildKit's answers for small Dockerfiles (`tests/fixtures/lint/buildkit.jsonl`, asked by `tests/oracle`): the same
//! rules on the same lines.

#![allow(
    clippy::unwrap_used,
    reason = "the functions that tests share are tests' code, too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::lint::Rule;
use stagecraft_dockerfile::parse;
use stagecraft_image::{ImageConfig, Platform, Reference};
use stagecraft_plan::PlanInputs;
use stagecraft_plan::lint::{LintInputs, Scope, lint};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    dockerfile: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    build_args: BTreeMap<String, String>,
    #[serde(default)]
    ignore: Option<String>,
    #[serde(default)]
    build: bool,
    #[serde(default)]
    images: BTreeMap<String, Image>,
    answer: Answer,
    /// Where we differ on purpose.
    #[serde(default)]
    ours: Option<Ours>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Image {
    env: Vec<String>,
    on_build: Vec<String>,
    shell: Option<Vec<String>>,
    os: Option<String>,
    architecture: Option<String>,
    working_dir: String,
}

#[derive(Deserialize)]
struct Answer {
    warnings: Vec<(String, u32)>,
    #[serde(default)]
    failed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    warnings: Vec<(String, u32)>,
    #[serde(rename = "why")]
    _why: String,
}

fn config(image: &Image, platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig::scratch(platform);
    config.rootfs.diff_ids = vec![stagecraft_image::Digest::of(b"layer")];
    if let Some(os) = &image.os {
        config.os.clone_from(os);
    }
    if let Some(architecture) = &image.architecture {
        config.architecture.clone_from(architecture);
    }
    config.config.env.clone_from(&image.env);
    config.config.on_build.clone_from(&image.on_build);
    config.config.shell.clone_from(&image.shell);
    config.config.working_dir.clone_from(&image.working_dir);
    config
}

/// Our answer, without rules of our own: warnings, and whether the check fails the build.
fn ours(case: &Case) -> (Vec<(String, u32)>, bool) {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let inputs = PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: case.build_args.clone(),
        contexts: BTreeMap::new(),
        target: case.target.clone(),
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform: platform.clone(),
        build_platform: platform,
        labels: BTreeMap::new(),
        source_date_epoch: None,
    };
    let (dockerfile, parsed) = parse(&case.dockerfile);
    let ignore = case
        .ignore
        .as_deref()
        .map(|text| IgnoreFile::parse(text).unwrap());
    let images = |reference: &Reference, platform: &Platform| {
        let familiar = reference.familiar();
        let name = familiar.split(':').next().unwrap_or_default();
        let image = case.images.get(name).cloned().unwrap_or_default();
        Some(config(&image, platform))
    };
    let report = lint(&LintInputs {
        text: &case.dockerfile,
        dockerfile: &dockerfile,
        parsed: &parsed,
        inputs: &inputs,
        scope: if case.build {
            Scope::Needed
        } else {
            Scope::Check
        },
        strict: false,
        ignore: ignore.as_ref(),
        images: &images,
    });
    let Ok(report) = report else {
        return (Vec::new(), true);
    };
    let mut found: Vec<(String, u32)> = report
        .findings
        .iter()
        .filter(|finding| !finding.rule.is_own())
        .map(|finding| (finding.rule.name().to_owned(), finding.span.line))
        .collect();
    found.sort();
    (found, !report.failing().is_empty())
}

fn cases() -> Vec<Case> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/lint/buildkit.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_rule_of_buildkit_fires_where_it_does_in_buildkit() {
    let cases = cases();
    assert!(cases.len() >= 400, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let expected = case.ours.as_ref().map(|ours| &ours.warnings);
        let mut expected = expected.unwrap_or(&case.answer.warnings).clone();
        expected.sort();
        let (found, _) = ours(case);
        if found != expected {
            wrong.push(format!(
                "{}\n{}\n  buildkit: {expected:?}\n  ours:     {found:?}",
                case.name, case.dockerfile
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn a_check_fails_the_build_where_it_does_in_buildkit() {
    // What else fails there is no business of the check.
    let about_checks: Vec<Case> = cases()
        .into_iter()
        .filter(|case| {
            case.build_args.contains_key("BUILDKIT_DOCKERFILE_CHECK")
                || case.dockerfile.to_lowercase().contains("check")
        })
        .collect();
    assert!(
        about_checks
            .iter()
            .filter(|case| case.answer.failed)
            .count()
            >= 7
    );
    for case in &about_checks {
        assert_eq!(ours(case).1, case.answer.failed, "{}", case.name);
    }
}

#[test]
fn the_table_has_each_of_buildkits_rules_firing_and_silent() {
    let cases = cases();
    for rule in Rule::ALL.into_iter().filter(|rule| !rule.is_own()) {
        let fires = |case: &&Case| {
            let names: BTreeSet<&str> = case
                .answer
                .warnings
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            names.contains(rule.name())
        };
        let count = cases.iter().filter(fires).count();
        assert!(count >= 4, "{rule:?} fires in {count} cases only");
    }
}
