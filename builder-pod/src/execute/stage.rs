//! One stage from its base to its result.
//!
//! A stage without RUN is only metadata and layers. One with RUN stands in a runner's root from its first step
//! that touches files to its last RUN (or to its end, where another stage goes on in it).

use std::sync::Arc;

use stagecraft_image::{History, ImageConfig};
use stagecraft_layer::{FsTree, LayerId};
use stagecraft_plan::{Base, Operation, StageIndex, StagePlan, Step};
use stagecraft_protocol::progress::Place;
use stagecraft_protocol::report::StageState;
use tracing::Instrument;

use super::{Executor, StageResult, StepError, StepFailure};
use crate::progress::Vertex;
use crate::rootfs::Rootfs;
use crate::runners::Lease;
use crate::store::blocking;
use crate::{times, trace};

/// A stage while it is built.
pub(super) struct StageBuild<'a> {
    pub(super) executor: &'a Arc<Executor>,
    pub(super) plan: &'a StagePlan,
    /// Steps that are in `tree` and `stack`.
    pub(super) done: usize,
    pub(super) tree: Option<FsTree>,
    pub(super) stack: Vec<LayerId>,
    pub(super) history: Vec<History>,
    pub(super) created: jiff::Timestamp,
    pub(super) lease: Option<Lease>,
    /// Whose files the base's are, for continuing in a root that holds them.
    base_content: Option<(usize, usize)>,
}

/// Executes the stage at `position` of the plan and publishes its result.
pub(super) async fn execute(
    executor: &Arc<Executor>,
    position: usize,
) -> Result<(), Box<StepFailure>> {
    let Some(plan) = executor.plan.stages.get(position) else {
        return Ok(());
    };
    let mut build = StageBuild::from_base(executor, plan).await;
    executor.shared.board.started(position);
    if let Err(failure) = build.begin().await {
        executor.shared.board.ended(position, StageState::Failed);
        return Err(failure);
    }
    for step in &plan.steps {
        if let Err(failure) = build.step(step).await {
            executor.shared.board.ended(position, StageState::Failed);
            return Err(failure);
        }
    }
    executor.shared.board.ended(position, StageState::Succeeded);
    build.publish();
    Ok(())
}

impl<'a> StageBuild<'a> {
    async fn from_base(executor: &'a Arc<Executor>, plan: &'a StagePlan) -> StageBuild<'a> {
        let mut build = StageBuild {
            executor,
            plan,
            done: 0,
            tree: None,
            stack: Vec::new(),
            history: Vec::new(),
            created: executor.times.settle(jiff::Timestamp::UNIX_EPOCH),
            lease: None,
            base_content: None,
        };
        match &plan.base {
            // The files of a context are put into it.
            Base::Scratch | Base::Context(_) => build.tree = Some(FsTree::new()),
            Base::Image(id) => {
                if let Some(image) = executor.images.get(id) {
                    build.stack = executor.store.add_image(image);
                    build.history.clone_from(&image.config.history);
                    build.created = times::parse(image.config.created.as_deref());
                }
            }
            Base::Stage(index) => {
                let base = build.wait_for(*index).await;
                build.tree.clone_from(&base.tree);
                build.stack.clone_from(&base.stack);
                build.history.clone_from(&base.history);
                build.created = base.created;
                let steps = executor
                    .plan
                    .stage(*index)
                    .map_or(0, |stage| stage.steps.len());
                build.base_content = Some((index.0, steps));
            }
        }
        build
    }

    /// Puts the files of a named context in place, where the stage begins with one.
    async fn begin(&mut self) -> Result<(), Box<StepFailure>> {
        let Base::Context(id) = self.plan.base else {
            return Ok(());
        };
        let place = (self.plan.text.as_str(), &self.plan.place);
        if let Err(error) = self.begin_with(id).await {
            return Err(self.failed(place, None, &error, Vec::new()));
        }
        let name = self.executor.plan.context(id).map(|context| &context.name);
        self.created = self.executor.times.clamp(self.created);
        self.history.push(History {
            created: Some(self.created.to_string()),
            created_by: name.map(|name| format!("local source for {name}")),
            author: None,
            comment: Some("buildkit.exporter.image.v0".to_owned()),
            empty_layer: false,
        });
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Box<StepFailure>> {
        let operation = &step.operation;
        let vertex = (!matches!(operation, Operation::Metadata)).then(|| {
            let place = Place::Step {
                stage: self.lane(),
                number: step.number,
                total: step.total,
            };
            self.executor.progress.start(place, step.text.clone())
        });
        let layers = self.stack.len();
        let span = trace::work(self.lane(), &step.text);
        let outcome = async {
            match (operation, &vertex) {
                (Operation::WorkDirectory(work), _) => self.work_directory(work).await,
                (Operation::Copy(copy), _) => self.copy(copy).await,
                (Operation::Run(run), Some(vertex)) => self.run(run, vertex).await,
                (Operation::Metadata | Operation::Run(_), _) => Ok(()),
            }
        };
        let outcome = outcome.instrument(span).await;
        if let Err((error, log_tail)) = outcome.map_err(WithTail::into_parts) {
            let place = (step.text.as_str(), &step.place);
            return Err(self.failed(place, vertex.as_ref(), &error, log_tail));
        }
        if let Some(vertex) = vertex {
            vertex.done();
        }
        for layer in self.stack.iter().skip(layers) {
            self.executor.early.finished(self.plan.index, *layer);
        }
        self.created = self.executor.times.settle(self.created);
        let entry = step.history.as_ref();
        self.history
            .extend(entry.map(|entry| entry.entry(Some(self.created.to_string()))));
        self.done += 1;
        self.leave_root_if_unused();
        Ok(())
    }

    /// What progress and the time line call the stage.
    pub(super) fn lane(&self) -> String {
        match &self.executor.platform_name {
            Some(platform) => format!("{platform} {}", self.plan.progress_name()),
            None => self.plan.progress_name(),
        }
    }

    /// Another stage's result, as soon as it is there.
    pub(super) async fn wait_for(&self, index: StageIndex) -> Arc<StageResult> {
        let name = self.executor.plan.stage(index).map(StagePlan::label);
        let what = format!("stage {}", name.unwrap_or_default());
        let span = trace::wait(self.lane(), what);
        self.executor.result(index).instrument(span).await
    }

    fn failed(
        &self,
        (text, place): (&str, &stagecraft_plan::Place),
        vertex: Option<&Vertex>,
        error: &StepError,
        log_tail: Vec<String>,
    ) -> Box<StepFailure> {
        let mut failure = error.to_failure();
        failure.stage = Some(self.plan.label());
        failure.instruction = Some(text.to_owned());
        failure.file = Some(self.executor.context.dockerfile_name.clone());
        failure.line = Some(place.line);
        failure.column = Some(place.column);
        failure.log_tail = log_tail;
        if let Some(vertex) = vertex {
            vertex.error(failure.message.clone());
        }
        Box::new(StepFailure { failure })
    }

    /// The metadata tree; an image's layers are read for it when nothing has before.
    pub(super) async fn ensure_tree(&mut self) -> Result<(), StepError> {
        if self.tree.is_none() {
            let tree = match &self.plan.base {
                Base::Image(id) => self.executor.image_tree(*id).await?,
                // A base stage without a tree stands on an image that nothing has read.
                _ => self.executor.tree_of(&self.stack).await?,
            };
            self.tree = Some(Arc::unwrap_or_clone(tree));
        }
        Ok(())
    }

    /// Whether files must stand in a root from here on.
    pub(super) fn needs_root(&self) -> bool {
        let rest = self.plan.steps.get(self.done..).unwrap_or_default();
        let runs = rest
            .iter()
            .any(|step| matches!(step.operation, Operation::Run(_)));
        // A stage below which nothing ran is cheaper to lay out anew than to hold in a root.
        runs || (self.plan.run_chain.is_some() && self.lease.is_some() && self.is_continued())
    }

    /// Whether another stage goes on from this one with a RUN.
    fn is_continued(&self) -> bool {
        let here: StageIndex = self.plan.index;
        self.executor.plan.stages.iter().any(|stage| {
            matches!(stage.base, Base::Stage(index) if index == here) && stage.has_run()
        })
    }

    /// Makes a runner's root hold this stage as it is now.
    pub(super) async fn ensure_root(&mut self) -> Result<(), StepError> {
        if self.lease.is_some() {
            return Ok(());
        }
        let wanted = if self.done == 0 {
            self.base_content
        } else {
            Some(self.content())
        };
        let span = trace::wait(self.lane(), "a runner");
        let mut lease = self
            .executor
            .runners
            .acquire(wanted)
            .instrument(span)
            .await?;
        if wanted.is_some() && lease.content == wanted && lease.runner.root.is_some() {
            self.lease = Some(lease);
            return self.ensure_tree().await;
        }
        if lease.content.is_some() || lease.runner.root.is_some() {
            lease = blocking(move || lease.runner.empty().map(|()| lease)).await?;
        }
        let descriptor = lease.runner.root_descriptor().map_err(StepError::Pipes)?;
        let span = trace::work(self.lane(), "unpack");
        let unpacked = self.unpack(Rootfs::new(descriptor)).instrument(span);
        let (root, tree) = unpacked.await?;
        lease.runner.root = Some(root);
        self.tree = Some(tree);
        self.lease = Some(lease);
        Ok(())
    }

    async fn unpack(&self, mut root: Rootfs) -> Result<(Rootfs, FsTree), StepError> {
        let executor = self.executor;
        executor.prefetch(&self.stack);
        let mut layers = Vec::with_capacity(self.stack.len());
        for &id in &self.stack {
            layers.push((id, executor.store.reader(id).await?));
        }
        let threads = crate::limits::threads();
        let unpacked = blocking(move || {
            let mut tree = FsTree::new();
            root.unpack_all(&mut tree, layers, threads)
                .map(|()| (root, tree))
        });
        match unpacked.await {
            Ok(unpacked) => Ok(unpacked),
            Err(error) => Err(executor.cause(&self.stack, error.into()).await),
        }
    }

    /// What a root holds after the steps that are done.
    pub(super) fn content(&self) -> (usize, usize) {
        (self.plan.index.0, self.done)
    }

    /// Gives the runner back, before waiting for something else: whoever needs one may have it.
    pub(super) fn leave_root(&mut self) {
        let content = match self.done {
            0 => self.base_content,
            _ => Some(self.content()),
        };
        if let Some(lease) = self.lease.take() {
            self.executor.runners.release(lease, content);
        }
    }

    fn leave_root_if_unused(&mut self) {
        if !self.needs_root() {
            self.leave_root();
        }
    }

    fn publish(mut self) {
        self.leave_root();
        let config: ImageConfig = self.plan.config.clone();
        let result = StageResult {
            tree: self.tree.take(),
            stack: std::mem::take(&mut self.stack),
            history: std::mem::take(&mut self.history),
            config,
            created: self.executor.times.clamp(self.created),
        };
        if let Some(slot) = self.executor.shared.results.get(&self.plan.index) {
            // A stage is executed once, so its slot is empty.
            let _ = slot.set(Arc::new(result));
        }
    }
}

/// An error of a step that may have printed something.
pub(super) struct WithTail {
    error: StepError,
    log_tail: Vec<String>,
}

impl WithTail {
    pub(super) fn new(error: StepError, log_tail: Vec<String>) -> Self {
        Self { error, log_tail }
    }

    fn into_parts(self) -> (StepError, Vec<String>) {
        (self.error, self.log_tail)
    }
}

impl<E: Into<StepError>> From<E> for WithTail {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            log_tail: Vec::new(),
        }
    }
}
