//! The digest of a plan: equal for plans that build the same from the same.
//!
//! Invariant: it covers resolved instructions, configurations, image digests and platforms; names and positions of
//! stages, places in the Dockerfile, and how images are called are no part of it. A change of what it covers
//! changes [`SCHEMA`].

use serde::Serialize;
use stagecraft_image::{Digest, ImageConfig, Platform};

use crate::plan::{Base, BuildPlan, CopySource, Operation, StageIndex};

/// Version of the canonical form.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct CanonicalPlan<'a> {
    schema: u32,
    epoch: Option<i64>,
    images: Vec<&'a Digest>,
    target: Option<usize>,
    stages: Vec<CanonicalStage<'a>>,
}

#[derive(Serialize)]
struct CanonicalStage<'a> {
    base: Base,
    platform: &'a Platform,
    steps: Vec<CanonicalStep<'a>>,
    config: &'a ImageConfig,
}

#[derive(Serialize)]
struct CanonicalStep<'a> {
    created_by: &'a str,
    empty_layer: bool,
    operation: Operation,
}

/// The digest of a plan (whatever its own `digest` says).
pub(crate) fn digest(plan: &BuildPlan) -> Digest {
    let position = |index: StageIndex| {
        let found = plan.stages.iter().position(|stage| stage.index == index);
        StageIndex(found.unwrap_or(usize::MAX))
    };
    let stages = plan.stages.iter().map(|stage| CanonicalStage {
        base: match stage.base {
            Base::Stage(index) => Base::Stage(position(index)),
            base => base,
        },
        platform: &stage.platform,
        steps: stage
            .steps
            .iter()
            .map(|step| CanonicalStep {
                created_by: &step.history.created_by,
                empty_layer: step.history.empty_layer,
                operation: canonical_operation(&step.operation, position),
            })
            .collect(),
        config: &stage.config,
    });
    let canonical = CanonicalPlan {
        schema: SCHEMA,
        epoch: plan.source_date_epoch,
        images: plan.images.iter().map(|image| &image.digest).collect(),
        target: plan
            .stages
            .iter()
            .position(|stage| stage.index == plan.target),
        stages: stages.collect(),
    };
    // Writing cannot fail: every key is a text.
    Digest::of(serde_json::to_vec(&canonical).unwrap_or_default())
}

fn canonical_operation(
    operation: &Operation,
    position: impl Fn(StageIndex) -> StageIndex,
) -> Operation {
    let mut operation = operation.clone();
    if let Operation::Copy(copy) = &mut operation
        && let CopySource::Stage(index) = copy.from
    {
        copy.from = CopySource::Stage(position(index));
    }
    operation
}
