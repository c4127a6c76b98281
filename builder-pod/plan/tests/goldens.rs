//! Every case of `tests/fixtures/plans`: a Dockerfile and inputs in, a plan or diagnostics out.
//!
//! `UPDATE_GOLDEN=1` writes what comes out; reading the difference is the review.

#![allow(
    clippy::unwrap_used,
    reason = "the functions that tests share are tests' code, too"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use stagecraft_dockerfile::{Diagnostic, Dockerfile};
use stagecraft_image::{Digest, ImageConfig, Platform};
use stagecraft_plan::{ImagePurpose, ImageRequest, PlanInputs, Planner, Progress};

/// A case's `inputs.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inputs {
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    further_targets: Vec<String>,
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    contexts: BTreeMap<String, String>,
    #[serde(default)]
    build_args: BTreeMap<String, String>,
    #[serde(default = "amd64")]
    platform: String,
    #[serde(default = "amd64")]
    build_platform: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    source_date_epoch: Option<i64>,
    /// Configurations of images by familiar name; others have a plain one.
    #[serde(default)]
    images: BTreeMap<String, Value>,
    /// Familiar names of images that do not exist, with or without their tag.
    #[serde(default)]
    missing: Vec<String>,
}

/// What came of a case.
enum Outcome {
    Plan(String),
    Diagnostics(String),
}

fn amd64() -> String {
    "linux/amd64".to_owned()
}

impl Inputs {
    fn plan_inputs(&self) -> PlanInputs {
        PlanInputs {
            file: "Dockerfile".to_owned(),
            build_args: self.build_args.clone(),
            contexts: self.contexts.clone(),
            target: self.target.clone(),
            further_targets: self.further_targets.clone(),
            tests: self.tests.clone(),
            platform: self.platform.parse().unwrap(),
            build_platform: self.build_platform.parse().unwrap(),
            labels: self.labels.clone(),
            source_date_epoch: self.source_date_epoch,
        }
    }

    fn is_missing(&self, request: &ImageRequest) -> bool {
        let name = request.reference.familiar();
        let short = name.trim_end_matches(":latest").to_owned();
        self.missing.contains(&name) || self.missing.contains(&short)
    }

    fn config(&self, request: &ImageRequest) -> ImageConfig {
        match self.images.get(&request.reference.familiar()) {
            Some(config) => serde_json::from_value(config.clone()).unwrap(),
            None => plain_config(&request.platform),
        }
    }
}

fn plain_config(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig::scratch(platform);
    config.config.env = vec!["PATH=/usr/bin:/bin".to_owned()];
    config.config.cmd = Some(vec!["sh".to_owned()]);
    config
}

fn run(text: &str, inputs: &Inputs) -> Outcome {
    let (dockerfile, diagnostics) = stagecraft_dockerfile::parse(text);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Outcome::Diagnostics(list(&diagnostics));
    }
    plan(&dockerfile, inputs)
}

fn plan(dockerfile: &Dockerfile, inputs: &Inputs) -> Outcome {
    let mut planner = Planner::new(dockerfile, inputs.plan_inputs());
    let mut asked = String::new();
    for round in 1.. {
        match planner.step() {
            Err(diagnostics) => return Outcome::Diagnostics(list(&diagnostics)),
            Ok(Progress::Ready(plan)) => {
                let mut out = asked + &plan.to_string();
                if !plan.warnings.is_empty() {
                    out += &format!("\nwarnings\n{}", list(&plan.warnings));
                }
                return Outcome::Plan(out);
            }
            Ok(Progress::Images(requests)) => {
                for request in requests {
                    if inputs.is_missing(&request) {
                        return Outcome::Diagnostics(missing(&request));
                    }
                    let purpose = match request.purpose {
                        ImagePurpose::Base => "begins with",
                        ImagePurpose::CopySource => "copies from",
                    };
                    let (stage, line) = (&request.stage, request.place.line);
                    let name = request.reference.familiar();
                    let platform = &request.platform;
                    writeln!(
                        asked,
                        "round {round} asks for {name} {platform}: stage {stage} {purpose} it (line {line})"
                    )
                    .unwrap();
                    let digest = Digest::of(format!("{} {platform}", request.reference));
                    planner.provide(request.id, digest, inputs.config(&request));
                }
                asked.push('\n');
            }
        }
    }
    unreachable!("every round resolves an image")
}

fn missing(request: &ImageRequest) -> String {
    let place = &request.place;
    let mut text = format!(
        "{}:{}:{}: {} cannot be resolved",
        place.file,
        place.line,
        place.column,
        request.reference.familiar()
    );
    if let Some(hint) = &request.hint {
        text += &format!("; {hint}");
    }
    format!(
        "{text}\n  stage {}: {}\n",
        request.stage, request.instruction
    )
}

fn list(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        writeln!(out, "{}", diagnostic.compact("Dockerfile")).unwrap();
        if let Some(instruction) = &diagnostic.instruction {
            let stage = diagnostic
                .stage
                .as_deref()
                .map(|stage| format!("stage {stage}: "));
            writeln!(out, "  {}{instruction}", stage.unwrap_or_default()).unwrap();
        }
    }
    out
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/plans")
}

#[test]
fn every_case_gives_its_plan_or_diagnostics() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = Vec::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let case = entry.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(case.join(name));
        let text = read("Dockerfile").unwrap();
        let inputs: Inputs = serde_json::from_str(&read("inputs.json").unwrap()).unwrap();
        let (name, other, actual) = match run(&text, &inputs) {
            Outcome::Plan(plan) => ("plan.txt", "diagnostics.txt", plan),
            Outcome::Diagnostics(list) => ("diagnostics.txt", "plan.txt", list),
        };
        if update {
            std::fs::write(case.join(name), &actual).unwrap();
            let _ = std::fs::remove_file(case.join(other));
        }
        let expected = read(name).unwrap_or_default();
        if expected != actual || case.join(other).exists() {
            differences.push(format!("{}/{name} is now\n{actual}", case.display()));
        }
        cases += 1;
    }
    assert!(cases >= 25, "only {cases} cases were found");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_plan_does_not_depend_on_when_images_are_resolved() {
    let text = "FROM a AS one\nRUN x\nFROM b\nARG F=c\nCOPY --from=$F / /\nCOPY --from=one / /\n";
    let (dockerfile, _) = stagecraft_dockerfile::parse(text);
    let inputs: Inputs = serde_json::from_str("{}").unwrap();
    let all_at_once = match plan(&dockerfile, &inputs) {
        Outcome::Plan(text) => text.rsplit_once("\n\nplan").unwrap().1.to_owned(),
        Outcome::Diagnostics(list) => panic!("{list}"),
    };
    let mut planner = Planner::new(&dockerfile, inputs.plan_inputs());
    let one_by_one = loop {
        match planner.step().unwrap() {
            Progress::Ready(plan) => break plan.to_string(),
            Progress::Images(requests) => {
                // The last question first.
                let request = requests.last().unwrap();
                let name = format!("{} {}", request.reference, request.platform);
                planner.provide(request.id, Digest::of(name), inputs.config(request));
            }
        }
    };
    assert_eq!(one_by_one.strip_prefix("plan").unwrap(), all_at_once);
}

#[test]
fn the_digest_covers_what_is_built_and_not_how_it_is_called() {
    let digest = |text: &str, inputs: &str| {
        let (dockerfile, _) = stagecraft_dockerfile::parse(text);
        let inputs: Inputs = serde_json::from_str(inputs).unwrap();
        match plan(&dockerfile, &inputs) {
            Outcome::Plan(text) => {
                let found = text
                    .lines()
                    .find_map(|line| line.strip_prefix("plan "))
                    .unwrap();
                found.to_owned()
            }
            Outcome::Diagnostics(list) => panic!("{list}"),
        }
    };
    let text = "FROM a AS b\nRUN x\nFROM scratch\nCOPY --from=b / /\n";
    let first = digest(text, "{}");
    let same = [
        "# about it\nFROM a AS other\n\nRUN x\nFROM scratch\nCOPY --from=0 / /\n",
        "FROM z AS unused\nFROM a AS b\nRUN   x\nFROM scratch\nCOPY --from=b / /\n",
    ];
    for same in same {
        assert_eq!(digest(same, "{}"), first, "{same}");
    }
    let other = [
        "FROM a AS b\nRUN y\nFROM scratch\nCOPY --from=b / /\n",
        "FROM c AS b\nRUN x\nFROM scratch\nCOPY --from=b / /\n",
        "FROM a AS b\nRUN x\nFROM scratch\nCOPY --from=b / /\nCMD [\"x\"]\n",
    ];
    for other in other {
        assert_ne!(digest(other, "{}"), first, "{other}");
    }
    for inputs in [
        r#"{"platform":"linux/amd64/v2"}"#,
        r#"{"furtherTargets":["b"]}"#,
        r#"{"tests":["b"]}"#,
        r#"{"contexts":{"b":"local:files"}}"#,
        r#"{"labels":{"a":"b"}}"#,
        r#"{"sourceDateEpoch":0}"#,
        r#"{"target":"b"}"#,
        r#"{"buildArgs":{"http_proxy":"http://p"}}"#,
    ] {
        assert_ne!(digest(text, inputs), first, "{inputs}");
    }
}

#[test]
fn the_digest_does_not_depend_on_when_images_were_asked_for() {
    let text = "FROM a\nARG ONE=one\nCOPY --from=$ONE / /\nFROM b\nARG TWO=two\nCOPY --from=$TWO / /\nCOPY --from=0 / /\n";
    let (dockerfile, _) = stagecraft_dockerfile::parse(text);
    let inputs: Inputs = serde_json::from_str("{}").unwrap();
    let digest_of = |last_first: bool| {
        let mut planner = Planner::new(&dockerfile, inputs.plan_inputs());
        loop {
            match planner.step().unwrap() {
                Progress::Ready(plan) => break (plan.digest, plan.images.len()),
                Progress::Images(requests) => {
                    let one = if last_first {
                        requests.last()
                    } else {
                        requests.first()
                    };
                    let request = one.unwrap();
                    let digest = Digest::of(request.reference.to_string());
                    planner.provide(request.id, digest, inputs.config(request));
                }
            }
        }
    };
    assert_eq!(digest_of(true), digest_of(false));
    assert_eq!(digest_of(true).1, 4);
}

#[test]
fn the_json_form_says_what_the_text_says() {
    let text = "FROM a AS b\nRUN x\nFROM scratch\nWORKDIR w\nCOPY --from=b /x y/\nCMD [\"x\"]\n";
    let (dockerfile, _) = stagecraft_dockerfile::parse(text);
    let inputs: Inputs = serde_json::from_str("{}").unwrap();
    let mut planner = Planner::new(&dockerfile, inputs.plan_inputs());
    let Progress::Images(requests) = planner.step().unwrap() else {
        panic!("it needs an image")
    };
    for request in &requests {
        planner.provide(request.id, Digest::of("a"), inputs.config(request));
    }
    let Progress::Ready(plan) = planner.step().unwrap() else {
        panic!("it has all it needs")
    };
    let json = serde_json::to_value(&plan).unwrap();
    for (pointer, expected) in [
        ("/digest", Value::from(plan.digest.to_string())),
        ("/target", Value::from(1)),
        ("/runChains", Value::from(1)),
        (
            "/images/0/reference",
            Value::from("docker.io/library/a:latest"),
        ),
        ("/images/0/isBase", Value::from(true)),
        ("/stages/0/name", Value::from("b")),
        ("/stages/0/base/image", Value::from(0)),
        ("/stages/0/runChain", Value::from(0)),
        (
            "/stages/0/steps/0/operation/run/arguments/2",
            Value::from("x"),
        ),
        ("/stages/0/steps/0/place/line", Value::from(2)),
        ("/stages/1/base", Value::from("scratch")),
        (
            "/stages/1/steps/0/operation/workDirectory/path",
            Value::from("/w"),
        ),
        (
            "/stages/1/steps/1/operation/copy/from/stage",
            Value::from(0),
        ),
        (
            "/stages/1/steps/1/operation/copy/destination",
            Value::from("/w/y/"),
        ),
        (
            "/stages/1/steps/1/history/createdBy",
            Value::from("COPY /x y/ # buildkit"),
        ),
        ("/stages/1/steps/2/operation", Value::from("metadata")),
        ("/stages/1/needs/0/on/stage", Value::from(0)),
        ("/stages/1/needs/0/reason/copy/step", Value::from(2)),
        ("/stages/1/config/config/WorkingDir", Value::from("/w")),
    ] {
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn no_part_of_a_dockerfile_makes_the_planner_panic() {
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let case = entry.unwrap().path();
        let text = std::fs::read_to_string(case.join("Dockerfile")).unwrap();
        let inputs = std::fs::read_to_string(case.join("inputs.json")).unwrap();
        let inputs: Inputs = serde_json::from_str(&inputs).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for left_out in 0..lines.len() {
            let mut rest = lines.clone();
            rest.remove(left_out);
            // Also what was parsed with errors may be given to a planner.
            let (dockerfile, _) = stagecraft_dockerfile::parse(&rest.join("\n"));
            let (Outcome::Plan(out) | Outcome::Diagnostics(out)) = plan(&dockerfile, &inputs);
            assert!(!out.is_empty());
        }
    }
}
