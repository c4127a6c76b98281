//! `cargo xtask gen`: writes the files that are made from our own programs.
//!
//! Invariant: a generated file says so in its first lines and is never edited by hand.

mod cli;
mod crd;
mod imagebuild;
mod markdown;
mod metrics;
mod programs;
mod reasons;
mod roles;
mod values;

use std::path::Path;

use anyhow::{Context, bail};

use crate::command::workspace_root;
use programs::{OPERATOR, Programs};

/// Whether to write or to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write what differs.
    Write,
    /// Fail on what differs.
    Check,
}

impl Mode {
    /// The mode of the flag `--check`.
    pub(crate) fn of(check: bool) -> Self {
        if check { Self::Check } else { Self::Write }
    }
}

/// A file with its content.
struct Generated {
    /// Path relative to the root.
    path: String,
    text: String,
}

/// Generates everything, and writes or compares.
///
/// # Errors
/// When a program of ours fails, or a file differs in [`Mode::Check`].
pub(crate) fn run(mode: Mode) -> anyhow::Result<()> {
    let root = workspace_root();
    let files = generate(&root)?;

    let mut different = Vec::new();
    for file in &files {
        let path = root.join(&file.path);
        let current = read_if_there(&path)?;
        if current.as_deref() == Some(file.text.as_str()) {
            continue;
        }
        different.push(file.path.as_str());
        match mode {
            Mode::Write => write(&path, &file.text)?,
            Mode::Check => println!(
                "{}",
                first_difference(&file.path, current.as_deref(), &file.text)
            ),
        }
    }
    match mode {
        Mode::Check if !different.is_empty() => {
            bail!(
                "{} differ from what is generated; run `cargo xtask gen`",
                different.join(", ")
            )
        }
        Mode::Check => println!("gen: {} files are up to date", files.len()),
        Mode::Write if different.is_empty() => {
            println!("gen: {} files were up to date", files.len())
        }
        Mode::Write => println!("gen: wrote {}", different.join(", ")),
    }
    Ok(())
}

fn generate(root: &Path) -> anyhow::Result<Vec<Generated>> {
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let programs = Programs::build()?;
    let crd = serde_yaml::from_str(&programs.ask(OPERATOR, &["crd"])?)
        .context("the operator's CRD is not YAML")?;
    let mut files = crd::files(&crd)?;
    files.push(roles::template(&programs.ask(OPERATOR, &["rbac"])?)?);
    files.push(imagebuild::page(&crd)?);
    files.push(cli::page(&programs)?);
    files.push(reasons::page(
        &read(reasons::SOURCE)?,
        &read(reasons::CONDITIONS)?,
    )?);
    files.push(metrics::page(&read(metrics::SOURCE)?)?);
    files.push(values::page(
        &read("charts/stagecraft/values.schema.json")?,
        &read("charts/stagecraft/values.yaml")?,
    )?);
    Ok(files)
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The first line that differs, as a reader of the log wants to see it.
fn first_difference(path: &str, current: Option<&str>, wanted: &str) -> String {
    let Some(current) = current else {
        return format!("{path}: is missing");
    };
    let mut current = current.lines();
    let mut wanted = wanted.lines();
    let mut number = 0;
    loop {
        number += 1;
        match (current.next(), wanted.next()) {
            (None, None) => return format!("{path}: differs in its last line break"),
            (is, should) if is != should => {
                let is = is.unwrap_or("(end of file)");
                let should = should.unwrap_or("(end of file)");
                return format!("{path}:{number}: is `{is}`, should be `{should}`");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_file_and_line() {
        let cases = [
            (None, "a\n", "x: is missing"),
            (Some("a\nb\n"), "a\nc\n", "x:2: is `b`, should be `c`"),
            (
                Some("a\n"),
                "a\nc\n",
                "x:2: is `(end of file)`, should be `c`",
            ),
            (Some("a"), "a\n", "x: differs in its last line break"),
        ];
        for (current, wanted, expected) in cases {
            assert_eq!(first_difference("x", current, wanted), expected);
        }
    }
}
