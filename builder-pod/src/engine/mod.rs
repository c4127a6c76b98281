//! The engine: a request in, an outcome and a report out.
//!
//! `BuildRequest -> context -> parse -> plan -> execute -> export -> BuildReport`
//! Invariant: it never executes a build's code, and cannot tell a pod from a person's machine.

mod planning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use stagecraft_plan::StagePlan;
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::report::BuildReport;
use stagecraft_protocol::request::{BuildRequest, Mode, Pins, Timestamps};
use stagecraft_protocol::verdict::{Outcome, Shape};
use stagecraft_registry::HttpSettings;

use crate::context::Context;
use crate::execute::{Executor, Lendings, Parts, StageResult};
use crate::export::{Destination, EarlyExport, ExportError, Exported, Exporter};
use crate::failure::{chain, is_disk_full, pushing};
use crate::progress::Progress;
use crate::remote::Remotes;
use crate::runners::{RunnerError, RunnerPool, RunnerSource};
use crate::store::Store;
use crate::times::Times;

use planning::Planned;
pub(crate) use planning::client as registry_client;

pub use planning::Explained;

/// What an engine works with beside its request.
pub struct Surroundings {
    /// Directory for everything that is too big for memory; it exists.
    pub scratch: PathBuf,
    /// Where runners come from.
    pub runners: RunnerSource,
    /// Where the results go, one a target: that of the request, then its further outputs.
    pub outputs: Vec<OutputPlan>,
    /// Where progress goes.
    pub progress: Progress,
    /// Refuse registries and other hosts on loopback: in a pod a `RUN` could answer there.
    pub refuse_loopback: bool,
    /// What steps may mount beside files.
    pub lendings: Lendings,
}

/// Where the result of a target goes.
#[derive(Clone, Debug, Default)]
pub struct OutputPlan {
    /// The places.
    pub destinations: Vec<Destination>,
    /// The image's names.
    pub image_names: Vec<String>,
}

impl OutputPlan {
    /// The names that the image is pushed to.
    #[must_use]
    pub fn pushed_names(&self) -> Vec<String> {
        match self.destinations.contains(&Destination::Registry) {
            true => self.image_names.clone(),
            false => Vec::new(),
        }
    }
}

/// How a request ended.
pub struct Ended {
    /// The end in short.
    pub outcome: Outcome,
    /// What there is to tell beyond that.
    pub report: BuildReport,
    /// The images that were made, with the stage that each is.
    pub exported: Vec<(String, Exported)>,
}

impl Ended {
    /// A request that ended before anything was done.
    #[must_use]
    pub fn early(failure: Failure) -> Self {
        Self {
            outcome: Outcome::Failed(failure),
            report: BuildReport::default(),
            exported: Vec::new(),
        }
    }
}

/// Runs a request to its end. Dropping the future ends everything that it started.
pub async fn run(request: &BuildRequest, surroundings: Surroundings) -> Ended {
    let mut ended = Ended {
        outcome: Outcome::Planned {
            shape: Shape { runners: 0 },
        },
        report: BuildReport::default(),
        exported: Vec::new(),
    };
    ended.outcome = match build(request, surroundings, &mut ended).await {
        Ok(outcome) => outcome,
        Err(failure) => {
            ended.report.failure = Some((*failure).clone());
            Outcome::Failed(*failure)
        }
    };
    ended.report.engine_peak_memory_bytes = peak_memory();
    ended
}

/// Plans as far as that is possible: what `stagecraft-builder plan` shows.
///
/// # Errors
/// What is wrong with the request or its context. What is wrong with the Dockerfile or its images is in the answer.
pub async fn explain(
    request: &BuildRequest,
    progress: &Progress,
) -> Result<Explained, Box<Failure>> {
    let scratch = tempfile::tempdir()
        .map_err(|error| internal(format!("cannot make a scratch directory: {error}")))?;
    planning::explain(request, scratch.path(), progress).await
}

async fn build(
    request: &BuildRequest,
    surroundings: Surroundings,
    ended: &mut Ended,
) -> Result<Outcome, Box<Failure>> {
    let Surroundings {
        scratch,
        runners,
        outputs,
        progress,
        refuse_loopback,
        lendings,
    } = surroundings;
    let report = &mut ended.report;
    let planned = planning::plan(request, &scratch, &progress, refuse_loopback).await?;
    let Some(first) = planned.first() else {
        return Err(internal("nothing was planned".to_owned()));
    };
    let (plan, registry) = (Arc::clone(&first.plan), Arc::clone(&first.registry));
    report.pins = first.pins(request);
    check_pins(request, &report.pins)?;
    let chains = planned.iter().map(|planned| planned.plan.run_chains);
    let shape = Shape {
        runners: chains.max().unwrap_or(0),
    };
    report.stages = crate::execute::planned_stages(&plan);
    if request.mode == Mode::Plan {
        progress.line(plan.to_string().trim_end());
        return Ok(Outcome::Planned { shape });
    }
    if request.runners < shape.runners.min(request.parallel_stages) {
        return Ok(Outcome::NeedsRunners { shape });
    }
    let pool = RunnerPool::open(runners, scratch.clone(), request.parallel_stages)
        .await
        .map_err(|error| runner_failure(&error))?;
    let store = Arc::new(Store::new(scratch.clone(), Arc::clone(&registry)));
    let exporter = Arc::new(Exporter::new(
        Arc::clone(&store),
        registry,
        scratch,
        progress.clone(),
    ));
    let http = HttpSettings {
        refuse_loopback,
        ..HttpSettings::default()
    };
    let common = Common {
        request,
        remotes: Arc::new(Remotes::new(Arc::clone(&store), http)),
        store,
        pool: Arc::new(pool),
        progress,
        exporter: Arc::clone(&exporter),
        pushed_names: outputs.iter().map(OutputPlan::pushed_names).collect(),
        has_several: planned.len() > 1,
        lendings,
    };
    let results = common.execute(planned, report).await?;
    for (number, (target, output)) in plan.targets().zip(&outputs).enumerate() {
        let of_target = results
            .iter()
            .filter_map(|of_platform| of_platform.get(number));
        let of_target: Vec<_> = of_target.cloned().collect();
        let exported = exporter
            .export(&of_target, &output.destinations, &output.image_names)
            .await
            .map_err(|error| export_failure(&error))?;
        let label = plan.stage(target).map(StagePlan::label);
        ended.exported.push((label.unwrap_or_default(), exported));
    }
    let Some((_, first)) = ended.exported.first() else {
        return Err(internal("the plan has no target".to_owned()));
    };
    let digest = first.manifest.digest.to_string();
    let size_bytes = first.size_bytes;
    report.digest = Some(digest.clone());
    Ok(Outcome::Succeeded {
        digest,
        size_bytes,
        shape,
    })
}

/// What the builds for all platforms share.
struct Common<'a> {
    request: &'a BuildRequest,
    store: Arc<Store>,
    remotes: Arc<Remotes>,
    pool: Arc<RunnerPool>,
    progress: Progress,
    exporter: Arc<Exporter>,
    /// Where the results are pushed, by target.
    pushed_names: Vec<Vec<String>>,
    has_several: bool,
    lendings: Lendings,
}

impl Common<'_> {
    /// Executes the plans one after the other: the results by platform, then by target.
    async fn execute(
        &self,
        plans: Vec<Planned>,
        report: &mut BuildReport,
    ) -> Result<Vec<Vec<Arc<StageResult>>>, Box<Failure>> {
        let mut results = Vec::new();
        report.stages.clear();
        for planned in plans {
            // A stage of the platform before has the same number as one of this.
            self.pool.forget();
            let executor = Arc::new(self.executor(planned));
            let executed = executor.execute().await;
            report.stages.extend(executor.stage_reports());
            let peak = executor.runner_peak_memory();
            report.runner_peak_memory_bytes = report.runner_peak_memory_bytes.max(peak);
            results.push(executed.map_err(|failure| Box::new(failure.failure))?);
        }
        Ok(results)
    }

    fn executor(&self, planned: Planned) -> Executor {
        let target = planned.plan.target_stage();
        let platform = target.map(|stage| stage.config.platform().to_string());
        Executor::new(Parts {
            early: EarlyExport::new(
                Arc::clone(&self.exporter),
                &planned.plan,
                &self.pushed_names,
            ),
            times: Times {
                epoch: planned.plan.source_date_epoch,
            },
            plan: planned.plan,
            context: planned.context,
            store: Arc::clone(&self.store),
            runners: Arc::clone(&self.pool),
            images: planned.images,
            named: planned.named,
            remotes: Arc::clone(&self.remotes),
            progress: self.progress.clone(),
            platform_name: platform.filter(|_| self.has_several),
            memory_limit_bytes: self.request.memory_limit_bytes,
            lendings: self.lendings.clone(),
        })
    }
}

/// The epoch that the request asks for.
fn epoch(request: &BuildRequest, context: &Context) -> Option<i64> {
    match request.timestamps {
        Timestamps::BuildTime => None,
        Timestamps::SourceTime => Some(context.newest.unwrap_or(0)),
        Timestamps::Epoch(seconds) => Some(seconds),
    }
}

/// A second attempt must build what the first one planned.
fn check_pins(request: &BuildRequest, now: &Pins) -> Result<(), Box<Failure>> {
    let Some(pins) = &request.pins else {
        return Ok(());
    };
    if pins.plan.is_some() && pins.plan != now.plan {
        let message =
            "the plan differs from the first attempt's, although source and images are pinned";
        return Err(Box::new(Failure::new(FailureReason::Internal, message)));
    }
    Ok(())
}

fn runner_failure(error: &RunnerError) -> Box<Failure> {
    let reason = match error {
        RunnerError::SelfTest(_) | RunnerError::Launch(_) => FailureReason::Isolation,
        _ => FailureReason::Infrastructure,
    };
    Box::new(Failure::new(reason, chain(error)))
}

fn export_failure(error: &ExportError) -> Box<Failure> {
    let reason = match error {
        _ if is_disk_full(error) => FailureReason::OutOfDisk,
        ExportError::Push { source, .. } => pushing(source),
        ExportError::Layer(crate::store::StoreError::Fetch { source, .. }) => {
            crate::failure::reading(source)
        }
        ExportError::Name { .. } | ExportError::Write { .. } | ExportError::Directory(_) => {
            FailureReason::Configuration
        }
        ExportError::Layer(_)
        | ExportError::Compress { .. }
        | ExportError::Files(_)
        | ExportError::Nothing => FailureReason::Internal,
    };
    let mut failure = Failure::new(reason, chain(error));
    if let ExportError::Push { source, .. } = error {
        failure.transient = source.is_transient();
    }
    Box::new(failure)
}

fn internal(message: String) -> Box<Failure> {
    Box::new(Failure::new(FailureReason::Internal, message))
}

/// Largest resident set of this process so far, in bytes (`VmHWM` of `/proc/self/status`).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Digests by image name, for pins.
fn image_pins(planned: &Planned) -> BTreeMap<String, String> {
    planned
        .images
        .values()
        .map(|image| (image.reference.familiar(), image.digest.to_string()))
        .collect()
}
