//! The rules about `FROM`: they look at every stage, needed or not.

use std::collections::BTreeMap;

use stagecraft_dockerfile::lint::{Finding, Linter, Rule};
use stagecraft_dockerfile::{From, Spanned, nearest};
use stagecraft_image::{Platform, Reference};

use super::LintInputs;
use super::words::{Expanded, expanded};
use crate::inputs::{GlobalArguments, PlanInputs};

/// The argument that is what a stage is built for anyway.
const TARGET_PLATFORM: &str = "TARGETPLATFORM";

pub(super) fn rules(asked: &LintInputs<'_>, arguments: &GlobalArguments, linter: &mut Linter) {
    defaults(asked, linter);
    for stage in &asked.dockerfile.stages {
        let from = &stage.from;
        let escape = asked.dockerfile.escape;
        if let Some(image) = expanded(&from.image.value, escape, &arguments.values) {
            undeclared(from, &from.image, &image, arguments, linter);
        }
        let Some(word) = &from.platform else { continue };
        let Some(platform) = expanded(&word.value, escape, &arguments.values) else {
            continue;
        };
        undeclared(from, word, &platform, arguments, linter);
        redundant(from, word, &platform, arguments, linter);
        constant(from, word, &platform, linter);
    }
}

fn undeclared(
    from: &From,
    word: &Spanned<String>,
    expanded: &Expanded,
    arguments: &GlobalArguments,
    linter: &mut Linter,
) {
    for name in &expanded.missing {
        if arguments.declared.contains(name) {
            continue;
        }
        let message = format!("FROM uses the variable {name}, which no ARG above it declares");
        let known = arguments.values.names();
        let known = known.chain(arguments.declared.iter().map(String::as_str));
        let help = match nearest(name, known) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("add ARG {name} before the first FROM"),
        };
        let finding = Finding::at(Rule::UndefinedArgInFrom, from.span, word.span, message);
        linter.report_at(&from.comments, finding.help(help));
    }
}

fn redundant(
    from: &From,
    word: &Spanned<String>,
    platform: &Expanded,
    arguments: &GlobalArguments,
    linter: &mut Linter,
) {
    let is_only = platform.used.len() == 1
        && platform.used.iter().any(|name| name == TARGET_PLATFORM)
        && platform.missing.is_empty();
    let target = arguments.values.get(TARGET_PLATFORM);
    if !is_only || target != Some(platform.text.as_str()) {
        return;
    }
    let message = "a stage is built for the target platform anyway";
    let finding = Finding::at(Rule::RedundantTargetPlatform, from.span, word.span, message);
    linter.report_at(&from.comments, finding.help("remove --platform"));
}

fn constant(from: &From, word: &Spanned<String>, platform: &Expanded, linter: &mut Linter) {
    if !platform.used.is_empty() || !platform.missing.is_empty() {
        return;
    }
    let text = &platform.text;
    let Ok(parsed) = text.parse::<Platform>() else {
        return;
    };
    let name = from.name.as_ref();
    let name = name
        .map(|name| name.value.to_lowercase())
        .unwrap_or_default();
    if name.contains(&parsed.os) || name.contains(&parsed.architecture) {
        return;
    }
    let message = format!("the stage is built for {text} whatever the build is for");
    let rule = Rule::FromPlatformFlagConstDisallowed;
    let finding = Finding::at(rule, from.span, word.span, message);
    linter.report_at(
        &from.comments,
        finding.help(format!(
            "write --platform=$BUILDPLATFORM, or name the stage after its platform, build-{}",
            parsed.architecture
        )),
    );
}

/// Whether each `FROM` names something when no build argument is given.
fn defaults(asked: &LintInputs<'_>, linter: &mut Linter) {
    let inputs = PlanInputs {
        build_args: automatic_only(asked.inputs),
        ..asked.inputs.clone()
    };
    let mut problems = Vec::new();
    let arguments = GlobalArguments::new(asked.dockerfile, &inputs, &mut problems);
    if !problems.is_empty() {
        return;
    }
    for stage in &asked.dockerfile.stages {
        let from = &stage.from;
        let Some(image) = expanded(
            &from.image.value,
            asked.dockerfile.escape,
            &arguments.values,
        ) else {
            return;
        };
        let text = image.text;
        if text.parse::<Reference>().is_ok() {
            continue;
        }
        let message = if text == from.image.value {
            format!("{text:?} names no image")
        } else {
            format!(
                "without build arguments {} is {text:?}, which names no image",
                from.image.value
            )
        };
        let finding = Finding::at(
            Rule::InvalidDefaultArgInFrom,
            from.span,
            from.image.span,
            message,
        );
        let without = image.missing.first();
        linter.report(finding.maybe_help(
            without.map(|name| format!("give ARG {name} a default, or write ${{{name}:-default}}")),
        ));
    }
}

/// Of the build arguments those that set the automatic platform arguments: they stand without an `ARG`.
fn automatic_only(inputs: &PlanInputs) -> BTreeMap<String, String> {
    let is_automatic = |name: &str| {
        let rest = name
            .strip_prefix("TARGET")
            .or_else(|| name.strip_prefix("BUILD"));
        rest.is_some_and(|rest| {
            ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT", "STAGE"].contains(&rest)
        })
    };
    let given = inputs.build_args.iter();
    given
        .filter(|(name, _)| is_automatic(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
