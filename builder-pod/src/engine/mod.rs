//! The engine: a request in, an outcome and a report out.
//!
//! `BuildRequest -> context -> parse -> plan -> execute -> export -> BuildReport`
//! Invariant: it never executes a build's code, and cannot tell a pod from a person's machine.

mod planning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::report::BuildReport;
use stagecraft_protocol::request::{BuildRequest, Mode, Pins, Timestamps};
use stagecraft_protocol::verdict::{Outcome, Shape};

use crate::context::Context;
use crate::execute::{Executor, Parts};
use crate::export::{Destination, ExportError, Exported, Exporter};
use crate::failure::{chain, is_disk_full, pushing};
use crate::progress::Progress;
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
    /// Where the result goes.
    pub destinations: Vec<Destination>,
    /// The image's names.
    pub image_names: Vec<String>,
    /// Where progress goes.
    pub progress: Progress,
    /// Refuse registries on loopback: in a pod a `RUN` could answer there.
    pub refuse_loopback: bool,
}

/// How a request ended.
pub struct Ended {
    /// The end in short.
    pub outcome: Outcome,
    /// What there is to tell beyond that.
    pub report: BuildReport,
    /// The image, when one was made.
    pub exported: Option<Exported>,
}

impl Ended {
    /// A request that ended before anything was done.
    #[must_use]
    pub fn early(failure: Failure) -> Self {
        Self {
            outcome: Outcome::Failed(failure),
            report: BuildReport::default(),
            exported: None,
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
        exported: None,
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
        destinations,
        image_names,
        progress,
        refuse_loopback,
    } = surroundings;
    let report = &mut ended.report;
    let planned = planning::plan(request, &scratch, &progress, refuse_loopback).await?;
    report.pins = planned.pins(request);
    check_pins(request, &report.pins)?;
    let shape = Shape {
        runners: planned.plan.run_chains,
    };
    report.stages = crate::execute::planned_stages(&planned.plan);
    if request.mode == Mode::Plan {
        progress.line(planned.plan.to_string().trim_end());
        return Ok(Outcome::Planned { shape });
    }
    if request.runners < shape.runners.min(request.parallel_stages) {
        return Ok(Outcome::NeedsRunners { shape });
    }
    let pool = RunnerPool::open(runners, scratch.clone(), request.parallel_stages)
        .await
        .map_err(|error| runner_failure(&error))?;
    let store = Arc::new(Store::new(scratch.clone(), Arc::clone(&planned.registry)));
    let registry = Arc::clone(&planned.registry);
    let executor = Arc::new(executor(
        request,
        planned,
        Arc::clone(&store),
        pool,
        progress.clone(),
    ));
    let executed = executor.execute().await;
    report.stages = executor.stage_reports();
    report.runner_peak_memory_bytes = executor.runner_peak_memory();
    let target = executed.map_err(|failure| Box::new(failure.failure))?;
    let exporter = Exporter {
        store,
        registry,
        scratch,
        progress,
    };
    let exported = exporter
        .export(&target, &destinations, &image_names)
        .await
        .map_err(|error| export_failure(&error))?;
    let digest = exported.manifest.digest.to_string();
    report.digest = Some(digest.clone());
    let size_bytes = exported.size_bytes;
    ended.exported = Some(exported);
    Ok(Outcome::Succeeded {
        digest,
        size_bytes,
        shape,
    })
}

fn executor(
    request: &BuildRequest,
    planned: Planned,
    store: Arc<Store>,
    runners: RunnerPool,
    progress: Progress,
) -> Executor {
    Executor::new(Parts {
        times: Times {
            epoch: planned.plan.source_date_epoch,
        },
        plan: planned.plan,
        context: planned.context,
        store,
        runners,
        images: planned.images,
        named: planned.named,
        progress,
        memory_limit_bytes: request.memory_limit_bytes,
    })
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
        ExportError::Layer(_) | ExportError::Compress { .. } | ExportError::Files(_) => {
            FailureReason::Internal
        }
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
