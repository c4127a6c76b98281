//! Wiring: puts the parts together and runs them.
//!
//! Invariant: nothing is watched or written before this instance leads, and the process ends when it does not any more.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::select_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::controller::{Action, Config as ControllerConfig, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use stagecraft_api::v1alpha1::ImageBuild;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::events::Announcer;
use crate::health::{self, Endpoints, HealthError};
use crate::leader::{Candidate, LeaderError};
use crate::metrics::Metrics;
use crate::names;
use crate::queue::{Claims, Directory};
use crate::reconcile::apply::Applier;
use crate::reconcile::observe::Reader;
use crate::reconcile::observe::follow::Followers;
use crate::reconcile::{ReconcileError, Reconciler};
use crate::status::write::StatusWriter;

/// Objects that are reconciled at a time.
const CONCURRENCY: u16 = 16;
/// Time before something is tried again that failed.
const RETRY: Duration = Duration::from_secs(5);
/// The same, when the object had only moved on.
const RETRY_OUTDATED: Duration = Duration::from_millis(200);

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The configuration file.
    pub(crate) config: Config,
    /// Where probes and metrics are answered.
    pub(crate) address: SocketAddr,
    /// Name of this instance.
    pub(crate) identity: String,
    /// The Lease, unless this instance works without asking others.
    pub(crate) lease: Option<LeaseName>,
}

/// Which Lease.
#[derive(Clone, Debug)]
pub(crate) struct LeaseName {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// No configuration of a cluster was found, or it cannot be used.
    #[error("cannot make a client for the apiserver")]
    Client(#[source] Box<kube::Error>),
    /// Signals cannot be received.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// Leadership was lost.
    #[error("not the leader any more")]
    Leader(#[from] LeaderError),
    /// Probes cannot be answered.
    #[error("cannot answer probes")]
    Health(#[from] HealthError),
    /// The controllers ended.
    #[error("the controllers ended")]
    Controllers,
}

/// Runs until told to stop.
pub(crate) async fn run(settings: Settings) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    // The first provider that is installed stays; there is no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::try_default()
        .await
        .map_err(|error| RunError::Client(Box::new(error)))?;
    let mut candidate = settings.lease.as_ref().map(|lease| {
        Candidate::new(
            client.clone(),
            &lease.namespace,
            &lease.name,
            &settings.identity,
        )
    });
    let end = tokio::select! {
        end = work(&settings, client, candidate.as_mut()) => end,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    if let (Ok(()), Some(candidate)) = (&end, &candidate) {
        tracing::info!("told to stop");
        candidate.release().await;
    }
    end
}

async fn work(
    settings: &Settings,
    client: Client,
    candidate: Option<&mut Candidate>,
) -> Result<(), RunError> {
    let metrics = Metrics::default();
    let controllers = controllers(&settings.config, &client);
    let directory = Directory::new(controllers.iter().map(Controller::store).collect());
    let ready = Arc::new(AtomicBool::new(true));
    let endpoints = Endpoints {
        ready: ready.clone(),
        metrics: metrics.clone(),
        directory: directory.clone(),
    };
    let health = health::serve(settings.address, endpoints);
    let lead = async {
        let mut candidate = candidate;
        if let Some(candidate) = candidate.as_mut() {
            candidate.acquire().await;
        }
        tracing::info!(identity = settings.identity, "leading");
        metrics.set_leader(true);
        ready.store(false, Ordering::Relaxed);
        let reconciler = Arc::new(Reconciler {
            config: settings.config.clone(),
            reader: Reader::new(client.clone()),
            applier: Applier::new(client.clone()),
            writer: StatusWriter::new(client.clone()),
            followers: Followers::new(client.clone()),
            announcer: Announcer::new(client.clone(), &settings.identity),
            metrics: metrics.clone(),
            directory,
            claims: Claims::default(),
        });
        let hold = async {
            match candidate {
                Some(candidate) => candidate.hold().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            lost = hold => Err(RunError::Leader(lost)),
            () = control(controllers, reconciler, client, settings, ready) => Err(RunError::Controllers),
        }
    };
    tokio::select! {
        end = health => end.map_err(RunError::Health),
        end = lead => end,
    }
}

/// One controller for all namespaces, or one for each that is served.
fn controllers(config: &Config, client: &Client) -> Vec<Controller<ImageBuild>> {
    let ours = watcher::Config::default().labels(&names::managed_selector());
    let controller = |builds: Api<ImageBuild>, pods: Api<Pod>| {
        Controller::new(builds, watcher::Config::default())
            .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
            .owns(pods, ours.clone())
    };
    if config.namespaces.is_empty() {
        return vec![controller(
            Api::all(client.clone()),
            Api::all(client.clone()),
        )];
    }
    let namespaces = config.namespaces.iter();
    namespaces
        .map(|namespace| {
            controller(
                Api::namespaced(client.clone(), namespace),
                Api::namespaced(client.clone(), namespace),
            )
        })
        .collect()
}

async fn control(
    controllers: Vec<Controller<ImageBuild>>,
    reconciler: Arc<Reconciler>,
    client: Client,
    settings: &Settings,
    ready: Arc<AtomicBool>,
) {
    let stores: Vec<_> = controllers.iter().map(Controller::store).collect();
    let directory = reconciler.directory.clone();
    let filled = async move {
        let filled = join_all(stores.iter().map(|store| store.wait_until_ready())).await;
        if filled.iter().all(Result::is_ok) {
            ready.store(true, Ordering::Relaxed);
            remove_orphans(&client, &settings.config, &directory).await;
        }
        std::future::pending::<()>().await;
    };
    let streams = controllers.into_iter().map(|controller| {
        controller
            .run(
                |build, reconciler: Arc<Reconciler>| async move {
                    reconciler.reconcile(&build).await.map(Action::requeue)
                },
                error_policy,
                reconciler.clone(),
            )
            .boxed()
    });
    let results = select_all(streams).for_each(|result| async move {
        match result {
            // Failures of a reconcile are told by the error policy; an object that is gone needs nothing.
            Ok(_)
            | Err(
                kube::runtime::controller::Error::ReconcilerFailed(..)
                | kube::runtime::controller::Error::ObjectNotFound(_),
            ) => {}
            Err(error) => tracing::warn!(error = chain(&error), "a watch was interrupted"),
        }
    });
    tokio::select! {
        () = filled => {}
        () = results => {}
    }
}

fn error_policy(
    build: Arc<ImageBuild>,
    error: &ReconcileError,
    reconciler: Arc<Reconciler>,
) -> Action {
    let (namespace, name) = (build.namespace(), build.name_any());
    if error.is_outdated() {
        tracing::debug!(namespace, name, error = chain(error), "reconciling again");
        return Action::requeue(RETRY_OUTDATED);
    }
    reconciler.metrics.error();
    tracing::warn!(namespace, name, error = chain(error), "reconcile failed");
    Action::requeue(RETRY)
}

/// Deletes pods whose object is gone, in case nobody collected them. Their requests go the same way, by their owner.
pub(crate) async fn remove_orphans(client: &Client, config: &Config, directory: &Directory) {
    let all = if config.namespaces.is_empty() {
        vec![Api::<Pod>::all(client.clone())]
    } else {
        let namespaces = config.namespaces.iter();
        namespaces
            .map(|namespace| Api::namespaced(client.clone(), namespace))
            .collect()
    };
    let ours = ListParams::default().labels(&names::managed_selector());
    for pods in all {
        let list = match pods.list(&ours).await {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!(error = chain(&error), "cannot look for orphans");
                continue;
            }
        };
        // Read after the pods: a build that is not there now was not there when its pod was.
        let builds: HashSet<String> = directory
            .builds()
            .iter()
            .filter_map(|build| build.uid())
            .collect();
        for pod in list.items {
            let mut owners = pod.owner_references().iter().map(|owner| &owner.uid);
            if pod.metadata.deletion_timestamp.is_some() || owners.any(|uid| builds.contains(uid)) {
                continue;
            }
            let namespace = pod.namespace().unwrap_or_default();
            let name = pod.name_any();
            tracing::info!(
                namespace,
                pod = name,
                "deleting a pod whose imagebuild is gone"
            );
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            if let Err(error) = pods.delete(&name, &DeleteParams::default()).await {
                tracing::warn!(
                    namespace,
                    pod = name,
                    error = chain(&error),
                    "cannot delete an orphan"
                );
            }
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
