//! Which stages a stage needs, as far as the text says so.

use std::collections::BTreeSet;

use stagecraft_dockerfile::{Dockerfile, Kind, RunInstruction, Span};

use crate::graph::{BaseName, StageGraph};
use crate::source_names::SourceName;

/// Keys in small letters and values of the mounts of a `RUN`.
pub(super) fn mounts(run: &RunInstruction) -> impl Iterator<Item = (String, String, Span)> {
    let flags = run.flags.iter().filter(|flag| flag.name == "mount");
    flags.flat_map(|flag| {
        let value = flag.value.as_deref().unwrap_or_default();
        let fields = value.split(',').filter_map(|field| field.split_once('='));
        let owned = |(key, value): (&str, &str)| (key.to_lowercase(), value.to_owned(), flag.span);
        fields.map(owned).collect::<Vec<_>>()
    })
}

/// What the `--from` flags and mounts of a stage name, those of triggers of the stage below among them.
pub(super) fn sources(
    dockerfile: &Dockerfile,
    graph: &StageGraph<'_>,
    index: usize,
) -> Vec<SourceName> {
    if graph.heads[index].is_replaced {
        return Vec::new();
    }
    let own = dockerfile.stages[index].instructions.iter();
    let mut names: Vec<(String, Span)> = own.flat_map(|one| named(&one.kind)).collect();
    if let Some(BaseName::Stage(base)) = graph.heads[index].base {
        for instruction in &dockerfile.stages[base].instructions {
            if let Kind::OnBuild(trigger) = &instruction.kind {
                names.extend(trigger.kind.iter().flat_map(|kind| named(kind)));
            }
        }
    }
    let source = |(name, span): &(String, Span)| graph.source(name, *span, index).ok();
    names.iter().filter_map(source).collect()
}

fn named(kind: &Kind) -> Vec<(String, Span)> {
    match kind {
        Kind::Copy(copy) => {
            let flag = copy.flag("from");
            let value = flag.and_then(|flag| Some((flag.value.clone()?, flag.span)));
            let read = copy.options.from.as_ref();
            let named = |(value, span)| (value, read.map_or(span, |from| from.span));
            value.into_iter().map(named).collect()
        }
        Kind::Run(run) => mounts(run)
            .filter(|(key, _, _)| key == "from")
            .map(|(_, value, span)| (value, span))
            .collect(),
        _ => Vec::new(),
    }
}

/// The stages that a stage needs.
pub(super) fn needs(
    dockerfile: &Dockerfile,
    graph: &StageGraph<'_>,
    index: usize,
) -> BTreeSet<usize> {
    let mut needs: BTreeSet<usize> = sources(dockerfile, graph, index)
        .into_iter()
        .filter_map(|source| match source {
            SourceName::Stage(stage) => Some(stage),
            _ => None,
        })
        .collect();
    if let Some(BaseName::Stage(base)) = graph.heads[index].base {
        needs.insert(base);
    }
    needs
}

/// A stage with all that it needs.
pub(super) fn reachable(
    dockerfile: &Dockerfile,
    graph: &StageGraph<'_>,
    target: usize,
) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        if reached.insert(index) {
            open.extend(needs(dockerfile, graph, index));
        }
    }
    reached
}
