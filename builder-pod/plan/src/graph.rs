//! Which stage means which: names, indexes, and what a stage needs as far as its text says so.
//!
//! Invariant: a stage needs earlier stages only; a text that says otherwise is an error, so the order of the
//! Dockerfile is an order in which stages can be built.

use std::collections::BTreeSet;

use stagecraft_dockerfile::{
    Code, Diagnostic, Dockerfile, Instruction, Kind, MountFlag, Span, expand, nearest,
    parse_trigger,
};
use stagecraft_image::{Platform, Reference, ReferenceError};

use crate::contexts::{BadContext, LayoutImage, NamedContext, NamedContexts, PlannedContext};
use crate::inputs::{GlobalArguments, first_place, word_error};
use crate::source_names::{BadSource, ImplicitStages, SourceName};

/// What a `FROM` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BaseName {
    Scratch,
    Stage(usize),
    Image(String),
    /// An image of an OCI layout that a named context is.
    Layout(LayoutImage),
    /// The files of a named context.
    Files(PlannedContext),
}

/// A `FROM` with its variables expanded.
#[derive(Debug)]
pub(crate) struct Head {
    /// The stage's name in lower case.
    pub(crate) name: Option<String>,
    /// What it begins with; nothing where the text is wrong.
    pub(crate) base: Option<BaseName>,
    /// `--platform`.
    pub(crate) platform: Option<Platform>,
    /// What is wrong or doubtful with its `FROM`. Errors count even where nothing needs the stage, as in BuildKit.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// `ONBUILD` instructions of what it begins with, as far as that is known: they come before its own.
    triggers: Vec<Instruction>,
    /// What is wrong with them or with the context that it begins with; of interest only if the stage is reachable.
    late_diagnostics: Vec<Diagnostic>,
    /// Whether a named context stands for the stage: its own instructions, and triggers, count for nothing.
    pub(crate) is_replaced: bool,
    /// Whether what it begins with is a named context.
    pub(crate) is_of_context: bool,
}

/// A `--from` or mount's `from` that has no variable.
pub(crate) struct LiteralSource<'g> {
    /// The instruction that it stands in.
    pub(crate) instruction: &'g Instruction,
    /// The name.
    pub(crate) value: &'g str,
    /// Its place.
    pub(crate) span: Span,
}

/// What makes a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Whatever a stage needs.
    OfAllNeeds,
    /// What its instructions read from: to BuildKit, a circle with a `FROM` in it is none where nothing needs it.
    OfSources,
}

/// The stages of a Dockerfile and what they need.
#[derive(Debug)]
pub(crate) struct StageGraph<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) heads: Vec<Head>,
    pub(crate) contexts: &'a NamedContexts,
    /// The platform to build for.
    pub(crate) platform: &'a Platform,
    pub(crate) implicit: ImplicitStages<'a>,
}

impl<'a> StageGraph<'a> {
    /// Reads every `FROM`.
    pub(crate) fn new(dockerfile: &'a Dockerfile, arguments: &'a GlobalArguments) -> Self {
        let mut graph = Self {
            dockerfile,
            heads: Vec::new(),
            contexts: &arguments.contexts,
            platform: &arguments.platform,
            implicit: ImplicitStages::default(),
        };
        for index in 0..dockerfile.stages.len() {
            let head = graph.head(index, arguments);
            graph.heads.push(head);
        }
        graph.implicit = ImplicitStages::of(&graph);
        for index in 0..graph.heads.len() {
            if let Some(BaseName::Stage(base)) = graph.heads[index].base {
                let instructions = &dockerfile.stages[base].instructions;
                let triggers: Vec<String> = instructions
                    .iter()
                    .filter_map(Instruction::trigger)
                    .collect();
                graph.set_triggers(index, &triggers);
            }
        }
        graph
    }

    /// Says which triggers come before a stage's own instructions.
    pub(crate) fn set_triggers(&mut self, index: usize, texts: &[String]) {
        let from = &self.dockerfile.stages[index].from;
        let label = self.label(index);
        let head = &mut self.heads[index];
        for text in texts {
            match parse_trigger(text, from.span) {
                Ok(instruction) => head.triggers.push(instruction),
                Err(mut problems) => {
                    for problem in &mut problems {
                        problem.stage = Some(label.clone());
                        problem.instruction = Some(from.text.clone());
                    }
                    head.late_diagnostics.extend(problems);
                }
            }
        }
    }

    /// The instructions of a stage: those that its base triggers, then its own.
    pub(crate) fn instructions(&self, index: usize) -> impl Iterator<Item = &Instruction> {
        let head = &self.heads[index];
        let own = self.dockerfile.stages[index].instructions.iter();
        let all = head.triggers.iter().chain(own);
        all.filter(|_| !head.is_replaced)
    }

    fn head(&self, index: usize, arguments: &GlobalArguments) -> Head {
        let from = &self.dockerfile.stages[index].from;
        let lookup = |name: &str| arguments.values.get(name).map(str::to_owned);
        let mut diagnostics = Vec::new();
        let mut read = |word: &stagecraft_dockerfile::Spanned<String>, what: &str| {
            let expansion = match expand(&word.value, self.dockerfile.escape, &lookup) {
                Ok(expansion) => expansion,
                Err(error) => {
                    diagnostics.push(word_error(&error, word.span));
                    return None;
                }
            };
            if expansion.text.is_empty() {
                let message = format!("{what} {:?} is empty", word.value);
                let mut wrong = Diagnostic::error(Code::BadReference, word.span, message);
                wrong.help = expansion
                    .unset
                    .first()
                    .map(|name| unset_help(name, arguments));
                diagnostics.push(wrong);
                return None;
            }
            for name in &expansion.unset {
                let message = format!("the variable {name} is not set");
                let warning = Diagnostic::warning(Code::UndefinedVariable, word.span, message);
                diagnostics.push(warning.help(unset_help(name, arguments)));
            }
            Some(expansion.text)
        };
        let image = read(&from.image, "the image");
        let platform_text = from
            .platform
            .as_ref()
            .and_then(|word| read(word, "the platform"));
        let platform = platform_text.and_then(|text| match text.parse::<Platform>() {
            Ok(platform) => Some(platform),
            Err(error) => {
                let span = from.platform.as_ref().map_or(from.span, |word| word.span);
                diagnostics.push(Diagnostic::error(Code::BadFlag, span, error.to_string()));
                None
            }
        });
        let name = from.name.as_ref().map(|name| name.value.to_lowercase());
        let built_for = platform.as_ref().unwrap_or(self.platform);
        let own = name
            .as_deref()
            .and_then(|name| self.contexts.of_stage(name, built_for));
        let is_replaced = own.is_some();
        let found = own.or_else(|| self.context(image.as_deref()?, index, built_for));
        let is_of_context = found.is_some();
        let (base, late) = match found {
            Some(Ok(context)) => (Some(BaseName::of_context(context)), None),
            Some(Err(bad)) => (None, Some(bad.at(from.image.span))),
            None => (image.map(|image| self.base(image, index)), None),
        };
        if let (Some(written), Some(name)) = (&from.name, &name) {
            diagnostics.extend(not_a_name(name, written.span));
        }
        let label = name.clone().unwrap_or_else(|| index.to_string());
        let mut late_diagnostics: Vec<Diagnostic> = late.into_iter().collect();
        for diagnostic in diagnostics.iter_mut().chain(&mut late_diagnostics) {
            diagnostic.stage = Some(label.clone());
            diagnostic.instruction = Some(from.text.clone());
        }
        Head {
            name,
            base,
            platform,
            diagnostics,
            triggers: Vec::new(),
            late_diagnostics,
            is_replaced,
            is_of_context,
        }
    }

    /// The named context that a `FROM` begins with.
    fn context(
        &self,
        image: &str,
        index: usize,
        platform: &Platform,
    ) -> Option<Result<NamedContext, BadContext>> {
        if image == "scratch" || self.earlier(image, index).is_some() {
            return None;
        }
        self.contexts.find(image, platform)
    }

    /// What a `FROM` begins with otherwise: a stage above, nothing, or else an image.
    fn base(&self, image: String, index: usize) -> BaseName {
        match self.earlier(&image, index) {
            Some(stage) => BaseName::Stage(stage),
            None if image == "scratch" => BaseName::Scratch,
            None => BaseName::Image(image),
        }
    }

    /// The nearest stage of this name, in any case, above a position: what `FROM` means.
    pub(crate) fn earlier(&self, name: &str, before: usize) -> Option<usize> {
        let wanted = name.to_lowercase();
        let named = |index: &usize| self.heads[*index].name.as_ref() == Some(&wanted);
        (0..before.min(self.heads.len())).rev().find(named)
    }

    /// The last stage of this name, in any case: what `--from` and a target mean.
    pub(crate) fn last(&self, name: &str) -> Option<usize> {
        self.earlier(name, self.heads.len())
    }

    /// A stage's name, or its index as text.
    pub(crate) fn label(&self, index: usize) -> String {
        let name = self.heads.get(index).and_then(|head| head.name.clone());
        name.unwrap_or_else(|| index.to_string())
    }

    /// The stage to build.
    pub(crate) fn target(&self, wanted: Option<&str>) -> Result<usize, Box<Diagnostic>> {
        let last = self.heads.len().checked_sub(1);
        let place = first_place(self.dockerfile);
        let Some(last) = last else {
            let message = "the file has no FROM";
            return Err(Box::new(Diagnostic::error(Code::NoFrom, place, message)));
        };
        let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
            return Ok(last);
        };
        if let Some(found) = self.last(wanted) {
            return Ok(found);
        }
        if let Some(index) = wanted.parse::<usize>().ok().filter(|index| *index <= last) {
            return Ok(index);
        }
        let message = format!("the target stage {wanted:?} does not exist");
        let labels: Vec<String> = (0..=last).map(|index| self.label(index)).collect();
        let list = format!("the stages are {}", labels.join(", "));
        let help = match nearest(wanted, labels.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant:?}? {list}"),
            None => list,
        };
        Err(Box::new(
            Diagnostic::error(Code::UnknownTarget, place, message).help(help),
        ))
    }

    /// The stages that these need, themselves included, as far as the text says so.
    pub(crate) fn reachable(
        &self,
        seeds: &BTreeSet<usize>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = seeds.iter().copied().collect();
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                open.extend(self.needs(index));
            }
        }
        let mut circles = BTreeSet::new();
        for (index, head) in self.heads.iter().enumerate() {
            if reached.contains(&index) {
                diagnostics.extend(head.diagnostics.iter().cloned());
                diagnostics.extend(head.late_diagnostics.iter().cloned());
                self.check_sources(index, Way::OfAllNeeds, &mut circles, diagnostics);
            } else {
                self.check_unneeded(index, &mut circles, diagnostics);
            }
        }
        reached
    }

    /// What BuildKit refuses even in a stage that nothing needs: a wrong `FROM`, a malformed name of an image, an
    /// index that no stage has, a circle.
    fn check_unneeded(
        &self,
        index: usize,
        circles: &mut BTreeSet<Vec<usize>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let head = &self.heads[index];
        let errors = head.diagnostics.iter().filter(|one| one.is_error());
        diagnostics.extend(errors.cloned());
        let mut wrong = Vec::new();
        self.check_sources(index, Way::OfSources, circles, &mut wrong);
        wrong.retain(|one| !matches!(one.code, Code::ForwardStage | Code::BadValue));
        let from = &self.dockerfile.stages[index].from;
        let mut names = Vec::new();
        if let Some(BaseName::Image(image)) = &head.base {
            names.push((image.clone(), from.image.span, from.text.as_str()));
        }
        for source in self.literal_sources(index) {
            if let Ok(SourceName::Image(image)) = self.source(source.value, source.span, index) {
                names.push((image, source.span, source.instruction.text.as_str()));
            }
        }
        for (name, span, instruction) in names {
            if let Err(error) = name.parse::<Reference>() {
                let mut problem = malformed(&name, &error, span).within(instruction);
                problem.stage = Some(self.label(index));
                wrong.push(problem);
            }
        }
        diagnostics.extend(wrong);
    }

    /// What the text says that a stage needs, whether it stands above or not.
    fn needs(&self, index: usize) -> Vec<usize> {
        let mut needs = Vec::new();
        if let Some(BaseName::Stage(base)) = &self.heads[index].base {
            needs.push(*base);
        }
        needs.extend(self.needed_sources(index));
        needs
    }

    /// Those of them that its instructions read from.
    fn needed_sources(&self, index: usize) -> Vec<usize> {
        let mut needs = Vec::new();
        for LiteralSource { value, .. } in self.literal_sources(index) {
            let by_index = value
                .parse::<usize>()
                .ok()
                .filter(|i| *i < self.heads.len());
            needs.extend(by_index.or_else(|| self.last(value)));
        }
        needs
    }

    /// What a stage's instructions read from, where its name has no variable.
    pub(crate) fn literal_sources(&self, index: usize) -> Vec<LiteralSource<'_>> {
        let mut sources = Vec::new();
        for instruction in self.instructions(index) {
            let mut push = |value, span| {
                sources.push(LiteralSource {
                    instruction,
                    value,
                    span,
                });
            };
            match &instruction.kind {
                Kind::Copy(copy) => {
                    let from = copy.options.from.as_ref();
                    if let Some(from) = from.filter(|from| self.is_literal(&from.value)) {
                        push(from.value.as_str(), from.span);
                    }
                }
                Kind::Run(run) => {
                    let named = run.options.mounts.iter().filter_map(MountFlag::from);
                    for from in named.filter(|from| !self.is_nothing(from.value)) {
                        push(from.value, from.span);
                    }
                }
                _ => {}
            }
        }
        sources
    }

    /// Whether a flag's value has nothing to expand: what it names is known, and checked, from the start.
    pub(crate) fn is_literal(&self, value: &str) -> bool {
        !value.contains(['$', '\'', '"', self.dockerfile.escape])
    }

    /// Reports sources that do not exist, circles, and stages that are used too early.
    fn check_sources(
        &self,
        reader: usize,
        way: Way,
        circles: &mut BTreeSet<Vec<usize>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for source in self.literal_sources(reader) {
            let LiteralSource {
                instruction,
                value,
                span,
            } = source;
            let Err(bad) = self.source(value, span, reader) else {
                continue;
            };
            let circle = match self.last(value) {
                Some(found) if bad.code == Code::ForwardStage => self.way(way, found, reader),
                _ => None,
            };
            let bad = match circle {
                None => bad,
                Some(way) => {
                    let mut members = way.clone();
                    members.sort_unstable();
                    if !circles.insert(members) {
                        continue;
                    }
                    let names: Vec<String> = std::iter::once(reader)
                        .chain(way)
                        .map(|index| self.label(index))
                        .collect();
                    BadSource {
                        code: Code::CircularStage,
                        message: format!(
                            "stages need each other in a circle: {}",
                            names.join(" -> ")
                        ),
                        help: None,
                    }
                }
            };
            diagnostics.push(self.source_error(bad, reader, span, &instruction.text));
        }
    }

    /// A bad `--from` as a diagnostic.
    pub(crate) fn source_error(
        &self,
        bad: BadSource,
        reader: usize,
        span: Span,
        instruction: &str,
    ) -> Diagnostic {
        let mut wrong = Diagnostic::error(bad.code, span, bad.message).within(instruction);
        wrong.help = bad.help;
        wrong.stage = Some(self.label(reader));
        wrong
    }

    /// The stages on a way of needs from one to another, both included.
    fn way(&self, kind: Way, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut ways = vec![vec![from]];
        let mut seen = BTreeSet::from([from]);
        while let Some(way) = ways.pop() {
            let end = way.last().copied()?;
            if end == to {
                return Some(way);
            }
            let needs = match kind {
                Way::OfAllNeeds => self.needs(end),
                Way::OfSources => self.needed_sources(end),
            };
            for next in needs {
                if seen.insert(next) {
                    let mut longer = way.clone();
                    longer.push(next);
                    ways.push(longer);
                }
            }
        }
        None
    }

    /// Why a stage is not built.
    pub(crate) fn why_skipped(&self, index: usize) -> String {
        let readers: Vec<String> = (0..self.heads.len())
            .filter(|reader| self.needs(*reader).contains(&index))
            .map(|reader| self.label(reader))
            .collect();
        match readers.as_slice() {
            [] => "no stage needs it".to_owned(),
            readers => format!(
                "only stages that are skipped need it: {}",
                readers.join(", ")
            ),
        }
    }
}

impl BaseName {
    fn of_context(context: NamedContext) -> Self {
        match context {
            NamedContext::Nothing => Self::Scratch,
            NamedContext::Image(image) => Self::Image(image),
            NamedContext::Layout(image) => Self::Layout(image),
            NamedContext::Files(files) => Self::Files(files),
        }
    }

    /// The image, if it is one.
    pub(crate) fn reference(&self) -> Option<Reference> {
        match self {
            Self::Image(image) => image.parse().ok(),
            Self::Layout(image) => Some(image.reference.clone()),
            Self::Scratch | Self::Stage(_) | Self::Files(_) => None,
        }
    }
}

/// A text that is no image's name.
pub(crate) fn malformed(text: &str, error: &ReferenceError, span: Span) -> Diagnostic {
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{text:?} names no image: {error}: {source}"),
        None => format!("{text:?} names no image: {error}"),
    };
    Diagnostic::error(Code::BadReference, span, message)
}

/// A stage's name must be fit for an image: BuildKit looks for a named context that is called like it.
fn not_a_name(name: &str, span: Span) -> Option<Diagnostic> {
    let is_wrong = name.parse::<Reference>().is_err();
    is_wrong.then(|| {
        Diagnostic::error(
            Code::StageName,
            span,
            format!("{name:?} is no name for a stage"),
        )
        .help("between letters and digits stands a dot, one or two underscores, or dashes; none of them at the end")
    })
}

/// How a variable that `FROM` uses gets a value.
fn unset_help(name: &str, arguments: &GlobalArguments) -> String {
    if arguments.declared.contains(name) {
        return format!("ARG {name} has no default: give the build argument {name}");
    }
    match nearest(name, arguments.values.names()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => {
            format!("FROM sees what is declared before the first FROM only: add ARG {name} there")
        }
    }
}
