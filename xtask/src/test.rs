//! `cargo xtask test`: every tier of the tests.

use std::process::Command;

use anyhow::{Context, ensure};

/// Runs the tiers that are asked for.
pub(crate) fn run(_tier: Option<&str>, filter: Option<&str>) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--workspace", "--quiet"])
        .args(filter);
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "unit tests failed");
    Ok(())
}
