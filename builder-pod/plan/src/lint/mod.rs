//! Lint rules that need stages, values of variables or images, and the check of a whole file.
//!
//! Conditions and lines of BuildKit's rules are those of its frontend: rules about names and about `FROM` look at
//! every stage, those about instructions at the stages in [`Scope`] only.
//!
//! Invariant: what is not known (an image that nobody resolved) makes a rule silent, never wrong.
//! Invariant: it only reads; whether the file can be built is the planner's business.

mod expose;
mod from;
mod needs;
mod own;
mod secrets;
mod stages;
mod walk;
mod words;

use std::collections::BTreeSet;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::lint::{CHECK_ARGUMENT, Finding, Linter, Rule, text_rules};
use stagecraft_dockerfile::{Diagnostic, Dockerfile};
use stagecraft_image::{ImageConfig, Platform, Reference};

use crate::graph::{BaseName, StageGraph};
use crate::inputs::{GlobalArguments, PlanInputs};

/// Stages whose instructions are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that the target needs: the warnings of a build.
    Needed,
    /// All, unless the inputs name a target: the warnings of a check.
    Check,
}

/// What is known of images: the configuration of a name for a platform.
pub type ImageLookup<'a> = &'a dyn Fn(&Reference, &Platform) -> Option<ImageConfig>;

/// A file to check, and what it is checked against.
#[derive(Clone, Copy)]
pub struct LintInputs<'a> {
    /// The file's text.
    pub text: &'a str,
    /// The file, parsed.
    pub dockerfile: &'a Dockerfile,
    /// What parsing found.
    pub parsed: &'a [Diagnostic],
    /// The build's inputs.
    pub inputs: &'a PlanInputs,
    /// Stages whose instructions are looked at.
    pub scope: Scope,
    /// Whether the rules are on that are off by themselves.
    pub strict: bool,
    /// What is hidden of the context.
    pub ignore: Option<&'a IgnoreFile>,
    /// What is known of images.
    pub images: ImageLookup<'a>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintReport {
    /// In the order of the file.
    pub findings: Vec<Finding>,
    /// Whether the file or the build asks that a finding be an error.
    pub is_error: bool,
}

impl LintReport {
    /// The rules that make the build fail, each once, in the order of the file. A rule of our own is never among
    /// them: what BuildKit builds is built here.
    #[must_use]
    pub fn failing(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for finding in &self.findings {
            let rule = finding.rule;
            if self.is_error && !rule.is_own() && !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }
}

/// Checks a file.
///
/// # Errors
/// When the options of the check are malformed.
pub fn lint(asked: &LintInputs<'_>) -> Result<LintReport, Box<Diagnostic>> {
    let argument = asked.inputs.build_args.get(CHECK_ARGUMENT);
    let mut linter = Linter::new(asked.dockerfile, argument.map(String::as_str), asked.strict)?;
    text_rules(asked.text, asked.dockerfile, asked.parsed, &mut linter);
    // What is wrong with the file is reported by the planner.
    let arguments = GlobalArguments::new(asked.dockerfile, asked.inputs, &mut Vec::new());
    let graph = StageGraph::new(asked.dockerfile, &arguments);
    from::rules(asked, &arguments, &mut linter);
    let target = graph.target(asked.inputs.target.as_deref()).ok();
    let scope = scope(asked, &graph, target);
    stages::rules(asked, &graph, target, &scope, &mut linter);
    walk::rules(asked, &arguments, &graph, &scope, target, &mut linter);
    Ok(LintReport {
        is_error: linter.is_error(),
        findings: linter.into_findings(),
    })
}

/// The images that [`lint`] looks up, each once.
#[must_use]
pub fn wanted_images(
    dockerfile: &Dockerfile,
    inputs: &PlanInputs,
    scope: Scope,
) -> Vec<(Reference, Platform)> {
    let arguments = GlobalArguments::new(dockerfile, inputs, &mut Vec::new());
    let graph = StageGraph::new(dockerfile, &arguments);
    let target = graph.target(inputs.target.as_deref()).ok();
    let mut wanted: Vec<(Reference, Platform)> = Vec::new();
    let mut want = |reference: Reference, platform: &Platform| {
        let image = (reference, platform.clone());
        if !wanted.contains(&image) {
            wanted.push(image);
        }
    };
    for index in stages_of(
        dockerfile,
        &graph,
        target,
        scope == Scope::Check && inputs.target.is_none(),
    ) {
        let head = &graph.heads[index];
        if let Some(reference) = head.base.as_ref().and_then(BaseName::reference) {
            let platform = head.platform.as_ref().unwrap_or(&inputs.platform);
            want(reference, platform);
        }
        for source in needs::sources(dockerfile, &graph, index) {
            if let Some(reference) = source.reference() {
                want(reference, &inputs.platform);
            }
        }
    }
    wanted
}

fn scope(asked: &LintInputs<'_>, graph: &StageGraph<'_>, target: Option<usize>) -> BTreeSet<usize> {
    let inputs = asked.inputs;
    let all = asked.scope == Scope::Check && inputs.target.is_none();
    let mut stages = stages_of(asked.dockerfile, graph, target, all);
    let more = inputs.further_targets.iter().chain(&inputs.tests);
    for other in more.filter_map(|name| graph.target(Some(name)).ok()) {
        stages.extend(needs::reachable(asked.dockerfile, graph, other));
    }
    stages
}

fn stages_of(
    dockerfile: &Dockerfile,
    graph: &StageGraph<'_>,
    target: Option<usize>,
    all: bool,
) -> BTreeSet<usize> {
    match target {
        Some(target) if !all => needs::reachable(dockerfile, graph, target),
        _ => (0..dockerfile.stages.len()).collect(),
    }
}
