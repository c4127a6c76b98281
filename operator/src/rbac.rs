//! What the operator may do: the one table of its calls to the apiserver.
//!
//! Invariant: Secrets are not in it. They reach a pod by reference, and the operator never reads one.
//! Invariant: every call of the code is in it, and every entry of it is called.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};

/// Verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource, with the subresource after a slash.
    pub resource: &'static str,
    /// Verbs, as the apiserver names them.
    pub verbs: &'static [&'static str],
    /// What it is needed for.
    pub reason: &'static str,
}

/// What is needed in every namespace that is served.
pub const SERVED: &[Permission] = &[
    Permission {
        group: "stagecraft.dev",
        resource: "imagebuilds",
        verbs: &["get", "list", "watch"],
        reason: "the objects themselves",
    },
    Permission {
        group: "stagecraft.dev",
        resource: "imagebuilds/status",
        verbs: &["patch", "update"],
        reason: "conditions, runs and progress",
    },
    Permission {
        group: "",
        resource: "pods",
        verbs: &["create", "delete", "list", "watch"],
        reason: "one pod for each attempt",
    },
    Permission {
        group: "",
        resource: "pods/log",
        verbs: &["get"],
        reason: "the engine's progress lines and report",
    },
    Permission {
        group: "",
        resource: "configmaps",
        verbs: &["create", "delete", "get"],
        reason: "the request of each attempt; build arguments with valueFrom",
    },
    Permission {
        group: "",
        resource: "serviceaccounts",
        verbs: &["get"],
        reason: "names of the image pull secrets that the engine is given",
    },
    Permission {
        group: "",
        resource: "events",
        verbs: &["list"],
        reason: "why a pod does not start, in the kubelet's words",
    },
    Permission {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "patch"],
        reason: "what happened to a build",
    },
];

/// What is needed in the operator's own namespace.
pub const OWN: &[Permission] = &[Permission {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["create", "get", "update"],
    reason: "leader election",
}];

/// The role for every namespace that is served.
#[must_use]
pub fn cluster_role() -> ClusterRole {
    let mut role = ClusterRole {
        rules: Some(rules(SERVED)),
        ..ClusterRole::default()
    };
    role.metadata.name = Some("stagecraft-operator".to_owned());
    role
}

/// The role for the operator's own namespace.
#[must_use]
pub fn role() -> Role {
    let mut role = Role {
        rules: Some(rules(OWN)),
        ..Role::default()
    };
    role.metadata.name = Some("stagecraft-operator".to_owned());
    role
}

fn rules(permissions: &[Permission]) -> Vec<PolicyRule> {
    let rule = |permission: &Permission| PolicyRule {
        api_groups: Some(vec![permission.group.to_owned()]),
        resources: Some(vec![permission.resource.to_owned()]),
        verbs: permission
            .verbs
            .iter()
            .map(|&verb| verb.to_owned())
            .collect(),
        ..PolicyRule::default()
    };
    permissions.iter().map(rule).collect()
}

#[cfg(test)]
mod tests;
