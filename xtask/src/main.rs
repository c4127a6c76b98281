//! The one door for developers: `cargo xtask <command>`.
//!
//! Each command is a module; this file only parses the command line.

mod test;

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
        /// unit, local or cluster; all of them when absent
        tier: Option<String>,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Test { tier, filter } => test::run(tier.as_deref(), filter.as_deref()),
    }
}
