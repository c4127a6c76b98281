//! What a plan is made from beside the Dockerfile: the request's part, and the arguments before the first `FROM`.

use std::collections::{BTreeMap, BTreeSet};

use stagecraft_dockerfile::{Code, Diagnostic, Dockerfile, Kind, Span, WordError, expand, nearest};
use stagecraft_image::Platform;

use crate::contexts::NamedContexts;
use crate::environment::Environment;

/// Name of the build argument, and of the variable inside `RUN`, that times are clamped to.
pub(crate) const EPOCH_NAME: &str = "SOURCE_DATE_EPOCH";

/// Build arguments that reach every `RUN` without `ARG`, as environment, in both spellings.
const PROXY_NAMES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

/// What the request says.
#[derive(Clone, Debug)]
pub struct PlanInputs {
    /// The Dockerfile's name, for messages.
    pub file: String,
    /// Build arguments by name.
    pub build_args: BTreeMap<String, String>,
    /// What stands for a stage or image, by its name (`NAME::OS/ARCHITECTURE` where it does so for one platform
    /// only): `docker-image://NAME`, `oci-layout://STORE@DIGEST`, `local:NAME`, or an address.
    pub contexts: BTreeMap<String, String>,
    /// The stage to build, by name in any case or by index; the last one when absent.
    pub target: Option<String>,
    /// Further stages whose results are wanted, likewise.
    pub further_targets: Vec<String>,
    /// Stages that must succeed though nothing needs them, likewise.
    pub tests: Vec<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// The platform that `RUN` executes on.
    pub build_platform: Platform,
    /// Labels of the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970 that times are clamped to. `RUN` steps see it as `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<i64>,
}

/// Arguments as they stand at the first `FROM`.
#[derive(Debug)]
pub(crate) struct GlobalArguments {
    /// Automatic platform arguments, then those declared before the first `FROM`.
    pub(crate) values: Environment,
    /// Names declared before the first `FROM`, with a value or without.
    pub(crate) declared: BTreeSet<String>,
    /// Build arguments with the request's epoch among them.
    pub(crate) build_args: BTreeMap<String, String>,
    /// Seconds since 1970 that times are clamped to.
    pub(crate) epoch: Option<i64>,
    /// Proxy variables for every `RUN`, both spellings.
    pub(crate) proxies: Vec<(String, String)>,
    /// What stands for stages and images.
    pub(crate) contexts: NamedContexts,
    /// The platform to build for.
    pub(crate) platform: Platform,
}

impl GlobalArguments {
    /// Evaluates the arguments before the first `FROM`.
    pub(crate) fn new(
        dockerfile: &Dockerfile,
        inputs: &PlanInputs,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut build_args = inputs.build_args.clone();
        if let Some(epoch) = inputs.source_date_epoch {
            build_args.insert(EPOCH_NAME.to_owned(), epoch.to_string());
        }
        let mut arguments = Self {
            values: automatic(dockerfile, inputs, &build_args),
            declared: BTreeSet::new(),
            proxies: proxies(&build_args),
            contexts: NamedContexts::new(&inputs.contexts),
            platform: inputs.platform.clone(),
            build_args,
            epoch: inputs.source_date_epoch,
        };
        for instruction in &dockerfile.arguments {
            let Kind::Arg(declarations) = &instruction.kind else {
                continue;
            };
            for declaration in declarations {
                let name = declaration.name.value.as_str();
                let given = arguments.build_args.get(name).cloned();
                let value = match (&declaration.default, given) {
                    (_, Some(given)) => Some(given),
                    (None, None) => None,
                    (Some(default), None) => {
                        let lookup = |name: &str| arguments.values.get(name).map(str::to_owned);
                        match expand(&default.value, dockerfile.escape, &lookup) {
                            Ok(expansion) => Some(expansion.text),
                            Err(error) => {
                                let wrong = word_error(&error, default.span);
                                diagnostics.push(wrong.within(&instruction.text));
                                None
                            }
                        }
                    }
                };
                arguments.declared.insert(name.to_owned());
                if let Some(value) = value {
                    arguments.values.set(name, value);
                }
            }
        }
        arguments.read_epoch(dockerfile, diagnostics);
        arguments
    }

    /// An epoch that only an argument says.
    fn read_epoch(&mut self, dockerfile: &Dockerfile, diagnostics: &mut Vec<Diagnostic>) {
        if self.epoch.is_some() {
            return;
        }
        let given = self.build_args.get(EPOCH_NAME).map(String::as_str);
        let text = given.or_else(|| self.values.get(EPOCH_NAME));
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        match text.parse() {
            Ok(epoch) => self.epoch = Some(epoch),
            Err(_) => diagnostics.push(Diagnostic::error(
                Code::BadValue,
                first_place(dockerfile),
                format!("{EPOCH_NAME} is {text:?}; it must be a number of seconds since 1970"),
            )),
        }
    }

    /// Warns of build arguments that nothing declares.
    pub(crate) fn unused(&self, dockerfile: &Dockerfile, inputs: &PlanInputs) -> Vec<Diagnostic> {
        let declared = declared(dockerfile);
        let mut warnings = Vec::new();
        for name in inputs.build_args.keys() {
            let is_known = declared.contains(name.as_str())
                || self.values.get(name).is_some()
                || name == EPOCH_NAME
                || name.starts_with("BUILDKIT_")
                || PROXY_NAMES
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known));
            if is_known {
                continue;
            }
            let message = format!("the build argument {name} is given, but no ARG declares it");
            let warning =
                Diagnostic::warning(Code::UnusedArgument, first_place(dockerfile), message);
            warnings.push(match nearest(name, declared.iter().copied()) {
                Some(meant) => warning.help(format!("did you mean {meant}?")),
                None => warning,
            });
        }
        warnings
    }
}

/// A word that cannot be expanded, as a diagnostic.
pub(crate) fn word_error(error: &WordError, span: Span) -> Diagnostic {
    let code = match error {
        WordError::Required { .. } => Code::UndefinedVariable,
        _ => Code::BadWord,
    };
    Diagnostic::error(code, span, error.to_string())
}

/// The place of findings that are about the request and not about a line: the file's first `FROM`.
pub(crate) fn first_place(dockerfile: &Dockerfile) -> Span {
    dockerfile
        .stages
        .first()
        .map(|stage| stage.from.span)
        .unwrap_or_default()
}

/// Every name that an `ARG` of the file declares.
fn declared(dockerfile: &Dockerfile) -> BTreeSet<&str> {
    let stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    dockerfile
        .arguments
        .iter()
        .chain(stages)
        .flat_map(|instruction| match &instruction.kind {
            Kind::Arg(declarations) => declarations.as_slice(),
            _ => &[],
        })
        .map(|declaration| declaration.name.value.as_str())
        .collect()
}

/// The arguments that are there without being declared; a build argument of the same name wins.
fn automatic(
    dockerfile: &Dockerfile,
    inputs: &PlanInputs,
    build_args: &BTreeMap<String, String>,
) -> Environment {
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.from.name.as_ref());
    let target = inputs.target.as_deref().filter(|target| !target.is_empty());
    // A stage is called in small letters, a target as it was asked for.
    let stage = match target {
        Some(target) => target.to_owned(),
        None => last.map_or_else(|| "default".to_owned(), |name| name.value.to_lowercase()),
    };
    let mut values = Environment::default();
    for (prefix, platform) in [
        ("BUILD", &inputs.build_platform),
        ("TARGET", &inputs.platform),
    ] {
        for (suffix, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("OSVERSION", platform.os_version.clone().unwrap_or_default()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ] {
            values.set(&format!("{prefix}{suffix}"), value);
        }
    }
    values.set("TARGETSTAGE", stage.as_str());
    let names: Vec<String> = values.names().map(str::to_owned).collect();
    for name in names {
        if let Some(given) = build_args.get(&name) {
            values.set(&name, given.as_str());
        }
    }
    values
}

/// Proxy variables from build arguments. Of several spellings the last in byte order counts, which is lower case.
fn proxies(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut proxies = Vec::new();
    for known in PROXY_NAMES {
        let given = build_args
            .iter()
            .rfind(|(name, _)| name.eq_ignore_ascii_case(known));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            proxies.push((known.to_uppercase(), value.clone()));
            proxies.push((known.to_owned(), value.clone()));
        }
    }
    proxies
}
