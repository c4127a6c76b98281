//! The corpus of the engine: what BuildKit makes of a case is on record, and ours must be the same.
//!
//! Without options our engine answers every case, in local mode, and is held to the record. `--against ADDRESS
//! --buildctl PROGRAM` asks a BuildKit daemon instead, which must still answer as recorded; with `--update` its answers
//! become the record, and ours where a case says that we differ. The daemon takes `docker.io` from the mirror
//! `127.0.0.1:PORT` (`--port`), where this program serves the corpus' images.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it must be"
)]
mod archive;
mod builders;
mod case;
mod entry;
mod golden;
mod image;
mod place;
mod registry;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use builders::{Builder, Surroundings};
use case::{Case, Topic};
use golden::{Golden, Goldens};

#[derive(Default)]
struct Arguments {
    filter: String,
    against: Option<String>,
    buildctl: PathBuf,
    port: u16,
    update: bool,
    list: bool,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self::default();
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut value = || {
                given
                    .next()
                    .unwrap_or_else(|| panic!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--against" => read.against = Some(value()),
                "--buildctl" => read.buildctl = value().into(),
                "--port" => read.port = value().parse().unwrap(),
                "--update" => read.update = true,
                "--list" => read.list = true,
                // What cargo gives every test program.
                "--quiet" | "--nocapture" => {}
                filter if !filter.starts_with('-') => read.filter = filter.to_owned(),
                other => panic!("{other} is no option of this program"),
            }
        }
        read
    }
}

/// A case and its topic.
#[derive(Clone, Copy)]
struct Selected<'a> {
    topic_name: &'a str,
    topic: &'a Topic,
    case: &'a Case,
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let topics = case::read_all();
    let selected: Vec<Selected<'_>> = topics
        .iter()
        .flat_map(|(topic_name, topic)| {
            let with_topic = move |case| Selected {
                topic_name,
                topic,
                case,
            };
            topic.case.iter().map(with_topic)
        })
        .filter(|s| format!("{}/{}", s.topic_name, s.case.name).contains(&arguments.filter))
        .collect();
    if arguments.list {
        for s in &selected {
            println!("{}/{}: test", s.topic_name, s.case.name);
        }
        return ExitCode::SUCCESS;
    }
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).expect("a port for the images");
    let port = listener.local_addr().unwrap().port();
    let registry = Arc::new(registry::Registry::of(&topics));
    Arc::clone(&registry).serve(listener);
    let around = Surroundings { registry, port };
    let started = std::time::Instant::now();
    let mut failures = Vec::new();
    let goldens: BTreeMap<&str, Goldens> = topics
        .keys()
        .map(|name| (name.as_str(), golden::read(name)))
        .collect();
    let goldens = match &arguments.against {
        Some(address) => {
            let judge = Builder::BuildKit(arguments.buildctl.clone(), address.clone());
            let answers = answers(&judge, &selected, &around, 4);
            if arguments.update {
                recorded(&selected, answers, goldens, &topics)
            } else {
                failures.extend(differences(&selected, &answers, &goldens, true));
                goldens
            }
        }
        None => goldens,
    };
    if arguments.against.is_none() || arguments.update {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let answers = answers(&Builder::Ours, &selected, &around, threads);
        let goldens = if arguments.update {
            own_differences(&selected, &answers, goldens, &topics)
        } else {
            goldens
        };
        failures.extend(differences(&selected, &answers, &goldens, false));
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!(
        "engine: {} cases, {} failures, in {:.1} s",
        selected.len(),
        failures.len(),
        started.elapsed().as_secs_f32()
    );
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The answers of a builder, in the order of the cases. A case that breaks its own test is one line.
fn answers(
    builder: &Builder,
    selected: &[Selected<'_>],
    around: &Surroundings,
    threads: usize,
) -> Vec<Vec<String>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![Vec::new(); selected.len()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(s) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = std::panic::catch_unwind(|| {
                        builders::answer(builder, s.topic, s.case, around)
                    });
                    let answer =
                        answer.unwrap_or_else(|_| vec![format!("panic in {}", s.case.name)]);
                    let at = selected
                        .iter()
                        .position(|other| std::ptr::eq(other.case, s.case))
                        .unwrap();
                    answers.lock().unwrap()[at] = answer;
                }
            });
        }
    });
    answers.into_inner().unwrap()
}

/// Sets BuildKit's answers and writes them.
fn recorded<'a>(
    selected: &[Selected<'_>],
    answers: Vec<Vec<String>>,
    mut goldens: BTreeMap<&'a str, Goldens>,
    topics: &BTreeMap<String, Topic>,
) -> BTreeMap<&'a str, Goldens> {
    for (s, answer) in selected.iter().zip(answers) {
        let goldens = goldens.get_mut(s.topic_name).unwrap();
        let golden = goldens.entry(s.case.name.clone()).or_default();
        if !golden::is_same(&golden.buildkit, &answer) || golden.buildkit.is_empty() {
            golden.buildkit = answer;
        }
    }
    write(&goldens, topics);
    goldens
}

/// Sets our answers of the cases that say that we differ, and writes them.
fn own_differences<'a>(
    selected: &[Selected<'_>],
    answers: &[Vec<String>],
    mut goldens: BTreeMap<&'a str, Goldens>,
    topics: &BTreeMap<String, Topic>,
) -> BTreeMap<&'a str, Goldens> {
    for (s, answer) in selected.iter().zip(answers) {
        let Some(golden) = goldens
            .get_mut(s.topic_name)
            .and_then(|g| g.get_mut(&s.case.name))
        else {
            continue;
        };
        golden.ours = s.case.is_different().then(|| answer.clone());
    }
    write(&goldens, topics);
    goldens
}

fn write(goldens: &BTreeMap<&str, Goldens>, topics: &BTreeMap<String, Topic>) {
    for (name, goldens) in goldens {
        let cases = topics[*name].case.iter().map(|case| case.name.as_str());
        golden::write(name, cases, goldens);
    }
}

/// Every answer that is not as it must be, as it is shown.
fn differences(
    selected: &[Selected<'_>],
    answers: &[Vec<String>],
    goldens: &BTreeMap<&str, Goldens>,
    of_buildkit: bool,
) -> Vec<String> {
    let mut failures = Vec::new();
    for (s, answer) in selected.iter().zip(answers) {
        let name = format!("{}/{}", s.topic_name, s.case.name);
        let Some(golden) = goldens[s.topic_name].get(&s.case.name) else {
            let answer = golden::difference(&[], answer);
            failures.push(format!(
                "{name}: nothing is on record; run with --update\n{answer}"
            ));
            continue;
        };
        failures.extend(difference(&name, s.case, golden, answer, of_buildkit));
    }
    failures
}

fn difference(
    name: &str,
    case: &Case,
    golden: &Golden,
    answer: &[String],
    of_buildkit: bool,
) -> Option<String> {
    let expected = match &golden.ours {
        Some(ours) if !of_buildkit => {
            if golden::is_same(&golden.buildkit, answer) {
                return Some(format!(
                    "{name}: the answer is BuildKit's now; take its `difference` or `open` away"
                ));
            }
            ours
        }
        _ => &golden.buildkit,
    };
    if !of_buildkit && golden.ours.is_some() != case.is_different() {
        return Some(format!(
            "{name}: has no answer of ours on record; run with --update"
        ));
    }
    if golden::is_same(expected, answer) {
        return None;
    }
    Some(format!("{name}\n{}", golden::difference(expected, answer)))
}
