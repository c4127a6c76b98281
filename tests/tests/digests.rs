//! A build on this machine and one in the cluster give the same image: to the byte where no RUN reads a clock, and to a
//! short list of files, each with its reason, where one does.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;
use stagecraft_e2e::{Build, Namespace, example, in_namespace};

/// Files that programs in a RUN write the time, their own process number or inode numbers into, whoever builds.
const UNSTEADY: &[(&str, &str)] = &[
    (
        "var/cache/ldconfig/aux-cache",
        "ldconfig keeps inode numbers and times of libraries",
    ),
    (
        "var/log/alternatives.log",
        "update-alternatives writes the time",
    ),
    (
        "var/log/apt/eipp.log.xz",
        "apt writes the state it solved from",
    ),
    ("var/log/apt/history.log", "apt writes the time"),
    ("var/log/apt/term.log", "apt writes the time"),
    ("var/log/dpkg.log", "dpkg writes the time"),
];

/// Builds a stage of an example on this machine and pushes it beside the cluster's; returns its digest.
fn build_here(
    namespace: &Namespace,
    name: &str,
    context: &Path,
    arguments: &[&str],
) -> anyhow::Result<String> {
    let registry = &namespace.cluster.supplies.registry.from_here;
    let reference = format!("{registry}/{}/{name}:here", namespace.name);
    let output = Command::new("stagecraft-builder")
        .args([
            "build",
            "--push",
            "--source-date-epoch",
            "0",
            "--tag",
            &reference,
        ])
        .args(["--registry-mirror", &format!("docker.io=http://{registry}")])
        .args(["--insecure-registry", registry])
        .args(arguments)
        .arg(context)
        .output()
        .context("cannot start stagecraft-builder")?;
    ensure!(
        output.status.success(),
        "the local build failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let digest = namespace
        .cluster
        .crane(&["digest", "--insecure", &reference])?;
    Ok(digest.trim().to_owned())
}

#[test]
fn images_without_a_run_are_the_same_to_the_byte() -> anyhow::Result<()> {
    in_namespace("same-targets", |namespace| {
        let builds = example::apply(namespace, "targets", &[])?;
        for (build, target) in builds.iter().zip(["debug", "testing", "production"]) {
            let context = example::directory().join("targets");
            let here = build_here(namespace, target, &context, &["--target", target])?;
            let there = build.succeeds()?.digest;
            ensure!(
                here == there,
                "{target} is {here} here and {there} in the cluster"
            );
        }
        Ok(())
    })
}

#[test]
fn images_with_a_run_differ_in_known_files_at_most() -> anyhow::Result<()> {
    in_namespace("same-href", |namespace| {
        let supplies = &namespace.cluster.supplies;
        // The package server has one address for pods and one for this machine.
        let here = supplies.registry.from_here.replace(":5000", ":8080");
        let modules = format!("{}/go", supplies.packages);
        let arguments = [
            ("http_proxy", supplies.packages.as_str()),
            ("GOPROXY", modules.as_str()),
        ];
        let builds = example::apply(namespace, "href-counter", &arguments)?;
        let build: &Build<'_> = builds.first().context("the example has no build")?;
        build.patch(&json!({"timestamps": "Zero"}))?;
        namespace.kubectl(&["delete", "imagebuild", "href-counter-named"])?;
        let context = example::directory().join("href-counter");
        let proxy = format!("http_proxy=http://{here}");
        let modules = format!("GOPROXY=http://{here}/go");
        build_here(
            namespace,
            "href",
            &context,
            &["--build-arg", &proxy, "--build-arg", &modules],
        )?;
        let there = build.succeeds()?;
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let ours = format!(
            "{}/{}/href:here",
            supplies.registry.from_here, namespace.name
        );
        let theirs =
            there
                .reference
                .replacen(&supplies.registry.host, &supplies.registry.from_here, 1);
        for (name, reference) in [("here", ours), ("there", theirs)] {
            unpack(namespace, &reference, &directory.path().join(name))?;
        }
        let output = Command::new("diff")
            .args([
                "--recursive",
                "--brief",
                "--no-dereference",
                "here",
                "there",
            ])
            .current_dir(directory.path())
            .output()
            .context("cannot start diff")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let unexplained: Vec<&str> = text
            .lines()
            .filter(|line| !UNSTEADY.iter().any(|(path, _)| line.contains(path)))
            .collect();
        ensure!(
            unexplained.is_empty(),
            "these differ for no known reason: {unexplained:#?}"
        );
        Ok(())
    })
}

/// Unpacks an image's files.
fn unpack(namespace: &Namespace, reference: &str, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(directory).context("cannot create a directory")?;
    let archive = directory.with_extension("tar");
    namespace.cluster.crane(&[
        "export",
        "--insecure",
        reference,
        &archive.to_string_lossy(),
    ])?;
    let status = Command::new("tar")
        // diff cannot compare device nodes; those of the base image are in a layer that is the same.
        .args(["--extract", "--exclude=dev/*", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(directory)
        .status()
        .context("cannot start tar")?;
    ensure!(status.success(), "tar cannot unpack {reference}");
    Ok(())
}
