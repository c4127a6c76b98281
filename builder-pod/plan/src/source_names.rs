//! What a `--from`, or the `from` of a mount, names: a stage, a named context, an image.
//!
//! Invariant: a stage comes before a context of its name, unless that stands for the stage, and a context before an
//! image.

use std::collections::BTreeMap;

use stagecraft_dockerfile::{Code, Instruction, Kind, Span, nearest};
use stagecraft_image::Reference;

use crate::contexts::{LayoutImage, NamedContext, PlannedContext};
use crate::graph::StageGraph;

/// What a `--from` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceName {
    /// The named context `docker-image://scratch`.
    Nothing,
    Stage(usize),
    Image(String),
    /// An image of an OCI layout that a named context is.
    Layout(LayoutImage),
    /// The files of a named context.
    Files(PlannedContext),
}

/// Why a `--from` names nothing that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSource {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl BadSource {
    const fn new(code: Code, message: String) -> Self {
        Self {
            code,
            message,
            help: None,
        }
    }

    fn nothing(what: &str) -> Self {
        Self::new(Code::BadReference, what.to_owned())
    }
}

/// What instructions read from and no stage is called like: to BuildKit each is a stage behind those of the file, and
/// an index can name it from there on.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImplicitStages<'a> {
    names: Vec<&'a str>,
    /// How many there are before a `--from`, by the first byte of its value.
    before: BTreeMap<usize, usize>,
}

impl<'a> ImplicitStages<'a> {
    /// Those of every stage, built or not; triggers add theirs later, where no index can reach them.
    pub(crate) fn of(graph: &StageGraph<'a>) -> Self {
        let mut implicit = Self::default();
        let stages = graph.dockerfile.stages.iter();
        for instruction in stages.flat_map(|stage| &stage.instructions) {
            implicit.add(graph, instruction);
        }
        implicit
    }

    fn add(&mut self, graph: &StageGraph<'a>, instruction: &'a Instruction) {
        match &instruction.kind {
            Kind::Copy(copy) => {
                let Some(from) = &copy.options.from else {
                    return;
                };
                self.before.insert(from.span.start, self.names.len());
                let value = from.value.as_str();
                match value.parse::<usize>() {
                    // Whoever names one by its index makes it anew.
                    Ok(index) => {
                        let named = index.checked_sub(graph.heads.len());
                        self.names
                            .extend(named.and_then(|at| self.names.get(at).copied()));
                    }
                    Err(_) if graph.is_literal(value) && graph.last(value).is_none() => {
                        self.names.push(value);
                    }
                    Err(_) => {}
                }
            }
            Kind::Run(run) => {
                for mount in &run.options.mounts {
                    // A mount that reads from nowhere counts too.
                    let name = mount.from().map_or("scratch", |from| from.value);
                    if graph.last(name).is_none() {
                        self.names.push(name);
                    }
                }
            }
            _ => {}
        }
    }

    /// What an index behind the stages means at a place.
    fn at(&self, index: usize, place: Span) -> Option<&'a str> {
        let there = self.before.get(&place.start).copied();
        let there = there.unwrap_or(self.names.len());
        self.names.get(..there)?.get(index).copied()
    }
}

impl StageGraph<'_> {
    /// What a `--from` of a stage names: an index, a name in any case, a named context, or else an image.
    pub(crate) fn source(
        &self,
        value: &str,
        span: Span,
        reader: usize,
    ) -> Result<SourceName, BadSource> {
        match value {
            "" => {
                return Err(BadSource::nothing(
                    "--from names neither a stage nor an image",
                ));
            }
            nothing if self.is_nothing(nothing) => {
                return Err(BadSource::nothing(
                    "scratch has no files: nothing can be copied from it",
                ));
            }
            _ => {}
        }
        let found = match value.parse::<i64>() {
            Ok(index) => match self.by_index(index, span) {
                Some(Indexed::Stage(stage)) => stage,
                Some(Indexed::Implicit(name)) => return self.other(name),
                None => return Err(self.no_such_index(value)),
            },
            Err(_) => match self.last(value) {
                Some(index) => index,
                None => return self.other(value),
            },
        };
        if found < reader {
            return Ok(SourceName::Stage(found));
        }
        // What stands for a stage is there before all of them.
        if let Some(context) = self.standing_for(found) {
            return Ok(context);
        }
        let label = self.label(found);
        if found == reader {
            let message = format!("stage {label:?} copies from itself");
            return Err(BadSource::new(Code::CircularStage, message));
        }
        let line = self.dockerfile.stages[found].from.span.line;
        let message = format!("stage {label:?} is used before it is defined (line {line})");
        let help = match self.earlier(value, reader) {
            Some(_) => {
                "of several stages with this name the last one counts: give them different names"
            }
            None => "a stage can copy from stages above it only: move one of the two",
        };
        Err(BadSource {
            help: Some(help.to_owned()),
            ..BadSource::new(Code::ForwardStage, message)
        })
    }

    /// Whether a `from` names nothing at all: `scratch`, unless a stage is called that.
    pub(crate) fn is_nothing(&self, name: &str) -> bool {
        name == "scratch" && self.last(name).is_none()
    }

    fn by_index(&self, index: i64, span: Span) -> Option<Indexed<'_>> {
        let index = usize::try_from(index).ok()?;
        match index.checked_sub(self.heads.len()) {
            None => Some(Indexed::Stage(index)),
            Some(behind) => self.implicit.at(behind, span).map(Indexed::Implicit),
        }
    }

    fn no_such_index(&self, value: &str) -> BadSource {
        let message = format!("stage {value} does not exist");
        let help = match self.heads.len().saturating_sub(1) {
            0 => "the file has one stage, number 0".to_owned(),
            last => format!("the file has the stages 0 to {last}"),
        };
        BadSource {
            help: Some(help),
            ..BadSource::new(Code::UnknownStage, message)
        }
    }

    /// What a name means that no stage has.
    fn other(&self, name: &str) -> Result<SourceName, BadSource> {
        if name == "scratch" {
            return Ok(SourceName::Nothing);
        }
        match self.contexts.find(name, self.platform) {
            None => Ok(SourceName::Image(name.to_owned())),
            Some(Ok(context)) => Ok(SourceName::of_context(context)),
            Some(Err(bad)) => Err(BadSource {
                help: bad.help,
                ..BadSource::new(Code::BadValue, bad.message)
            }),
        }
    }

    /// The named context that stands for a stage.
    fn standing_for(&self, index: usize) -> Option<SourceName> {
        let head = &self.heads[index];
        let name = head.name.as_deref().filter(|_| head.is_replaced)?;
        let platform = head.platform.as_ref().unwrap_or(self.platform);
        let context = self.contexts.of_stage(name, platform)?.ok()?;
        Some(SourceName::of_context(context))
    }

    /// The stage that an image's name was probably meant to be.
    pub(crate) fn source_hint(&self, value: &str, reader: usize) -> Option<String> {
        let names = self.heads[..reader]
            .iter()
            .filter_map(|head| head.name.as_deref());
        let meant = nearest(value, names)?;
        Some(format!("did you mean the stage {meant:?}?"))
    }

    /// Likewise for a `FROM`.
    pub(crate) fn base_hint(&self, value: &str, reader: usize) -> Option<String> {
        let Some(later) = self.last(value).filter(|found| *found > reader) else {
            return self.source_hint(value, reader);
        };
        let line = self.dockerfile.stages[later].from.span.line;
        Some(format!(
            "the stage {value:?} is defined below, in line {line}; FROM can begin with a stage above it only"
        ))
    }
}

/// What an index means.
enum Indexed<'a> {
    Stage(usize),
    Implicit(&'a str),
}

impl SourceName {
    fn of_context(context: NamedContext) -> Self {
        match context {
            NamedContext::Nothing => Self::Nothing,
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
            Self::Nothing | Self::Stage(_) | Self::Files(_) => None,
        }
    }
}
