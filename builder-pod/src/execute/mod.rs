//! Executes a plan: every stage a task, every step in order, each as soon as what it reads is there.
//!
//! Invariant: the first failure ends everything else and is the one that is reported.

mod board;
mod copy;
mod error;
mod mounts;
mod output;
mod put;
mod run;
mod stage;

use std::collections::HashMap;
use std::sync::Arc;

use stagecraft_image::{History, ImageConfig};
use stagecraft_layer::{FsTree, LayerId, LayerReader};
use stagecraft_plan::{BuildPlan, ContextId, ImageId, StageIndex};
use stagecraft_protocol::report::StageReport;
use stagecraft_registry::ResolvedImage;
use tokio::sync::{OnceCell, SetOnce};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::agents::Agents;
use crate::caches::Caches;
use crate::context::Context;
use crate::export::EarlyExport;
use crate::progress::Progress;
use crate::remote::Remotes;
use crate::runners::RunnerPool;
use crate::secrets::Secrets;
use crate::store::Store;
use crate::times::Times;
use crate::trace;

use board::Board;
pub use error::{StepError, StepFailure};
pub use mounts::MountError;

/// A finished stage.
#[derive(Debug)]
pub struct StageResult {
    /// Metadata of every file; `None` when nothing needed to know it (an image's layers, unread).
    pub tree: Option<FsTree>,
    /// Its layers, bottom first.
    pub stack: Vec<LayerId>,
    /// Its history, the base's first.
    pub history: Vec<History>,
    /// Its configuration, without layers, history and time.
    pub config: ImageConfig,
    /// Newest time among everything it was made of.
    pub created: jiff::Timestamp,
}

/// Everything that stages share while they execute.
pub struct Executor {
    /// What to do.
    pub plan: Arc<BuildPlan>,
    /// Where COPY from the context reads.
    pub context: Arc<Context>,
    /// The layers.
    pub store: Arc<Store>,
    /// The runners.
    pub runners: Arc<RunnerPool>,
    /// The images that the plan names.
    pub images: HashMap<ImageId, ResolvedImage>,
    /// The named contexts whose files the plan uses.
    pub named: HashMap<ContextId, Arc<Context>>,
    /// What ADD fetches.
    pub remotes: Arc<Remotes>,
    /// Where progress goes.
    pub progress: Progress,
    /// What progress calls the platform, where there are several.
    pub platform_name: Option<String>,
    /// The rule for times.
    pub times: Times,
    /// Memory limit of the pod, for messages.
    pub memory_limit_bytes: Option<u64>,
    /// What steps may mount beside files.
    pub lendings: Lendings,
    /// Who exports layers ahead of their image.
    pub early: EarlyExport,
    shared: Shared,
}

#[derive(Default)]
struct Shared {
    results: HashMap<StageIndex, SetOnce<Arc<StageResult>>>,
    image_trees: HashMap<ImageId, OnceCell<Arc<FsTree>>>,
    board: Board,
    runner_peak: std::sync::atomic::AtomicU64,
}

/// What steps may mount beside files of the context, a stage or an image.
#[derive(Clone, Debug)]
pub struct Lendings {
    /// Secrets.
    pub secrets: Secrets,
    /// Where caches are kept.
    pub caches: Caches,
    /// Agents.
    pub agents: Agents,
}

/// The parts of an executor that its maker gives.
pub struct Parts {
    /// What to do.
    pub plan: Arc<BuildPlan>,
    /// Where COPY from the context reads.
    pub context: Arc<Context>,
    /// The layers.
    pub store: Arc<Store>,
    /// The runners.
    pub runners: Arc<RunnerPool>,
    /// The images that the plan names.
    pub images: HashMap<ImageId, ResolvedImage>,
    /// The named contexts whose files the plan uses.
    pub named: HashMap<ContextId, Arc<Context>>,
    /// What ADD fetches.
    pub remotes: Arc<Remotes>,
    /// Where progress goes.
    pub progress: Progress,
    /// What progress calls the platform, where there are several.
    pub platform_name: Option<String>,
    /// The rule for times.
    pub times: Times,
    /// Memory limit of the pod, for messages.
    pub memory_limit_bytes: Option<u64>,
    /// What steps may mount beside files.
    pub lendings: Lendings,
    /// Who exports layers ahead of their image.
    pub early: EarlyExport,
}

/// The stages of a plan before anything of it is executed.
#[must_use]
pub fn planned_stages(plan: &BuildPlan) -> Vec<StageReport> {
    Board::new(plan).reports()
}

impl Executor {
    /// An executor of a plan.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shared = Shared {
            results: parts
                .plan
                .stages
                .iter()
                .map(|s| (s.index, SetOnce::new()))
                .collect(),
            image_trees: parts
                .images
                .keys()
                .map(|id| (*id, OnceCell::new()))
                .collect(),
            board: Board::new(&parts.plan),
            runner_peak: std::sync::atomic::AtomicU64::new(0),
        };
        let Parts {
            plan,
            context,
            store,
            runners,
            images,
            named,
            remotes,
            progress,
            platform_name,
            times,
            memory_limit_bytes,
            lendings,
            early,
        } = parts;
        Self {
            plan,
            context,
            store,
            runners,
            images,
            named,
            remotes,
            progress,
            platform_name,
            times,
            memory_limit_bytes,
            lendings,
            early,
            shared,
        }
    }

    /// Executes every stage of the plan and gives the results of its targets, in the order of
    /// [`BuildPlan::targets`].
    ///
    /// # Errors
    /// The first failure.
    pub async fn execute(self: &Arc<Self>) -> Result<Vec<Arc<StageResult>>, Box<StepFailure>> {
        let mut tasks = JoinSet::new();
        for position in 0..self.plan.stages.len() {
            let executor = Arc::clone(self);
            tasks.spawn(async move { stage::execute(&executor, position).await });
        }
        for source in self.plan.remotes() {
            let (executor, source) = (Arc::clone(self), source.clone());
            // An error shows again, with its place, in the step that wants it.
            tasks.spawn(async move {
                let _ = executor.remotes.get(&source).await;
                Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    tasks.shutdown().await;
                    self.shared.board.cancel_rest();
                    self.runners.settle().await;
                    return Err(failure);
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        let mut results = Vec::new();
        for target in self.plan.targets() {
            results.push(self.result(target).await);
        }
        Ok(results)
    }

    /// How far every stage came.
    #[must_use]
    pub fn stage_reports(&self) -> Vec<StageReport> {
        self.shared.board.reports()
    }

    /// Largest resident set among the processes of `RUN` steps so far, in bytes.
    #[must_use]
    pub fn runner_peak_memory(&self) -> Option<u64> {
        let peak = self
            .shared
            .runner_peak
            .load(std::sync::atomic::Ordering::Relaxed);
        (peak > 0).then_some(peak)
    }

    /// A stage's result, as soon as it is there.
    async fn result(&self, index: StageIndex) -> Arc<StageResult> {
        match self.shared.results.get(&index) {
            Some(slot) => Arc::clone(slot.wait().await),
            // A plan names only stages of its own; a wait for another would never end.
            None => std::future::pending().await,
        }
    }

    fn result_now(&self, index: StageIndex) -> Option<Arc<StageResult>> {
        self.shared.results.get(&index)?.get().cloned()
    }

    /// A named context that is a tree of files.
    fn named_context(&self, id: ContextId) -> Result<&Arc<Context>, StepError> {
        let found = self.named.get(&id);
        found.ok_or(StepError::Unplanned("a named context that was not opened"))
    }

    /// Metadata of an image's files, read from its layers once.
    async fn image_tree(&self, id: ImageId) -> Result<Arc<FsTree>, StepError> {
        let (Some(slot), Some(image)) = (self.shared.image_trees.get(&id), self.images.get(&id))
        else {
            return Err(StepError::Unplanned("an image that was not resolved"));
        };
        let stack = self.store.add_image(image);
        let read = || {
            let lane = format!("image {}", image.reference.familiar());
            let span = trace::work(lane, "read what the layers hold");
            self.tree_of(&stack).instrument(span)
        };
        let tree = slot.get_or_try_init(read).await?;
        Ok(Arc::clone(tree))
    }

    /// Reads the metadata of a stack of layers.
    async fn tree_of(&self, stack: &[LayerId]) -> Result<Arc<FsTree>, StepError> {
        self.prefetch(stack);
        let mut tree = FsTree::new();
        for &id in stack {
            let reader = self.store.reader(id).await?;
            let applied = crate::store::blocking(move || {
                let mut reader = LayerReader::new(reader);
                stagecraft_layer::apply_layer(&mut tree, id, &mut reader).map(|()| tree)
            });
            tree = match applied.await {
                Ok(tree) => tree,
                Err(error) => return Err(self.cause(&[id], StepError::Layer(error)).await),
            };
        }
        Ok(Arc::new(tree))
    }

    /// Starts fetching the layers of images side by side; whoever needs one waits for that one only.
    fn prefetch(&self, stack: &[LayerId]) {
        for &id in stack {
            if matches!(
                self.store.origin(id),
                Ok(crate::store::LayerOrigin::Image(_))
            ) {
                let store = Arc::clone(&self.store);
                // An error shows again, with its place, when the layer is wanted.
                tokio::spawn(async move { store.begin(id).await });
            }
        }
    }

    /// Why layers could not be read: what went wrong while they were fetched, if something did.
    async fn cause(&self, stack: &[LayerId], error: StepError) -> StepError {
        let interruption = self.store.interruption(stack.iter().copied()).await;
        interruption.map_or(error, StepError::Store)
    }
}
