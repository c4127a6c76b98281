//! Validate: from the object as written to what can be built. Pure.
//!
//! Invariant: what comes out can be made into a pod without another question.
//! Invariant: everything that is wrong is said at once.

mod mounts;
mod registries;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
pub(crate) use mounts::CACHES_PATH;
use stagecraft_api::v1alpha1::{
    self as api, ConfigMapItem, ImageBuildSpec, Isolation, KeyReference, PodSettings,
};
use stagecraft_protocol::PROTOCOL_VERSION;
use stagecraft_protocol::request::{
    BuildRequest, DockerfileSource, InlineFile, Mode, Source, Timestamps,
};

use super::observe::{ArgumentValue, Observed};
use crate::config::Config;
use crate::{names, quantity};

/// Where the engine finds the keys of a ConfigMap source.
pub(crate) const SOURCE_PATH: &str = "/run/stagecraft/source";
/// Where the engine finds its request.
pub(crate) const REQUEST_PATH: &str = "/run/stagecraft/request";
/// Where the engine finds registry credentials, in a directory per Secret.
pub(crate) const CREDENTIALS_PATH: &str = "/run/stagecraft/credentials";
/// Where the engine finds certificates, in a directory per registry.
pub(crate) const CA_PATH: &str = "/run/stagecraft/ca";

/// Bytes of a request; the ConfigMap that it travels in can hold 1 MiB.
const REQUEST_LIMIT: usize = 1_000_000;
/// Seconds of `timeout`.
const DEFAULT_TIMEOUT: u64 = 3600;
/// Attempts after a failure that may pass.
const DEFAULT_RETRIES: u32 = 2;
/// Disk, when neither the object nor the configuration says.
const DEFAULT_EPHEMERAL_STORAGE: &str = "10Gi";
/// RUN steps at a time, likewise.
const DEFAULT_PARALLEL_STAGES: u32 = 2;

/// An object that can be built.
#[derive(Clone, Debug)]
pub(crate) struct ValidBuild {
    /// What the engine is told; runners and pins belong to the attempt.
    pub(crate) request: BuildRequest,
    /// What the object names and is not there yet, in words.
    pub(crate) missing: Option<String>,
    /// What the pod gets.
    pub(crate) pod: PodPlan,
    /// What is mounted into the engine.
    pub(crate) mounts: Mounts,
    /// Attempts after a failure that may pass.
    pub(crate) retries: u32,
    /// Seconds that a run may take.
    pub(crate) timeout: u64,
    /// Seconds that the last pod stays.
    pub(crate) ttl: Option<u64>,
    /// Whether no run may start.
    pub(crate) suspended: bool,
}

/// What the pod gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodPlan {
    /// CPU and memory requests of the whole pod.
    pub(crate) requests: Amounts,
    /// CPU and memory limits of the whole pod.
    pub(crate) limits: Amounts,
    /// Disk of the scratch space, and of each runner.
    pub(crate) ephemeral_storage: Quantity,
    /// Labels that its node must have.
    pub(crate) node_selector: BTreeMap<String, String>,
    /// Taints that it puts up with.
    pub(crate) tolerations: Vec<Toleration>,
    /// Its service account; the namespace's default when absent.
    pub(crate) service_account: Option<String>,
    /// How RUN steps are kept apart from the node.
    pub(crate) isolation: Isolation,
}

/// Amounts of CPU and memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amounts {
    /// Processors.
    pub(crate) cpu: Option<Quantity>,
    /// Bytes.
    pub(crate) memory: Option<Quantity>,
}

/// What is mounted into the engine, beside its request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts {
    /// A ConfigMap as source, with the keys that are given a path.
    pub(crate) source: Option<(String, Vec<ConfigMapItem>)>,
    /// Secrets with credentials, in the order of `credential_files`.
    pub(crate) credentials: Vec<Credentials>,
    /// Secrets and keys for steps, each a key of a Secret, with the file that it becomes.
    pub(crate) lent: Vec<Lent>,
    /// The claim of the volume that caches are kept on.
    pub(crate) cache_claim: Option<String>,
    /// Certificates of the object's namespace: number, then where they come from.
    pub(crate) authorities: Vec<(usize, Authority)>,
    /// Certificates of the configuration: file name beside the request, and content.
    pub(crate) configured_authorities: BTreeMap<String, String>,
}

/// A key of a Secret that steps may have something of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    /// Name of its volume.
    pub(crate) volume: String,
    /// The Secret.
    pub(crate) secret: String,
    /// Its key, which is the file's name as well.
    pub(crate) key: String,
    /// Directory of the file.
    pub(crate) directory: String,
}

/// A Secret with registry credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Its name.
    pub(crate) secret: String,
    /// Whether the pod starts without it: what a service account names need not exist.
    pub(crate) optional: bool,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Authority {
    /// A key of a ConfigMap.
    ConfigMap(KeyReference),
    /// A key of a Secret.
    Secret(KeyReference),
}

/// An object that cannot be built as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What is wrong, one sentence each.
    pub(crate) problems: Vec<String>,
}

/// Checks the object against what was observed and what the administrator allows.
pub(crate) fn validate(observed: &Observed, config: &Config) -> Result<ValidBuild, Rejection> {
    let spec = &observed.build.spec;
    let mut problems = Vec::new();
    let mut missing = Vec::new();
    let mut mounts = Mounts::default();

    let isolation = isolation(spec, config, &mut problems);
    let build_args = build_args(spec, observed, &mut missing, &mut problems);
    let registries = registries::registries(spec, config, &mut mounts);
    let credential_files = credentials(spec, observed, &mut mounts);
    if let (Some(name), false) = (service_account(spec, config), observed.account.exists) {
        missing.push(format!("service account \"{name}\" does not exist yet"));
    }
    let pod = pod_plan(spec, config, isolation);
    let output = spec.outputs.first().cloned().unwrap_or_default();
    let request = BuildRequest {
        protocol_version: PROTOCOL_VERSION,
        mode: match spec.mode.unwrap_or_default() {
            api::Mode::Build => Mode::Build,
            api::Mode::Plan => Mode::Plan,
        },
        source: source(spec, &mut mounts, &mut problems),
        context_path: spec.context_path.clone().unwrap_or_default(),
        dockerfile: dockerfile(spec),
        build_args,
        contexts: BTreeMap::new(),
        target: output.target,
        further_outputs: Vec::new(),
        tests: Vec::new(),
        images: output.images,
        labels: output.labels,
        timestamps: timestamps(spec, &mut problems),
        registries,
        credential_files,
        secrets: mounts::secrets(spec, &mut mounts),
        ssh: mounts::ssh(spec, &mut mounts),
        cache_directory: mounts::cache_directory(spec, config, &mut mounts),
        runners: 0,
        parallel_stages: parallel_stages(spec, config),
        memory_limit_bytes: pod.limits.memory.as_ref().and_then(quantity::units),
        pins: None,
        platform: None,
        further_platforms: Vec::new(),
    };
    let size = serde_json::to_string(&request).map_or(usize::MAX, |json| json.len());
    if size > REQUEST_LIMIT {
        problems.push(format!(
            "the inline files, the Dockerfile and the build arguments make a request of {size} bytes, more than \
             {REQUEST_LIMIT}: use a ConfigMap or an HTTP archive as source"
        ));
    }
    let timeout = seconds("timeout", spec.timeout.as_deref(), &mut problems);
    let ttl = seconds(
        "ttlAfterFinished",
        spec.ttl_after_finished.as_deref(),
        &mut problems,
    );

    if !problems.is_empty() {
        return Err(Rejection { problems });
    }
    Ok(ValidBuild {
        request,
        missing: (!missing.is_empty()).then(|| missing.join("; ")),
        pod,
        mounts,
        retries: spec.retries.map_or(DEFAULT_RETRIES, |retries| {
            u32::try_from(retries).unwrap_or(0)
        }),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        ttl,
        suspended: spec.suspend.unwrap_or_default(),
    })
}

/// The digest of the fields that decide about the image, or about whether it can be built. The others change a run
/// that is under way, and start none.
pub(crate) fn spec_hash(spec: &ImageBuildSpec) -> String {
    let relevant = ImageBuildSpec {
        timeout: None,
        retries: None,
        ttl_after_finished: None,
        suspend: None,
        ..spec.clone()
    };
    // A value sorts its members; a spec holds nothing that JSON cannot.
    let json = serde_json::to_value(&relevant).unwrap_or_default();
    names::sha256_hex(json.to_string().as_bytes())
}

fn isolation(spec: &ImageBuildSpec, config: &Config, problems: &mut Vec<String>) -> Isolation {
    let default = config
        .allowed_isolation
        .first()
        .copied()
        .unwrap_or_default();
    let wanted = spec.isolation.unwrap_or(default);
    if !config.allowed_isolation.contains(&wanted) {
        let allowed: Vec<_> = config
            .allowed_isolation
            .iter()
            .map(|i| i.as_str())
            .collect();
        problems.push(format!(
            "isolation {} is not allowed here; set spec.isolation to one of {}, or have an administrator add it to the \
             chart's builds.allowedIsolation",
            wanted.as_str(),
            allowed.join(", ")
        ));
    }
    wanted
}

fn build_args(
    spec: &ImageBuildSpec,
    observed: &Observed,
    missing: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut arguments = BTreeMap::new();
    for argument in &spec.build_args {
        let name = &argument.name;
        if let Some(value) = &argument.value {
            arguments.insert(name.clone(), value.clone());
            continue;
        }
        let Some(source) = &argument.value_from else {
            problems.push(format!(
                "build argument {name} has neither value nor valueFrom"
            ));
            continue;
        };
        let reference = &source.config_map_key_ref;
        match observed.arguments.get(name) {
            Some(ArgumentValue::Found(value)) => {
                arguments.insert(name.clone(), value.clone());
            }
            Some(ArgumentValue::NoKey) => missing.push(format!(
                "configmap \"{}\" has no key \"{}\", which build argument {name} comes from",
                reference.name, reference.key
            )),
            Some(ArgumentValue::NoConfigMap) | None => missing.push(format!(
                "configmap \"{}\", which build argument {name} comes from, not found",
                reference.name
            )),
        }
    }
    arguments
}

fn source(spec: &ImageBuildSpec, mounts: &mut Mounts, problems: &mut Vec<String>) -> Source {
    let Some(source) = &spec.source else {
        return Source::Empty;
    };
    match (&source.inline, &source.config_map, &source.http) {
        (Some(inline), None, None) => Source::Inline {
            files: inline
                .files
                .iter()
                .map(|file| InlineFile {
                    path: file.path.clone(),
                    content: file.content.clone(),
                    mode: file.mode.map(i32::unsigned_abs),
                })
                .collect(),
        },
        (None, Some(config_map), None) => {
            let modes = config_map.items.iter();
            let modes =
                modes.filter_map(|item| Some((item.path.clone(), item.mode?.unsigned_abs())));
            mounts.source = Some((config_map.name.clone(), config_map.items.clone()));
            Source::ConfigMap {
                path: SOURCE_PATH.to_owned(),
                modes: modes.collect(),
            }
        }
        (None, None, Some(http)) => Source::Http {
            url: http.url.clone(),
            sha256: Some(http.sha256.clone()),
        },
        (None, None, None) => Source::Empty,
        _ => {
            problems.push("source has more than one of inline, configMap and http".to_owned());
            Source::Empty
        }
    }
}

fn dockerfile(spec: &ImageBuildSpec) -> DockerfileSource {
    let dockerfile = spec.dockerfile.clone().unwrap_or_default();
    match (dockerfile.inline, dockerfile.path) {
        (Some(text), _) => DockerfileSource::Inline(text),
        (None, path) => DockerfileSource::Path(path.unwrap_or_else(|| "Dockerfile".to_owned())),
    }
}

fn timestamps(spec: &ImageBuildSpec, problems: &mut Vec<String>) -> Timestamps {
    match spec.timestamps.as_deref() {
        None | Some("BuildTime") => Timestamps::BuildTime,
        Some("SourceTime") => Timestamps::SourceTime,
        Some("Zero") => Timestamps::Epoch(0),
        Some(text) => text.parse().map_or_else(
            |_| {
                problems.push(format!("timestamps `{text}` is no number of seconds"));
                Timestamps::BuildTime
            },
            Timestamps::Epoch,
        ),
    }
}

/// The paths of credential files: what the object names, then what its service account names.
fn credentials(spec: &ImageBuildSpec, observed: &Observed, mounts: &mut Mounts) -> Vec<String> {
    let named = spec.registry_secrets.iter().map(|secret| Credentials {
        secret: secret.name.clone(),
        optional: false,
    });
    let of_account = observed
        .account
        .pull_secrets
        .iter()
        .map(|name| Credentials {
            secret: name.clone(),
            optional: true,
        });
    for credentials in named.chain(of_account) {
        let known = &mut mounts.credentials;
        if !known.iter().any(|other| other.secret == credentials.secret) {
            known.push(credentials);
        }
    }
    (0..mounts.credentials.len())
        .map(|index| format!("{CREDENTIALS_PATH}/{index}/.dockerconfigjson"))
        .collect()
}

/// The service account that the object or the configuration names.
pub(crate) fn service_account(spec: &ImageBuildSpec, config: &Config) -> Option<String> {
    let named = spec
        .pod
        .as_ref()
        .and_then(|pod| pod.service_account_name.clone());
    named.or_else(|| config.pod.service_account_name.clone())
}

fn parallel_stages(spec: &ImageBuildSpec, config: &Config) -> u32 {
    let named = spec.pod.as_ref().and_then(|pod| pod.parallel_stages);
    let stages = named.or(config.pod.parallel_stages);
    stages
        .map_or(DEFAULT_PARALLEL_STAGES, i32::unsigned_abs)
        .max(1)
}

fn pod_plan(spec: &ImageBuildSpec, config: &Config, isolation: Isolation) -> PodPlan {
    let own = spec.pod.clone().unwrap_or_default();
    let defaults = &config.pod;
    let (requests, limits) = amounts(&own, defaults);
    let mut node_selector = defaults.node_selector.clone();
    node_selector.extend(own.node_selector);
    let mut tolerations = defaults.tolerations.clone();
    tolerations.extend(own.tolerations);
    PodPlan {
        requests,
        limits,
        ephemeral_storage: own
            .ephemeral_storage
            .or_else(|| defaults.ephemeral_storage.clone())
            .unwrap_or_else(|| Quantity(DEFAULT_EPHEMERAL_STORAGE.to_owned())),
        node_selector,
        tolerations,
        service_account: own
            .service_account_name
            .or_else(|| defaults.service_account_name.clone()),
        isolation,
    }
}

/// Requests and limits, each amount from the object or else from the configuration. A default gives way where the
/// object's own amount contradicts it: a request is never above its limit.
fn amounts(own: &PodSettings, defaults: &PodSettings) -> (Amounts, Amounts) {
    let own = own.resources.clone().unwrap_or_default();
    let defaults = defaults.resources.clone().unwrap_or_default();
    let (own_requests, own_limits) = (
        own.requests.unwrap_or_default(),
        own.limits.unwrap_or_default(),
    );
    let (default_requests, default_limits) = (
        defaults.requests.unwrap_or_default(),
        defaults.limits.unwrap_or_default(),
    );
    let (cpu_request, cpu_limit) = reconciled(
        (own_requests.cpu, own_limits.cpu),
        (default_requests.cpu, default_limits.cpu),
    );
    let (memory_request, memory_limit) = reconciled(
        (own_requests.memory, own_limits.memory),
        (default_requests.memory, default_limits.memory),
    );
    let requests = Amounts {
        cpu: cpu_request,
        memory: memory_request,
    };
    let limits = Amounts {
        cpu: cpu_limit,
        memory: memory_limit,
    };
    (requests, limits)
}

type RequestAndLimit = (Option<Quantity>, Option<Quantity>);

fn reconciled(own: RequestAndLimit, default: RequestAndLimit) -> RequestAndLimit {
    let above = |request: &Option<Quantity>, limit: &Option<Quantity>| {
        let amount = |value: &Option<Quantity>| value.as_ref().and_then(quantity::milli);
        matches!((amount(request), amount(limit)), (Some(request), Some(limit)) if request > limit)
    };
    match own {
        (Some(request), Some(limit)) => (Some(request), Some(limit)),
        (Some(request), None) if above(&Some(request.clone()), &default.1) => {
            (Some(request.clone()), Some(request))
        }
        (Some(request), None) => (Some(request), default.1),
        (None, Some(limit)) if above(&default.0, &Some(limit.clone())) => {
            (Some(limit.clone()), Some(limit))
        }
        (None, Some(limit)) => (default.0, Some(limit)),
        (None, None) => default,
    }
}

/// Seconds of a duration such as `1h30m`.
fn seconds(field: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<u64> {
    let text = text?;
    let parsed = parse_duration(text);
    if parsed.is_none() {
        problems.push(format!(
            "{field} `{text}` is no duration such as 90s, 30m or 1h30m"
        ));
    }
    parsed
}

fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((number, after)) = rest.split_once(unit) {
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
