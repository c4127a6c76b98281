//! Which crate of the workspace may be built on which.
//!
//! Invariant: the table is the whole truth; a member that is not in it is a finding.

use super::Finding;
use super::metadata::Metadata;

/// A crate, and the crates of the workspace that it may name in its manifest.
const EDGES: &[(&str, &[&str])] = &[
    ("stagecraft-api", &[]),
    ("stagecraft-protocol", &[]),
    ("stagecraft-dockerfile", &[]),
    ("stagecraft-git", &[]),
    ("stagecraft-image", &[]),
    (
        "stagecraft-plan",
        &["stagecraft-dockerfile", "stagecraft-image"],
    ),
    ("stagecraft-layer", &["stagecraft-image"]),
    ("stagecraft-registry", &["stagecraft-image"]),
    ("stagecraft-sandbox", &["stagecraft-protocol"]),
    (
        "stagecraft-builder",
        &[
            "stagecraft-protocol",
            "stagecraft-dockerfile",
            "stagecraft-git",
            "stagecraft-image",
            "stagecraft-plan",
            "stagecraft-layer",
            "stagecraft-registry",
            "stagecraft-sandbox",
        ],
    ),
    (
        "stagecraft-operator",
        &["stagecraft-api", "stagecraft-protocol"],
    ),
    ("stagecraft-e2e", &["stagecraft-api", "stagecraft-protocol"]),
    ("xtask", &[]),
];

/// Foreign crates that only these members may name.
const WRAPPED: &[(&str, &[&str])] = &[
    (
        "kube",
        &["stagecraft-api", "stagecraft-operator", "stagecraft-e2e"],
    ),
    (
        "k8s-openapi",
        &["stagecraft-api", "stagecraft-operator", "stagecraft-e2e"],
    ),
    ("oci-client", &["stagecraft-registry"]),
    (
        "tokio",
        &[
            "stagecraft-registry",
            "stagecraft-builder",
            "stagecraft-operator",
            "stagecraft-e2e",
        ],
    ),
    (
        "libc",
        &[
            "stagecraft-sandbox",
            "stagecraft-builder",
            "stagecraft-e2e",
            "xtask",
        ],
    ),
    (
        "anyhow",
        &[
            "stagecraft-builder",
            "stagecraft-operator",
            "stagecraft-e2e",
            "xtask",
        ],
    ),
];

/// Checks every manifest of the workspace.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.members {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            let message = format!(
                "the crate {} is not in the table of tidy/edges.rs",
                package.name
            );
            findings.push(Finding::new("Cargo.toml", 0, message));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if dependency.path.is_some() && !allowed.contains(&name) {
                findings.push(forbidden(
                    &package.name,
                    name,
                    "the direction of dependencies in ARCHITECTURE.md",
                ));
            }
            let wrapped = WRAPPED.iter().find(|(crate_name, _)| *crate_name == name);
            let is_normal = dependency.kind.is_none();
            if is_normal
                && wrapped.is_some_and(|(_, users)| !users.contains(&package.name.as_str()))
            {
                findings.push(forbidden(
                    &package.name,
                    name,
                    "the table of foreign crates in tidy/edges.rs",
                ));
            }
        }
    }
    findings
}

fn forbidden(package: &str, dependency: &str, rule: &str) -> Finding {
    let message = format!("{package} must not depend on {dependency}: see {rule}");
    Finding::new("Cargo.toml", 0, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::{Dependency, Package};

    fn workspace(name: &str, dependency: &str, in_workspace: bool, kind: Option<&str>) -> Metadata {
        let dependency = Dependency {
            name: dependency.to_owned(),
            kind: kind.map(str::to_owned),
            path: in_workspace.then(|| "somewhere".to_owned()),
        };
        let package = Package {
            name: name.to_owned(),
            dependencies: vec![dependency],
            manifest_path: String::new(),
        };
        Metadata {
            members: vec![package],
            ..Metadata::default()
        }
    }

    #[test]
    fn edges_against_the_direction_are_found() {
        let cases = [
            ("stagecraft-plan", "stagecraft-image", true, None, 0),
            ("stagecraft-image", "stagecraft-plan", true, None, 1),
            (
                "stagecraft-operator",
                "stagecraft-dockerfile",
                true,
                None,
                1,
            ),
            (
                "stagecraft-operator",
                "stagecraft-dockerfile",
                true,
                Some("dev"),
                1,
            ),
            ("stagecraft-builder", "kube", false, None, 1),
            ("stagecraft-operator", "kube", false, None, 0),
            ("stagecraft-layer", "tokio", false, None, 1),
            ("stagecraft-layer", "anyhow", false, Some("dev"), 0),
            ("stagecraft-new", "serde", false, None, 1),
        ];
        for (name, dependency, in_workspace, kind, expected) in cases {
            let findings = check(&workspace(name, dependency, in_workspace, kind));
            assert_eq!(
                findings.len(),
                expected,
                "{name} -> {dependency}: {findings:?}"
            );
        }
    }
}
