//! The command line.
//!
//! Invariant: environment variables and arguments are read here only.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::rbac;
use crate::wiring::{self, LeaseName, Settings};

/// Builds container images from ImageBuild objects.
#[derive(Debug, Parser)]
#[command(name = "stagecraft-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Watch ImageBuild objects and build them.
    Run(RunArguments),
    /// Print the CustomResourceDefinition as YAML.
    Crd,
    /// Print the roles that the operator needs as YAML: a ClusterRole for the namespaces it serves, a Role for its own.
    Rbac,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
struct RunArguments {
    /// The configuration file.
    #[arg(
        long,
        env = "STAGECRAFT_CONFIG",
        default_value = "/etc/stagecraft/config.yaml"
    )]
    config: PathBuf,
    /// Where probes and metrics are answered.
    #[arg(long, default_value = "0.0.0.0:8080")]
    address: SocketAddr,
    /// Whether to work only as the holder of the Lease, beside other instances.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,
    /// Name of the Lease.
    #[arg(long, default_value = "stagecraft-operator")]
    lease: String,
    /// Namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Name of this instance, in the Lease and in events.
    #[arg(long, env = "POD_NAME", default_value = "stagecraft-operator")]
    identity: String,
    /// Which messages are logged: error, warn, info, debug or trace, or directives such as
    /// info,stagecraft_operator=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
    /// How they are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Parses the process's arguments and does what they say.
///
/// # Errors
/// When the command fails.
pub fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(arguments) => operate(arguments),
        Command::Crd => print(&[serde_yaml::to_string(
            &stagecraft_api::custom_resource_definition(),
        )?]),
        Command::Rbac => print(&[
            serde_yaml::to_string(&rbac::cluster_role())?,
            serde_yaml::to_string(&rbac::role())?,
        ]),
    }
}

fn operate(arguments: RunArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log)
        .with_context(|| format!("`{}` says not what to log", arguments.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => log.init(),
    }
    let settings = Settings {
        config: Config::read(&arguments.config)?,
        address: arguments.address,
        identity: format!("{}_{}", arguments.identity, start_mark()),
        lease: arguments.leader_election.then_some(LeaseName {
            namespace: arguments.namespace,
            name: arguments.lease,
        }),
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(wiring::run(settings))?;
    // Log streams that are being read need not end before the process does.
    runtime.shutdown_background();
    Ok(())
}

/// Tells this process from the one before it in the same container.
fn start_mark() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}", since.as_millis())
}

/// Prints YAML documents.
fn print(documents: &[String]) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(documents.join("---\n").as_bytes())
        .context("cannot write to standard output")
}
