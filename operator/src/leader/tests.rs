//! Who takes the Lease, and when.

use serde_json::{Value, json};

use super::*;
use crate::tests::{Exchange, expecting};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/system/leases/operator";

fn lease(holder: &str, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "operator", "namespace": "system", "resourceVersion": version},
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4,
            // Times of the holder's clock, which may be anything.
            "acquireTime": "2001-01-01T00:00:00.000000Z", "renewTime": "2001-01-01T00:00:00.000000Z",
        },
    })
}

fn parsed(holder: &str) -> Lease {
    serde_json::from_value(lease(holder, "1")).unwrap()
}

fn decided(holder: &str, unchanged: u64) -> Step {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    step(
        Some(&parsed(holder)),
        "operator",
        "me",
        Duration::from_secs(unchanged),
        now,
    )
}

fn written(step: Step) -> LeaseSpec {
    match step {
        Step::Write(lease) => lease.spec.unwrap(),
        other => panic!("nothing is written: {other:?}"),
    }
}

#[test]
fn a_lease_is_taken_only_when_it_did_not_change_for_its_whole_duration() {
    assert_eq!(
        decided("other", 14),
        Step::Wait {
            holder: "other".into()
        }
    );
    let taken = written(decided("other", 15));
    assert_eq!(taken.holder_identity.as_deref(), Some("me"));
    assert_eq!(taken.lease_transitions, Some(5));
    assert_eq!(taken.acquire_time, taken.renew_time);
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    assert_eq!(
        written(decided("", 0)).holder_identity.as_deref(),
        Some("me")
    );
}

#[test]
fn the_own_lease_is_renewed_and_its_beginning_kept() {
    let renewed = written(decided("me", 0));
    assert_eq!(renewed.lease_transitions, Some(4));
    assert_eq!(
        renewed.acquire_time.unwrap().0.to_string(),
        "2001-01-01T00:00:00Z"
    );
    assert_eq!(
        renewed.renew_time.unwrap().0.to_string(),
        "2026-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn the_first_instance_makes_the_lease() {
    let (client, server) = expecting(vec![
        Exchange::failing("GET", LEASE, 404, "NotFound", "not found"),
        Exchange::new("POST", LEASES, 201, lease("me", "1")),
    ]);
    let mut candidate = Candidate::new(client, "system", "operator", "me");
    assert_eq!(candidate.attempt().await.unwrap(), None);
    drop(candidate);
    let bodies = server.await.unwrap();
    assert_eq!(bodies[1]["spec"]["holderIdentity"], "me");
}

#[tokio::test]
async fn of_two_takers_the_slower_one_stands_by() {
    let (client, server) = expecting(vec![
        Exchange::new("GET", LEASE, 200, lease("", "7")),
        Exchange::failing(
            "PUT",
            LEASE,
            409,
            "Conflict",
            "the object has been modified",
        ),
    ]);
    let mut candidate = Candidate::new(client, "system", "operator", "me");
    assert!(candidate.attempt().await.unwrap().is_some());
    drop(candidate);
    let bodies = server.await.unwrap();
    assert_eq!(bodies[1]["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn every_renewal_of_another_holder_starts_its_duration_again() {
    let mut seen = Seen {
        version: None,
        since: Instant::now(),
    };
    let start = Instant::now();
    let later = start + Duration::from_secs(14);
    seen.look(Some(&parsed("other")), start);
    let mut renewed = parsed("other");
    renewed.metadata.resource_version = Some("2".into());
    seen.look(Some(&renewed), later);
    assert_eq!(seen.since, later);
    seen.look(Some(&renewed), later + Duration::from_secs(1));
    assert_eq!(seen.since, later);
}

#[tokio::test]
async fn only_the_holder_gives_the_lease_back() {
    let (client, server) = expecting(vec![Exchange::new("GET", LEASE, 200, lease("other", "1"))]);
    let candidate = Candidate::new(client, "system", "operator", "me");
    candidate.release().await;
    drop(candidate);
    server.await.unwrap();
}
