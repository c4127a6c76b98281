//! Direct dependencies: one reason each, inherited by every member, and used.

use super::Finding;
use super::metadata::{Metadata, Package};
use super::rust::is_identifier;
use super::tree::Tree;

/// Checks the root manifest, the members' manifests and their sources.
pub(super) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.path == "Cargo.toml" {
            findings.extend(without_reason(&file.text));
        } else if file.path.ends_with("/Cargo.toml") {
            findings.extend(not_inherited(&file.path, &file.text));
        }
    }
    for package in &metadata.members {
        findings.extend(unused(tree, package));
    }
    findings
}

/// Lines of `[workspace.dependencies]` that give no reason.
fn without_reason(manifest: &str) -> Vec<Finding> {
    let lines = section(manifest, "[workspace.dependencies]");
    let bare = lines.filter(|(_, line)| {
        let reason = line
            .split_once(" # ")
            .map_or("", |(_, reason)| reason.trim());
        reason.len() < 3
    });
    bare.map(|(number, line)| {
        let name = line.split(['=', '.']).next().unwrap_or_default().trim();
        let message = format!("{name} has no reason: `{name} = … # what it is for`");
        Finding::new("Cargo.toml", number, message)
    })
    .collect()
}

/// Lines of a member's dependency sections that do not inherit.
fn not_inherited(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in [
        "[dependencies]",
        "[dev-dependencies]",
        "[build-dependencies]",
    ] {
        for (number, line) in section(manifest, name) {
            if !line.contains("workspace = true") {
                let message =
                    "a dependency's version stands in the root manifest: `NAME.workspace = true`";
                findings.push(Finding::new(path, number, message));
            }
        }
    }
    findings
}

/// The lines of a section with their numbers, without empty lines and comments.
fn section<'a>(manifest: &'a str, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = manifest.lines().enumerate();
    lines
        .skip_while(move |(_, line)| line.trim() != name)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Direct dependencies that no source of the package names.
fn unused(tree: &Tree, package: &Package) -> Vec<Finding> {
    let Some(folder) = folder_of(tree, package) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let identifier = dependency.name.replace('-', "_");
        let is_used = tree.rust_files().any(|(file, code)| {
            let in_package = file.path.strip_prefix(folder.as_str()).is_some_and(|rest| {
                // Nested crates have sources of their own.
                ["src/", "tests/", "benches/", "build.rs"]
                    .iter()
                    .any(|part| rest.starts_with(part))
                    || folder == "tests/"
            });
            in_package && names(code, &identifier)
        });
        if !is_used {
            let message = format!("{} is declared but not used", dependency.name);
            findings.push(Finding::new(format!("{folder}Cargo.toml"), 0, message));
        }
    }
    findings
}

/// The package's folder relative to the root, with a final `/`.
fn folder_of(tree: &Tree, package: &Package) -> Option<String> {
    let manifests = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"));
    let paths = manifests.map(|file| file.path.as_str());
    let longest = paths
        .filter(|path| package.manifest_path.ends_with(&format!("/{path}")))
        .max_by_key(|path| path.len())?;
    longest.strip_suffix("Cargo.toml").map(str::to_owned)
}

/// Whether the code names this crate as a word.
fn names(code: &str, identifier: &str) -> bool {
    code.match_indices(identifier).any(|(at, found)| {
        let before = code[..at].chars().next_back();
        let after = code[at + found.len()..].chars().next();
        !before.is_some_and(is_identifier) && !after.is_some_and(is_identifier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Dependency;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[workspace]\nx = 1\n[workspace.dependencies]\na = \"1\" # reads a\nb = \"1\"\nc = { version = \"1\" } # ?\n\n[profile.dev]\ny = 1\n";
        let lines: Vec<usize> = without_reason(manifest).iter().map(|f| f.line).collect();
        assert_eq!(lines, [5, 6]);
    }

    #[test]
    fn a_member_that_does_not_inherit_is_found() {
        let manifest = "[package]\nversion = \"1\"\n[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies]\nc = { workspace = true }\n";
        let lines: Vec<usize> = not_inherited("x/Cargo.toml", manifest)
            .iter()
            .map(|f| f.line)
            .collect();
        assert_eq!(lines, [5]);
    }

    #[test]
    fn a_dependency_that_no_source_names_is_found() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", ""),
            (
                "a/src/lib.rs",
                "use serde_json::Value; // tar\nfn f() { targets() }",
            ),
            ("a/nested/src/lib.rs", "use tar::Archive;"),
        ]);
        let dependency = |name: &str| Dependency {
            name: name.to_owned(),
            kind: None,
            path: None,
        };
        let package = Package {
            name: "a".to_owned(),
            dependencies: vec![dependency("serde-json"), dependency("tar")],
            manifest_path: "/checkout/a/Cargo.toml".to_owned(),
        };
        let findings = unused(&tree, &package);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.starts_with("tar "), "{findings:?}");
    }
}
