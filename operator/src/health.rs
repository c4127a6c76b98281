//! Answers to probes, and the metrics.
//!
//! Invariant: an instance that stands by is healthy and ready: it is ready to take over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::queue::{Directory, totals};

/// What the endpoints tell.
#[derive(Clone)]
pub(crate) struct Endpoints {
    /// Whether the caches are filled, or this instance stands by.
    pub(crate) ready: Arc<AtomicBool>,
    /// The metrics.
    pub(crate) metrics: Metrics,
    /// All builds.
    pub(crate) directory: Directory,
}

/// The server could not be started, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the server of health and metrics ended")]
    Serve(#[source] std::io::Error),
}

/// Serves the endpoints until the process ends.
pub(crate) async fn serve(address: SocketAddr, endpoints: Endpoints) -> Result<(), HealthError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| HealthError::Listen { address, source })?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(endpoints);
    axum::serve(listener, router)
        .await
        .map_err(HealthError::Serve)
}

async fn readyz(State(endpoints): State<Endpoints>) -> impl IntoResponse {
    if endpoints.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the caches are not filled yet\n",
        )
    }
}

async fn metrics(State(endpoints): State<Endpoints>) -> impl IntoResponse {
    let builds = endpoints.directory.builds();
    let text = endpoints
        .metrics
        .render(totals(builds.iter().map(Arc::as_ref)));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}
