//! The programs of the cluster, built from Go modules whose `go.mod` and `go.sum` lie in `tests/cluster/modules`.
//!
//! Each module has a stamp of its own: a change of one builds that one again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::phases::{Phases, run_logged};
use super::places::Places;
use super::stamp::{self, Stamp};
use crate::command::capture;

/// What `kubectl version` and the node's status show; without it they show v0.0.0.
const KUBERNETES_VERSION_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37";
/// The programs that are one executable, which looks at the name it is started under.
const KUBERNETES_LINKS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

struct Module {
    name: &'static str,
    /// Package and name of the program.
    programs: &'static [(&'static str, &'static str)],
    linker_flags: &'static str,
    /// Build tags of a module that needs a C compiler.
    c_tags: Option<&'static str>,
    cold: &'static str,
}

const PLAIN: Module = Module {
    name: "",
    programs: &[],
    linker_flags: "-s -w",
    c_tags: None,
    cold: "less than a minute",
};

const RUNC: Module = Module {
    name: "runc",
    programs: &[("github.com/opencontainers/runc", "runc")],
    c_tags: Some("seccomp"),
    ..PLAIN
};

/// The builder that ours is compared with; no cluster needs it.
const BUILDKIT: Module = Module {
    name: "buildkit",
    programs: &[
        ("github.com/moby/buildkit/cmd/buildctl", "buildctl"),
        ("github.com/moby/buildkit/cmd/buildkitd", "buildkitd"),
    ],
    cold: "about 2 minutes",
    ..PLAIN
};

const MODULES: &[Module] = &[
    Module {
        name: "packages",
        programs: &[(".", "packages")],
        ..PLAIN
    },
    Module {
        name: "crane",
        programs: &[("github.com/google/go-containerregistry/cmd/crane", "crane")],
        ..PLAIN
    },
    RUNC,
    Module {
        name: "etcd",
        programs: &[("go.etcd.io/etcd/server/v3", "etcd")],
        ..PLAIN
    },
    Module {
        name: "containerd",
        programs: &[
            (
                "github.com/containerd/containerd/v2/cmd/containerd",
                "containerd",
            ),
            (
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "containerd-shim-runc-v2",
            ),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        ..PLAIN
    },
    Module {
        name: "coredns",
        programs: &[("github.com/coredns/coredns", "coredns")],
        cold: "about 2 minutes",
        ..PLAIN
    },
    Module {
        name: "kubernetes",
        programs: &[(".", "kube")],
        linker_flags: KUBERNETES_VERSION_FLAGS,
        cold: "about 7 minutes",
        ..PLAIN
    },
    Module {
        name: "helm",
        programs: &[("helm.sh/helm/v4/cmd/helm", "helm")],
        cold: "about 2 minutes",
        ..PLAIN
    },
];

/// Builds what is missing or was built from other sources.
pub(crate) fn build(places: &Places, phases: &Phases) -> anyhow::Result<()> {
    let stamps = build_modules(MODULES, places, phases)?;
    link_kubernetes(&places.programs())?;
    build_pause(places, phases, &stamps)
}

/// The same for BuildKit.
pub(crate) fn build_buildkit(places: &Places, phases: &Phases) -> anyhow::Result<()> {
    build_modules(&[RUNC, BUILDKIT], places, phases).map(drop)
}

/// Builds modules, and returns where their stamps are.
fn build_modules(modules: &[Module], places: &Places, phases: &Phases) -> anyhow::Result<PathBuf> {
    let stamps = places.programs().join(".stamps");
    fs::create_dir_all(&stamps).with_context(|| format!("cannot create {}", stamps.display()))?;
    let go = capture(
        Command::new("go")
            .arg("version")
            .current_dir(places.sources()),
    )
    .context("the programs of the test cluster are built with Go, version 1.26 or later")?;
    for module in modules {
        let directory = places.sources().join("modules").join(module.name);
        let stamp = Stamp::default()
            .text(&go)
            .text(module.linker_flags)
            .text(module.c_tags.unwrap_or_default())
            .tree(&directory)?
            .finish();
        let stamp_file = stamps.join(module.name);
        if stamp::is_current(&stamp_file, &stamp) {
            continue;
        }
        phases.run(&format!("building {}", module.name), |log| {
            phases.note(&format!(
                "    takes {} where nothing is cached, on two cores",
                module.cold
            ));
            build_module(module, &directory, &places.programs(), log)
        })?;
        stamp::set(&stamp_file, &stamp)?;
    }
    Ok(stamps)
}

fn build_module(
    module: &Module,
    directory: &Path,
    programs: &Path,
    log: &Path,
) -> anyhow::Result<()> {
    for (package, program) in module.programs {
        // Built beside and renamed: a running program keeps its file.
        let built = programs.join(format!(".{program}.new"));
        let mut go = Command::new("go");
        go.args([
            "build",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            module.linker_flags,
        ]);
        if let Some(tags) = module.c_tags {
            go.args(["-tags", tags]);
        }
        go.arg("-o").arg(&built).arg(package);
        go.env(
            "CGO_ENABLED",
            if module.c_tags.is_some() { "1" } else { "0" },
        );
        go.env_remove("GOFLAGS").current_dir(directory);
        run_logged(&mut go, log)?;
        fs::rename(&built, programs.join(program))
            .with_context(|| format!("cannot put {program} in place"))?;
    }
    Ok(())
}

fn link_kubernetes(programs: &Path) -> anyhow::Result<()> {
    for name in KUBERNETES_LINKS {
        let link = programs.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink("kube", &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
    }
    Ok(())
}

/// The static program that holds the namespaces of the node and of its pods.
fn build_pause(places: &Places, phases: &Phases, stamps: &Path) -> anyhow::Result<()> {
    let source = places.sources().join("node/pause.c");
    let stamp = Stamp::default().tree(&source)?.finish();
    let stamp_file = stamps.join("pause");
    if stamp::is_current(&stamp_file, &stamp) {
        return Ok(());
    }
    phases.run("building pause", |log| {
        let built = places.programs().join(".pause.new");
        run_logged(
            Command::new("gcc")
                .args(["-Os", "-static", "-Wall", "-Wextra", "-Werror", "-o"])
                .arg(&built)
                .arg(&source),
            log,
        )?;
        fs::rename(&built, places.programs().join("pause")).context("cannot put pause in place")
    })?;
    stamp::set(&stamp_file, &stamp)
}
