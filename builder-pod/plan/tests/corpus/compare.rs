//! Our outcome against BuildKit's answer: every fact that both state.

use serde_json::{Map, Value};
use stagecraft_dockerfile::Diagnostic;

use crate::answer::{absolute, answer};
use crate::case::Case;
use crate::outcome::Outcome;
use crate::sources;

/// What of the answers is compared.
const MEMBERS: [&str; 6] = ["config", "images", "sources", "execs", "files", "result"];

/// Where a case means something else to us, one line each, whether our engine carries it out or not.
pub(crate) fn differences(case: &Case, outcome: &Outcome) -> Vec<String> {
    let judged = &case.judged;
    match (judged.get("error"), outcome) {
        (Some(error), Outcome::Errors(found)) => wrong_lines(error, found),
        (Some(error), Outcome::Plan(_)) => {
            vec![format!(
                "BuildKit refuses it: {}{}",
                error["message"], error["lines"]
            )]
        }
        // BuildKit says no place.
        (Some(_), Outcome::Check(_)) => Vec::new(),
        (None, Outcome::Check(rules)) => vec![format!("our check fails it: {rules:?}")],
        (None, Outcome::Errors(found)) => {
            let errors = found.iter().filter(|one| one.is_error());
            errors
                .map(|one| format!("we refuse it: {}", one.compact("Dockerfile")))
                .collect()
        }
        (None, Outcome::Plan(plan)) => {
            let ours = answer(plan);
            let mut found = Vec::new();
            for member in MEMBERS {
                let theirs = judged.get(member).unwrap_or(&Value::Null);
                let mut theirs = match member {
                    "sources" => normal(&sources::judged(theirs)),
                    _ => normal(theirs),
                };
                append_proxies(&mut theirs);
                let ours = normal(&ours[member]);
                collect(member, &theirs, &ours, &mut found);
            }
            found
        }
    }
}

/// BuildKit appends the proxies when it executes a command; with us they are planned.
fn append_proxies(execs: &mut Value) {
    for exec in execs.as_array_mut().into_iter().flatten() {
        let Some(proxies) = exec.get("proxy").and_then(Value::as_array).cloned() else {
            continue;
        };
        exec.as_object_mut().unwrap().remove("proxy");
        let lines = exec["env"].as_array_mut().unwrap();
        for proxy in proxies {
            if !lines.contains(&proxy) {
                lines.push(proxy);
            }
        }
    }
}

/// An error of ours must stand where BuildKit's stands, if that says where.
fn wrong_lines(error: &Value, found: &[Diagnostic]) -> Vec<String> {
    let places: Vec<(u64, u64)> = error["lines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|range| Some((range[0].as_u64()?, range[1].as_u64()?)))
        .collect();
    let errors = || found.iter().filter(|one| one.is_error());
    let is_there = |one: &Diagnostic| {
        let line = u64::from(one.span.line);
        places
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&line))
    };
    if places.is_empty() || errors().any(is_there) {
        return Vec::new();
    }
    vec![format!(
        "BuildKit's error is at {}: {}; ours: {}",
        error["lines"],
        error["message"],
        errors()
            .map(|one| one.compact("Dockerfile"))
            .collect::<Vec<_>>()
            .join(" | ")
    )]
}

/// Without members that say nothing, and without times: those of new history entries are not planned.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(normal).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .filter(|(name, _)| *name != "created")
                .map(|(name, value)| (name.clone(), normal(value)))
                .filter(|(_, value)| !says_nothing(value));
            Value::Object(members.collect::<Map<_, _>>())
        }
        value => value.clone(),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        // An exposed port and a volume are names with an empty object.
        Value::Object(_) => false,
    }
}

fn collect(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                let of = |members: &Map<String, Value>| {
                    members.get(name).cloned().unwrap_or(Value::Null)
                };
                collect(&format!("{path}.{name}"), &of(left), &of(right), found);
            }
        }
        // Equal operations are done once, and stand at several lines.
        (Value::Array(left), Value::Array(right)) if path.ends_with(".lines") => {
            if !right.iter().all(|line| left.contains(line)) {
                found.push(format!("{path}: BuildKit {theirs}, we {ours}"));
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (theirs, ours)) in left.iter().zip(right).enumerate() {
                collect(&format!("{path}[{index}]"), theirs, ours, found);
            }
        }
        (Value::String(left), Value::String(right)) if is_same_path(path, left, right) => {}
        // What a named context gives has no configuration, until BuildKit writes the image.
        (Value::Null, Value::String(kind)) if path == "config.rootfs.type" && kind == "layers" => {}
        (theirs, ours) if is_same(theirs, ours) => {}
        (theirs, ours) => found.push(format!("{path}: BuildKit {theirs}, we {ours}")),
    }
}

/// A target is clean; a destination `x/.` is the directory `x/`; a working directory
/// is the same when it is cleaned.
fn is_same_path(path: &str, theirs: &str, ours: &str) -> bool {
    // A relative target of a secret is seen from the working directory when it is mounted.
    let is_relative = |path: &str| !path.starts_with('/');
    // An image that a named context is has no digest there.
    (path.ends_with(".source") && ours.starts_with(&format!("{theirs}@")))
        || (path.ends_with(".target")
            && is_relative(theirs)
            && ours.ends_with(&format!("/{theirs}")))
        || (path.ends_with(".target") && absolute(theirs) == ours)
        || (path.ends_with(".destination") && theirs.strip_suffix('.') == Some(ours))
        || (path.ends_with(".cwd") && absolute(theirs) == ours)
}

/// Equal, where nothing and an empty object or list are the same.
fn is_same(theirs: &Value, ours: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(values) => values.is_empty(),
        value => value.is_null(),
    };
    theirs == ours || (is_empty(theirs) && is_empty(ours))
}

/// BuildKit's warnings, sorted: the rule and the line.
pub(crate) fn warnings(judged: &Value) -> Vec<(String, u32)> {
    let found = judged["warnings"].as_array().into_iter().flatten();
    let mut found: Vec<(String, u32)> = found
        .map(|one| {
            let line = one["line"].as_u64().unwrap();
            let rule = one["rule"].as_str().unwrap();
            (rule.to_owned(), u32::try_from(line).unwrap())
        })
        .collect();
    found.sort();
    found
}
