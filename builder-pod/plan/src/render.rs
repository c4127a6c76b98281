//! A plan as text: what `stagecraft-builder plan` shows, and what golden tests compare.

use std::fmt::{self, Display, Formatter};

use crate::contexts::{ContextId, ContextSource, PlannedContext};
use crate::image::{ImageOrigin, PlannedImage};
use crate::operation::Operation;
use crate::plan::{Base, BuildPlan, Dependency, EdgeReason, StageIndex, StagePlan, Step};
use crate::render_operation::fetched;

impl Display for BuildPlan {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "plan {}", self.digest)?;
        for target in self.targets().filter_map(|index| self.stage(index)) {
            writeln!(
                out,
                "target {} for {}",
                stage_name(target),
                target.config.platform()
            )?;
        }
        if let Some(epoch) = self.source_date_epoch {
            writeln!(out, "times clamped to {epoch}")?;
        }
        writeln!(out, "run chains {}", self.run_chains)?;
        self.order_text(out)?;
        if !self.images.is_empty() {
            writeln!(out, "\nimages")?;
        }
        for image in &self.images {
            let use_of = if image.is_base {
                ""
            } else {
                " (files are copied out of it)"
            };
            writeln!(out, "  {}{use_of}", pinned(image))?;
        }
        if !self.contexts.is_empty() {
            writeln!(out, "\ncontexts")?;
        }
        for context in &self.contexts {
            writeln!(out, "  {}", context_text(context))?;
        }
        for stage in &self.stages {
            writeln!(out)?;
            self.stage_text(stage, out)?;
        }
        if !self.skipped.is_empty() {
            writeln!(out, "\nskipped")?;
        }
        for stage in &self.skipped {
            let name = stage.name.as_deref().unwrap_or("without a name");
            writeln!(out, "  stage {} {name}: {}", stage.index.0, stage.reason)?;
        }
        Ok(())
    }
}

impl BuildPlan {
    fn stage_text(&self, stage: &StagePlan, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", stage_name(stage))?;
        writeln!(out, "  line {}: {}", stage.place.line, stage.text)?;
        match stage.base {
            Base::Scratch => writeln!(out, "  begins with nothing")?,
            Base::Image(id) => {
                let image = self.image(id).map(pinned).unwrap_or_default();
                writeln!(out, "  begins with {image}")?;
            }
            Base::Stage(index) => writeln!(out, "  begins with {}", self.name_of(index))?,
            Base::Context(id) => writeln!(out, "  begins with {}", self.context_name(id))?,
        }
        if let Some(chain) = stage.run_chain {
            writeln!(out, "  run chain {chain}")?;
        }
        self.needed_by(stage, out)?;
        for step in &stage.steps {
            self.step_text(step, out)?;
        }
        writeln!(out, "  configuration {}", stage.config.platform())?;
        for line in configuration(stage) {
            writeln!(out, "    {line}")?;
        }
        Ok(())
    }

    /// Which stages can be built at the same time.
    fn order_text(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let rounds = self.rounds();
        if self.stages.len() < 2 {
            return Ok(());
        }
        writeln!(out, "\norder")?;
        for (number, stages) in rounds.iter().enumerate() {
            let names: Vec<String> = stages.iter().map(|index| self.name_of(*index)).collect();
            writeln!(out, "  {}: {}", number + 1, names.join(", "))?;
        }
        Ok(())
    }

    /// The edges that lead to a stage: why it is built.
    fn needed_by(&self, stage: &StagePlan, out: &mut Formatter<'_>) -> fmt::Result {
        if stage.index == self.target {
            writeln!(out, "  needed: it is the target")?;
        }
        if self.further_targets.contains(&stage.index) {
            writeln!(out, "  needed: it is a target")?;
        }
        if self.tests.contains(&stage.index) {
            writeln!(out, "  needed: it is a test")?;
        }
        for reader in &self.stages {
            let edges = reader.needs.iter();
            for edge in edges.filter(|edge| edge.on == Dependency::Stage(stage.index)) {
                let what = match edge.reason {
                    EdgeReason::From => "begins with it",
                    EdgeReason::Copy { .. } => "copies from it",
                    EdgeReason::Mount { .. } => "mounts files of it",
                };
                let line = edge.place.line;
                writeln!(out, "  needed: {} {what} (line {line})", stage_name(reader))?;
            }
        }
        Ok(())
    }

    fn step_text(&self, step: &Step, out: &mut Formatter<'_>) -> fmt::Result {
        let number = match step.operation {
            Operation::Metadata => "-".to_owned(),
            _ => format!("{}/{}", step.number, step.total),
        };
        writeln!(out, "  {number} line {}: {}", step.place.line, step.text)?;
        if let Some(entry) = &step.history {
            let layer = if entry.empty_layer { " (no layer)" } else { "" };
            writeln!(out, "    history {:?}{layer}", entry.created_by)?;
        }
        self.operation_text(&step.operation, out)
    }

    pub(crate) fn context_name(&self, id: ContextId) -> String {
        match self.context(id) {
            Some(context) => format!("the context {}", context.name),
            None => format!("context {}", id.0),
        }
    }

    pub(crate) fn name_of(&self, index: StageIndex) -> String {
        self.stage(index)
            .map_or_else(|| format!("stage {}", index.0), stage_name)
    }
}

fn stage_name(stage: &StagePlan) -> String {
    match &stage.name {
        Some(name) => format!("stage {} {name}", stage.index.0),
        None => format!("stage {}", stage.index.0),
    }
}

fn context_text(context: &PlannedContext) -> String {
    let source = match &context.source {
        ContextSource::Directory { .. } => "a directory".to_owned(),
        ContextSource::Remote(source) => fetched(source),
    };
    format!("{}: {source}", context.name)
}

pub(crate) fn pinned(image: &PlannedImage) -> String {
    let reference = image.reference.familiar();
    let digest = match &image.digest {
        None => " (not resolved)".to_owned(),
        digest if image.reference.digest() == digest.as_ref() => String::new(),
        Some(digest) => format!(" = {digest}"),
    };
    let place = match &image.origin {
        ImageOrigin::Registry => "",
        ImageOrigin::Layout(_) => " of an OCI layout",
    };
    format!("{reference} {}{digest}{place}", image.platform)
}

pub(crate) fn owner(user: &str) -> String {
    if user.is_empty() {
        "root".to_owned()
    } else {
        format!("{user:?}")
    }
}

/// The members of a configuration that are set, one a line.
fn configuration(stage: &StagePlan) -> Vec<String> {
    let mut lines: Vec<String> = stage
        .config
        .author
        .iter()
        .map(|author| format!("Author {author:?}"))
        .collect();
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(&stage.config.config) else {
        return lines;
    };
    for (name, value) in members {
        match value {
            serde_json::Value::Array(items) if name == "Env" => {
                lines.extend(items.iter().map(|item| format!("Env {item}")));
            }
            serde_json::Value::Object(items) if name == "Labels" => {
                lines.extend(
                    items
                        .iter()
                        .map(|(label, item)| format!("Label {label}={item}")),
                );
            }
            serde_json::Value::Object(items) if name == "Volumes" => {
                lines.extend(items.keys().map(|path| format!("Volume {path:?}")));
            }
            serde_json::Value::Object(items) if name == "ExposedPorts" => {
                lines.extend(items.keys().map(|port| format!("ExposedPort {port}")));
            }
            value => lines.push(format!("{name} {value}")),
        }
    }
    lines
}
