//! Our own programs, built once and asked for what they know.
//!
//! Invariant: their output depends on nothing of who asks: they run with an empty environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::command::{capture, cargo};

/// The programs that people run.
pub(super) const OPERATOR: &str = "stagecraft-operator";
pub(super) const BUILDER: &str = "stagecraft-builder";

/// The programs of this tree.
pub(super) struct Programs {
    executables: BTreeMap<String, PathBuf>,
}

impl Programs {
    /// Builds them.
    pub(super) fn build() -> anyhow::Result<Self> {
        // With the features of the tests' build, so that it is not a build of its own.
        let mut command = cargo();
        command.args([
            "build",
            "--quiet",
            "--locked",
            "--message-format=json",
            "--workspace",
        ]);
        command.args(["--exclude", "stagecraft-e2e", "--bins"]);
        let output = capture(&mut command)?;
        let messages = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let executables = messages.filter_map(|message| {
            let path = message["executable"].as_str()?;
            let name = message["target"]["name"].as_str()?;
            Some((name.to_owned(), PathBuf::from(path)))
        });
        Ok(Self {
            executables: executables.collect(),
        })
    }

    /// What a program prints for these arguments.
    pub(super) fn ask(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let path = self
            .executables
            .get(program)
            .with_context(|| format!("cargo built no {program}"))?;
        capture(Command::new(path).args(arguments).env_clear())
    }
}
