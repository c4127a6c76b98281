//! `cargo xtask cluster status`: what runs, how it is, and how to reach it.

use std::process::Command;

use super::boot::kubectl;
use super::places::Places;
use super::record::Record;
use super::{PACKAGES, REGISTRY, REGISTRY_FROM_HOST, SECURE_REGISTRY, SECURE_REGISTRY_FROM_HOST};
use crate::command::capture;

/// Prints the state of the cluster.
pub(crate) fn print(places: &Places) -> anyhow::Result<()> {
    println!(
        "cache     {}",
        places
            .cluster()
            .parent()
            .unwrap_or(&places.cluster())
            .display()
    );
    let Some(record) = Record::read(places)? else {
        println!("cluster   not running; `cargo xtask cluster up` starts it");
        return Ok(());
    };
    if !record.node.is_alive() {
        println!("cluster   its node has died; `cargo xtask cluster up` starts it anew");
        return Ok(());
    }
    println!("cluster   running, node is process {}", record.node.id);
    for (name, daemon) in &record.daemons {
        let state = if daemon.is_alive() {
            "running"
        } else {
            "ENDED"
        };
        println!("          {name:<24} {state}");
    }
    println!("\nexport KUBECONFIG={}", places.kubeconfig().display());
    println!("export PATH={}:$PATH", places.programs().display());
    println!("\nregistry         from pods {REGISTRY}, from here {REGISTRY_FROM_HOST} (http)");
    println!("secure registry  from pods {SECURE_REGISTRY}, from here {SECURE_REGISTRY_FROM_HOST}");
    println!("packages         from pods {PACKAGES}");
    println!("logs             {}\n", places.daemon_logs().display());
    show(kubectl(places).args(["get", "nodes", "--output=wide"]));
    show(kubectl(places).args(["get", "pods", "--all-namespaces", "--output=wide"]));
    let repositories = capture(Command::new(places.programs().join("crane")).args([
        "catalog",
        "--insecure",
        REGISTRY_FROM_HOST,
    ]));
    if let Ok(repositories) = repositories {
        println!(
            "in the registry: {}",
            repositories
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    Ok(())
}

/// Shows what a command prints, or why it does not.
fn show(command: &mut Command) {
    match capture(command) {
        Ok(text) if text.trim().is_empty() => println!("(no pods)\n"),
        Ok(text) => println!("{text}"),
        Err(error) => println!("{error:#}\n"),
    }
}
