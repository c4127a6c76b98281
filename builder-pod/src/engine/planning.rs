//! From a request to a plan: the context is opened, the Dockerfile parsed, every image resolved to a digest.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use stagecraft_dockerfile::lint::{CHECK_ARGUMENT, Linter};
use stagecraft_dockerfile::{Diagnostic, Dockerfile, Excerpt, render_with};
use stagecraft_image::{Digest, Platform, Reference};
use stagecraft_plan::lint::{LintInputs, Scope, lint};
use stagecraft_plan::{
    BuildPlan, ContextId, ImageId, ImageOrigin, ImageRequest, PlanInputs, Planner, Progress as Need,
};
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::progress::plan_title;
use stagecraft_protocol::request::{BuildRequest, Pins, RegistrySettings};
use stagecraft_registry::{
    ClientSettings, Credentials, HostSettings, HttpSettings, Registry, RegistryClient,
    RegistryError, ResolvedImage,
};
use tracing::Instrument;

use crate::context::{Context, ContextError, NamedContextError, NamedContexts};
use crate::diagnostics;
use crate::failure::{chain, is_disk_full, reading};
use crate::progress::Progress;
use crate::store::blocking;
use crate::trace;

/// A plan with everything it stands on.
pub(super) struct Planned {
    pub(super) plan: Arc<BuildPlan>,
    pub(super) context: Arc<Context>,
    pub(super) images: HashMap<ImageId, ResolvedImage>,
    pub(super) named: HashMap<ContextId, Arc<Context>>,
    pub(super) registry: Arc<dyn Registry>,
}

impl Planned {
    /// What a second attempt must find again.
    pub(super) fn pins(&self, request: &BuildRequest) -> Pins {
        let source = self.context.revision.clone();
        let source = source.or_else(|| request.pins.as_ref().and_then(|pins| pins.source.clone()));
        Pins {
            images: super::image_pins(self),
            source,
            plan: Some(self.plan.digest.to_string()),
        }
    }
}

/// Opens, parses, resolves and plans, once for each platform.
pub(super) async fn plan(
    request: &BuildRequest,
    scratch: &Path,
    progress: &Progress,
    refuse_loopback: bool,
) -> Result<Vec<Planned>, Box<Failure>> {
    let registry: Arc<dyn Registry> = Arc::new(client(
        &request.registries,
        &request.credential_files,
        refuse_loopback,
    )?);
    let platforms = platforms(request)?;
    let vertex = progress.internal("load build context");
    let http = HttpSettings {
        refuse_loopback,
        ..HttpSettings::default()
    };
    let span = trace::work("plan", "open the context");
    let opened = Context::open(request, scratch, &http).instrument(span);
    let context = match opened.await {
        Ok(context) => Arc::new(context),
        Err(error) => {
            vertex.error(chain(&error));
            return Err(context_failure(&error));
        }
    };
    vertex.done();
    let named = NamedContexts::of(&request.contexts).map_err(|error| named_failure(&error))?;
    let opened = Opened {
        request,
        registry,
        context,
        named,
        progress,
    };
    let mut planned = Vec::new();
    for platform in platforms {
        planned.push(opened.plan(platform, planned.is_empty()).await?);
    }
    Ok(planned)
}

/// What is the same for every platform.
struct Opened<'a> {
    request: &'a BuildRequest,
    registry: Arc<dyn Registry>,
    context: Arc<Context>,
    named: NamedContexts,
    progress: &'a Progress,
}

impl Opened<'_> {
    /// Plans for a platform. What is doubtful is told for the first one only: it is the same for all.
    async fn plan(&self, platform: Platform, is_first: bool) -> Result<Planned, Box<Failure>> {
        let Self {
            request,
            context,
            named,
            progress,
            ..
        } = self;
        let vertex = progress.internal(format!(
            "load build definition from {}",
            context.dockerfile_name
        ));
        let (dockerfile, parsed) = stagecraft_dockerfile::parse(&context.dockerfile);
        let inputs = inputs(request, context, named, platform);
        let mut planner = Planner::new(&dockerfile, inputs.clone());
        let report = Diagnostics { context, progress };
        report
            .parsed(&dockerfile, parsed.clone(), &inputs, &mut planner)
            .inspect_err(|failure| vertex.error(failure.message.clone()))?;
        vertex.done();
        let (plan, images) = self.resolved(&mut planner, &report).await?;
        if is_first {
            let warnings = plan.warnings.iter();
            report.show(warnings.filter(|warning| !warning.code.is_ruled()));
            report.lint(&dockerfile, &parsed, &inputs, &plan)?;
        }
        progress.internal(plan_title(plan.stages.len())).done();
        let named = named.open(&plan).map_err(|error| named_failure(&error))?;
        Ok(Planned {
            plan: Arc::new(plan),
            context: Arc::clone(context),
            images,
            named,
            registry: Arc::clone(&self.registry),
        })
    }

    /// The plan, with the images that it asked for.
    async fn resolved(
        &self,
        planner: &mut Planner<'_>,
        report: &Diagnostics<'_>,
    ) -> Result<(BuildPlan, HashMap<ImageId, ResolvedImage>), Box<Failure>> {
        let sources = ImageSources {
            registry: &*self.registry,
            named: &self.named,
        };
        let mut images = HashMap::new();
        loop {
            match planner.step() {
                Ok(Need::Ready(plan)) => return Ok((*plan, images)),
                Ok(Need::Images(wanted)) => {
                    let resolved = resolve_all(sources, self.request, &wanted, self.progress);
                    for (id, image) in resolved.await? {
                        planner.provide(id, image.digest.clone(), image.config.clone());
                        images.insert(id, image);
                    }
                }
                Err(found) => {
                    report.fail(&diagnostics::errors(&[], &found))?;
                    let defect = "the planner failed without an error".to_owned();
                    return Err(super::internal(defect));
                }
            }
        }
    }
}

/// A plan to look at, and everything that is wrong with it.
#[derive(Debug)]
pub struct Explained {
    /// The plan; with a failure, what of it was understood, if anything was.
    pub plan: Option<BuildPlan>,
    /// What is wrong or doubtful, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// The Dockerfile's name.
    pub file: String,
    /// The Dockerfile.
    pub text: String,
    /// Why a build would end without an image.
    pub failure: Option<Box<Failure>>,
}

/// Opens, parses, resolves and plans as far as that is possible.
pub(super) async fn explain(
    request: &BuildRequest,
    scratch: &Path,
    progress: &Progress,
) -> Result<Explained, Box<Failure>> {
    let registry = client(&request.registries, &request.credential_files, false)?;
    let platform = platforms(request)?.remove(0);
    let context = Context::open(request, scratch, &HttpSettings::default())
        .await
        .map_err(|error| context_failure(&error))?;
    let (dockerfile, mut found) = stagecraft_dockerfile::parse(&context.dockerfile);
    let is_broken = found.iter().any(Diagnostic::is_error);
    let named = NamedContexts::of(&request.contexts).map_err(|error| named_failure(&error))?;
    let inputs = inputs(request, &context, &named, platform);
    let mut planner = Planner::new(&dockerfile, inputs).whole();
    let sources = ImageSources {
        registry: &registry,
        named: &named,
    };
    let mut failure = None;
    let plan = loop {
        match planner.step() {
            Ok(Need::Ready(plan)) => {
                found.extend(plan.warnings.iter().chain(&plan.refused).cloned());
                break Some(*plan);
            }
            // Registries are asked only for a file that may be built.
            Ok(Need::Images(_)) if is_broken => break planner.understood(),
            Ok(Need::Images(wanted)) => {
                match resolve_all(sources, request, &wanted, progress).await {
                    Ok(resolved) => {
                        for (id, image) in resolved {
                            planner.provide(id, image.digest.clone(), image.config.clone());
                        }
                    }
                    Err(error) => {
                        failure = Some(error);
                        break planner.understood();
                    }
                }
            }
            Err(wrong) => {
                found.extend(wrong);
                break planner.understood();
            }
        }
    };
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    let errors = diagnostics::errors(&found, &[]);
    let wrong = diagnostics::failure(&errors, &context.dockerfile_name);
    Ok(Explained {
        plan,
        failure: failure.or(wrong),
        diagnostics: found,
        file: context.dockerfile_name.clone(),
        text: context.dockerfile.clone(),
    })
}

fn inputs(
    request: &BuildRequest,
    context: &Context,
    named: &NamedContexts,
    platform: Platform,
) -> PlanInputs {
    PlanInputs {
        file: context.dockerfile_name.clone(),
        build_args: request.build_args.clone(),
        contexts: named.planned.clone(),
        target: request.target.clone(),
        further_targets: request
            .further_outputs
            .iter()
            .map(|output| output.target.clone())
            .collect(),
        tests: request.tests.clone(),
        platform,
        build_platform: Platform::host(),
        labels: request.labels.clone(),
        source_date_epoch: super::epoch(request, context),
    }
}

/// Where images are looked for.
#[derive(Clone, Copy)]
struct ImageSources<'a> {
    registry: &'a dyn Registry,
    named: &'a NamedContexts,
}

impl ImageSources<'_> {
    async fn resolve(
        self,
        wanted: &ImageRequest,
        request: &BuildRequest,
    ) -> Result<ResolvedImage, RegistryError> {
        let layout = match &wanted.origin {
            ImageOrigin::Registry => None,
            ImageOrigin::Layout(store) => self.named.find_layout(store),
        };
        let platform = wanted.platform.clone();
        let Some(layout) = layout else {
            let reference = pinned(&wanted.reference, request);
            return self.registry.resolve(&reference, &platform).await;
        };
        let (layout, reference) = (Arc::clone(layout), wanted.reference.clone());
        blocking(move || layout.resolve(&reference, &platform)).await
    }
}

async fn resolve_all(
    sources: ImageSources<'_>,
    request: &BuildRequest,
    wanted: &[ImageRequest],
    progress: &Progress,
) -> Result<Vec<(ImageId, ResolvedImage)>, Box<Failure>> {
    let resolve = |wanted: &ImageRequest| {
        let wanted = wanted.clone();
        async move {
            let vertex =
                progress.internal(format!("load metadata for {}", wanted.reference.familiar()));
            let span = trace::work("plan", format!("resolve {}", wanted.reference.familiar()));
            match sources.resolve(&wanted, request).instrument(span).await {
                Ok(image) => {
                    vertex.done();
                    Ok((wanted.id, image))
                }
                Err(error) => {
                    let reason = match wanted.origin {
                        ImageOrigin::Registry => reading(&error),
                        ImageOrigin::Layout(_) => FailureReason::Context,
                    };
                    let mut failure = Failure::new(reason, chain(&error));
                    failure.transient = error.is_transient();
                    if let Some(hint) = &wanted.hint {
                        failure.message = format!("{}; {hint}", failure.message);
                    }
                    failure.file = Some(wanted.place.file.to_string());
                    failure.line = Some(wanted.place.line);
                    failure.column = Some(wanted.place.column);
                    failure.stage = Some(wanted.stage.clone());
                    failure.instruction = Some(wanted.instruction.clone());
                    vertex.error(failure.message.clone());
                    Err(Box::new(failure))
                }
            }
        }
    };
    try_join_all(wanted.iter().map(resolve)).await
}

/// The reference with the digest that an earlier attempt found.
fn pinned(reference: &Reference, request: &BuildRequest) -> Reference {
    let pin = request
        .pins
        .as_ref()
        .and_then(|pins| pins.images.get(&reference.familiar()));
    match pin.and_then(|digest| digest.parse::<Digest>().ok()) {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone(),
    }
}

/// The platforms to build for, each once, the request's first; that of the machine if it names none.
fn platforms(request: &BuildRequest) -> Result<Vec<Platform>, Box<Failure>> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in request.platform.iter().chain(&request.further_platforms) {
        let platform = text
            .parse::<Platform>()
            .map_err(|error| Box::new(Failure::new(FailureReason::Configuration, chain(&error))))?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    Ok(platforms)
}

/// A client of the registries that a request names settings and credentials for.
///
/// # Errors
/// When a file of them cannot be read or is malformed.
pub(crate) fn client(
    registries: &[RegistrySettings],
    credential_files: &[String],
    refuse_loopback: bool,
) -> Result<RegistryClient, Box<Failure>> {
    let configuration =
        |message: String| Box::new(Failure::new(FailureReason::Configuration, message));
    let mut credentials = Credentials::default();
    for file in credential_files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            // A secret that a service account names need not exist.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(configuration(format!(
                    "cannot read credentials {file}: {error}"
                )));
            }
        };
        let more = Credentials::from_docker_config(&bytes)
            .map_err(|error| configuration(format!("credentials {file}: {}", chain(&error))))?;
        credentials.extend(more);
    }
    let mut hosts = Vec::new();
    for settings in registries {
        hosts.push(host(settings).map_err(configuration)?);
    }
    RegistryClient::new(ClientSettings {
        hosts,
        credentials,
        refuse_loopback,
        ..ClientSettings::default()
    })
    .map_err(|error| configuration(chain(&error)))
}

fn host(settings: &RegistrySettings) -> Result<HostSettings, String> {
    let mut mirrors = Vec::new();
    for mirror in &settings.mirrors {
        let parsed = mirror
            .parse()
            .map_err(|error| format!("mirror {mirror}: {error}"))?;
        mirrors.push(parsed);
    }
    let ca = settings.ca_file.as_ref().map(|file| {
        std::fs::read(file)
            .map_err(|error| format!("cannot read the CA certificates {file}: {error}"))
    });
    Ok(HostSettings {
        host: settings.host.clone(),
        mirrors,
        plain_http: settings.plain_http,
        ca_certificates_pem: ca.transpose()?,
    })
}

fn context_failure(error: &ContextError) -> Box<Failure> {
    let reason = match error {
        _ if is_disk_full(error) => FailureReason::OutOfDisk,
        ContextError::NoDockerfile(_) => FailureReason::Dockerfile,
        _ => FailureReason::Context,
    };
    let mut failure = Failure::new(reason, chain(error));
    failure.transient = match error {
        ContextError::Fetch { source, .. } => source.is_transient(),
        ContextError::Repository { source, .. } => source.is_transient(),
        _ => false,
    };
    Box::new(failure)
}

fn named_failure(error: &NamedContextError) -> Box<Failure> {
    let reason = match is_disk_full(error) {
        true => FailureReason::OutOfDisk,
        false => FailureReason::Context,
    };
    Box::new(Failure::new(reason, chain(error)))
}

/// Shows diagnostics as progress lines and makes failures of errors.
struct Diagnostics<'a> {
    context: &'a Context,
    progress: &'a Progress,
}

impl Diagnostics<'_> {
    /// Fails if the file could not be parsed, with everything else that is wrong with it.
    fn parsed(
        &self,
        dockerfile: &Dockerfile,
        mut parsed: Vec<Diagnostic>,
        inputs: &PlanInputs,
        planner: &mut Planner<'_>,
    ) -> Result<(), Box<Failure>> {
        let warnings = parsed.iter().filter(|one| !one.is_error());
        self.show(warnings.filter(|warning| !warning.code.is_ruled()));
        let argument = inputs.build_args.get(CHECK_ARGUMENT).map(String::as_str);
        if let Err(wrong) = Linter::new(dockerfile, argument, false) {
            parsed.push(*wrong);
        }
        if !parsed.iter().any(Diagnostic::is_error) {
            return Ok(());
        }
        let planned = planner.step().err().unwrap_or_default();
        self.fail(&diagnostics::errors(&parsed, &planned))
    }

    /// Shows errors, and makes a failure of them if there are any.
    fn fail(&self, errors: &[Diagnostic]) -> Result<(), Box<Failure>> {
        self.show(errors);
        match diagnostics::failure(errors, &self.context.dockerfile_name) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Shows what the lint rules find in the stages that are built; fails only where the file asks for it.
    fn lint(
        &self,
        dockerfile: &Dockerfile,
        parsed: &[Diagnostic],
        inputs: &PlanInputs,
        plan: &BuildPlan,
    ) -> Result<(), Box<Failure>> {
        let config = |reference: &Reference, platform: &Platform| {
            let mut images = plan.images.iter();
            let image = images
                .find(|image| image.reference == *reference && image.platform == *platform)?;
            Some(image.config.clone())
        };
        let checked = lint(&LintInputs {
            text: &self.context.dockerfile,
            dockerfile,
            parsed,
            inputs,
            scope: Scope::Needed,
            strict: false,
            ignore: self.context.ignore.as_ref(),
            images: &config,
        });
        let checked = match checked {
            Ok(checked) => checked,
            Err(wrong) => return self.fail(&[*wrong]),
        };
        self.show(&checked.findings);
        let failing = checked.failing();
        let Some(first) = failing.first() else {
            return Ok(());
        };
        let names: Vec<&str> = failing.iter().map(|rule| rule.name()).collect();
        let message = format!(
            "the file's check has error=true, and these rules found something: {}",
            names.join(", ")
        );
        let mut failure = Failure::new(FailureReason::Dockerfile, message);
        failure.file = Some(self.context.dockerfile_name.clone());
        let place = checked
            .findings
            .iter()
            .find(|finding| finding.rule == *first);
        failure.line = place.map(|finding| finding.span.line);
        failure.column = place.map(|finding| finding.span.column);
        Err(Box::new(failure))
    }

    fn show<'d, T>(&self, all: impl IntoIterator<Item = &'d T>)
    where
        T: 'd,
        &'d T: Into<Excerpt<'d>>,
    {
        let context = self.context;
        let colours = self.progress.colours();
        for one in all {
            let name = &context.dockerfile_name;
            let text = render_with(one, &context.dockerfile, name, colours);
            for line in text.lines() {
                self.progress.line(line);
            }
        }
    }
}
