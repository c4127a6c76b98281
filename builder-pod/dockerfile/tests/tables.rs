//! Every question of `tests/fixtures/tables`: our answer is BuildKit's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says best where it failed by failing there"
)]

use std::path::Path;

use serde_json::Value;
use stagecraft_dockerfile::answers::answer;

/// Asks every question of a table; gives how many there are and what is answered otherwise.
fn check(table: &str) -> (usize, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tables");
    let path = root.join(format!("{table}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut wrong = Vec::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (expected, actual) = (&row["answer"], answer(line));
        let is_error = |answer: &Value| answer.get("error").is_some();
        let is_right = match is_error(expected) {
            true => is_error(&actual),
            false => *expected == actual,
        };
        if !is_right {
            wrong.push(format!("{line}\n  answered {actual}"));
        }
    }
    (text.lines().count(), wrong)
}

fn agrees(table: &str, least: usize) {
    let (count, wrong) = check(table);
    assert!(count >= least, "{table} has only {count} questions");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn words_are_expanded_as_by_buildkits_lexer() {
    agrees("lexer", 1_500);
}

#[test]
fn words_are_split_as_by_buildkits_lexer() {
    agrees("words", 200);
}

#[test]
fn paths_are_ignored_as_by_mobys_patternmatcher() {
    agrees("ignore", 1_000);
}

#[test]
fn names_match_as_by_gos_filepath_match() {
    agrees("glob", 1_500);
}

#[test]
fn repositories_are_told_as_by_buildkits_git_references() {
    agrees("gitref", 200);
}

#[test]
fn files_become_trees_as_by_buildkits_parser() {
    agrees("parser", 1_000);
}
