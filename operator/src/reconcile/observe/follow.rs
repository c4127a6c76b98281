//! Follows the logs of running engines, so that the status shows how far their stages are.
//!
//! Invariant: a follower belongs to one attempt, and is stopped before the end of that attempt is written.
//! Invariant: it writes at most once in two seconds.

use std::collections::HashMap;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, LogParams};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::reconcile::evidence::ENGINE;
use crate::status::progress::Progress;
use crate::status::write::{StatusWriter, WriteError};

/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(2);

/// Whose log is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Namespace of the object.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) build: String,
    /// Run and attempt.
    pub(crate) attempt: (i32, i32),
    /// The attempt's pod.
    pub(crate) pod: String,
}

/// The followers of this process, by uid of the object.
pub(crate) struct Followers {
    client: Client,
    writer: StatusWriter,
    tasks: Mutex<HashMap<String, (Followed, JoinHandle<()>)>>,
}

impl Followers {
    /// No followers yet.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            writer: StatusWriter::new(client.clone()),
            client,
            tasks: Mutex::default(),
        }
    }

    /// Follows an attempt, unless it is followed already.
    pub(crate) async fn follow(&self, uid: &str, followed: Followed) {
        let mut tasks = self.tasks.lock().await;
        if let Some((current, task)) = tasks.get(uid) {
            if *current == followed && !task.is_finished() {
                return;
            }
            task.abort();
        }
        let task = tokio::spawn(follow(
            self.client.clone(),
            self.writer.clone(),
            followed.clone(),
        ));
        tasks.insert(uid.to_owned(), (followed, task));
    }

    /// Stops following an object; nothing is written for it any more when this returns.
    pub(crate) async fn stop(&self, uid: &str) {
        let task = self.tasks.lock().await.remove(uid);
        if let Some((_, task)) = task {
            task.abort();
            // It ends as cancelled, which is what was asked for.
            let _ = task.await;
        }
    }
}

async fn follow(client: Client, writer: StatusWriter, followed: Followed) {
    let pods: Api<Pod> = Api::namespaced(client, &followed.namespace);
    let parameters = LogParams {
        container: Some(ENGINE.to_owned()),
        follow: true,
        timestamps: true,
        ..LogParams::default()
    };
    let log = match pods.log_stream(&followed.pod, &parameters).await {
        Ok(log) => log,
        Err(error) => {
            tracing::debug!(pod = followed.pod, %error, "cannot follow the engine's log");
            return;
        }
    };
    let mut lines = log.lines();
    let mut progress = Progress::default();
    let mut next_write = Instant::now();
    let mut changed = false;
    loop {
        let line = if changed {
            timeout_at(next_write, lines.next()).await
        } else {
            Ok(lines.next().await)
        };
        match line {
            Ok(Some(Ok(line))) => changed |= progress.line(&line),
            Ok(Some(Err(error))) => {
                tracing::debug!(pod = followed.pod, %error, "the engine's log ended early");
                return;
            }
            Ok(None) => return,
            Err(_) => {}
        }
        if changed && Instant::now() >= next_write {
            next_write = Instant::now() + INTERVAL;
            changed = !write(&writer, &followed, &progress).await;
            if changed {
                // Somebody else wrote meanwhile: not before the interval is over.
                sleep_until(next_write).await;
            }
        }
    }
}

/// Writes the stages; whether that is done with.
async fn write(writer: &StatusWriter, followed: &Followed, progress: &Progress) -> bool {
    let written = writer
        .progress(
            &followed.namespace,
            &followed.build,
            followed.attempt,
            progress.stages(),
            progress.summary().as_deref(),
        )
        .await;
    match written {
        Ok(()) | Err(WriteError::Gone { .. }) => true,
        Err(WriteError::Conflict { .. }) => false,
        Err(error) => {
            tracing::debug!(build = followed.build, %error, "cannot write progress");
            true
        }
    }
}
