//! Marks of pods that are easily mistaken. Whole objects are golden cases.

use super::*;

fn pod(yaml: &str) -> Pod {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn a_pod_whose_engine_ended_has_ended_though_a_runner_still_runs() {
    let pod = pod(
        "metadata: {name: x}\nstatus:\n  phase: Running\n  containerStatuses:\n  \
         - {name: runner-0, image: b, imageID: '', ready: true, restartCount: 0, state: {running: {}}}\n  \
         - {name: engine, image: b, imageID: '', ready: false, restartCount: 0, state: {terminated: {exitCode: 0}}}\n",
    );
    assert_eq!(phase(&pod), PodPhase::Ended);
    assert!(!is_live(&pod, Timestamp::UNIX_EPOCH));
}

#[test]
fn a_deleted_pod_is_live_until_its_node_had_time_to_end_it() {
    let pod = pod(
        "metadata: {name: x, deletionTimestamp: '2026-01-01T00:00:00Z'}\nstatus: {phase: Running}\n",
    );
    let at = |text: &str| is_live(&pod, text.parse().unwrap());
    assert!(at("2026-01-01T00:00:30Z"));
    assert!(!at("2026-01-01T00:02:00Z"));
}

#[test]
fn every_privilege_that_somebody_adds_is_found() {
    let container = |name: &str, more: &str| {
        format!(
            "{{name: {name}, securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}{more}}}"
        )
    };
    let whole = |more: &str, containers: &[String]| {
        pod(&format!(
            "metadata: {{name: x}}\nspec: {{hostUsers: false{more}, containers: [{}]}}\n",
            containers.join(", ")
        ))
    };
    let engine = container("engine", "");
    let runner = container(
        "runner-0",
        ", volumeMounts: [{name: shm, mountPath: /dev/shm}]",
    );
    let good = whole("", &[engine.clone(), runner.clone()]);
    assert_eq!(isolation::deviation(&good, 1), None);
    let bad = [
        whole(", hostNetwork: true", &[engine.clone(), runner.clone()]),
        whole(", shareProcessNamespace: true", &[engine.clone(), runner.clone()]),
        whole(", initContainers: [{name: istio-init}]", &[engine.clone(), runner.clone()]),
        whole("", std::slice::from_ref(&engine)),
        whole("", &[engine.clone(), container("runner-0", ", env: [{name: TOKEN}]")]),
        whole("", &[engine.clone(), container("runner-0", ", volumeMounts: [{name: t, mountPath: /var/run/secrets}]")]),
        whole("", &[engine.clone(), "{name: runner-0}".to_owned()]),
        whole(
            "",
            &[
                engine,
                "{name: runner-0, securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}}"
                    .to_owned(),
            ],
        ),
    ];
    for pod in bad {
        assert!(isolation::deviation(&pod, 1).is_some(), "{:?}", pod.spec);
    }
}
