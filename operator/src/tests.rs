//! An apiserver for tests: it expects calls in order and gives the answers that were prepared.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::task::JoinHandle;

/// One call and its answer.
pub(crate) struct Exchange {
    method: &'static str,
    path: String,
    code: u16,
    answer: Value,
}

impl Exchange {
    /// Expects this call, and answers with this code and body.
    pub(crate) fn new(method: &'static str, path: &str, code: u16, answer: Value) -> Self {
        Self {
            method,
            path: path.to_owned(),
            code,
            answer,
        }
    }

    /// Expects this call, and answers with a failure.
    pub(crate) fn failing(
        method: &'static str,
        path: &str,
        code: u16,
        reason: &str,
        message: &str,
    ) -> Self {
        let answer = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message,
        });
        Self::new(method, path, code, answer)
    }
}

/// A client whose calls must be these, and the task that yields the bodies of the requests once all were made.
pub(crate) fn expecting(exchanges: Vec<Exchange>) -> (Client, JoinHandle<Vec<Value>>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for exchange in exchanges {
            let expected = format!("{} {}", exchange.method, exchange.path);
            let (request, send) = handle
                .next_request()
                .await
                .unwrap_or_else(|| panic!("{expected} was not called"));
            let made = format!("{} {}", request.method(), request.uri().path());
            assert_eq!(made, expected);
            let body = request.into_body().collect_bytes().await.unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap_or_default());
            let response = Response::builder()
                .status(exchange.code)
                .header("content-type", "application/json")
                .body(Body::from(exchange.answer.to_string().into_bytes()))
                .unwrap();
            send.send_response(response);
        }
        assert!(
            handle.next_request().await.is_none(),
            "more was called than expected"
        );
        bodies
    });
    (Client::new(service, "default"), server)
}
