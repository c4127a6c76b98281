//! The table against the calls that the code makes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::api::Api;
use kube::client::Body;
use serde_json::{Value, json};
use stagecraft_api::v1alpha1::{ImageBuild, ImageBuildStatus, StageStatus};

use super::*;
use crate::config::Config;
use crate::events::Announcer;
use crate::leader::Candidate;
use crate::names;
use crate::reconcile::apply::Applier;
use crate::reconcile::desired::{AttemptObjects, Changes};
use crate::reconcile::observe::Reader;
use crate::status::write::StatusWriter;
use crate::wiring;

/// Calls as authorization sees them: group, resource, verb.
type Calls = Arc<Mutex<BTreeSet<(String, String, String)>>>;

#[test]
fn no_permission_is_on_secrets_or_on_everything() {
    for permission in SERVED.iter().chain(OWN) {
        assert_ne!(permission.resource, "secrets");
        assert!(!permission.resource.contains('*') && !permission.verbs.contains(&"*"));
        assert!(permission.verbs.is_sorted(), "{}", permission.resource);
    }
}

/// Group, resource and verb of a request, as kube-apiserver's RequestInfo reads them.
fn call(request: &Request<Body>) -> (String, String, String) {
    let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    let (group, mut rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        other => panic!("no path of a resource: {other:?}"),
    };
    if let ["namespaces", _, inner @ ..] = rest {
        rest = inner;
    }
    let (resource, named) = match rest {
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, subresource] => (format!("{resource}/{subresource}"), true),
        other => panic!("no path of a resource: {other:?}"),
    };
    let watch = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch="));
    let verb = match (request.method().as_str(), named) {
        ("GET", _) if watch => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        other => panic!("no verb: {other:?}"),
    };
    (group.to_owned(), resource, verb.to_owned())
}

/// A body that whoever asked can go on with.
fn answer((group, resource, verb): &(String, String, String)) -> Value {
    let run = json!({"number": 1, "attempt": 1, "trigger": "Created", "specHash": "a"});
    let object = |kind: &str, version: &str| json!({"kind": kind, "apiVersion": version, "metadata": {"name": "web", "namespace": "team", "uid": "u"}});
    match (resource.as_str(), verb.as_str()) {
        ("imagebuilds" | "imagebuilds/status", "get" | "update" | "patch") => {
            let mut build = object("ImageBuild", "stagecraft.dev/v1alpha1");
            build["metadata"]["generation"] = json!(1);
            build["spec"] = json!({
                "outputs": [{"images": ["a"]}],
                "buildArgs": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "a"}}}],
            });
            build["status"] = json!({"run": run});
            build
        }
        // The pod of the attempt: it is asked for twice, once while it starts and once when it has ended.
        ("pods", "list") => {
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod()]})
        }
        (_, "list") => json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
        ("pods", _) => object("Pod", "v1"),
        ("configmaps", _) => object("ConfigMap", "v1"),
        ("serviceaccounts", _) => object("ServiceAccount", "v1"),
        ("events", _) => object("Event", "events.k8s.io/v1"),
        ("leases", _) => object("Lease", "coordination.k8s.io/v1"),
        _ => panic!("nobody expected {verb} {group}/{resource}"),
    }
}

fn pod() -> Value {
    let key = names::AttemptKey {
        build: "web",
        uid: "u",
        run: 1,
        attempt: 1,
    };
    json!({
        "metadata": {
            "name": key.name(), "namespace": "team", "uid": "p",
            "ownerReferences": [{"apiVersion": "x", "kind": "ImageBuild", "name": "web", "uid": "u"}],
        },
        "status": {"phase": "Pending"},
    })
}

/// The same, when its engine has ended and printed a report.
fn ended_pod() -> Value {
    let mut pod = pod();
    let verdict = json!({
        "protocolVersion": 1, "reportDigest": "sha256:0", "outcome": {"planned": {"shape": {"runners": 0}}},
    });
    pod["status"] = json!({"phase": "Succeeded", "containerStatuses": [{
        "name": "engine", "image": "b", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "message": verdict.to_string()}},
    }]});
    pod
}

/// A client that notes every call.
fn recording(calls: &Calls, ended: bool) -> Client {
    let calls = calls.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let call = call(&request);
        let body = match (call.1.as_str(), ended) {
            ("pods/log", _) => String::new(),
            ("pods", true) if call.2 == "list" => {
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [ended_pod()]})
                    .to_string()
            }
            _ => answer(&call).to_string(),
        };
        calls.lock().unwrap().insert(call);
        let response = Response::builder()
            .header("content-type", "application/json")
            .body(Body::from(body.into_bytes()));
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    Client::new(service, "default")
}

/// Makes every kind of call that the operator makes, through the code that makes it.
async fn make_every_call(calls: &Calls) {
    let config = Config::default();
    for ended in [false, true] {
        let reader = Reader::new(recording(calls, ended));
        reader
            .observe("team", "web", &config)
            .await
            .unwrap()
            .unwrap();
    }
    let client = recording(calls, false);
    let mut objects = AttemptObjects::default();
    objects.request.metadata.name = Some("web".into());
    objects.pod.metadata.name = Some("web".into());
    let changes = Changes {
        attempt: Some(Box::new(objects)),
        delete_pods: vec!["web".into()],
        delete_config_maps: vec!["web".into()],
    };
    Applier::new(client.clone())
        .apply("team", &changes)
        .await
        .unwrap();

    let builds: Api<ImageBuild> = Api::namespaced(client.clone(), "team");
    let build = builds.get("web").await.unwrap();
    let writer = StatusWriter::new(client.clone());
    writer
        .replace(&build, &ImageBuildStatus::default())
        .await
        .unwrap();
    writer
        .progress("team", "web", (1, 1), &[StageStatus::default()], None)
        .await
        .unwrap();

    let told: ImageBuildStatus = serde_yaml::from_str(
        "conditions: [{type: Ready, status: 'True', reason: Succeeded, message: m, lastTransitionTime: '2026-01-01T00:00:00Z'}]",
    )
    .unwrap();
    let announcer = Announcer::new(client.clone(), "me");
    for _ in 0..2 {
        // The second one patches the series of the first.
        announcer
            .announce(&build, &ImageBuildStatus::default(), &told)
            .await;
    }
    let mut candidate = Candidate::new(client.clone(), "system", "operator", "me");
    candidate.attempt().await.unwrap();
    wiring::remove_orphans(&client, &config, &crate::queue::Directory::default()).await;
}

#[tokio::test]
async fn the_table_has_every_call_and_no_other() {
    let calls = Calls::default();
    make_every_call(&calls).await;
    let mut made = calls.lock().unwrap().clone();
    let call = |group: &str, resource: &str, verb: &str| {
        (group.to_owned(), resource.to_owned(), verb.to_owned())
    };
    // The controller's watches, and the Lease when there is none yet (tests of the leader make it).
    for (group, resource) in [("stagecraft.dev", "imagebuilds"), ("", "pods")] {
        made.extend(["list", "watch"].map(|verb| call(group, resource, verb)));
    }
    made.insert(call("coordination.k8s.io", "leases", "create"));
    let table: BTreeSet<_> = SERVED
        .iter()
        .chain(OWN)
        .flat_map(|permission| {
            let verbs = permission.verbs.iter();
            verbs.map(|verb| call(permission.group, permission.resource, verb))
        })
        .collect();
    let missing: Vec<_> = made.difference(&table).collect();
    let unused: Vec<_> = table.difference(&made).collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "missing {missing:?}, never called {unused:?}"
    );
}
