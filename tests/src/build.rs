//! One ImageBuild in a test's namespace.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use stagecraft_api::reasons::Reason;
use stagecraft_api::v1alpha1::{FailureStatus, ImageBuild, ImageBuildStatus};

use crate::image::Image;
use crate::namespace::Namespace;
use crate::wait;

/// How long a build of these tests may take. Two of them at a time share two cores.
pub const BUILD_LIMIT: Duration = Duration::from_secs(420);
/// How long the operator may take for what needs no pod.
pub const OPERATOR_LIMIT: Duration = Duration::from_secs(60);

/// An ImageBuild of a namespace.
#[derive(Debug)]
pub struct Build<'a> {
    namespace: &'a Namespace,
    name: String,
}

impl<'a> Build<'a> {
    /// An ImageBuild that is there already.
    #[must_use]
    pub fn named(namespace: &'a Namespace, name: &str) -> Self {
        Self {
            namespace,
            name: name.to_owned(),
        }
    }

    /// Applies an ImageBuild with this spec.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn apply(namespace: &'a Namespace, name: &str, spec: &Value) -> anyhow::Result<Self> {
        namespace.apply(&json!({
            "apiVersion": "stagecraft.dev/v1alpha1",
            "kind": "ImageBuild",
            "metadata": {"name": name},
            "spec": spec,
        }))?;
        Ok(Self::named(namespace, name))
    }

    /// Applies an ImageBuild of a Dockerfile and nothing else, pushed to the repository of its name, tag `latest`.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn of_dockerfile(
        namespace: &'a Namespace,
        name: &str,
        dockerfile: &str,
    ) -> anyhow::Result<Self> {
        Self::apply(namespace, name, &spec_of(namespace, name, dockerfile))
    }

    /// Changes the spec by a merge patch.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn patch(&self, spec: &Value) -> anyhow::Result<()> {
        let patch = json!({"spec": spec}).to_string();
        self.namespace.kubectl(&[
            "patch",
            "imagebuild",
            &self.name,
            "--type=merge",
            "--patch",
            &patch,
        ])?;
        Ok(())
    }

    /// Sets the annotation that asks for a new run.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn request(&self, value: &str) -> anyhow::Result<()> {
        let annotation = format!("{}={value}", stagecraft_api::labels::REQUESTED_AT);
        self.namespace.kubectl(&[
            "annotate",
            "--overwrite",
            "imagebuild",
            &self.name,
            &annotation,
        ])?;
        Ok(())
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// When it is gone.
    pub fn object(&self) -> anyhow::Result<ImageBuild> {
        let value = self.namespace.get(&["imagebuild", &self.name])?;
        serde_json::from_value(value).context("the ImageBuild has another form than its type")
    }

    /// The status as it is now.
    ///
    /// # Errors
    /// When the object is gone.
    pub fn status(&self) -> anyhow::Result<ImageBuildStatus> {
        Ok(self.object()?.status.unwrap_or_default())
    }

    /// Waits until the status of the current generation satisfies `condition`.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&ImageBuildStatus) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut last = ImageBuildStatus::default();
        wait::until(what, limit, || {
            let object = self.object()?;
            let generation = object.metadata.generation;
            last = object.status.unwrap_or_default();
            Ok((last.observed_generation == generation)
                .then(|| condition(&last))
                .flatten())
        })
        .with_context(|| format!("{}: last seen as {}", self.name, describe(&last)))
    }

    /// Waits until the image of the current spec is pushed, and returns it.
    ///
    /// # Errors
    /// When the build fails, or takes longer than [`BUILD_LIMIT`].
    pub fn succeeds(&self) -> anyhow::Result<Image> {
        let ended = self.wait_for("the build is Ready", BUILD_LIMIT, |status| {
            (is(status, "Ready", "True") || is(status, "Stalled", "True")).then(|| status.clone())
        })?;
        if !is(&ended, "Ready", "True") {
            bail!("{} failed: {}", self.name, describe(&ended));
        }
        ensure!(
            ended.failure.is_none(),
            "a success leaves no failure in the status"
        );
        let output = ended
            .outputs
            .first()
            .context("a success without an output")?;
        let image = output
            .images
            .first()
            .context("an output without an image")?;
        Image::in_plain_registry(&self.namespace.cluster, image, &output.digest)
    }

    /// Waits until the build has failed for `reason`, and returns why. Nothing may have been pushed.
    ///
    /// # Errors
    /// When it ends otherwise, or takes longer than [`BUILD_LIMIT`].
    pub fn fails(&self, reason: Reason) -> anyhow::Result<FailureStatus> {
        let ended = self.wait_for("the build is Stalled", BUILD_LIMIT, |status| {
            (is(status, "Ready", "True") || is(status, "Stalled", "True")).then(|| status.clone())
        })?;
        ensure!(is(&ended, "Stalled", "True"), "{} succeeded", self.name);
        let failure = ended
            .failure
            .clone()
            .context("a failed build without a failure")?;
        ensure!(
            failure.reason == reason,
            "it failed for another reason: {failure:?}"
        );
        for condition in &ended.conditions {
            ensure!(
                condition.reason == reason.as_str(),
                "condition {} gives {} as its reason",
                condition.type_,
                condition.reason
            );
        }
        ensure!(is(&ended, "Ready", "False"), "Ready is not False");
        ensure!(
            !has(&ended, "Reconciling"),
            "a failed build is not Reconciling"
        );
        wait::until("the event of the failure", OPERATOR_LIMIT, || {
            let events = self.namespace.events_of(&self.name)?;
            Ok(events
                .iter()
                .any(|event| event.starts_with(reason.as_str()))
                .then_some(()))
        })?;
        self.has_pushed_nothing()?;
        Ok(failure)
    }

    /// Waits until the build waits for something, and returns the words of its condition.
    ///
    /// # Errors
    /// When it does not within [`OPERATOR_LIMIT`].
    pub fn waits(&self, reason: Reason) -> anyhow::Result<String> {
        self.wait_for(
            &format!("the build waits: {reason}"),
            OPERATOR_LIMIT,
            |status| {
                let condition = status
                    .conditions
                    .iter()
                    .find(|condition| condition.type_ == "Ready")?;
                (condition.reason == reason.as_str() && is(status, "Reconciling", "True"))
                    .then(|| condition.message.clone())
            },
        )
    }

    /// Waits until the run's pod runs, and returns its name.
    ///
    /// # Errors
    /// When it does not within [`BUILD_LIMIT`], and when the build ends before.
    pub fn running_pod(&self) -> anyhow::Result<String> {
        wait::until("the build's pod runs", BUILD_LIMIT, || {
            let status = self.status()?;
            ensure!(
                !is(&status, "Ready", "True") && !is(&status, "Stalled", "True"),
                "{} ended before its pod was seen to run: {}",
                self.name,
                describe(&status)
            );
            let Some(pod) = status.run.and_then(|run| run.pod_name) else {
                return Ok(None);
            };
            let Ok(object) = self.namespace.get(&["pod", &pod]) else {
                return Ok(None);
            };
            Ok((object["status"]["phase"] == "Running").then_some(pod))
        })
    }

    /// The names of the build's pods.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn pods(&self) -> anyhow::Result<Vec<String>> {
        let selector = format!("--selector={}={}", stagecraft_api::labels::BUILD, self.name);
        let text = self
            .namespace
            .kubectl(&["get", "pods", &selector, "--output=name"])?;
        Ok(text
            .lines()
            .map(|line| line.trim_start_matches("pod/").to_owned())
            .collect())
    }

    /// The log of a container of the last pod.
    ///
    /// # Errors
    /// When there is none.
    pub fn log(&self, container: &str) -> anyhow::Result<String> {
        let pod = self
            .status()?
            .run
            .and_then(|run| run.pod_name)
            .context("the run has no pod")?;
        self.namespace
            .kubectl(&["logs", &pod, "--container", container])
    }

    /// Checks that no image of the spec exists.
    ///
    /// # Errors
    /// When one does.
    pub fn has_pushed_nothing(&self) -> anyhow::Result<()> {
        let object = self.object()?;
        for image in object.spec.outputs.iter().flat_map(|output| &output.images) {
            ensure!(
                !Image::exists(&self.namespace.cluster, image),
                "{image} was pushed although the build failed"
            );
        }
        Ok(())
    }
}

/// The spec of a build of a Dockerfile and nothing else, pushed to the repository of its name, tag `latest`.
#[must_use]
pub fn spec_of(namespace: &Namespace, name: &str, dockerfile: &str) -> Value {
    json!({
        "dockerfile": {"inline": dockerfile},
        "outputs": [{"images": [format!("{}:latest", namespace.repository(name))]}],
    })
}

fn is(status: &ImageBuildStatus, kind: &str, value: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == value)
}

fn has(status: &ImageBuildStatus, kind: &str) -> bool {
    status
        .conditions
        .iter()
        .any(|condition| condition.type_ == kind)
}

fn describe(status: &ImageBuildStatus) -> String {
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            format!(
                "{}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            )
        })
        .collect();
    match &status.failure {
        Some(failure) => format!("{}; {failure:?}", conditions.join("; ")),
        None => conditions.join("; "),
    }
}
