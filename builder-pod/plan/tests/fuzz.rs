//! What the fuzz targets of `tests/fuzz` check, checked on their committed corpora: what was found stays found.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "the modules are those of the fuzz targets, where a broken invariant has to panic"
)]

use std::path::Path;

#[path = "../../../tests/fuzz/src/expand.rs"]
mod expand;
#[path = "../../../tests/fuzz/src/ignore.rs"]
mod ignore;
#[path = "../../../tests/fuzz/src/parse.rs"]
mod parse;
#[path = "../../../tests/fuzz/src/plan.rs"]
mod plan;
#[path = "../../../tests/fuzz/src/reference.rs"]
mod reference;

fn replay(target: &str, check: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(root.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 20,
        "{target} has only {} inputs",
        paths.len()
    );
    for path in paths {
        let input = std::fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&input));
        assert!(checked.is_ok(), "{} breaks an invariant", path.display());
    }
}

#[test]
fn every_file_of_the_corpus_parses_as_its_target_demands() {
    replay("parse", parse::check);
}

#[test]
fn every_word_of_the_corpus_expands_as_its_target_demands() {
    replay("expand", expand::check);
}

#[test]
fn every_ignore_file_of_the_corpus_is_read_as_its_target_demands() {
    replay("ignore", ignore::check);
}

#[test]
fn every_reference_of_the_corpus_is_read_as_its_target_demands() {
    replay("reference", reference::check);
}

#[test]
fn every_file_of_the_corpus_is_planned_as_its_target_demands() {
    replay("plan", plan::check);
}
