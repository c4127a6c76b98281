//! `cargo xtask tidy`: the rules of the house that the compiler cannot keep.
//!
//! Every rule is a function from what was read to findings; this file reads, runs them all and prints.
//! ARCHITECTURE.md says why each rule is there.

mod dependencies;
mod edges;
mod examples;
mod forbidden;
mod guards;
mod licences;
mod metadata;
mod rust;
mod shape;
mod text;
mod tree;

use anyhow::bail;

use crate::command::workspace_root;
use metadata::Metadata;
use tree::Tree;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, relative to the root.
    path: String,
    /// The line from 1; 0 where the whole file is meant.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.message),
            line => write!(formatter, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Checks every rule.
///
/// # Errors
/// When one is broken, or the tree cannot be read.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = workspace_root();
    let tree = Tree::read(&root)?;
    let metadata = Metadata::read(&root)?;
    let policy = licences::Policy::read(&root)?;

    let mut findings = Vec::new();
    findings.extend(edges::check(&metadata));
    findings.extend(dependencies::check(&tree, &metadata));
    findings.extend(licences::check(&metadata, &policy));
    findings.extend(forbidden::check(&tree));
    findings.extend(shape::check(&tree));
    findings.extend(examples::check(&tree));
    findings.extend(guards::check(&tree));
    findings.extend(text::check(
        &tree,
        &text::MachineNames::of_this_machine(&root),
    ));

    let duplicates = licences::duplicates(&metadata);
    if !duplicates.is_empty() {
        println!("tidy: in several versions: {}", duplicates.join(", "));
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!(
        "tidy: {} files and {} packages keep the rules",
        tree.files.len(),
        metadata.shipped.len()
    );
    Ok(())
}
