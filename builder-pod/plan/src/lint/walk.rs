//! Goes through the instructions of the stages as a build does, with the variables that each sees.
//!
//! Invariant: an `ONBUILD` trigger is looked at where it is carried out: in the stage that begins with its image or
//! stage, at the line of that `FROM`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stagecraft_dockerfile::lint::{Finding, Linter, Rule, keyword};
use stagecraft_dockerfile::{
    ArgDeclaration, Command, CopyInstruction, Heredoc, Instruction, Kind, RunInstruction, Span,
    Spanned, nearest, parse,
};
use stagecraft_image::{ImageConfig, Platform, Reference};

use super::needs::mounts;
use super::secrets::is_secret_name;
use super::words::{expanded, several};
use super::{LintInputs, expose, own};
use crate::environment::{Environment, name_and_value};
use crate::graph::{BaseName, StageGraph};
use crate::inputs::GlobalArguments;
use crate::source_names::SourceName;
use crate::stage::NO_VARIABLES;

/// An instruction at the place where it is carried out.
pub(super) struct Unit<'a> {
    kind: &'a Kind,
    /// The file, or the text of the trigger, that the spans inside `kind` point into.
    source: &'a str,
    /// Where findings stand.
    pub(super) span: Span,
    comments: &'a [String],
    pub(super) heredocs: &'a [Heredoc],
    is_trigger: bool,
    keyword: Cow<'a, str>,
}

impl Unit<'_> {
    /// A finding at a part of the instruction; of a trigger, at the `FROM`.
    pub(super) fn finding(&self, rule: Rule, part: Span, message: impl Into<String>) -> Finding {
        let part = if self.is_trigger { self.span } else { part };
        Finding::at(rule, self.span, part, message)
    }
}

/// What a stage hands on to one that begins with it.
#[derive(Clone, Default)]
struct State {
    environment: Environment,
    /// Names that an `ARG` declares, with a value or without.
    declared: BTreeSet<String>,
    has_work_directory: bool,
    has_shell: bool,
    /// Whether the image below is known: if not, any variable may be set.
    is_known: bool,
}

/// Instructions of which the last one counts.
#[derive(Default)]
struct Once<'a>(BTreeMap<&'static str, &'a Unit<'a>>);

struct Walker<'a, 'l> {
    asked: &'a LintInputs<'a>,
    arguments: &'a GlobalArguments,
    graph: &'a StageGraph<'a>,
    linter: &'l mut Linter,
    index: usize,
    state: State,
    /// Whether the stage is part of the image that is built last.
    is_final: bool,
}

pub(super) fn rules(
    asked: &LintInputs<'_>,
    arguments: &GlobalArguments,
    graph: &StageGraph<'_>,
    scope: &BTreeSet<usize>,
    target: Option<usize>,
    linter: &mut Linter,
) {
    for instruction in &asked.dockerfile.arguments {
        global_secrets(asked, instruction, linter);
    }
    let last = final_stages(graph, target);
    let mut states: BTreeMap<usize, State> = BTreeMap::new();
    for &index in scope {
        let mut walker = Walker {
            asked,
            arguments,
            graph,
            linter: &mut *linter,
            index,
            state: State::default(),
            is_final: last.contains(&index),
        };
        walker.stage(&states);
        states.insert(index, walker.state);
    }
}

/// The target with the stages that it begins with.
fn final_stages(graph: &StageGraph<'_>, target: Option<usize>) -> BTreeSet<usize> {
    let mut stages = BTreeSet::new();
    let mut next = target;
    while let Some(index) = next {
        stages.insert(index);
        next = match graph.heads.get(index).and_then(|head| head.base.as_ref()) {
            Some(BaseName::Stage(base)) if *base < index => Some(*base),
            _ => None,
        };
    }
    stages
}

fn global_secrets(asked: &LintInputs<'_>, instruction: &Instruction, linter: &mut Linter) {
    let Kind::Arg(declarations) = &instruction.kind else {
        return;
    };
    let unit = unit(instruction, asked.text);
    for declaration in declarations {
        let Some(default) = &declaration.default else {
            continue;
        };
        let value = (default.value.as_str(), default.span);
        let found = own::secret_value(&unit, "ARG", &declaration.name.value, value, false);
        if let Some(finding) = found {
            linter.report_at(unit.comments, finding);
        }
    }
}

fn unit<'a>(instruction: &'a Instruction, source: &'a str) -> Unit<'a> {
    Unit {
        kind: &instruction.kind,
        source,
        span: instruction.span,
        comments: &instruction.comments,
        heredocs: &instruction.heredocs,
        is_trigger: false,
        keyword: keyword(&instruction.text).into(),
    }
}

fn trigger<'a>(kind: &'a Kind, source: &'a str, heredocs: &'a [Heredoc], span: Span) -> Unit<'a> {
    Unit {
        kind,
        source,
        span,
        comments: &[],
        heredocs,
        is_trigger: true,
        keyword: kind.keyword().into(),
    }
}

impl<'a> Walker<'a, '_> {
    fn stage(&mut self, states: &BTreeMap<usize, State>) {
        let stage = &self.asked.dockerfile.stages[self.index];
        let head = &self.graph.heads[self.index];
        let platform = head.platform.clone();
        let platform = platform.unwrap_or_else(|| self.asked.inputs.platform.clone());
        let mut from_image: Vec<(String, Instruction)> = Vec::new();
        let mut units: Vec<Unit<'_>> = Vec::new();
        match &head.base {
            None => {}
            Some(BaseName::Scratch | BaseName::Files(_)) => self.state.is_known = true,
            Some(BaseName::Stage(base)) => {
                self.state = states.get(base).cloned().unwrap_or_default();
                for instruction in &self.asked.dockerfile.stages[*base].instructions {
                    if let Kind::OnBuild(put_off) = &instruction.kind
                        && let Some(kind) = &put_off.kind
                    {
                        let heredocs = &instruction.heredocs;
                        let unit = trigger(kind, self.asked.text, heredocs, stage.from.span);
                        units.push(unit);
                    }
                }
            }
            Some(BaseName::Layout(image)) => {
                if let Some(config) = (self.asked.images)(&image.reference, &platform) {
                    self.begin(&config);
                    from_image = triggers_of(&config);
                }
            }
            Some(BaseName::Image(image)) => {
                if let Some(config) = self.image(image, &platform) {
                    let finding = Finding::at(
                        Rule::InvalidBaseImagePlatform,
                        stage.from.span,
                        stage.from.image.span,
                        String::new(),
                    );
                    if !head.is_of_context {
                        self.check_platform(image, &config, &platform, finding);
                    }
                    self.begin(&config);
                    from_image = triggers_of(&config);
                }
            }
        }
        if head.is_replaced {
            return;
        }
        for (text, instruction) in &from_image {
            let heredocs = &instruction.heredocs;
            units.push(trigger(&instruction.kind, text, heredocs, stage.from.span));
        }
        units.extend(
            stage
                .instructions
                .iter()
                .map(|one| unit(one, self.asked.text)),
        );
        // A path for programs is there whatever the image says.
        self.state.environment.set_default("PATH", "/");
        let mut once = Once::default();
        for unit in &units {
            self.instruction(unit, &mut once);
        }
    }

    /// What is known of an image that a text names.
    fn image(&self, text: &str, platform: &Platform) -> Option<ImageConfig> {
        let reference: Reference = text.parse().ok()?;
        (self.asked.images)(&reference, platform)
    }

    fn begin(&mut self, config: &ImageConfig) {
        self.state.is_known = true;
        for line in &config.config.env {
            let (name, value) = name_and_value(line);
            self.state.environment.set(name, value);
        }
        let shell = config.config.shell.as_ref();
        self.state.has_shell = shell.is_some_and(|shell| !shell.is_empty());
    }

    /// The comments above do not silence this rule.
    fn check_platform(
        &mut self,
        image: &str,
        config: &ImageConfig,
        wanted: &Platform,
        mut finding: Finding,
    ) {
        let has_layers = !config.rootfs.diff_ids.is_empty()
            || config.history.iter().any(|entry| !entry.empty_layer);
        let found = config.platform().normalised();
        let wanted = wanted.normalised();
        if !has_layers || (&found.os, &found.architecture) == (&wanted.os, &wanted.architecture) {
            return;
        }
        finding.message = format!("the image {image} is for {found}, not for {wanted}");
        self.linter
            .report(finding.help("take an image that has this platform, or ask for another"));
    }

    fn report(&mut self, unit: &Unit<'_>, finding: Finding) {
        self.linter.report_at(unit.comments, finding);
    }

    fn instruction<'u>(&mut self, unit: &'u Unit<'u>, once: &mut Once<'u>) {
        match unit.kind {
            Kind::Add(add) => self.copy(unit, add, "ADD"),
            Kind::Copy(copy) => self.copy(unit, copy, "COPY"),
            Kind::Arg(declarations) => self.arguments(unit, declarations),
            Kind::Cmd(command) | Kind::Entrypoint(command) => {
                self.once(unit, once);
                self.command(unit, command);
            }
            Kind::Healthcheck(_) => self.once(unit, once),
            Kind::Env(pairs) => self.environment(unit, pairs),
            Kind::Label(pairs) => {
                self.pairs(unit, pairs);
            }
            Kind::Expose(words) => self.expose(unit, words),
            Kind::Run(run) => self.run(unit, run),
            Kind::Shell(words) => self.state.has_shell = !words.is_empty(),
            Kind::StopSignal(word) | Kind::User(word) => {
                self.expand(unit, &word.value, word.span);
            }
            Kind::Volume(words) => {
                for word in words {
                    self.expand(unit, &word.value, word.span);
                }
            }
            Kind::WorkDirectory(word) => self.work_directory(unit, word),
            Kind::Maintainer(_) | Kind::OnBuild(_) => {}
        }
    }

    /// Expands a word; reports variables that are not set. Nothing where it is malformed.
    fn expand(&mut self, unit: &Unit<'_>, word: &str, span: Span) -> Option<String> {
        let escape = self.asked.dockerfile.escape;
        self.expand_with(unit, word, span, escape)
    }

    fn expand_with(
        &mut self,
        unit: &Unit<'_>,
        word: &str,
        span: Span,
        escape: char,
    ) -> Option<String> {
        let expanded = expanded(word, escape, &self.state.environment)?;
        for name in &expanded.missing {
            let is_declared = self.state.declared.contains(name);
            if !self.state.is_known || is_declared || NO_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let message = format!("the variable {name} is not set");
            let finding = unit.finding(Rule::UndefinedVar, span, message);
            let finding = finding.maybe_help(self.unset_help(name));
            self.report(unit, finding);
        }
        Some(expanded.text)
    }

    fn unset_help(&self, name: &str) -> Option<String> {
        if self.arguments.values.get(name).is_some() || self.arguments.declared.contains(name) {
            return Some(format!(
                "an ARG before the first FROM is seen in FROM only: declare ARG {name} in this stage too"
            ));
        }
        if self.arguments.build_args.contains_key(name) {
            return Some(format!(
                "declare the build argument with ARG {name} in this stage"
            ));
        }
        let known = self.state.environment.names();
        let known = known.chain(self.state.declared.iter().map(String::as_str));
        nearest(name, known).map(|meant| format!("did you mean {meant}?"))
    }

    /// Reports the one before, which counts for nothing.
    fn once<'u>(&mut self, unit: &'u Unit<'u>, once: &mut Once<'u>) {
        let keyword = unit.kind.keyword();
        let Some(before) = once.0.insert(keyword, unit) else {
            return;
        };
        let rule = Rule::MultipleInstructionsDisallowed;
        let line = unit.span.line;
        let message = format!("this {keyword} counts for nothing: there is another in line {line}");
        let finding = before.finding(rule, before.span, message);
        self.report(unit, finding.help("remove one of the two"));
    }

    fn command(&mut self, unit: &Unit<'_>, command: &Command) {
        let Command::Shell(text) = command else {
            return;
        };
        if self.state.has_shell {
            return;
        }
        let keyword = unit.kind.keyword();
        let message = format!(
            "{keyword} runs through a shell, which does not hand signals on to the program"
        );
        let finding = unit.finding(Rule::JSONArgsRecommended, unit.span, message);
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_plain = !text.contains(['"', '\'', '\\', '$', '|', '&', ';', '<', '>', '*', '[']);
        let help = if is_plain && !words.is_empty() {
            format!("write {} {words:?}", unit.keyword)
        } else {
            "write a JSON array; if a shell is wanted, say so with SHELL".to_owned()
        };
        self.report(unit, finding.help(help));
    }

    /// Names and values, all expanded before any is set.
    fn pairs(
        &mut self,
        unit: &Unit<'_>,
        pairs: &[(Spanned<String>, Spanned<String>)],
    ) -> Vec<(Option<String>, Option<String>)> {
        let keyword = unit.kind.keyword();
        let mut expanded = Vec::new();
        for (name, value) in pairs {
            let behind = unit.source.get(name.span.end..).unwrap_or_default();
            if !behind.starts_with('=') {
                let message = format!("{keyword} has the old form without an equals sign");
                let finding = unit.finding(Rule::LegacyKeyValueFormat, unit.span, message);
                let quoted = if value.value.contains(char::is_whitespace) {
                    format!("{:?}", value.value)
                } else {
                    value.value.clone()
                };
                let help = format!("write {keyword} {}={quoted}", name.value);
                self.report(unit, finding.help(help));
            }
            expanded.push((
                self.expand(unit, &name.value, name.span),
                self.expand(unit, &value.value, value.span),
            ));
        }
        expanded
    }

    fn environment(&mut self, unit: &Unit<'_>, pairs: &[(Spanned<String>, Spanned<String>)]) {
        let expanded = self.pairs(unit, pairs);
        for ((name, value), (written, raw)) in expanded.into_iter().zip(pairs) {
            let name = name.unwrap_or_else(|| written.value.clone());
            self.secret(unit, "ENV", &name, written.span);
            let value = value.unwrap_or_default();
            let found = own::secret_value(unit, "ENV", &name, (&value, raw.span), true);
            if let Some(finding) = found {
                self.report(unit, finding);
            }
            self.state.environment.set(&name, value);
        }
    }

    fn secret(&mut self, unit: &Unit<'_>, keyword: &str, name: &str, span: Span) {
        if !is_secret_name(name) {
            return;
        }
        let message = format!("{keyword} {name} is named like a secret");
        let finding = unit.finding(Rule::SecretsUsedInArgOrEnv, span, message);
        let help = "its value stays in the image's history: use RUN --mount=type=secret";
        self.report(unit, finding.help(help));
    }

    fn arguments(&mut self, unit: &Unit<'_>, declarations: &[ArgDeclaration]) {
        for declaration in declarations {
            let name = declaration.name.value.as_str();
            self.secret(unit, "ARG", name, declaration.name.span);
            let given = self.arguments.build_args.get(name).cloned();
            let value = match (&declaration.default, given) {
                (_, Some(given)) => Some(given),
                (Some(default), None) => self.expand(unit, &default.value, default.span),
                (None, None) => self.arguments.values.get(name).map(str::to_owned),
            };
            if let Some(default) = &declaration.default {
                let written = (default.value.as_str(), default.span);
                let found = own::secret_value(unit, "ARG", name, written, true);
                if let Some(finding) = found {
                    self.report(unit, finding);
                }
            }
            if let Some(value) = value.filter(|_| !NO_VARIABLES.contains(&name)) {
                self.state.environment.set(name, value);
            }
            self.state.declared.insert(name.to_owned());
        }
    }

    fn copy(&mut self, unit: &Unit<'_>, copy: &CopyInstruction, keyword: &str) {
        for name in ["chown", "chmod", "checksum"] {
            if let Some(flag) = copy.flag(name) {
                self.expand(unit, flag.value.as_deref().unwrap_or_default(), flag.span);
            }
        }
        let mut sources = Vec::new();
        for source in copy
            .sources
            .iter()
            .filter(|one| !one.value.starts_with("<<"))
        {
            let expanded = self.expand(unit, &source.value, source.span);
            sources.extend(expanded.map(|text| (text, source.span)));
        }
        self.expand(unit, &copy.destination.value, copy.destination.span);
        for heredoc in unit.heredocs.iter().filter(|heredoc| heredoc.expand) {
            // Quotes mean nothing in a here-document, and its escape is always the backslash.
            let text = heredoc.content.replace('"', "\\\"").replace('\'', "\\'");
            self.expand_with(unit, &text, heredoc.span, '\\');
        }
        match copy.flag("from") {
            Some(flag) => {
                let from = flag.value.clone().unwrap_or_default();
                self.source(unit, &from, flag.span);
                if let Some(finding) = own::whole_root(unit, copy, &sources) {
                    self.report(unit, finding);
                }
            }
            None => self.ignored(unit, &sources, keyword),
        }
    }

    /// An image that files are taken from.
    fn source(&mut self, unit: &Unit<'_>, name: &str, span: Span) {
        let Ok(SourceName::Image(image)) = self.graph.source(name, span, self.index) else {
            return;
        };
        let platform = self.asked.inputs.platform.clone();
        if self.graph.contexts.find(name, &platform).is_some() {
            return;
        }
        if let Some(config) = self.image(&image, &platform) {
            let finding = unit.finding(Rule::InvalidBaseImagePlatform, span, String::new());
            self.check_platform(&image, &config, &platform, finding);
        }
    }

    fn ignored(&mut self, unit: &Unit<'_>, sources: &[(String, Span)], keyword: &str) {
        let Some(ignore) = self.asked.ignore.filter(|ignore| !ignore.has_exceptions()) else {
            return;
        };
        for (source, span) in sources {
            if source.contains("://") || source.starts_with("git@") {
                continue;
            }
            let path = clean(source);
            let is_root = matches!(path.as_str(), "." | "/");
            let hides_all = |pattern: String| matches!(pattern.as_str(), "*" | "**" | "**/*");
            let is_ignored = if is_root {
                ignore.patterns().any(hides_all)
            } else {
                // BuildKit's patterns do not match what begins with a slash.
                !path.starts_with('/') && ignore.is_ignored(&path)
            };
            if !is_ignored {
                continue;
            }
            let message = format!("{keyword} takes {path}, which the ignore file hides");
            let finding = unit.finding(Rule::CopyIgnoredFile, *span, message);
            let help = "it will not be found: take its pattern out of .dockerignore";
            self.report(unit, finding.help(help));
        }
    }

    fn expose(&mut self, unit: &Unit<'_>, words: &[Spanned<String>]) {
        for word in words {
            let escape = self.asked.dockerfile.escape;
            // Unset variables are not reported here, as BuildKit does not.
            let ports = several(&word.value, escape, &self.state.environment);
            for port in ports {
                for finding in expose::rules(unit, &port, word.span) {
                    self.report(unit, finding);
                }
            }
        }
    }

    fn run(&mut self, unit: &Unit<'_>, run: &RunInstruction) {
        for (key, value, span) in mounts(run) {
            let expanded = self.expand(unit, &value, span);
            if key == "from" {
                self.source(unit, &expanded.unwrap_or(value), span);
            }
        }
        if self.is_final
            && let Some(finding) = own::apt_lists(unit, run)
        {
            self.report(unit, finding);
        }
    }

    fn work_directory(&mut self, unit: &Unit<'_>, word: &Spanned<String>) {
        let Some(path) = self.expand(unit, &word.value, word.span) else {
            return;
        };
        if !self.state.has_work_directory && !path.starts_with('/') {
            let message = format!("where {path} is depends on the base image");
            let finding = unit.finding(Rule::WorkdirRelativePath, word.span, message);
            self.report(unit, finding.help(format!("write WORKDIR /{path}")));
        }
        self.state.has_work_directory = true;
    }
}

/// The instructions that an image puts off to the builds on it, each with the text that its spans are of.
fn triggers_of(config: &ImageConfig) -> Vec<(String, Instruction)> {
    let read = |text: &String| {
        let file = format!("FROM scratch\n{text}\n");
        let (mut dockerfile, _) = parse(&file);
        let instruction = dockerfile.stages.pop()?.instructions.pop()?;
        Some((file, instruction))
    };
    config.config.on_build.iter().filter_map(read).collect()
}

/// A path without `.`, `..` and doubled slashes, as Go's `path.Clean` has it: what is relative stays so.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}
