//! `stagecraft-builder engine`: the engine of a build pod. Its end is the verdict in the termination message.

use std::future::Future;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::report::{self, BuildReport};
use stagecraft_protocol::request::{BuildRequest, Mode};
use stagecraft_protocol::runner::SOCKET_NAME;
use stagecraft_protocol::verdict::{self, Outcome, Verdict};
use stagecraft_sandbox::Listener;
use tokio::signal::unix::{SignalKind, signal};

use crate::agents::{AgentSource, Agents};
use crate::caches::Caches;
use crate::engine::{Ended, OutputPlan};
use crate::execute::Lendings;
use crate::export::Destination;
use crate::progress::Progress;
use crate::secrets::{SecretSource, Secrets};
use crate::{engine, runners};

#[derive(clap::Args)]
pub(super) struct EngineArguments {
    /// The build request, a JSON file
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Directory for everything that is too big for memory
    #[arg(long, value_name = "DIR", default_value = "/scratch")]
    scratch: PathBuf,
    /// File that the kubelet reads the verdict from
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    termination_log: PathBuf,
}

/// Runs the request to its verdict, and gives the exit code.
pub(super) async fn run(arguments: EngineArguments) -> u8 {
    let progress = super::errors::progress_to_stderr();
    let (mode, ended) = match prepare(&arguments.request) {
        Ok((request, listener)) => {
            let surroundings = engine::Surroundings {
                scratch: arguments.scratch.clone(),
                runners: runners::RunnerSource::Pod {
                    listener,
                    count: request.runners,
                },
                outputs: outputs(&request),
                progress: progress.clone(),
                refuse_loopback: true,
                lendings: Lendings {
                    secrets: secrets(&request),
                    caches: Caches::new(caches(&request, &arguments.scratch)),
                    agents: agents(&request),
                },
            };
            (
                request.mode,
                until_signal(engine::run(&request, surroundings)).await,
            )
        }
        Err(message) => {
            let failure = Failure::new(FailureReason::Internal, message);
            (Mode::Build, Ended::early(failure))
        }
    };
    let Ended {
        outcome, report, ..
    } = ended;
    let message = verdict_with_report(&outcome, &report, &progress);
    if let Err(error) = std::fs::write(&arguments.termination_log, message) {
        progress.line(&format!(
            "error: cannot write the verdict to {}: {error}",
            arguments.termination_log.display()
        ));
    }
    verdict::exit_code(&outcome, mode)
}

/// Every target is pushed to its names.
fn outputs(request: &BuildRequest) -> Vec<OutputPlan> {
    let further = request.further_outputs.iter().map(|output| &output.images);
    let pushed = |images: &Vec<String>| OutputPlan {
        destinations: vec![Destination::Registry],
        image_names: images.clone(),
    };
    std::iter::once(&request.images)
        .chain(further)
        .map(pushed)
        .collect()
}

/// The secrets that are mounted into this container.
fn secrets(request: &BuildRequest) -> Secrets {
    let mut secrets = Secrets::default();
    for secret in &request.secrets {
        secrets.add(
            secret.id.clone(),
            SecretSource::File(PathBuf::from(&secret.path)),
        );
    }
    secrets
}

/// The keys that are mounted into this container.
fn agents(request: &BuildRequest) -> Agents {
    let mut agents = Agents::default();
    for key in &request.ssh {
        agents.add(
            key.id.clone(),
            AgentSource::KeyFile(PathBuf::from(&key.path)),
        );
    }
    agents
}

/// Where the caches of steps are: on the volume that is mounted for them, or gone with the pod.
fn caches(request: &BuildRequest, scratch: &Path) -> PathBuf {
    match &request.cache_directory {
        Some(directory) => PathBuf::from(directory),
        None => scratch.join("caches"),
    }
}

/// The request, and the socket that its runners look for from their start on.
fn prepare(file: &Path) -> Result<(BuildRequest, Listener), String> {
    let listener =
        Listener::bind_abstract(SOCKET_NAME).map_err(|error| crate::failure::chain(&error))?;
    Ok((read_request(file)?, listener))
}

fn read_request(file: &Path) -> Result<BuildRequest, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the build request {}: {error}", file.display()))?;
    let request: BuildRequest = serde_json::from_str(&text)
        .map_err(|error| format!("cannot understand the build request: {error}"))?;
    if request.protocol_version != stagecraft_protocol::PROTOCOL_VERSION {
        return Err(format!(
            "the request speaks protocol {}, this builder {}: use an operator and a builder image of one release",
            request.protocol_version,
            stagecraft_protocol::PROTOCOL_VERSION
        ));
    }
    Ok(request)
}

/// Prints the report's frames and gives the termination message that vouches for them.
fn verdict_with_report(outcome: &Outcome, report: &BuildReport, progress: &Progress) -> String {
    let (json, lines) = report::frames(report);
    for line in lines {
        progress.line(&line);
    }
    let mut verdict = Verdict::new(outcome.clone());
    let hash = Sha256::digest(json.as_bytes());
    verdict.report_digest = Some(format!(
        "sha256:{}",
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    ));
    verdict.to_termination_message()
}

/// The future's result, or `Cancelled` when SIGTERM or SIGINT comes first. Dropping the future ends its runners.
pub(super) async fn until_signal(build: impl Future<Output = Ended>) -> Ended {
    let cancelled = |what: &str| {
        let failure = Failure::new(
            FailureReason::Cancelled,
            format!("the build was ended by {what}"),
        );
        Ended::early(failure)
    };
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return build.await;
    };
    tokio::select! {
        end = build => end,
        _ = terminate.recv() => cancelled("SIGTERM"),
        _ = interrupt.recv() => cancelled("SIGINT"),
    }
}
