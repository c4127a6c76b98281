//! The one door for developers: `cargo xtask <command>`.
//!
//! Each command is a module; this file only parses the command line.

mod bench;
mod buildkit;
mod cluster;
mod command;
mod demo;
mod deploy;
mod r#gen;
mod images;
mod lint;
mod matrix;
mod oci;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The one door for developers of Stagecraft"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up everything that the tests need and run them all, or one tier of them
    Test {
        /// unit, local, engine or cluster; all of these when absent. run-matrix on demand: it fetches gigabytes
        tier: Option<test::Tier>,
        /// The name of a test program, or a part of tests' names
        filter: Option<String>,
        /// Ask this builder the cases of the engine instead: the answers on record must be its own
        #[arg(long)]
        against: Option<test::Judge>,
        /// Put the answers on record
        #[arg(long, requires = "against")]
        update: bool,
    },
    /// From nothing to an image that runs: cluster, chart, the first example
    Demo,
    /// Build the images and the chart's release in the test cluster, and bring what runs there up to date
    Deploy,
    /// A real Kubernetes on this machine, with supplies for builds without internet
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Measure on this machine: what RUN costs, how much memory the engine takes
    Bench {
        #[command(subcommand)]
        action: bench::Action,
    },
    /// Formatting, clippy, the rules of the house and generated files
    Lint,
    /// The rules of the house alone: crate edges, forbidden APIs, file shape, dependencies, licences
    Tidy,
    /// Write what is generated: CRD, roles, reference pages
    Gen {
        /// Write nothing; fail when a file differs
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Test {
            tier,
            filter,
            against: Some(judge),
            update,
        } => test::against(tier, filter.as_deref(), judge, update),
        Command::Test { tier, filter, .. } => test::run(tier, filter.as_deref()),
        Command::Demo => demo::run(),
        Command::Deploy => deploy::run().map(drop),
        Command::Cluster { action } => cluster::run(&action),
        Command::Bench { action } => bench::run(&action),
        Command::Lint => lint::lint(),
        Command::Tidy => tidy::run(),
        Command::Gen { check } => r#gen::run(r#gen::Mode::of(check)),
    }
}
