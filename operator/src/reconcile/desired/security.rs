//! What the pod and its containers may do: the profile `Restricted`.
//!
//! Invariant: no container has a capability, and none can get one.

use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SeccompProfile, SecurityContext, Sysctl,
};

/// User and group of a pod without runners. Nothing on a node belongs to it.
const UNPRIVILEGED: i64 = 65532;

/// The pod's part. With runners everybody is root of the pod's user namespace; without, nobody is root at all.
pub(super) fn pod(runners: u32) -> PodSecurityContext {
    let user = if runners > 0 { 0 } else { UNPRIVILEGED };
    PodSecurityContext {
        run_as_user: Some(user),
        run_as_group: Some(user),
        run_as_non_root: Some(runners == 0),
        // Makes scratch space and mounted Secrets the group's.
        fs_group: (runners == 0).then_some(UNPRIVILEGED),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        sysctls: (runners > 0).then(|| vec![low_ports()]),
        ..PodSecurityContext::default()
    }
}

/// Lets a `RUN` start a server on a port below 1024, `nginx -t` for example, as root of a usual container may. Of the
/// pod's own network only, and one of the settings that Pod Security `restricted` admits.
fn low_ports() -> Sysctl {
    Sysctl {
        name: "net.ipv4.ip_unprivileged_port_start".to_owned(),
        value: "0".to_owned(),
    }
}

/// A container's part. A runner's root file system is the stage's, so it must be writable.
pub(super) fn container(read_only_root: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        read_only_root_filesystem: Some(read_only_root),
        ..SecurityContext::default()
    }
}
