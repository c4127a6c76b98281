//! A namespace for each test, which admits only what passes Pod Security `restricted`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::{Cluster, SYSTEM_NAMESPACE};
use crate::wait;

/// Keeps the namespaces of tests when it is set, to look around in them.
const KEEP: &str = "STAGECRAFT_E2E_KEEP";

/// The namespace of one test.
#[derive(Debug)]
pub struct Namespace {
    /// The cluster it is in.
    pub cluster: Cluster,
    /// Its name, different in every run.
    pub name: String,
}

/// Runs a test in a namespace of its own. When the test fails, what is in the namespace is shown; it goes either way.
///
/// # Errors
/// Those of the test, and when there is no cluster.
pub fn in_namespace(
    name: &str,
    test: impl FnOnce(&Namespace) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let namespace = Namespace::create(name)?;
    let result = catch_unwind(AssertUnwindSafe(|| test(&namespace)));
    if !matches!(result, Ok(Ok(()))) {
        namespace.show();
    }
    if std::env::var_os(KEEP).is_none() {
        let arguments = ["delete", "namespace", &namespace.name, "--wait=false"];
        if let Err(error) = namespace.cluster.kubectl(&arguments) {
            eprintln!("cannot delete the namespace: {error:#}");
        }
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

impl Namespace {
    fn create(name: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::connect()?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock stands before 1970")?;
        let name = format!("e2e-{name}-{:x}", now.as_millis());
        cluster.apply(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            }},
        }))?;
        let namespace = Self { cluster, name };
        wait::until(
            "the namespace's service account",
            Duration::from_secs(30),
            || Ok(namespace.get(&["serviceaccount", "default"]).ok()),
        )?;
        Ok(namespace)
    }

    /// Runs `kubectl` in the namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["--namespace", &self.name];
        all.extend(arguments);
        self.cluster.kubectl(&all)
    }

    /// Gets one object of the namespace, or a list of them, as JSON.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["--namespace", &self.name];
        all.extend(arguments);
        self.cluster.get(&all)
    }

    /// Applies an object in the namespace.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.name);
        self.cluster.apply(&object)
    }

    /// Creates or replaces a ConfigMap.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn config_map(&self, name: &str, data: &Value) -> anyhow::Result<()> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": data,
        }))
    }

    /// Creates or replaces a Secret with credentials for one registry.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn registry_secret(
        &self,
        name: &str,
        host: &str,
        user: &str,
        password: &str,
    ) -> anyhow::Result<()> {
        let auths = json!({"auths": {host: {"username": user, "password": password}}});
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": auths.to_string()},
        }))
    }

    /// A repository in the plain registry that no other test uses, as builds name it, without a tag.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        format!(
            "{}/{}/{name}",
            self.cluster.supplies.registry.host, self.name
        )
    }

    /// The events of the namespace that are about `name`, as `REASON MESSAGE`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events_of(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let events = self.get(&["events.v1.events.k8s.io"])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(events["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|event| event["regarding"]["name"] == name)
            .map(|event| format!("{} {}", text(&event["reason"]), text(&event["note"])))
            .collect())
    }

    /// Shows what a person would look at first.
    fn show(&self) {
        eprintln!("==== namespace {} ====", self.name);
        for arguments in [
            &[
                "get",
                "imagebuilds",
                "--output=yaml",
                "--show-managed-fields=false",
            ][..],
            &["get", "pods", "--output=wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
        ] {
            self.show_one(arguments);
        }
        let pods = self
            .kubectl(&["get", "pods", "--output=name"])
            .unwrap_or_default();
        for pod in pods.lines() {
            self.show_one(&["logs", pod, "--all-containers", "--prefix", "--tail=80"]);
        }
        let operator = [
            "--namespace",
            SYSTEM_NAMESPACE,
            "logs",
            "deployment/stagecraft",
            "--tail=60",
        ];
        match self.cluster.kubectl(&operator) {
            Ok(text) => eprintln!("---- the operator's log ----\n{text}"),
            Err(error) => eprintln!("---- the operator's log ----\n{error:#}"),
        }
    }

    fn show_one(&self, arguments: &[&str]) {
        eprintln!("---- kubectl {} ----", arguments.join(" "));
        match self.kubectl(arguments) {
            Ok(text) => eprintln!("{text}"),
            Err(error) => eprintln!("{error:#}"),
        }
    }
}
