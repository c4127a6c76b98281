//! What the applier calls, in which order, and what it makes of the answers.

use serde_json::json;

use super::*;
use crate::tests::{Exchange, expecting};

const PODS: &str = "/api/v1/namespaces/team/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/team/configmaps";

fn attempt() -> Changes {
    let mut objects = AttemptObjects {
        request: ConfigMap::default(),
        pod: Pod::default(),
    };
    objects.request.metadata.name = Some("web-1".into());
    objects.pod.metadata.name = Some("web-1".into());
    Changes {
        attempt: Some(Box::new(objects)),
        delete_pods: vec!["web-0".into()],
        delete_config_maps: vec!["web-0".into()],
    }
}

fn named(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}})
}

/// What comes of the attempt when creating its pod is answered like this, after everything before went well.
async fn outcome(exchange: Exchange) -> Result<Applied, ApplyError> {
    let (client, server) = expecting(vec![
        Exchange::new("DELETE", &format!("{PODS}/web-0"), 200, named("web-0")),
        Exchange::new(
            "DELETE",
            &format!("{CONFIG_MAPS}/web-0"),
            200,
            named("web-0"),
        ),
        Exchange::new("POST", CONFIG_MAPS, 201, named("web-1")),
        exchange,
    ]);
    let applied = Applier::new(client).apply("team", &attempt()).await;
    server.await.unwrap();
    applied
}

#[tokio::test]
async fn deletions_come_first_and_the_request_before_its_pod() {
    let applied = outcome(Exchange::new("POST", PODS, 201, named("web-1")))
        .await
        .unwrap();
    assert_eq!(applied.pod, Some(PodOutcome::Present));
}

#[tokio::test]
async fn what_is_there_or_gone_already_is_as_good_as_made_or_deleted() {
    let (client, server) = expecting(vec![
        Exchange::failing(
            "DELETE",
            &format!("{PODS}/web-0"),
            404,
            "NotFound",
            "not found",
        ),
        Exchange::failing(
            "DELETE",
            &format!("{CONFIG_MAPS}/web-0"),
            404,
            "NotFound",
            "not found",
        ),
        Exchange::failing("POST", CONFIG_MAPS, 409, "AlreadyExists", "exists"),
        Exchange::failing("POST", PODS, 409, "AlreadyExists", "exists"),
    ]);
    let applied = Applier::new(client)
        .apply("team", &attempt())
        .await
        .unwrap();
    assert_eq!(applied.pod, Some(PodOutcome::Present));
    assert_eq!(server.await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_answer_about_the_server_is_an_error_and_no_end_of_the_build() {
    for (code, reason, message) in [
        (500, "InternalError", "etcd is away"),
        (
            403,
            "Forbidden",
            "User \"operator\" cannot create resource \"pods\" in API group \"\"",
        ),
    ] {
        let error = outcome(Exchange::failing("POST", PODS, code, reason, message)).await;
        assert!(
            matches!(error, Err(ApplyError::CreatePod { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn refusals_are_told_apart_by_the_servers_words() {
    let cases = [
        (
            403,
            "exceeded quota: builds",
            Some((Reason::WaitingForQuota, false)),
        ),
        (
            403,
            "error looking up service account team/x: serviceaccount \"x\" not found",
            Some((Reason::WaitingForReference, false)),
        ),
        (
            403,
            "violates PodSecurity \"restricted:latest\": x",
            Some((Reason::Policy, true)),
        ),
        (
            403,
            "unable to create new content in namespace team because it is being terminated",
            Some((Reason::Building, false)),
        ),
        (
            403,
            "maximum memory usage per Pod is 1Gi",
            Some((Reason::Policy, true)),
        ),
        (
            400,
            "admission webhook \"x\" denied the request: no",
            Some((Reason::Policy, true)),
        ),
        (
            422,
            "Pod \"x\" is invalid",
            Some((Reason::Configuration, true)),
        ),
        (400, "the request body is not JSON", None),
        (429, "too many requests", None),
    ];
    for (code, message, expected) in cases {
        let outcome = refusal_for_tests(code, message).map(|outcome| match outcome {
            PodOutcome::Refused {
                reason, failure, ..
            } => (reason, failure.is_some()),
            PodOutcome::Present => panic!("{message} is a refusal"),
        });
        assert_eq!(outcome, expected, "{code} {message}");
    }
}

#[test]
fn a_policy_of_an_old_version_is_named_as_the_cause() {
    let old = pod_security("violates PodSecurity \"restricted:v1.34\": runAsNonRoot");
    assert!(
        old.contains("enforce: restricted (version v1.34)") && old.contains("v1.35"),
        "{old}"
    );
    let latest = pod_security("violates PodSecurity \"restricted:latest\": runAsNonRoot");
    assert!(!latest.contains("v1.35"), "{latest}");
}
