//! One stage from its base to its last instruction: variables expanded, paths joined, configuration built up.
//!
//! Semantics and the words of history entries are those of BuildKit's frontend (`dockerfile2llb`).
//! Invariant: an instruction sees one environment, that before it. (`ARG` with several names sees its own.)

use std::collections::BTreeSet;
use std::sync::Arc;

use stagecraft_dockerfile::{
    ArgDeclaration, Code, Command, Diagnostic, Dockerfile, Instruction, Kind, Span, Spanned,
    WordError, expand, expand_words, nearest, without_passwords,
};
use stagecraft_image::{ImageConfig, Platform, Reference};

use crate::contexts::{ContextId, ContextSource, LayoutImage, PlannedContext};
use crate::environment::{Environment, name_and_value};
use crate::graph::{StageGraph, malformed};
use crate::image::{ImageId, ImageOrigin, ImagePurpose, ImageRequest};
use crate::images::Images;
use crate::inputs::{GlobalArguments, PlanInputs, word_error};
use crate::operation::{CopySource, Operation, WorkDirectory};
use crate::path;
use crate::plan::{Dependency, Edge, EdgeReason, HistoryTemplate, Place, StageIndex, Step};
use crate::planner::Certainty;
use crate::source_names::SourceName;

/// Where programs are looked for if an image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments that are no variables: BuildKit reads them itself.
pub(crate) const NO_VARIABLES: [&str; 2] =
    ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What a stage hands on to one that begins with it.
#[derive(Clone, Debug)]
pub(crate) struct StageState {
    pub(crate) config: ImageConfig,
    pub(crate) environment: Environment,
    /// Every `ARG` so far with its value, in order, repetitions included.
    pub(crate) arguments: Vec<(String, Option<String>)>,
    pub(crate) platform: Platform,
}

/// What evaluating stages reads and adds to.
pub(crate) struct Session<'a> {
    /// The Dockerfile's name.
    pub(crate) file: Arc<str>,
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) inputs: &'a PlanInputs,
    pub(crate) arguments: &'a GlobalArguments,
    pub(crate) graph: &'a StageGraph<'a>,
    pub(crate) images: &'a mut Images,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Stages that a `--from` with a variable names.
    pub(crate) found: BTreeSet<usize>,
    pub(crate) certainty: Certainty,
    /// The named contexts whose files are used.
    pub(crate) contexts: Vec<PlannedContext>,
}

/// A stage while its instructions are read.
pub(crate) struct StageReader<'s, 'a> {
    pub(crate) session: &'s mut Session<'a>,
    pub(crate) index: usize,
    pub(crate) state: StageState,
    pub(crate) steps: Vec<Step>,
    pub(crate) needs: Vec<Edge>,
    /// Whether a `CMD` stood in this stage: then `ENTRYPOINT` does not clear it.
    pub(crate) has_cmd: bool,
    pub(crate) number: u32,
    /// The instruction that is read.
    pub(crate) instruction: &'a Instruction,
}

/// What an instruction does and its history entry.
pub(crate) type Outcome = (Operation, Option<HistoryTemplate>);

impl StageState {
    /// The state before a stage's first instruction, from what its base hands on.
    pub(crate) fn begin(mut self) -> Self {
        self.config.created = None;
        let config = &mut self.config.config;
        // Triggers fire once, in the first stage that begins with what has them.
        config.on_build.clear();
        let has_path = config
            .env
            .iter()
            .any(|line| name_and_value(line).0 == "PATH");
        if !has_path {
            config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        // An argument of the base stage that hid a variable of the image stops doing so here.
        for line in &config.env {
            let (name, value) = name_and_value(line);
            self.environment.set(name, value);
        }
        if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
            // BuildKit joins it with itself.
            let relative = config.working_dir.clone();
            config.working_dir = path::working_directory(&relative, &relative);
        }
        self
    }

    /// The state of a stage that a named context stands for: it is what it is, without the triggers.
    pub(crate) fn taken_over(mut self) -> Self {
        self.config.created = None;
        self.config.config.on_build.clear();
        self
    }

    pub(crate) fn working_directory(&self) -> String {
        path::clean(&self.config.config.working_dir)
    }
}

impl<'a> Session<'a> {
    pub(crate) fn place(&self, span: Span) -> Place {
        Place::new(&self.file, span)
    }

    /// The id of an image that a text names; the text's errors are reported.
    pub(crate) fn image(
        &mut self,
        text: &str,
        platform: &Platform,
        purpose: ImagePurpose,
        reader: usize,
        (span, instruction): (Span, &str),
    ) -> Option<ImageId> {
        let graph = self.graph;
        let hint = || match purpose {
            ImagePurpose::Base => graph.base_hint(text, reader),
            ImagePurpose::CopySource => graph.source_hint(text, reader),
        };
        let reference: Reference = match text.parse() {
            Ok(reference) => reference,
            Err(error) => {
                let mut wrong = malformed(text, &error, span).within(instruction);
                wrong.help = hint();
                wrong.stage = Some(graph.label(reader));
                self.diagnostics.push(wrong);
                return None;
            }
        };
        let image = (&reference, &ImageOrigin::Registry);
        Some(self.wanted(image, platform, purpose, reader, (span, instruction), hint))
    }

    /// The id of an image of an OCI layout.
    pub(crate) fn layout(
        &mut self,
        image: &LayoutImage,
        platform: &Platform,
        purpose: ImagePurpose,
        reader: usize,
        at: (Span, &str),
    ) -> ImageId {
        let origin = ImageOrigin::Layout(image.store.clone());
        let image = (&image.reference, &origin);
        self.wanted(image, platform, purpose, reader, at, || None)
    }

    /// The id of an image, which is asked for if it was not before.
    fn wanted(
        &mut self,
        (reference, origin): (&Reference, &ImageOrigin),
        platform: &Platform,
        purpose: ImagePurpose,
        reader: usize,
        (span, instruction): (Span, &str),
        hint: impl FnOnce() -> Option<String>,
    ) -> ImageId {
        let (file, graph) = (&self.file, self.graph);
        self.images
            .want((reference, origin), platform, purpose, |id| ImageRequest {
                id,
                reference: reference.clone(),
                origin: origin.clone(),
                platform: platform.clone(),
                purpose,
                place: Place::new(file, span),
                stage: graph.label(reader),
                instruction: instruction.to_owned(),
                hint: hint(),
            })
    }

    /// The id of a named context whose files are used.
    pub(crate) fn context(
        &mut self,
        files: &PlannedContext,
        reader: usize,
        (span, instruction): (Span, &str),
    ) -> ContextId {
        if matches!(files.source, ContextSource::Remote(_)) {
            let name = &files.name;
            let message =
                format!("the named context {name}, which is fetched, is not supported yet");
            let mut refused =
                Diagnostic::error(Code::NotSupported, span, message).within(instruction);
            refused.stage = Some(self.graph.label(reader));
            self.diagnostics.push(refused);
        }
        let known = self.contexts.iter().position(|known| known == files);
        let id = ContextId(known.unwrap_or(self.contexts.len()));
        if known.is_none() {
            self.contexts.push(files.clone());
        }
        id
    }

    /// Asks for the images that a stage copies from, before its base is known.
    pub(crate) fn want_literal_sources(&mut self, index: usize) {
        for source in self.graph.literal_sources(index) {
            let place = (source.span, source.instruction.text.as_str());
            let platform = self.inputs.platform.clone();
            let purpose = ImagePurpose::CopySource;
            match self.graph.source(source.value, source.span, index) {
                Ok(SourceName::Image(image)) => {
                    self.image(&image, &platform, purpose, index, place);
                }
                Ok(SourceName::Layout(image)) => {
                    self.layout(&image, &platform, purpose, index, place);
                }
                _ => {}
            }
        }
    }
}

impl<'s, 'a> StageReader<'s, 'a> {
    /// Reads a stage's instructions. `from_is_numbered`: its `FROM` names an image and counts as a step.
    pub(crate) fn read(
        session: &'s mut Session<'a>,
        index: usize,
        state: StageState,
        from_is_numbered: bool,
    ) -> (StageState, Vec<Step>, Vec<Edge>, u32) {
        let graph = session.graph;
        let instructions = || graph.instructions(index);
        let numbered = instructions().filter(|one| is_numbered(&one.kind)).count();
        let first = u32::from(from_is_numbered);
        let total = first + u32::try_from(numbered).unwrap_or(u32::MAX);
        let Some(instruction) = instructions().next() else {
            return (state, Vec::new(), Vec::new(), total);
        };
        let mut reader = Self {
            session,
            index,
            state,
            steps: Vec::new(),
            needs: Vec::new(),
            has_cmd: false,
            number: first,
            instruction,
        };
        for instruction in instructions() {
            reader.instruction = instruction;
            reader.number += u32::from(is_numbered(&instruction.kind));
            let Some((operation, history)) = reader.instruction(&instruction.kind) else {
                continue;
            };
            let step = Step {
                number: reader.number,
                total,
                place: reader.session.place(instruction.span),
                text: shown(instruction),
                history,
                operation,
            };
            reader.steps.push(step);
        }
        (reader.state, reader.steps, reader.needs, total)
    }

    /// What an instruction does; nothing where it is wrong, which was reported then.
    fn instruction(&mut self, kind: &'a Kind) -> Option<Outcome> {
        match kind {
            Kind::Add(add) => self.copy(add, true),
            Kind::Arg(declarations) => Some(self.arg(declarations)),
            Kind::Copy(copy) => self.copy(copy, false),
            Kind::Run(run) => self.run(run),
            Kind::WorkDirectory(path) => self.work_directory(path),
            kind => self.metadata(kind),
        }
    }

    // What instructions share.

    /// Reports something about the instruction that is read.
    pub(crate) fn report(&mut self, mut diagnostic: Diagnostic) {
        diagnostic.stage = Some(self.session.graph.label(self.index));
        let diagnostic = diagnostic.within(&self.instruction.text);
        self.session.diagnostics.push(diagnostic);
    }

    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::error(code, span, message));
    }

    /// Expands a word; nothing where it cannot be, which is reported.
    pub(crate) fn expand(&mut self, word: &Spanned<String>) -> Option<String> {
        let lookup = |name: &str| self.state.environment.get(name).map(str::to_owned);
        let expanded = expand(&word.value, self.session.dockerfile.escape, &lookup);
        let expansion = self.expanded(expanded, word.span)?;
        self.warn_of_unset(&expansion.unset, word.span);
        Some(expansion.text)
    }

    /// Expands a word that may become several.
    pub(crate) fn expand_words(&mut self, word: &Spanned<String>) -> Option<Vec<String>> {
        let lookup = |name: &str| self.state.environment.get(name).map(str::to_owned);
        let expanded = expand_words(&word.value, self.session.dockerfile.escape, &lookup);
        let (words, unset) = self.expanded(expanded, word.span)?;
        self.warn_of_unset(&unset, word.span);
        Some(words)
    }

    /// Expands every word, reporting all that is wrong.
    pub(crate) fn expand_all(&mut self, words: &[Spanned<String>]) -> Option<Vec<String>> {
        let expanded: Vec<Option<String>> = words.iter().map(|word| self.expand(word)).collect();
        expanded.into_iter().collect()
    }

    pub(crate) fn expanded<T>(&mut self, result: Result<T, WordError>, span: Span) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(word_error(&error, span));
                None
            }
        }
    }

    pub(crate) fn warn_of_unset(&mut self, unset: &[String], span: Span) {
        for name in unset {
            let is_declared = self.state.arguments.iter().any(|(known, _)| known == name);
            if is_declared || NO_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let message = format!("the variable {name} is not set");
            let warning = Diagnostic::warning(Code::UndefinedVariable, span, message);
            let warning = if self.session.arguments.values.get(name).is_some() {
                warning.help(format!(
                    "an ARG before the first FROM is seen in FROM only: declare ARG {name} in this stage too"
                ))
            } else if self.session.arguments.build_args.contains_key(name) {
                warning.help(format!(
                    "declare the build argument with ARG {name} in this stage"
                ))
            } else {
                match nearest(name, self.state.environment.names()) {
                    Some(meant) => warning.help(format!("did you mean {meant}?")),
                    None => warning,
                }
            };
            self.report(warning);
        }
    }

    /// The words of a command: those of exec form, or the shell with the text.
    pub(crate) fn command(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let configured = self.state.config.config.shell.clone();
                let mut words = configured
                    .filter(|shell| !shell.is_empty())
                    .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                words.push(text.clone());
                words
            }
        }
    }

    /// What a text after `--from` or `from=` names, which becomes a need of the stage; nothing where it is wrong,
    /// which was reported. One that has no variable was checked, and reported, with the others of its kind.
    pub(crate) fn source(
        &mut self,
        value: &str,
        written: &str,
        span: Span,
        reason: EdgeReason,
    ) -> Option<CopySource> {
        let session = &mut *self.session;
        let place = (span, self.instruction.text.as_str());
        let (from, on) = match session.graph.source(value, span, self.index) {
            Ok(SourceName::Nothing) => return Some(CopySource::Empty),
            Ok(SourceName::Stage(stage)) => {
                session.found.insert(stage);
                let stage = StageIndex(stage);
                (CopySource::Stage(stage), Dependency::Stage(stage))
            }
            Ok(SourceName::Files(files)) => {
                let id = session.context(&files, self.index, place);
                (CopySource::Named(id), Dependency::Context(id))
            }
            Ok(SourceName::Image(image)) => {
                let platform = session.inputs.platform.clone();
                let purpose = ImagePurpose::CopySource;
                let id = session.image(&image, &platform, purpose, self.index, place)?;
                (CopySource::Image(id), Dependency::Image(id))
            }
            Ok(SourceName::Layout(image)) => {
                let platform = session.inputs.platform.clone();
                let purpose = ImagePurpose::CopySource;
                let id = session.layout(&image, &platform, purpose, self.index, place);
                (CopySource::Image(id), Dependency::Image(id))
            }
            Err(bad) => {
                // One without a variable was reported when stages were looked for.
                if !session.graph.is_literal(written) {
                    let text = &self.instruction.text;
                    let wrong = session.graph.source_error(bad, self.index, span, text);
                    session.diagnostics.push(wrong);
                }
                return None;
            }
        };
        self.needs.push(Edge {
            on,
            reason,
            place: self.session.place(self.instruction.span),
        });
        Some(from)
    }

    // Instructions with more to them than configuration.

    fn arg(&mut self, declarations: &[ArgDeclaration]) -> Outcome {
        let mut words = vec!["ARG".to_owned()];
        for declaration in declarations {
            let name = &declaration.name.value;
            let given = self.session.arguments.build_args.get(name).cloned();
            let value = match (&declaration.default, given) {
                (_, Some(given)) => Some(given),
                (Some(default), None) => self.expand(default),
                (None, None) => self.session.arguments.values.get(name).map(str::to_owned),
            };
            match &value {
                Some(value) => {
                    if !NO_VARIABLES.contains(&name.as_str()) {
                        self.state.environment.set(name, value.as_str());
                    }
                    words.push(format!("{name}={value}"));
                }
                None => words.push(name.clone()),
            }
            self.state.arguments.push((name.clone(), value));
        }
        metadata(words.join(" "))
    }

    fn work_directory(&mut self, written: &Spanned<String>) -> Option<Outcome> {
        let expanded = self.expand(written)?;
        let config = &mut self.state.config.config;
        config.working_dir = path::working_directory(&config.working_dir, &expanded);
        let created_by = format!("WORKDIR {}", config.working_dir);
        let path = path::clean(&config.working_dir);
        if path == "/" {
            return Some(metadata(created_by));
        }
        let user = config.user.clone();
        let operation = Operation::WorkDirectory(WorkDirectory { path, user });
        Some((operation, Some(HistoryTemplate::new(created_by, false))))
    }
}

/// A step that changes the configuration only.
pub(crate) fn metadata(created_by: String) -> Outcome {
    let entry = HistoryTemplate::new(created_by, true);
    (Operation::Metadata, Some(entry))
}

/// Whether an instruction counts as a step in progress.
fn is_numbered(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::WorkDirectory(_)
    )
}

/// An instruction as it is shown: what it fetches without passwords.
fn shown(instruction: &Instruction) -> String {
    match &instruction.kind {
        Kind::Add(_) => without_passwords(&instruction.text),
        _ => instruction.text.clone(),
    }
}
