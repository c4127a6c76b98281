//! Writing the status.
//!
//! Invariant: every write carries the resource version it was computed from, so that it never overwrites what it has
//! not seen.

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use stagecraft_api::v1alpha1::{ImageBuild, ImageBuildStatus, StageStatus};

/// Writes the status of objects.
#[derive(Clone)]
pub(crate) struct StatusWriter {
    client: Client,
}

/// A status that could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The object has changed since it was read.
    #[error("imagebuild {name} has changed meanwhile")]
    Conflict {
        /// Its name.
        name: String,
    },
    /// The object is gone.
    #[error("imagebuild {name} is gone")]
    Gone {
        /// Its name.
        name: String,
    },
    /// The call failed.
    #[error("cannot write the status of imagebuild {name}")]
    Call {
        /// Its name.
        name: String,
        /// The apiserver's answer.
        source: Box<kube::Error>,
    },
}

impl StatusWriter {
    /// A writer that calls through this client.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Replaces the status, if it differs; the object as it is then.
    pub(crate) async fn replace(
        &self,
        build: &ImageBuild,
        status: &ImageBuildStatus,
    ) -> Result<ImageBuild, WriteError> {
        if build.status.as_ref() == Some(status) {
            return Ok(build.clone());
        }
        let name = build.name_any();
        let api: Api<ImageBuild> =
            Api::namespaced(self.client.clone(), &build.namespace().unwrap_or_default());
        let wanted = ImageBuild {
            status: Some(status.clone()),
            ..build.clone()
        };
        let written = api
            .replace_status(&name, &PostParams::default(), &wanted)
            .await;
        written.map_err(|error| write_error(name, error))
    }

    /// Writes how far the stages of an attempt are, if the object still has that attempt under way.
    pub(crate) async fn progress(
        &self,
        namespace: &str,
        name: &str,
        attempt: (i32, i32),
        stages: &[StageStatus],
        progress: Option<&str>,
    ) -> Result<(), WriteError> {
        let api: Api<ImageBuild> = Api::namespaced(self.client.clone(), namespace);
        let build = api
            .get(name)
            .await
            .map_err(|error| write_error(name.to_owned(), error))?;
        let run = build.status.as_ref().and_then(|status| status.run.as_ref());
        let under_way =
            run.is_some_and(|run| (run.number, run.attempt) == attempt && run.result.is_none());
        if !under_way {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"resourceVersion": build.resource_version()},
            "status": {"stages": stages, "progress": progress},
        });
        let patched = api
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        patched
            .map(drop)
            .map_err(|error| write_error(name.to_owned(), error))
    }
}

fn write_error(name: String, error: kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) if status.is_conflict() => WriteError::Conflict { name },
        kube::Error::Api(status) if status.is_not_found() => WriteError::Gone { name },
        error => WriteError::Call {
            name,
            source: Box::new(error),
        },
    }
}
