//! Runs an image as a pod that passes Pod Security `restricted`.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(120);

/// The security context of every container of these tests.
#[must_use]
pub fn confined() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}

/// Runs `image` with the command that it has, and returns what it prints. It must end with exit code 0.
///
/// # Errors
/// When it cannot run, or fails.
pub fn output_of(namespace: &Namespace, name: &str, image: &str) -> anyhow::Result<String> {
    run(
        namespace,
        name,
        &json!([]),
        &json!([{"name": "main", "image": image}]),
    )
}

/// Runs a pod of `containers` beside `sidecars` and returns what its container `main` prints. It must succeed.
///
/// # Errors
/// When it cannot run, or fails.
pub fn run(
    namespace: &Namespace,
    name: &str,
    sidecars: &Value,
    containers: &Value,
) -> anyhow::Result<String> {
    let confine = |list: &Value| -> Value {
        let mut list = list.clone();
        for container in list.as_array_mut().into_iter().flatten() {
            container["securityContext"] = confined();
        }
        list
    };
    namespace.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            // Root of a user namespace: images whose user is root run as they are, and the pod is still restricted.
            "hostUsers": false,
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": false},
            "initContainers": confine(sidecars),
            "containers": confine(containers),
        },
    }))?;
    let phase = wait::until(&format!("pod {name} ends"), LIMIT, || {
        let pod = namespace.get(&["pod", name])?;
        let phase = pod["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Ok(matches!(phase.as_str(), "Succeeded" | "Failed").then_some(phase))
    })?;
    let output = namespace.kubectl(&["logs", name, "--container", "main"])?;
    ensure!(
        phase == "Succeeded",
        "pod {name} failed and printed: {output}"
    );
    Ok(output)
}
