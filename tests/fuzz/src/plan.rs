//! A Dockerfile that is planned. Its first byte picks the target and what images have. What must hold:
//!
//! - nothing panics, and planning ends;
//! - where there is no plan there is an error, and its place lies inside the file;
//! - the same file and inputs give the same plan, with the same digest;
//! - a plan names only stages that it has, each after those that it needs.

use std::collections::BTreeSet;

use stagecraft_dockerfile::{Diagnostic, Dockerfile, parse};
use stagecraft_image::{Digest, ImageConfig, Platform};
use stagecraft_plan::{BuildPlan, Dependency, PlanInputs, Planner, Progress};

/// How often images may be asked for: every round resolves at least one.
const MOST_ROUNDS: usize = 10_000;

/// Checks a file; bytes that are no text, and files with errors, are left out.
pub fn check(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else {
        return;
    };
    let Ok(file) = std::str::from_utf8(file) else {
        return;
    };
    let (dockerfile, diagnostics) = parse(file);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return;
    }
    match plan(&dockerfile, *choice) {
        Ok(planned) => {
            check_plan(&planned);
            assert_eq!(plan(&dockerfile, *choice), Ok(planned));
        }
        Err(wrong) => {
            assert!(wrong.iter().any(Diagnostic::is_error), "nothing is wrong");
            for diagnostic in &wrong {
                let span = diagnostic.span;
                assert!(span.start <= span.end && span.end <= file.len());
            }
        }
    }
}

fn plan(dockerfile: &Dockerfile, choice: u8) -> Result<Box<BuildPlan>, Vec<Diagnostic>> {
    let name = if choice & 1 == 0 {
        "linux/amd64"
    } else {
        "linux/arm64"
    };
    let platform: Platform = name.parse().expect("it is one");
    let set = choice & 2 != 0;
    let inputs = PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: set
            .then(|| ("A".to_owned(), "x y".to_owned()))
            .into_iter()
            .collect(),
        contexts: (choice & 8 != 0)
            .then(|| ("a".to_owned(), "local:files".to_owned()))
            .into_iter()
            .collect(),
        target: (choice & 4 != 0).then(|| "b".to_owned()),
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform: platform.clone(),
        build_platform: platform,
        labels: Default::default(),
        source_date_epoch: None,
    };
    let mut planner = Planner::new(dockerfile, inputs);
    for _ in 0..MOST_ROUNDS {
        let requests = match planner.step()? {
            Progress::Ready(plan) => return Ok(plan),
            Progress::Images(requests) => requests,
        };
        assert!(
            !requests.is_empty(),
            "nothing is asked for, yet there is no plan"
        );
        for request in requests {
            let mut config = ImageConfig::scratch(&request.platform);
            config.config.env = vec!["PATH=/bin".to_owned(), "V=w".to_owned()];
            if choice & 8 != 0 {
                let triggers = ["COPY --from=b a b", "RUN x", "ARG A"];
                config.config.on_build = triggers.map(str::to_owned).to_vec();
            }
            let digest = Digest::of(request.reference.to_string());
            planner.provide(request.id, digest, config);
        }
    }
    panic!("planning does not end");
}

fn check_plan(plan: &BuildPlan) {
    let mut seen = BTreeSet::new();
    for stage in &plan.stages {
        for edge in &stage.needs {
            if let Dependency::Stage(needed) = edge.on {
                assert!(seen.contains(&needed), "{needed:?} comes too late");
            }
        }
        seen.insert(stage.index);
    }
    assert!(seen.contains(&plan.target), "the target is missing");
    assert!(!plan.to_string().is_empty());
}
