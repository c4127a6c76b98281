//! The command line of `stagecraft-builder`.
//!
//! Invariant: only this module reads the environment and writes to the terminal.

mod agents;
mod build;
mod context;
mod contexts;
mod diff;
mod engine;
mod errors;
mod lint;
mod outputs;
mod plan;
mod secrets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds images from multi-stage Dockerfiles without a daemon and without privileges.
#[derive(Parser)]
#[command(name = "stagecraft-builder", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build an image from a Dockerfile and a context directory, on this machine
    Build(Box<build::BuildArguments>),
    /// Show the stages, steps and images that a build would use; runs nothing
    Plan(Box<plan::PlanArguments>),
    /// Check a Dockerfile: all that is wrong, and what is allowed but probably not meant
    ///
    /// Exit codes: 0 nothing was found, 1 rules found something, 2 the command line is wrong, 10 the file cannot
    /// be built.
    Lint(Box<lint::LintArguments>),
    /// Show what made two images differ: configuration, layers, paths and their metadata
    Diff(diff::DiffArguments),
    /// The engine of a build pod
    #[command(hide = true)]
    Engine(engine::EngineArguments),
    /// A runner: executes RUN steps for an engine
    #[command(hide = true, disable_help_flag = true)]
    Runner(RunnerArguments),
}

#[derive(clap::Args)]
struct RunnerArguments {
    /// Passed to the runner as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the command line to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Runner(runner) = arguments.command {
        return stagecraft_sandbox::runner_main(&runner.rest);
    }
    stagecraft_sandbox::keep_memory_low();
    // One TLS provider for the whole process; a second one linked in by a dependency would make clients panic.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(crate::limits::threads())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the asynchronous runtime: {error}");
            return ExitCode::from(
                stagecraft_protocol::failure::FailureReason::Internal.exit_code(),
            );
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Build(arguments) => build::run(*arguments).await,
            Command::Plan(arguments) => plan::run(*arguments).await,
            Command::Lint(arguments) => lint::run(*arguments).await,
            Command::Diff(arguments) => diff::run(arguments).await,
            Command::Engine(arguments) => engine::run(arguments).await,
            Command::Runner(_) => 0,
        }
    });
    // Blocking work that was abandoned (a cancelled unpack) must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}
