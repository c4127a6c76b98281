//! A plan as a diagram: stages and images, and what each is needed for.
//!
//! Invariant: text of the Dockerfile stands in quotes, with what would end them replaced.

use std::fmt::Write;

use crate::plan::{BuildPlan, Dependency, Edge, EdgeReason, StagePlan};

impl BuildPlan {
    /// A flowchart in the language of Mermaid.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let quoted = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;");
        let mut out = String::from("flowchart LR\n");
        for (id, image) in self.images.iter().enumerate() {
            let name = quoted(&image.reference.familiar());
            let _ = writeln!(out, "  image{id}([\"{name}<br>{}\"])", image.platform);
        }
        for (id, context) in self.contexts.iter().enumerate() {
            let name = quoted(&context.name);
            let _ = writeln!(out, "  context{id}([\"{name}<br>context\"])");
        }
        for stage in &self.stages {
            let steps = counted(stage);
            let name = quoted(&title(stage));
            let _ = writeln!(out, "  stage{}[\"{name}<br>{steps}\"]", stage.index.0);
        }
        for stage in &self.skipped {
            let (name, reason) = (quoted(&stage.label()), quoted(&stage.reason));
            let _ = writeln!(
                out,
                "  stage{}[\"{name}<br>{reason}\"]:::skipped",
                stage.index.0
            );
        }
        for (stage, edge) in self.edges() {
            let to = stage.index.0;
            let (from, reason) = (node(edge), reason(edge));
            let _ = writeln!(out, "  {from} -->|{reason}| stage{to}");
        }
        for target in self.targets() {
            let _ = writeln!(out, "  stage{}:::target", target.0);
        }
        out.push_str("  classDef target stroke-width:4px\n");
        out.push_str("  classDef skipped stroke-dasharray:4\n");
        out
    }

    /// A graph in the language of Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
        for (id, image) in self.images.iter().enumerate() {
            let name = quoted(&image.reference.familiar());
            let _ = writeln!(
                out,
                "  image{id} [shape=oval, label=\"{name}\\n{}\"];",
                image.platform
            );
        }
        for (id, context) in self.contexts.iter().enumerate() {
            let name = quoted(&context.name);
            let _ = writeln!(
                out,
                "  context{id} [shape=oval, label=\"{name}\\ncontext\"];"
            );
        }
        for stage in &self.stages {
            let steps = counted(stage);
            let name = quoted(&title(stage));
            let bold = if self.targets().any(|target| target == stage.index) {
                ", penwidth=3"
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "  stage{} [label=\"{name}\\n{steps}\"{bold}];",
                stage.index.0
            );
        }
        for stage in &self.skipped {
            let (name, reason) = (quoted(&stage.label()), quoted(&stage.reason));
            let _ = writeln!(
                out,
                "  stage{} [style=dashed, label=\"{name}\\n{reason}\"];",
                stage.index.0
            );
        }
        for (stage, edge) in self.edges() {
            let to = stage.index.0;
            let (from, reason) = (node(edge), reason(edge));
            let _ = writeln!(out, "  {from} -> stage{to} [label=\"{reason}\"];");
        }
        out.push_str("}\n");
        out
    }

    fn edges(&self) -> impl Iterator<Item = (&StagePlan, &Edge)> {
        self.stages
            .iter()
            .flat_map(|stage| stage.needs.iter().map(move |edge| (stage, edge)))
    }
}

fn title(stage: &StagePlan) -> String {
    format!("{}: {}", stage.index.0, stage.text)
}

fn counted(stage: &StagePlan) -> String {
    match stage.steps.len() {
        1 => "1 instruction".to_owned(),
        several => format!("{several} instructions"),
    }
}

fn node(edge: &Edge) -> String {
    match edge.on {
        Dependency::Stage(index) => format!("stage{}", index.0),
        Dependency::Image(id) => format!("image{}", id.0),
        Dependency::Context(id) => format!("context{}", id.0),
    }
}

fn reason(edge: &Edge) -> String {
    let line = edge.place.line;
    match edge.reason {
        EdgeReason::From => format!("FROM, line {line}"),
        EdgeReason::Copy { .. } => format!("COPY, line {line}"),
        EdgeReason::Mount { .. } => format!("mount, line {line}"),
    }
}
