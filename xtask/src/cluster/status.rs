//! `cargo xtask cluster status`: what runs, how it is, and how to reach it.

use std::io::{self, Write};
use std::process::Command;

use super::boot::kubectl;
use super::places::Places;
use super::record::Record;
use super::{PACKAGES, REGISTRY, REGISTRY_FROM_HOST, SECURE_REGISTRY, SECURE_REGISTRY_FROM_HOST};
use crate::command::capture;

/// Prints the state of the cluster.
pub(crate) fn print(places: &Places) -> anyhow::Result<()> {
    let result = write(&mut io::stdout().lock(), places);
    // A reader like `head` may have seen enough.
    let is_closed = result.as_ref().is_err_and(|error| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    if is_closed { Ok(()) } else { result }
}

fn write(out: &mut impl Write, places: &Places) -> anyhow::Result<()> {
    writeln!(
        out,
        "cache     {}",
        places
            .cluster()
            .parent()
            .unwrap_or(&places.cluster())
            .display()
    )?;
    let Some(record) = Record::read(places)? else {
        writeln!(
            out,
            "cluster   not running; `cargo xtask cluster up` starts it"
        )?;
        return Ok(());
    };
    if !record.node.is_alive() {
        writeln!(
            out,
            "cluster   its node has died; `cargo xtask cluster up` starts it anew"
        )?;
        return Ok(());
    }
    writeln!(out, "cluster   running, node is process {}", record.node.id)?;
    for (name, daemon) in &record.daemons {
        let state = if daemon.is_alive() {
            "running"
        } else {
            "ENDED"
        };
        writeln!(out, "          {name:<24} {state}")?;
    }
    writeln!(out, "\nexport KUBECONFIG={}", places.kubeconfig().display())?;
    writeln!(out, "export PATH={}:$PATH", places.programs().display())?;
    writeln!(
        out,
        "\nregistry         from pods {REGISTRY}, from here {REGISTRY_FROM_HOST} (http)"
    )?;
    writeln!(
        out,
        "secure registry  from pods {SECURE_REGISTRY}, from here {SECURE_REGISTRY_FROM_HOST}"
    )?;
    writeln!(out, "packages         from pods {PACKAGES}")?;
    writeln!(out, "logs             {}\n", places.daemon_logs().display())?;
    show(out, kubectl(places).args(["get", "nodes", "--output=wide"]))?;
    show(
        out,
        kubectl(places).args(["get", "pods", "--all-namespaces", "--output=wide"]),
    )?;
    let repositories = capture(Command::new(places.programs().join("crane")).args([
        "catalog",
        "--insecure",
        REGISTRY_FROM_HOST,
    ]));
    if let Ok(repositories) = repositories {
        writeln!(
            out,
            "in the registry: {}",
            repositories
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        )?;
    }
    Ok(())
}

/// Shows what a command prints, or why it does not.
fn show(out: &mut impl Write, command: &mut Command) -> io::Result<()> {
    match capture(command) {
        Ok(text) if text.trim().is_empty() => writeln!(out, "(no pods)\n"),
        Ok(text) => writeln!(out, "{text}"),
        Err(error) => writeln!(out, "{error:#}\n"),
    }
}
