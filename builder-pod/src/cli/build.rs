//! `stagecraft-builder build`: flags to a [`BuildRequest`], and the end to an exit code.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use stagecraft_protocol::request::{
    BuildRequest, FurtherOutput, Mode, RegistrySettings, Timestamps,
};
use stagecraft_protocol::verdict::{self, Outcome};
use tracing_subscriber::layer::SubscriberExt;

use super::context::Given;
use super::contexts::build_contexts;
use super::errors::{ErrorFormat, usage};
use super::outputs::outputs;
use crate::caches::Caches;
use crate::engine::OutputPlan;
use crate::execute::Lendings;
use crate::export::Exported;
use crate::trace::Timeline;
use crate::{engine, runners};

/// Flags that `build` and `plan` share: what is built, from what.
#[derive(clap::Args)]
pub(super) struct InputArguments {
    /// Dockerfile to build, or - for standard input [default: Dockerfile in the context]
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Stage to build, by name or index; repeat for several in one run [default: the last stage]
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Vec<String>,
    /// Stage that must succeed though nothing needs it; repeat for several
    #[arg(long, value_name = "STAGE")]
    test: Vec<String>,
    /// Set a build argument; without `=VALUE` it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Use something else for the stage or image NAME (NAME::OS/ARCH for one platform only): a directory,
    /// docker-image://IMAGE, oci-layout://DIR[:TAG][@DIGEST], or the address of a git repository or a file
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// Set a label on the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Platform to build for; repeat for several, or separate them by commas [default: that of this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    pub(super) platform: Vec<String>,
    #[command(flatten)]
    registries: RegistryArguments,
    /// Clamp every time in the image to these seconds since 1970, and set SOURCE_DATE_EPOCH in RUN
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        allow_negative_numbers = true
    )]
    source_date_epoch: Option<i64>,
    /// Form of an error on standard error: text for people, json for programs
    #[arg(long, value_enum, default_value_t = ErrorFormat::Text)]
    pub(super) error_format: ErrorFormat,
    /// The files that the Dockerfile may copy: a directory, a git repository (URL.git#REVISION:DIRECTORY), the
    /// http(s) URL of an archive, or - for one on standard input; a URL or standard input may also give a Dockerfile alone
    #[arg(value_name = "CONTEXT")]
    context: PathBuf,
}

/// Flags about registries.
#[derive(clap::Args)]
pub(super) struct RegistryArguments {
    /// Read images of HOST from a mirror first
    #[arg(long, value_name = "HOST=[http://]HOST:PORT")]
    registry_mirror: Vec<String>,
    /// Speak plain http to this registry
    #[arg(long, value_name = "HOST:PORT")]
    insecure_registry: Vec<String>,
    /// Trust the CA certificates of a PEM file for a registry
    #[arg(long, value_name = "HOST[:PORT]=FILE")]
    registry_ca: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct BuildArguments {
    #[command(flatten)]
    pub(super) input: InputArguments,
    /// Name of the image; repeat for several. With several targets each says which it is for
    #[arg(short, long, value_name = "[TARGET=]REF")]
    pub(super) tag: Vec<String>,
    /// Where the result goes; repeat for several. type=registry pushes; type=oci,dest=PATH is an OCI layout, a
    /// directory or (ending in .tar, or with tar=true) an archive; type=docker,dest=FILE an archive for `docker load`;
    /// type=local,dest=DIR (or DIR alone) the image's files; type=tar,dest=FILE a tar archive of them. With several
    /// targets each says which it is for
    #[arg(short, long, value_name = "type=TYPE[,dest=PATH][,target=STAGE]")]
    pub(super) output: Vec<String>,
    /// Push to every --tag (the same as --output type=registry)
    #[arg(long)]
    pub(super) push: bool,
    /// A secret for RUN --mount=type=secret: the content of a file or of an environment variable; id=NAME alone takes the
    /// variable NAME, else the file NAME
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=VARIABLE]")]
    secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh: its socket, or a private key without a passphrase; without one, the socket
    /// of SSH_AUTH_SOCK
    #[arg(long, value_name = "NAME[=SOCKET|KEY]")]
    ssh: Vec<String>,
    /// Directory of the caches of RUN --mount=type=cache [default: stagecraft/mounts in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache_mounts: Option<PathBuf>,
    /// RUN steps that execute at a time [default: the number of processors]
    #[arg(long, value_name = "N")]
    parallel_stages: Option<u32>,
    /// Write digests, names and size of the result to a JSON file, with members as BuildKit calls them
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Write the time line of the build to a file, in the trace event format that Chrome and Perfetto show
    #[arg(long, value_name = "FILE")]
    trace_file: Option<PathBuf>,
    /// Form of the progress on standard error
    #[arg(long, value_enum, default_value_t = ProgressForm::Plain)]
    progress: ProgressForm,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ProgressForm {
    Plain,
    Quiet,
}

/// Builds, and gives the exit code.
pub(super) async fn run(arguments: BuildArguments) -> u8 {
    let outputs = match outputs(&arguments) {
        Ok(outputs) => outputs,
        Err(message) => return usage(&message),
    };
    let (mut request, _spooled) = match arguments.input.request(Mode::Build) {
        Ok(requested) => requested,
        Err(message) => return usage(&message),
    };
    let mut pushed = outputs.iter().map(OutputPlan::pushed_names);
    request.images = pushed.next().unwrap_or_default();
    for (further, names) in request.further_outputs.iter_mut().zip(pushed) {
        further.images = names;
    }
    if let Some(parallel) = arguments.parallel_stages {
        request.parallel_stages = parallel.max(1);
    }
    let progress = match arguments.progress {
        ProgressForm::Plain => super::errors::progress_to_stderr(),
        ProgressForm::Quiet => crate::progress::Progress::new(Box::new(std::io::sink())),
    };
    let scratch = match scratch() {
        Ok(scratch) => scratch,
        Err(message) => return usage(&message),
    };
    let lendings = match lendings(&arguments, scratch.path()) {
        Ok(lendings) => lendings,
        Err(message) => return usage(&message),
    };
    let timeline = match arguments.trace_file.as_deref().map(timeline).transpose() {
        Ok(timeline) => timeline,
        Err(message) => return usage(&message),
    };
    let surroundings = engine::Surroundings {
        scratch: scratch.path().to_owned(),
        runners: runners::RunnerSource::Local {
            program: PathBuf::from("/proc/self/exe"),
        },
        outputs,
        progress,
        refuse_loopback: false,
        lendings,
    };
    let ended = super::engine::until_signal(engine::run(&request, surroundings)).await;
    if let Some(file) = &arguments.metadata_file
        && !ended.exported.is_empty()
        && let Err(message) = write_metadata(file, &ended.exported)
    {
        return usage(&message);
    }
    if let (Some(timeline), Some(file)) = (timeline, &arguments.trace_file)
        && let Err(error) = timeline.end()
    {
        return usage(&cannot_write_trace(file, &error));
    }
    let outcome = ended.outcome;
    match (&outcome, ended.exported.as_slice()) {
        (Outcome::Succeeded { .. }, several @ [_, _, ..]) => {
            for (target, exported) in several {
                println!("{target} {}", exported.manifest.digest);
            }
        }
        _ => super::errors::print_end(&outcome, arguments.input.error_format),
    }
    verdict::exit_code(&outcome, Mode::Build)
}

/// The time line of this process, which goes to a file from now on.
fn timeline(file: &Path) -> Result<Timeline, String> {
    let begin = || {
        let writer = BufWriter::new(File::create(file)?);
        Timeline::begin(Box::new(writer))
    };
    let timeline = begin().map_err(|error| cannot_write_trace(file, &error))?;
    let subscriber = tracing_subscriber::registry().with(timeline.clone());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| format!("cannot listen to the build: {error}"))?;
    Ok(timeline)
}

fn cannot_write_trace(file: &Path, error: &std::io::Error) -> String {
    format!("cannot write the trace file {}: {error}", file.display())
}

/// A directory for everything that is too big for memory.
pub(super) fn scratch() -> Result<tempfile::TempDir, String> {
    let made = tempfile::Builder::new()
        .prefix("stagecraft-")
        .tempdir_in(scratch_parent());
    made.map_err(|error| format!("cannot make a scratch directory: {error}"))
}

/// What steps may mount beside files.
fn lendings(arguments: &BuildArguments, scratch: &Path) -> Result<Lendings, String> {
    Ok(Lendings {
        secrets: super::secrets::parse(&arguments.secret)?,
        caches: Caches::new(caches(arguments, scratch)),
        agents: super::agents::parse(&arguments.ssh)?,
    })
}

/// Where the caches of steps outlive a build; a user without a place for that has them as long as the build.
fn caches(arguments: &BuildArguments, scratch: &Path) -> PathBuf {
    let own = |variable: &str| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.is_absolute().then_some(path)
    };
    let caches = || own("XDG_CACHE_HOME").or_else(|| Some(own("HOME")?.join(".cache")));
    match &arguments.cache_mounts {
        Some(directory) => directory.clone(),
        None => caches().map_or_else(
            || scratch.join("caches"),
            |caches| caches.join("stagecraft/mounts"),
        ),
    }
}

/// Big files belong on a disk, not on the memory file system that `/tmp` often is.
fn scratch_parent() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Of several targets, the metadata of each by its name.
fn write_metadata(file: &Path, exported: &[(String, Exported)]) -> Result<(), String> {
    let metadata = match exported {
        [(_, only)] => only.metadata(),
        several => several
            .iter()
            .map(|(target, exported)| (target.clone(), exported.metadata()))
            .collect(),
    };
    std::fs::write(file, format!("{metadata:#}\n"))
        .map_err(|error| format!("cannot write the metadata file {}: {error}", file.display()))
}

impl InputArguments {
    /// The request that these flags mean, and what must be kept for as long as it is worked on.
    pub(super) fn request(
        &self,
        mode: Mode,
    ) -> Result<(BuildRequest, Option<tempfile::TempPath>), String> {
        let given = Given::read(&self.context, self.file.as_deref(), &scratch_parent())?;
        let parallel =
            std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(2));
        let request = BuildRequest {
            protocol_version: stagecraft_protocol::PROTOCOL_VERSION,
            mode,
            dockerfile: given.dockerfile,
            source: given.source,
            context_path: given.context_path,
            build_args: build_args(&self.build_arg)?,
            contexts: build_contexts(&self.build_context)?,
            target: self.target.first().cloned(),
            further_outputs: self.target.iter().skip(1).map(further).collect(),
            tests: self.test.clone(),
            images: Vec::new(),
            labels: pairs("--label", &self.label)?,
            timestamps: self
                .source_date_epoch
                .map_or(Timestamps::BuildTime, Timestamps::Epoch),
            registries: self.registries.settings()?,
            credential_files: docker_config(),
            secrets: Vec::new(),
            ssh: Vec::new(),
            cache_directory: None,
            runners: u32::MAX,
            parallel_stages: parallel,
            memory_limit_bytes: None,
            pins: None,
            platform: self.platform.first().cloned(),
            further_platforms: self.platform.iter().skip(1).cloned().collect(),
        };
        Ok((request, given.spooled))
    }
}

impl RegistryArguments {
    /// What they say, by registry.
    pub(super) fn settings(&self) -> Result<Vec<RegistrySettings>, String> {
        let mut by_host: BTreeMap<String, RegistrySettings> = BTreeMap::new();
        let mut settings = |host: &str, change: &dyn Fn(&mut RegistrySettings)| {
            let entry = by_host
                .entry(host.to_owned())
                .or_insert_with(|| RegistrySettings {
                    host: host.to_owned(),
                    ..RegistrySettings::default()
                });
            change(entry);
        };
        for mirror in &self.registry_mirror {
            let (host, address) = mirror
                .split_once('=')
                .ok_or_else(|| format!("--registry-mirror {mirror}: expected HOST=HOST:PORT"))?;
            // As with other builders, a mirror that is also named insecure is spoken to over http.
            let plain = self
                .insecure_registry
                .iter()
                .any(|insecure| insecure == address);
            let address = if plain {
                format!("http://{address}")
            } else {
                address.to_owned()
            };
            settings(host, &|entry| entry.mirrors.push(address.clone()));
        }
        for host in &self.insecure_registry {
            settings(host, &|entry| entry.plain_http = true);
        }
        for ca in &self.registry_ca {
            let (host, file) = ca
                .split_once('=')
                .ok_or_else(|| format!("--registry-ca {ca}: expected HOST[:PORT]=FILE"))?;
            settings(host, &|entry| entry.ca_file = Some(file.to_owned()));
        }
        Ok(by_host.into_values().collect())
    }
}

/// A target behind the first; where it is pushed is said later.
fn further(target: impl Into<String>) -> FurtherOutput {
    FurtherOutput {
        target: target.into(),
        images: Vec::new(),
    }
}

/// Build arguments by name.
pub(super) fn build_args(given: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut build_args = BTreeMap::new();
    for argument in given {
        match argument.split_once('=') {
            Some(("", _)) => return Err(format!("--build-arg {argument}: the name is empty")),
            Some((name, value)) => _ = build_args.insert(name.to_owned(), value.to_owned()),
            None => {
                if let Ok(value) = std::env::var(argument) {
                    build_args.insert(argument.clone(), value);
                }
            }
        }
    }
    Ok(build_args)
}

pub(super) fn pairs(flag: &str, values: &[String]) -> Result<BTreeMap<String, String>, String> {
    let pair = |value: &String| match value.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name.to_owned(), text.to_owned())),
        _ => Err(format!("{flag} {value}: expected NAME=VALUE")),
    };
    values.iter().map(pair).collect()
}

/// Where `docker login` keeps its credentials; helpers (credsStore) are not executed.
pub(super) fn docker_config() -> Vec<String> {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let file = directory.map(|directory| directory.join("config.json"));
    file.filter(|file| file.is_file())
        .and_then(|file| file.to_str().map(str::to_owned))
        .into_iter()
        .collect()
}
