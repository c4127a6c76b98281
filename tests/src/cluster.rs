//! The cluster under test, through `kubectl`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::supplies::Supplies;

/// Names the kubeconfig of the cluster under test.
pub const KUBECONFIG: &str = "STAGECRAFT_E2E_KUBECONFIG";
/// Namespace that the chart is installed in.
pub const SYSTEM_NAMESPACE: &str = "stagecraft-system";

/// A cluster with the product installed.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// Its registries and packages.
    pub supplies: Supplies,
}

/// What `kubectl` said when it refused something.
#[derive(Debug)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Cluster {
    /// The cluster that [`KUBECONFIG`] names.
    ///
    /// # Errors
    /// When the variable is not set: these tests never pass without a cluster.
    pub fn connect() -> anyhow::Result<Self> {
        let Some(kubeconfig) = std::env::var_os(KUBECONFIG) else {
            bail!(
                "this test needs a cluster: run it with `cargo xtask test cluster [filter]`, which brings one up and \
                 sets {KUBECONFIG}"
            );
        };
        let kubeconfig = PathBuf::from(kubeconfig);
        let supplies = Supplies::read(&kubeconfig.with_file_name("supplies.json"))?;
        Ok(Self {
            kubeconfig,
            supplies,
        })
    }

    /// Runs `kubectl` and returns what it prints.
    ///
    /// # Errors
    /// [`Refused`] with its words when it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs `kubectl` with text on its standard input.
    ///
    /// # Errors
    /// [`Refused`] with its words when it fails.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        run(command, input).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Gets one object, or a list of them, as JSON.
    ///
    /// # Errors
    /// When there is none, or the apiserver cannot be reached.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = vec!["get", "--output=json"];
        all.extend(arguments);
        let text = self.kubectl(&all)?;
        serde_json::from_str(&text).context("kubectl printed something else than JSON")
    }

    /// Applies an object.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        self.kubectl_with(&["apply", "--filename", "-"], &object.to_string())?;
        Ok(())
    }

    /// `crane`, which reads and writes registries and is not ours.
    ///
    /// # Errors
    /// When it fails.
    pub fn crane(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("crane");
        command.args(arguments);
        run(command, "").with_context(|| format!("crane {}", arguments.join(" ")))
    }
}

/// Runs a program with text on its standard input and returns what it prints.
pub(crate) fn run(mut command: Command, input: &str) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading everything says so by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("cannot wait for {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Refused(format!("{program} ended with {}: {words}", output.status)).into())
}
