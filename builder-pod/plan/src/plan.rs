//! The plan itself: stages, steps and operations, so specific that executing them leaves no choices.
//!
//! Invariant: [`StagePlan::base`] and every [`crate::CopySource::Stage`] name a stage that stands earlier in
//! [`BuildPlan::stages`].

use std::sync::Arc;

use serde::Serialize;
use stagecraft_dockerfile::{Diagnostic, Span};
use stagecraft_image::{Digest, History, ImageConfig, Platform};

use crate::contexts::{ContextId, PlannedContext};
use crate::image::{ImageId, PlannedImage};
use crate::operation::{Operation, RemoteSource};

/// The remark that BuildKit's frontend leaves in every history entry.
pub const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// Position of a stage in the Dockerfile, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StageIndex(pub usize);

/// Everything that will be done, and from what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildPlan {
    /// SHA-256 over a canonical form of everything that decides the result: resolved steps, configurations,
    /// image digests, platforms. Names of stages, comments and lines of the Dockerfile are not part of it.
    pub digest: Digest,
    /// The Dockerfile's name, for messages.
    pub file: String,
    /// The stage whose result is the image.
    pub target: StageIndex,
    /// Further stages whose results are images, in the order in which they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further_targets: Vec<StageIndex>,
    /// Stages that must succeed, whether something needs them or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<StageIndex>,
    /// The reachable stages: what a stage needs stands before it, otherwise as in the Dockerfile.
    pub stages: Vec<StagePlan>,
    /// The images they need, in the order in which they were asked for.
    pub images: Vec<PlannedImage>,
    /// The named contexts whose files they need, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<PlannedContext>,
    /// How many runners could work at most: see [`StagePlan::run_chain`].
    pub run_chains: u32,
    /// Stages that are not built.
    pub skipped: Vec<SkippedStage>,
    /// Seconds since 1970 that later times are clamped to: the request's, else what the build argument
    /// `SOURCE_DATE_EPOCH` says.
    pub source_date_epoch: Option<i64>,
    /// What is doubtful in the Dockerfile or the request.
    #[serde(skip)]
    pub warnings: Vec<Diagnostic>,
    /// What of it cannot be carried out yet. It is empty in every plan that may be executed: see
    /// [`crate::Planner::whole`].
    #[serde(skip)]
    pub refused: Vec<Diagnostic>,
}

/// A stage that is not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedStage {
    /// Its position in the Dockerfile.
    pub index: StageIndex,
    /// Its name.
    pub name: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StagePlan {
    /// Its position in the Dockerfile.
    pub index: StageIndex,
    /// Its name in lower case.
    pub name: Option<String>,
    /// Where its `FROM` stands.
    pub place: Place,
    /// Its `FROM`, on one line.
    pub text: String,
    /// What it begins with.
    pub base: Base,
    /// What it is built for.
    pub platform: Platform,
    /// Numbered steps, see [`Step::number`].
    pub total: u32,
    /// Its instructions after `FROM`, in order.
    pub steps: Vec<Step>,
    /// The configuration it ends with. `history` and `rootfs` are those of the image below it; the engine
    /// appends what it makes of the steps. `created` is not set. The labels of the request are in the target's.
    pub config: ImageConfig,
    /// Stages and images it needs, each with the reason, in the order of the Dockerfile.
    pub needs: Vec<Edge>,
    /// The chain that it belongs to, from 0. A stage with a `RUN` is in one: in that of the stage it begins
    /// with if no stage before it went on there, else in a new one. A stage without is in one only where a
    /// later stage of the same chain goes on from it.
    pub run_chain: Option<u32>,
}

/// What a stage begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image(ImageId),
    /// The result of an earlier stage.
    Stage(StageIndex),
    /// The files of a named context.
    Context(ContextId),
}

/// What a stage needs, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// What it needs.
    pub on: Dependency,
    /// Why.
    pub reason: EdgeReason,
    /// Where that stands.
    pub place: Place,
}

/// Something that a stage needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dependency {
    /// An earlier stage.
    Stage(StageIndex),
    /// An image.
    Image(ImageId),
    /// A named context.
    Context(ContextId),
}

/// Why a stage needs another, or an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EdgeReason {
    /// It begins with it.
    From,
    /// A step (by [`Step::number`]) copies files out of it.
    Copy {
        /// The step.
        step: u32,
    },
    /// A step (by [`Step::number`]) mounts files of it.
    Mount {
        /// The step.
        step: u32,
    },
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its number among the numbered steps of the stage, from 1: `RUN`, `COPY`, `ADD` and `WORKDIR` count, and
    /// `FROM` does where it names an image, as in BuildKit's progress. Others have the number of the step
    /// before them.
    pub number: u32,
    /// Numbered steps of the stage.
    pub total: u32,
    /// Where it stands.
    pub place: Place,
    /// It as written, on one line.
    pub text: String,
    /// Its entry in the image's history; `ONBUILD` has none.
    pub history: Option<HistoryTemplate>,
    /// What is done.
    pub operation: Operation,
}

/// A place in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The Dockerfile's name, one text for all places.
    #[serde(serialize_with = "shared_text")]
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

/// A history entry that lacks only its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryTemplate {
    /// The instruction, in the words of BuildKit.
    pub created_by: String,
    /// Whether the step has no layer.
    pub empty_layer: bool,
}

impl BuildPlan {
    /// The stage at a position in the Dockerfile, if it is reachable.
    #[must_use]
    pub fn stage(&self, index: StageIndex) -> Option<&StagePlan> {
        self.stages.iter().find(|stage| stage.index == index)
    }

    /// The stages whose results are images, as they were asked for, the target first.
    pub fn targets(&self) -> impl Iterator<Item = StageIndex> {
        std::iter::once(self.target).chain(self.further_targets.iter().copied())
    }

    /// The stage whose result is the image. It is there in every plan that a planner made.
    #[must_use]
    pub fn target_stage(&self) -> Option<&StagePlan> {
        self.stage(self.target)
    }

    /// The named context with this id.
    #[must_use]
    pub fn context(&self, id: ContextId) -> Option<&PlannedContext> {
        self.contexts.get(id.0)
    }

    /// Everything that its steps fetch, in the order of the file.
    pub fn remotes(&self) -> impl Iterator<Item = &RemoteSource> {
        let steps = self.stages.iter().flat_map(|stage| &stage.steps);
        let remotes = steps.filter_map(|step| match &step.operation {
            Operation::Copy(copy) => Some(&copy.remotes),
            _ => None,
        });
        remotes.flatten().map(|remote| &remote.source)
    }

    /// The image with this id.
    #[must_use]
    pub fn image(&self, id: ImageId) -> Option<&PlannedImage> {
        self.images.get(id.0)
    }
}

impl BuildPlan {
    /// The stages in rounds: those of one need nothing but what stands in rounds before, so that they can be built
    /// at the same time.
    #[must_use]
    pub fn rounds(&self) -> Vec<Vec<StageIndex>> {
        let mut rounds: Vec<Vec<StageIndex>> = Vec::new();
        for stage in &self.stages {
            let round_of = |index: StageIndex| {
                let found = rounds.iter().position(|round| round.contains(&index));
                found.map_or(0, |round| round + 1)
            };
            let needed = stage.needs.iter().map(|edge| match edge.on {
                Dependency::Stage(index) => round_of(index),
                Dependency::Image(_) | Dependency::Context(_) => 0,
            });
            let round = needed.max().unwrap_or(0);
            match rounds.get_mut(round) {
                Some(stages) => stages.push(stage.index),
                None => rounds.push(vec![stage.index]),
            }
        }
        rounds
    }
}

impl SkippedStage {
    /// Its name, or its index as text: what messages and reports call it.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.name.as_ref(), self.index)
    }
}

impl StagePlan {
    /// Its name, or its index as text: what messages and reports call it.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.name.as_ref(), self.index)
    }

    /// Its name, or `stage-INDEX`: what progress calls it.
    #[must_use]
    pub fn progress_name(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("stage-{}", self.index.0),
        }
    }

    /// Whether one of its own steps is a `RUN`.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.operation, Operation::Run(_)))
    }
}

fn label(name: Option<&String>, index: StageIndex) -> String {
    name.cloned().unwrap_or_else(|| index.0.to_string())
}

impl Place {
    pub(crate) fn new(file: &Arc<str>, span: Span) -> Self {
        Self {
            file: Arc::clone(file),
            line: span.line,
            column: span.column,
            start: span.start,
            end: span.end,
        }
    }
}

fn shared_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl HistoryTemplate {
    pub(crate) const fn new(created_by: String, empty_layer: bool) -> Self {
        Self {
            created_by,
            empty_layer,
        }
    }

    /// The entry with its time (RFC 3339).
    #[must_use]
    pub fn entry(&self, created: Option<String>) -> History {
        History {
            created,
            created_by: Some(self.created_by.clone()),
            author: None,
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer: self.empty_layer,
        }
    }
}
