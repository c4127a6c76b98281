//! What we make of a case: a plan, or what is wrong with the file.

use std::fmt::Write;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::lint::Rule;
use stagecraft_dockerfile::{Code, Diagnostic, Dockerfile, Severity};
use stagecraft_image::Platform;
use stagecraft_plan::lint::{LintInputs, LintReport, Scope, lint};
use stagecraft_plan::{BuildPlan, ImageRequest, PlanInputs, Planner, Progress};

use crate::case::{Case, Settings};
use crate::images::Images;

/// What came of a case.
pub(crate) enum Outcome {
    /// A plan.
    Plan(Box<BuildPlan>),
    /// Diagnostics with an error among them.
    Errors(Vec<Diagnostic>),
    /// The check that the file asks for fails by these rules.
    Check(Vec<Rule>),
}

impl Outcome {
    pub(crate) fn of(case: &Case, images: &Images) -> Self {
        let outcome = Self::of_text(&case.text, &case.settings, images);
        if !matches!(outcome, Self::Plan(_)) {
            return outcome;
        }
        match check(case, images) {
            Err(wrong) => Self::Errors(vec![*wrong]),
            Ok(report) if report.failing().is_empty() => outcome,
            Ok(report) => Self::Check(report.failing()),
        }
    }

    pub(crate) fn of_text(text: &str, settings: &Settings, images: &Images) -> Self {
        let (dockerfile, diagnostics) = stagecraft_dockerfile::parse(text);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Self::Errors(diagnostics);
        }
        let mut outcome = plan(&dockerfile, inputs(settings), images);
        if let Self::Plan(plan) = &mut outcome {
            plan.warnings.splice(0..0, diagnostics);
        }
        outcome
    }

    /// The golden.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Plan(plan) => {
                let mut text = plan.to_string();
                for (title, found) in [
                    ("warnings", &plan.warnings),
                    ("not carried out yet", &plan.refused),
                ] {
                    if !found.is_empty() {
                        text += &format!("\n{title}\n{}", list(found));
                    }
                }
                text
            }
            Self::Errors(found) => list(found),
            Self::Check(rules) => {
                let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
                format!("the check fails: {}\n", names.join(", "))
            }
        }
    }
}

/// What a build's check of a case finds.
pub(crate) fn check(case: &Case, images: &Images) -> Result<LintReport, Box<Diagnostic>> {
    let (dockerfile, parsed) = stagecraft_dockerfile::parse(&case.text);
    let ignore = case
        .read("dockerignore")
        .map(|text| IgnoreFile::parse(&text).unwrap());
    lint(&LintInputs {
        text: &case.text,
        dockerfile: &dockerfile,
        parsed: &parsed,
        inputs: &inputs(&case.settings),
        scope: Scope::Needed,
        strict: false,
        ignore: ignore.as_ref(),
        images: &|reference, platform| Some(images.resolve(reference, platform)?.1),
    })
}

fn inputs(settings: &Settings) -> PlanInputs {
    let platform = |text: &Option<String>| -> Platform {
        text.as_deref().unwrap_or("linux/amd64").parse().unwrap()
    };
    PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: settings.build_args.clone(),
        contexts: settings.contexts.clone(),
        target: settings.target.clone(),
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform: platform(&settings.platform),
        build_platform: platform(&settings.build_platform),
        labels: settings.labels.clone(),
        source_date_epoch: None,
    }
}

fn plan(dockerfile: &Dockerfile, inputs: PlanInputs, images: &Images) -> Outcome {
    let mut planner = Planner::new(dockerfile, inputs).whole();
    loop {
        match planner.step() {
            Err(found) => return Outcome::Errors(found),
            Ok(Progress::Ready(plan)) => return Outcome::Plan(plan),
            Ok(Progress::Images(requests)) => {
                let mut missing = Vec::new();
                for request in requests {
                    match images.resolve(&request.reference, &request.platform) {
                        Some((digest, config)) => planner.provide(request.id, digest, config),
                        None => missing.push(not_found(&request)),
                    }
                }
                if !missing.is_empty() {
                    return Outcome::Errors(missing);
                }
            }
        }
    }
}

/// What the engine says of an image that no registry has.
fn not_found(request: &ImageRequest) -> Diagnostic {
    let message = format!(
        "{} for {} is not found",
        request.reference.familiar(),
        request.platform
    );
    Diagnostic {
        code: Code::BadReference,
        severity: Severity::Error,
        message,
        span: stagecraft_dockerfile::Span {
            start: request.place.start,
            end: request.place.end,
            line: request.place.line,
            column: request.place.column,
        },
        help: request.hint.clone(),
        stage: Some(request.stage.clone()),
        instruction: Some(request.instruction.clone()),
    }
}

fn list(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        writeln!(out, "{}", diagnostic.compact("Dockerfile")).unwrap();
        if let Some(instruction) = &diagnostic.instruction {
            let stage = diagnostic.stage.as_deref().unwrap_or("-");
            writeln!(out, "  stage {stage}: {instruction}").unwrap();
        }
    }
    out
}
