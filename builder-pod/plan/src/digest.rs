//! The digest of a plan: equal for plans that build the same from the same.
//!
//! Invariant: it covers resolved instructions, configurations, image digests and platforms; names and positions of
//! stages, places in the Dockerfile, and how images are called are no part of it. A change of what it covers
//! changes [`SCHEMA`].

use std::borrow::Cow;

use serde::Serialize;
use stagecraft_image::{Digest, ImageConfig, Platform};

use crate::contexts::ContextSource;
use crate::image::ImageId;
use crate::operation::{CopySource, Mount, Operation};
use crate::plan::{Base, BuildPlan, Dependency, StageIndex};

/// Version of the canonical form.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct CanonicalPlan<'a> {
    schema: u32,
    epoch: Option<i64>,
    images: Vec<&'a Digest>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contexts: Vec<&'a ContextSource>,
    target: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further_targets: Vec<StageIndex>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests: Vec<StageIndex>,
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
    created_by: Option<&'a str>,
    empty_layer: bool,
    operation: Cow<'a, Operation>,
}

/// Ids as positions: of stages among the reachable ones, of images in the order in which stages need them.
struct Positions<'a> {
    plan: &'a BuildPlan,
    images: Vec<ImageId>,
}

impl<'a> Positions<'a> {
    fn new(plan: &'a BuildPlan) -> Self {
        let mut images = Vec::new();
        for edge in plan.stages.iter().flat_map(|stage| &stage.needs) {
            if let Dependency::Image(id) = edge.on
                && !images.contains(&id)
            {
                images.push(id);
            }
        }
        Self { plan, images }
    }

    fn stage(&self, index: StageIndex) -> StageIndex {
        let found = self
            .plan
            .stages
            .iter()
            .position(|stage| stage.index == index);
        StageIndex(found.unwrap_or(usize::MAX))
    }

    fn stages(&self, indexes: &[StageIndex]) -> Vec<StageIndex> {
        indexes.iter().map(|index| self.stage(*index)).collect()
    }

    fn image(&self, id: ImageId) -> ImageId {
        let found = self.images.iter().position(|known| *known == id);
        ImageId(found.unwrap_or(usize::MAX))
    }

    fn base(&self, base: Base) -> Base {
        match base {
            Base::Scratch => Base::Scratch,
            Base::Image(id) => Base::Image(self.image(id)),
            Base::Stage(index) => Base::Stage(self.stage(index)),
            // They are numbered as stages need them.
            Base::Context(_) => base,
        }
    }

    fn source(&self, from: CopySource) -> CopySource {
        match from {
            CopySource::Context | CopySource::Empty | CopySource::Named(_) => from,
            CopySource::Image(id) => CopySource::Image(self.image(id)),
            CopySource::Stage(index) => CopySource::Stage(self.stage(index)),
        }
    }

    fn operation<'o>(&self, operation: &'o Operation) -> Cow<'o, Operation> {
        let names_something = match operation {
            Operation::Copy(copy) => self.source(copy.from) != copy.from,
            Operation::Run(run) => !run.mounts.is_empty(),
            Operation::WorkDirectory(_) | Operation::Metadata => false,
        };
        if !names_something {
            return Cow::Borrowed(operation);
        }
        let mut operation = operation.clone();
        match &mut operation {
            Operation::Copy(copy) => copy.from = self.source(copy.from),
            Operation::Run(run) => {
                for from in run.mounts.iter_mut().filter_map(Mount::source_mut) {
                    *from = self.source(*from);
                }
            }
            Operation::WorkDirectory(_) | Operation::Metadata => {}
        }
        Cow::Owned(operation)
    }
}

/// The digest of a plan, whatever its own `digest` says.
pub(crate) fn digest(plan: &BuildPlan) -> Digest {
    let positions = Positions::new(plan);
    let stages = plan.stages.iter().map(|stage| CanonicalStage {
        base: positions.base(stage.base),
        platform: &stage.platform,
        steps: stage
            .steps
            .iter()
            .map(|step| CanonicalStep {
                created_by: step.history.as_ref().map(|entry| entry.created_by.as_str()),
                empty_layer: step.history.as_ref().is_none_or(|entry| entry.empty_layer),
                operation: positions.operation(&step.operation),
            })
            .collect(),
        config: &stage.config,
    });
    let images = positions.images.iter().filter_map(|id| plan.image(*id));
    let canonical = CanonicalPlan {
        schema: SCHEMA,
        epoch: plan.source_date_epoch,
        images: images.filter_map(|image| image.digest.as_ref()).collect(),
        contexts: plan.contexts.iter().map(|one| &one.source).collect(),
        target: plan
            .stages
            .iter()
            .position(|stage| stage.index == plan.target),
        further_targets: positions.stages(&plan.further_targets),
        tests: positions.stages(&plan.tests),
        stages: stages.collect(),
    };
    // Writing cannot fail: every key is a text.
    Digest::of(serde_json::to_vec(&canonical).unwrap_or_default())
}
