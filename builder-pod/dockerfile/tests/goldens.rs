//! Every case of `tests/fixtures/dockerfiles` that has an `ast.txt`: a Dockerfile in, its typed form and its diagnostics
//! out. What the others mean is for the planner to say.
//!
//! `UPDATE_GOLDEN=1` writes what comes out; the difference is for the reader to judge.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says best where it failed by failing there"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use stagecraft_dockerfile::{Diagnostic, Dockerfile, parse, render, support};

mod dump;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/dockerfiles");
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let topics = directories(&root);
    let mut cases: Vec<PathBuf> = topics.iter().flat_map(|topic| directories(topic)).collect();
    cases.retain(|case| case.join("ast.txt").exists());
    cases.sort();
    cases
}

/// What is wrong with the file, and what of it is not carried out, each in short and with its excerpt.
fn diagnostics(text: &str, dockerfile: &Dockerfile, parsed: Vec<Diagnostic>) -> String {
    let stages = dockerfile.stages.iter();
    let refused = stages
        .flat_map(|stage| &stage.instructions)
        .flat_map(support::check);
    let mut all: Vec<Diagnostic> = parsed.into_iter().chain(refused).collect();
    all.sort_by_key(|diagnostic| diagnostic.span.start);
    let mut out = String::new();
    for diagnostic in &all {
        writeln!(out, "{}", diagnostic.compact("Dockerfile")).unwrap();
    }
    for diagnostic in &all {
        writeln!(out, "\n{}", render(diagnostic, text, "Dockerfile")).unwrap();
    }
    out
}

/// Compares with the file, or writes it; gives what differs.
fn check(path: &Path, actual: &str) -> Option<String> {
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, actual).unwrap();
        return None;
    }
    Some(format!(
        "{}\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    ))
}

#[test]
fn every_dockerfile_of_the_corpus_is_read_as_its_case_says() {
    let cases = cases();
    assert!(cases.len() >= 20, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let bytes = std::fs::read(case.join("Dockerfile")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (dockerfile, parsed) = parse(&text);
        wrong.extend(check(&case.join("ast.txt"), &dump::dump(&dockerfile)));
        let said = diagnostics(&text, &dockerfile, parsed);
        wrong.extend(check(&case.join("diagnostics.txt"), &said));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
