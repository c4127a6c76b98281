//! `cargo xtask test`: every tier of the tests, or one.
//!
//! Invariant: a tier is never skipped. What it needs is set up first; where that is impossible, it fails and says why.
//! Invariant: a tier runs whole before its failure ends the command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Deserialize;

use crate::cluster::Places;
use crate::command::{capture, cargo, phase, run as run_program};
use crate::setup;

/// The package of the end-to-end tests.
const END_TO_END: &str = "stagecraft-e2e";

/// Names the kubeconfig of the cluster that the end-to-end tests use.
const KUBECONFIG: &str = "STAGECRAFT_E2E_KUBECONFIG";

/// The tiers, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Every crate by itself: no network, root or cluster
    Unit,
    /// Sandbox, registry client and engine on this machine, without a cluster
    Local,
    /// Operator, chart and builds on a real cluster
    Cluster,
}

/// Runs the tiers that are asked for, in order, until one fails.
///
/// # Errors
/// When a test fails, or a tier cannot run.
pub(crate) fn run(tier: Option<Tier>, filter: Option<&str>) -> anyhow::Result<()> {
    let tiers = tier.map_or_else(|| Tier::value_variants().to_vec(), |tier| vec![tier]);
    let targets = TestTargets::read()?;
    for tier in tiers {
        match tier {
            Tier::Unit => {
                phase("set up unit tests", setup::for_unit_tests)?;
                phase("unit tests", || unit(filter))?;
            }
            Tier::Local => {
                phase("set up local tests", setup::for_local_tests)?;
                phase("local tests", || local(&targets, filter))?;
            }
            Tier::Cluster => {
                let kubeconfig = phase("set up cluster tests", deployed_cluster)?;
                phase("cluster tests", || cluster(&targets, filter, &kubeconfig))?;
            }
        }
    }
    Ok(())
}

fn unit(filter: Option<&str>) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--no-fail-fast",
        "--workspace",
    ]);
    command.args(["--exclude", END_TO_END, "--lib", "--bins"]);
    run_program(command.args(filter))
}

/// Integration tests of the crates, and the end-to-end suites that need no cluster.
fn local(targets: &TestTargets, filter: Option<&str>) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (package, tests) in &targets.local {
        let mut command = cargo();
        command.args([
            "test",
            "--quiet",
            "--locked",
            "--no-fail-fast",
            "--package",
            package,
        ]);
        for test in tests {
            command.args(["--test", test]);
        }
        if let Err(error) = run_program(command.args(filter)) {
            failed.push(format!("{error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// A cluster with the product as it is in this checkout, unless the environment names one; returns its kubeconfig.
fn deployed_cluster() -> anyhow::Result<PathBuf> {
    if let Some(kubeconfig) = std::env::var_os(KUBECONFIG) {
        return Ok(kubeconfig.into());
    }
    Ok(crate::deploy::run()?.kubeconfig())
}

fn cluster(targets: &TestTargets, filter: Option<&str>, kubeconfig: &Path) -> anyhow::Result<()> {
    let mut command = cargo();
    // kubectl and crane are those that belong to the cluster.
    let programs = Places::find()?.programs();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    command.env(
        "PATH",
        std::env::join_paths(path).context("PATH cannot be extended")?,
    );
    command.env(KUBECONFIG, kubeconfig);
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--no-fail-fast",
        "--package",
        END_TO_END,
    ]);
    ensure!(
        !targets.cluster.is_empty(),
        "{END_TO_END} has no cluster suite"
    );
    for test in &targets.cluster {
        command.args(["--test", test]);
    }
    run_program(command.args(filter))
}

/// The integration test programs of the workspace, by tier.
#[derive(Debug, Default, PartialEq, Eq)]
struct TestTargets {
    /// Programs by package.
    local: BTreeMap<String, Vec<String>>,
    /// Programs of the end-to-end package that need a cluster.
    cluster: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl TestTargets {
    fn read() -> anyhow::Result<Self> {
        let json =
            capture(cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
        Self::parse(&json)
    }

    /// In the end-to-end package, programs named `local…` need no cluster and all others do.
    fn parse(json: &str) -> anyhow::Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(json).context("cannot read what cargo metadata printed")?;
        let mut targets = Self::default();
        for package in metadata.packages {
            let tests = package
                .targets
                .into_iter()
                .filter(|target| target.kind.iter().any(|kind| kind == "test"));
            for test in tests {
                if package.name == END_TO_END && !test.name.starts_with("local") {
                    targets.cluster.push(test.name);
                } else {
                    targets
                        .local
                        .entry(package.name.clone())
                        .or_default()
                        .push(test.name);
                }
            }
        }
        Ok(targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_sorted_into_tiers() {
        let json = r#"{"packages": [
            {"name": "stagecraft-builder", "targets": [
                {"name": "stagecraft_builder", "kind": ["lib"]}, {"name": "engine", "kind": ["test"]}]},
            {"name": "stagecraft-e2e", "targets": [
                {"name": "local_corpus", "kind": ["test"]}, {"name": "examples", "kind": ["test"]}]}
        ]}"#;
        let targets = TestTargets::parse(json).unwrap();
        assert_eq!(targets.cluster, ["examples"]);
        assert_eq!(targets.local["stagecraft-builder"], ["engine"]);
        assert_eq!(targets.local["stagecraft-e2e"], ["local_corpus"]);
    }
}
