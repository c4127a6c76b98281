//! Rules of ours about stages as a whole.

use std::collections::BTreeSet;

use stagecraft_dockerfile::lint::{Finding, Linter, Rule};
use stagecraft_image::Reference;

use super::LintInputs;
use super::needs::needs;
use crate::graph::{BaseName, StageGraph};

pub(super) fn rules(
    asked: &LintInputs<'_>,
    graph: &StageGraph<'_>,
    target: Option<usize>,
    scope: &BTreeSet<usize>,
    linter: &mut Linter,
) {
    // With a target, the other stages may be other targets.
    if let (Some(last), None) = (target, &asked.inputs.target) {
        unused(asked, graph, last, linter);
    }
    for &index in scope {
        unpinned(asked, graph, index, linter);
    }
}

fn unused(asked: &LintInputs<'_>, graph: &StageGraph<'_>, last: usize, linter: &mut Linter) {
    let count = asked.dockerfile.stages.len();
    let needed: BTreeSet<usize> = (0..count)
        .flat_map(|index| needs(asked.dockerfile, graph, index))
        .collect();
    for index in (0..count).filter(|index| *index != last && !needed.contains(index)) {
        let from = &asked.dockerfile.stages[index].from;
        let part = from.name.as_ref().map_or(from.span, |name| name.span);
        let message = format!(
            "no stage needs the stage {}: it is not built unless it is the target",
            graph.label(index)
        );
        let finding = Finding::at(Rule::UnusedStage, from.span, part, message).help(
            "remove it, or say that it is a target of its own: # check=skip=UnusedStage above it",
        );
        linter.report_at(&from.comments, finding);
    }
}

fn unpinned(asked: &LintInputs<'_>, graph: &StageGraph<'_>, index: usize, linter: &mut Linter) {
    let Some(BaseName::Image(image)) = &graph.heads[index].base else {
        return;
    };
    let Ok(reference) = image.parse::<Reference>() else {
        return;
    };
    if reference.digest().is_some() {
        return;
    }
    let from = &asked.dockerfile.stages[index].from;
    let message = format!("the base image {image} may be another one tomorrow");
    let finding = Finding::at(Rule::UnpinnedBaseImage, from.span, from.image.span, message).help(
        format!("write {image}@sha256:…; `stagecraft-builder plan` shows the digest"),
    );
    linter.report_at(&from.comments, finding);
}
