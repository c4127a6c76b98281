//! What the tests need from the system, installed when it is missing.
//!
//! Invariant: nothing is installed that is there already, and what is installed is said.
//! Invariant: a package that cannot be had is an error with the command that would install it, never a skipped test.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A package of Debian, and a file that shows it is there.
struct SystemPackage {
    name: &'static str,
    shows: &'static str,
    /// What needs it.
    purpose: &'static str,
}

const UNIT: &[SystemPackage] = &[SystemPackage {
    name: "gcc",
    shows: "/usr/bin/cc",
    purpose: "links Rust and builds the TLS provider",
}];

const LOCAL: &[SystemPackage] = &[
    SystemPackage {
        name: "git",
        shows: "/usr/bin/git",
        purpose: "the server of the repositories that local builds fetch",
    },
    SystemPackage {
        name: "busybox-static",
        shows: "/bin/busybox",
        purpose: "the root file system of sandbox tests",
    },
    SystemPackage {
        name: "docker-registry",
        shows: "/usr/bin/docker-registry",
        purpose: "the registry that local builds push to",
    },
    SystemPackage {
        name: "xz-utils",
        shows: "/usr/bin/xz",
        purpose: "archives of the engine's cases",
    },
    SystemPackage {
        name: "bzip2",
        shows: "/usr/bin/bzip2",
        purpose: "archives of the engine's cases",
    },
    SystemPackage {
        name: "zstd",
        shows: "/usr/bin/zstd",
        purpose: "archives of the engine's cases",
    },
];

const BENCHMARKS: &[SystemPackage] = &[
    SystemPackage {
        name: "mmdebstrap",
        shows: "/usr/bin/mmdebstrap",
        purpose: "the file system that is measured on",
    },
    SystemPackage {
        name: "attr",
        shows: "/usr/bin/setfattr",
        purpose: "records the owners of its files",
    },
];

/// Installs what the benchmarks need.
pub(crate) fn for_benchmarks() -> anyhow::Result<()> {
    install(BENCHMARKS)
}

/// Installs what the unit tests need.
pub(crate) fn for_unit_tests() -> anyhow::Result<()> {
    install(UNIT)
}

/// Installs what the local tests need.
pub(crate) fn for_local_tests() -> anyhow::Result<()> {
    install(LOCAL)
}

fn install(packages: &[SystemPackage]) -> anyhow::Result<()> {
    let missing: Vec<&SystemPackage> = packages
        .iter()
        .filter(|package| !Path::new(package.shows).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    for package in &missing {
        println!("setup: installing {} ({})", package.name, package.purpose);
    }
    let by_hand = format!("apt-get install {}", names.join(" "));
    let try_install = || {
        quiet_apt(
            ["install", "-y", "--no-install-recommends"]
                .iter()
                .copied()
                .chain(names.iter().copied()),
        )
    };
    // The lists of a fresh machine are empty or stale: fetch them once when the first try fails.
    let first = try_install();
    if let Err(error) = first {
        quiet_apt(["update"].into_iter())
            .with_context(|| format!("{error:#}; as root, run: {by_hand}"))?;
        try_install().with_context(|| format!("as root, run: {by_hand}"))?;
    }
    if let Some(package) = missing
        .iter()
        .find(|package| !Path::new(package.shows).exists())
    {
        bail!(
            "{} was installed, but {} is not there",
            package.name,
            package.shows
        );
    }
    Ok(())
}

/// Runs apt-get without its output; on failure its output is the error.
fn quiet_apt<'a>(arguments: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .arg("-qq")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("cannot start apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
