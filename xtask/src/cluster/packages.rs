//! Debian's packages that the cluster is built with or runs: installed only where they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::phases::{Phases, run_logged};

/// A file that shows that a package is there, and the package.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/gcc", "gcc"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/nsenter", "util-linux"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/pkg-config", "pkg-config"),
    ("/usr/include/seccomp.h", "libseccomp-dev"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    (
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
];

/// Installs what is missing of [`NEEDED`].
pub(crate) fn install(phases: &Phases) -> anyhow::Result<()> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    phases.run("installing Debian packages", |log| {
        phases.note(&format!("    {}", missing.join(" ")));
        run_logged(Command::new("apt-get").args(["update", "--quiet"]), log)
            .context("the test cluster is built from Debian's packages")?;
        run_logged(
            Command::new("apt-get")
                .args(["install", "--quiet", "--yes", "--no-install-recommends"])
                .args(&missing)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // The programs are started by us, with our configuration, or not at all.
                .env("RUNLEVEL", "1"),
            log,
        )
    })
}
