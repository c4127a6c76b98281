//! The build plan: what a Dockerfile means, before anything is done.
//!
//! [`Planner`] is given a parsed Dockerfile and the request, asks for the images it needs, and ends with a
//! [`BuildPlan`]: the reachable stages in an order in which they can be built, every step with resolved values,
//! every image pinned by digest, and the configuration each stage ends with. Executing it leaves no choices.
//!
//! Invariant: everything here is a pure function of the Dockerfile, the inputs and the resolved images; no I/O.
//! Invariant: only reachable stages exist in a plan; what is left out is named with the reason.
//! It must not know registries, layers' contents, caches or how a step is executed.

mod chains;
mod contexts;
mod copy;
mod diagram;
mod digest;
mod document;
mod environment;
mod go_format;
mod graph;
mod image;
mod images;
mod inputs;
pub mod lint;
mod metadata;
mod mode;
mod operation;
mod path;
mod plan;
mod planner;
mod render;
mod render_operation;
mod run;
mod source_names;
mod stage;
mod values;

pub use contexts::{ContextId, ContextSource, PlannedContext};
pub use document::DOCUMENT_VERSION;
pub use image::{ImageId, ImageOrigin, ImagePurpose, ImageRequest, PlannedImage};
pub use inputs::PlanInputs;
pub use mode::{ModeChange, ModeError};
pub use operation::{
    Copy, CopySource, InlineFile, Mount, Operation, Remote, RemoteSource, Run, WorkDirectory,
};
pub use plan::{
    Base, BuildPlan, Dependency, Edge, EdgeReason, HISTORY_COMMENT, HistoryTemplate, Place,
    SkippedStage, StageIndex, StagePlan, Step,
};
pub use planner::{Planner, Progress};
