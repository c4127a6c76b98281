//! `cargo xtask test`: every tier of the tests, or one.
//!
//! Invariant: a tier is never skipped. What it needs is set up first; where that is impossible, it fails and says why.
//! Invariant: a tier runs whole before its failure ends the command.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;

use crate::buildkit::BuildKit;
use crate::cluster::Places;
use crate::command::{capture, cargo, phase, run as run_program};
use crate::matrix;
use crate::setup;

/// The package of the end-to-end tests.
const END_TO_END: &str = "stagecraft-e2e";

/// The test program of the corpus that BuildKit judges.
const ENGINE: &str = "engine";

/// Crates that compute only: what they test with files needs nothing of the machine.
const PURE: [&str; 7] = [
    "stagecraft-api",
    "stagecraft-dockerfile",
    "stagecraft-image",
    "stagecraft-layer",
    "stagecraft-operator",
    "stagecraft-plan",
    "stagecraft-protocol",
];

/// Names the kubeconfig of the cluster that the end-to-end tests use.
const KUBECONFIG: &str = "STAGECRAFT_E2E_KUBECONFIG";

/// The tiers, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Every crate by itself: no network, root or cluster
    Unit,
    /// Sandbox, registry client and engine on this machine, without a cluster
    Local,
    /// The corpus of builds, held to what BuildKit made of it
    Engine,
    /// Operator, chart and builds on a real cluster
    Cluster,
    /// What a RUN does in other people's images, beside BuildKit; needs root and the network
    RunMatrix,
}

/// What runs when no tier is named.
const EVERY_TIME: [Tier; 4] = [Tier::Unit, Tier::Local, Tier::Engine, Tier::Cluster];

/// A builder that knows the right answers.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Judge {
    /// BuildKit 0.34, built from its Go module; needs root
    BuildKit,
}

/// Asks a judge the cases of the engine that `filter` selects; with `update` its answers become the record.
///
/// # Errors
/// When the tier is another, the judge cannot be had, or an answer is not the one on record.
pub(crate) fn against(
    tier: Option<Tier>,
    filter: Option<&str>,
    judge: Judge,
    update: bool,
) -> anyhow::Result<()> {
    ensure!(
        tier == Some(Tier::Engine),
        "only the tier `engine` has a judge"
    );
    phase("set up local tests", setup::for_local_tests)?;
    let Judge::BuildKit = judge;
    let daemon = phase("start BuildKit", BuildKit::start)?;
    let mut command = workspace_tests();
    command.args(["--test", ENGINE, "--"]).args(filter);
    command.args(["--against", daemon.address(), "--buildctl"]);
    command.arg(daemon.buildctl());
    command.args(["--port", &daemon.mirror().to_string()]);
    if update {
        command.arg("--update");
    }
    phase("the corpus against BuildKit", || run_program(&mut command))
}

/// Runs the tiers that are asked for, in order, until one fails. `filter` is the name of a test program, or a part of
/// tests' names.
///
/// # Errors
/// When a test fails, a tier cannot run, or `filter` selects nothing.
pub(crate) fn run(tier: Option<Tier>, filter: Option<&str>) -> anyhow::Result<()> {
    let tiers = tier.map_or_else(|| EVERY_TIME.to_vec(), |tier| vec![tier]);
    let targets = TestTargets::read()?;
    let mut found = false;
    for tier in tiers {
        match tier {
            Tier::Unit => {
                phase("set up unit tests", setup::for_unit_tests)?;
                found |= phase("unit tests", || unit(&targets, filter))?;
            }
            Tier::Local => {
                phase("set up local tests", setup::for_local_tests)?;
                found |= phase("local tests", || local(&targets, filter))?;
            }
            Tier::Engine => {
                phase("set up local tests", setup::for_local_tests)?;
                let programs = BTreeSet::from([ENGINE.to_owned()]);
                let tests = || run_selected(workspace_tests, &[], &programs, filter);
                found |= phase("engine tests", tests)?;
            }
            Tier::RunMatrix => {
                matrix::run(filter)?;
                found = true;
            }
            Tier::Cluster => {
                let kubeconfig = phase("set up cluster tests", deployed_cluster)?;
                found |= phase("cluster tests", || cluster(&targets, filter, &kubeconfig))?;
            }
        }
    }
    let filter = filter.unwrap_or_default();
    ensure!(
        found,
        "no test program and no test has {filter:?} in its name"
    );
    Ok(())
}

/// Tests next to the code, and the corpus that pure crates are held to.
fn unit(targets: &TestTargets, filter: Option<&str>) -> anyhow::Result<bool> {
    run_selected(workspace_tests, &["--lib", "--bins"], &targets.unit, filter)
}

/// Integration tests of the crates that work on this machine.
fn local(targets: &TestTargets, filter: Option<&str>) -> anyhow::Result<bool> {
    ensure!(!targets.local.is_empty(), "no crate has local tests");
    run_selected(workspace_tests, &[], &targets.local, filter)
}

/// Runs what `filter` selects: the test program of that name, or tests with it in their names. Whether there is any.
fn run_selected(
    command: impl Fn() -> Command,
    others: &[&str],
    programs: &BTreeSet<String>,
    filter: Option<&str>,
) -> anyhow::Result<bool> {
    let program = filter.filter(|name| programs.contains(*name));
    let tests = || {
        let mut command = command();
        match program {
            Some(name) => command.args(["--test", name]),
            None => {
                command.args(others);
                for name in programs {
                    command.args(["--test", name]);
                }
                command.args(filter)
            }
        };
        command
    };
    if program.is_none() && filter.is_some() {
        let list = capture(tests().args(["--", "--list"]))?;
        if !list.lines().any(|line| line.ends_with(": test")) {
            return Ok(false);
        }
    }
    run_program(&mut tests())?;
    Ok(true)
}

/// One build for all tiers: a package by itself would be built with other features, and everything below it again.
fn workspace_tests() -> Command {
    let mut command = cargo();
    command.args([
        "test",
        "--quiet",
        "--locked",
        "--no-fail-fast",
        "--workspace",
    ]);
    command.args(["--exclude", END_TO_END]);
    command
}

/// A cluster with the product as it is in this checkout, unless the environment names one; returns its kubeconfig.
fn deployed_cluster() -> anyhow::Result<PathBuf> {
    if let Some(kubeconfig) = std::env::var_os(KUBECONFIG) {
        return Ok(kubeconfig.into());
    }
    Ok(crate::deploy::run()?.kubeconfig())
}

fn cluster(targets: &TestTargets, filter: Option<&str>, kubeconfig: &Path) -> anyhow::Result<bool> {
    ensure!(
        !targets.cluster.is_empty(),
        "{END_TO_END} has no cluster suite"
    );
    // kubectl and crane are those that belong to the cluster.
    let programs = Places::find()?.programs();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).context("PATH cannot be extended")?;
    let command = || {
        let mut command = cargo();
        command.env("PATH", &path).env(KUBECONFIG, kubeconfig);
        command.args([
            "test",
            "--quiet",
            "--locked",
            "--no-fail-fast",
            "--package",
            END_TO_END,
        ]);
        command
    };
    run_selected(command, &[], &targets.cluster, filter)
}

/// The names of the integration test programs of the workspace, by tier.
#[derive(Debug, Default, PartialEq, Eq)]
struct TestTargets {
    /// Of crates that compute only.
    unit: BTreeSet<String>,
    /// Of crates that work on this machine.
    local: BTreeSet<String>,
    /// Of the end-to-end package.
    cluster: BTreeSet<String>,
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

    fn parse(json: &str) -> anyhow::Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(json).context("cannot read what cargo metadata printed")?;
        let mut targets = Self::default();
        for package in metadata.packages {
            let tier = match package.name.as_str() {
                END_TO_END => &mut targets.cluster,
                name if PURE.contains(&name) => &mut targets.unit,
                _ => &mut targets.local,
            };
            let is_test = |target: &Target| target.kind.iter().any(|kind| kind == "test");
            tier.extend(
                package
                    .targets
                    .into_iter()
                    .filter(|target| is_test(target) && target.name != ENGINE)
                    .map(|target| target.name),
            );
        }
        // Programs are asked for by name, in all packages at once.
        if let Some(name) = targets.unit.intersection(&targets.local).next() {
            bail!("the test program {name} is in two tiers: give one of them another name");
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
                {"name": "stagecraft_builder", "kind": ["lib"]}, {"name": "local", "kind": ["test"]},
                {"name": "engine", "kind": ["test"]}]},
            {"name": "stagecraft-plan", "targets": [{"name": "goldens", "kind": ["test"]}]},
            {"name": "stagecraft-dockerfile", "targets": [{"name": "goldens", "kind": ["test"]}]},
            {"name": "stagecraft-e2e", "targets": [{"name": "examples", "kind": ["test"]}]}
        ]}"#;
        let targets = TestTargets::parse(json).unwrap();
        assert_eq!(Vec::from_iter(targets.unit), ["goldens"]);
        assert_eq!(Vec::from_iter(targets.local), ["local"]);
        assert_eq!(Vec::from_iter(targets.cluster), ["examples"]);
        assert!(TestTargets::parse(&json.replace("\"local\"", "\"goldens\"")).is_err());
    }
}
