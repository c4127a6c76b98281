//! Whether the cluster left the pod as it was asked for. Pure.
//!
//! Invariant: what a RUN step could reach or become is compared; what only the engine sees is not.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::ENGINE;
use crate::reconcile::observe::PodEvent;

/// Where a runner has a volume: its shared memory, nothing else.
pub(crate) const RUNNER_MOUNTS: [&str; 1] = ["/dev/shm"];

/// In what way the pod is weaker than what was asked for, in words.
pub(super) fn deviation(pod: &Pod, runners: u32) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    whole_pod(spec, runners).or_else(|| {
        let mut containers = spec.containers.iter();
        containers.find_map(|container| one_container(container, runners))
    })
}

/// Whether an event says that a node cannot make the user namespace.
pub(super) fn is_refusal(event: &PodEvent) -> bool {
    let text = event.message.to_ascii_lowercase();
    event.reason == "FailedCreatePodSandBox"
        && (text.contains("user namespace") || text.contains("userns"))
}

fn whole_pod(spec: &PodSpec, runners: u32) -> Option<String> {
    if runners > 0 && spec.host_users != Some(false) {
        return Some(
            "the apiserver dropped hostUsers: false from the pod; user namespaces need Kubernetes 1.33 or later"
                .to_owned(),
        );
    }
    let shared = [
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
        ("shareProcessNamespace", spec.share_process_namespace),
    ];
    if let Some((field, _)) = shared.into_iter().find(|(_, value)| *value == Some(true)) {
        return Some(format!("something in the cluster set {field} on the pod"));
    }
    let expected = runner_names(runners).chain([ENGINE.to_owned()]);
    let expected: BTreeSet<String> = expected.collect();
    let init = spec.init_containers.iter().flatten();
    let mut names = spec
        .containers
        .iter()
        .chain(init)
        .map(|container| &container.name);
    if let Some(extra) = names.find(|name| !expected.contains(*name)) {
        return Some(format!(
            "something in the cluster added container {extra} to the pod; exclude build pods from injection"
        ));
    }
    (spec.containers.len() != expected.len())
        .then(|| "something in the cluster removed a container from the pod".to_owned())
}

fn one_container(container: &Container, runners: u32) -> Option<String> {
    let name = &container.name;
    let security = container.security_context.clone().unwrap_or_default();
    if security.privileged == Some(true) || security.allow_privilege_escalation != Some(false) {
        return Some(format!(
            "something in the cluster gave container {name} more privileges"
        ));
    }
    let added = security
        .capabilities
        .unwrap_or_default()
        .add
        .unwrap_or_default();
    if let Some(capability) = added.first() {
        return Some(format!(
            "something in the cluster gave container {name} the capability {capability}"
        ));
    }
    if !runner_names(runners).any(|runner| runner == *name) {
        return None;
    }
    let mut mounts = container.volume_mounts.iter().flatten();
    if let Some(mount) = mounts.find(|mount| !RUNNER_MOUNTS.contains(&mount.mount_path.as_str())) {
        return Some(format!(
            "something in the cluster mounted volume {} into {name}, where RUN steps can read it; exclude build pods \
             from injection",
            mount.name
        ));
    }
    let variable = container
        .env
        .iter()
        .flatten()
        .map(|variable| &variable.name)
        .next();
    let from = container.env_from.iter().flatten().next();
    (variable.is_some() || from.is_some()).then(|| {
        format!("something in the cluster added environment variables to {name}, where RUN steps can read them")
    })
}

/// Names of the runners' containers.
pub(crate) fn runner_names(runners: u32) -> impl Iterator<Item = String> {
    (0..runners).map(|index| format!("runner-{index}"))
}
