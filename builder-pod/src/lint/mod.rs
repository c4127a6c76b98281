//! The check of one Dockerfile: errors, and what the rules find.
//!
//! Invariant: a check never fails for an image that cannot be looked up; it says which rules were silent for it.

pub mod formats;

use std::collections::HashMap;

use futures::future::join_all;
use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::{Diagnostic, parse};
use stagecraft_image::{ImageConfig, Platform, Reference};
use stagecraft_plan::lint::{LintInputs, LintReport, Scope, lint, wanted_images};
use stagecraft_plan::{PlanInputs, Planner, Progress as Need};
use stagecraft_registry::{Registry, ResolvedImage};

use crate::diagnostics::errors;
use crate::failure::chain;

/// A file to check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its text.
    pub text: String,
    /// The inputs of the build that it is checked for; its name among them.
    pub inputs: PlanInputs,
    /// What is hidden of the context.
    pub ignore: Option<IgnoreFile>,
    /// Whether the rules are on that are off by themselves.
    pub strict: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What keeps the file from being built, in its order.
    pub errors: Vec<Diagnostic>,
    /// What the rules found.
    pub report: LintReport,
    /// Images that could not be looked up, each with the cause.
    pub unknown: Vec<(String, String)>,
}

type Images = HashMap<(Reference, Platform), ResolvedImage>;

/// Checks a file; `registry` is where images are looked up, none for a check without network.
pub async fn check(asked: &Check, registry: Option<&dyn Registry>) -> Checked {
    let (dockerfile, parsed) = parse(&asked.text);
    let scope = Scope::Check;
    let wanted = wanted_images(&dockerfile, &asked.inputs, scope);
    let (images, unknown) = match registry {
        Some(registry) => look_up(registry, wanted).await,
        None => (Images::new(), Vec::new()),
    };
    let mut planner = Planner::new(&dockerfile, asked.inputs.clone());
    let planned = plan(&mut planner, &images);
    let mut checked = Checked {
        errors: errors(&parsed, &planned),
        report: LintReport::default(),
        unknown,
    };
    let report = lint(&LintInputs {
        text: &asked.text,
        dockerfile: &dockerfile,
        parsed: &parsed,
        inputs: &asked.inputs,
        scope,
        strict: asked.strict,
        ignore: asked.ignore.as_ref(),
        images: &|reference: &Reference, platform: &Platform| -> Option<ImageConfig> {
            let found = images.get(&(reference.clone(), platform.clone()))?;
            Some(found.config.clone())
        },
    });
    match report {
        Ok(report) => checked.report = report,
        Err(wrong) => {
            checked.errors.push(*wrong);
            checked.errors.sort_by_key(|one| one.span.start);
        }
    }
    checked
}

/// What planning finds wrong, as far as the images are known.
fn plan(planner: &mut Planner<'_>, images: &Images) -> Vec<Diagnostic> {
    loop {
        match planner.step() {
            Err(diagnostics) => return diagnostics,
            Ok(Need::Ready(_)) => return Vec::new(),
            Ok(Need::Images(wanted)) => {
                let mut is_new = false;
                for request in wanted {
                    let key = (request.reference.clone(), request.platform.clone());
                    if let Some(image) = images.get(&key) {
                        planner.provide(request.id, image.digest.clone(), image.config.clone());
                        is_new = true;
                    }
                }
                if !is_new {
                    return Vec::new();
                }
            }
        }
    }
}

async fn look_up(
    registry: &dyn Registry,
    wanted: Vec<(Reference, Platform)>,
) -> (Images, Vec<(String, String)>) {
    let resolved = wanted.into_iter().map(|(reference, platform)| async move {
        let image = registry.resolve(&reference, &platform).await;
        ((reference, platform), image)
    });
    let mut images = Images::new();
    let mut unknown = Vec::new();
    for (key, image) in join_all(resolved).await {
        match image {
            Ok(image) => _ = images.insert(key, image),
            Err(error) => unknown.push((key.0.familiar(), chain(&error))),
        }
    }
    (images, unknown)
}
