//! The two builders that answer a case: ours in local mode, and BuildKit.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use crate::case::{Case, Topic};
use crate::entry::TIME;
use crate::image;
use crate::place;
use crate::registry::Registry;

/// A builder of the corpus.
#[derive(Clone, Debug)]
pub(crate) enum Builder {
    Ours,
    /// `buildctl`, and the address of its daemon.
    BuildKit(PathBuf, String),
}

/// What all builds of a run share.
pub(crate) struct Surroundings {
    pub(crate) registry: std::sync::Arc<Registry>,
    pub(crate) port: u16,
}

/// The answer to a case: the image as lines, or the failure.
pub(crate) fn answer(
    builder: &Builder,
    topic: &Topic,
    case: &Case,
    around: &Surroundings,
) -> Vec<String> {
    let directory = tempfile::Builder::new()
        .prefix("stagecraft-case-")
        .tempdir()
        .unwrap();
    let context = directory.path().join("context");
    std::fs::create_dir(&context).unwrap();
    let mut archives = topic.archives.clone();
    archives.extend(case.archives.clone());
    let mut lines = case.context.as_ref().unwrap_or(&topic.context).clone();
    lines.extend(case.more.iter().cloned());
    std::fs::write(context.join("Dockerfile"), &case.dockerfile).unwrap();
    if let Some(ignore) = &case.ignore {
        std::fs::write(context.join(".dockerignore"), ignore).unwrap();
    }
    let time = own_time();
    place::place(&context, &lines, &archives, time);
    for file in ["Dockerfile", ".dockerignore"] {
        place::settle(&context.join(file), time);
    }
    place::settle(&context, time);
    match builder {
        Builder::Ours => ours(directory.path(), case, around),
        Builder::BuildKit(program, address) => {
            buildkit(directory.path(), program, address, case, around)
        }
    }
}

/// Times that files of contexts have.
const OWN_TIMES: Range<i64> = TIME + 1..TIME + 99_000_000;

/// The time that files of one context have, for as long as a machine's daemon may remember it: BuildKit takes files of
/// the same size and time from one build's context for another's.
fn own_time() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OWN_TIMES.start + (now.cast_signed() * 64 + number) % (OWN_TIMES.end - OWN_TIMES.start)
}

/// Whether it is a time of some context's files: of two builds at a time that copy the same, BuildKit carries out one.
pub(crate) fn is_own_time(seconds: i64) -> bool {
    OWN_TIMES.contains(&seconds)
}

fn ours(directory: &Path, case: &Case, around: &Surroundings) -> Vec<String> {
    let layout = directory.join("layout");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"));
    command.args(["build", "--progress", "quiet", "--error-format", "json"]);
    command
        .arg("--registry-mirror")
        .arg(format!("docker.io=http://127.0.0.1:{}", around.port));
    command
        .arg("--output")
        .arg(format!("type=oci,dest={}", layout.display()));
    command.args([
        "--platform",
        case.platform.as_deref().unwrap_or("linux/amd64"),
    ]);
    for (name, value) in &case.args {
        command.args(["--build-arg", &format!("{name}={value}")]);
    }
    for (name, value) in &case.labels {
        command.args(["--label", &format!("{name}={value}")]);
    }
    if let Some(target) = &case.target {
        command.args(["--target", target]);
    }
    if let Some(epoch) = case.epoch {
        command.args(["--source-date-epoch", &epoch.to_string()]);
    }
    command
        .arg(directory.join("context"))
        .env_remove("SOURCE_DATE_EPOCH");
    let output = command.stdin(Stdio::null()).output().unwrap();
    if output.status.success() {
        return image::lines(&layout, case, around);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    let failure: Value = serde_json::from_str(last).unwrap_or_else(|error| {
        panic!("{error}: our build ended with {}\n{stderr}", output.status)
    });
    let place = failure["line"]
        .as_u64()
        .or_else(|| failure["place"]["line"].as_u64());
    vec![failed(place), format!("# {last}")]
}

fn failed(line: Option<u64>) -> String {
    line.map_or_else(
        || "fails".to_owned(),
        |line| format!("fails in line {line}"),
    )
}

fn buildkit(
    directory: &Path,
    program: &Path,
    address: &str,
    case: &Case,
    around: &Surroundings,
) -> Vec<String> {
    let layout = directory.join("layout");
    let context = directory.join("context");
    let mut command = Command::new(program);
    command.args([
        "--addr",
        address,
        "build",
        "--no-cache",
        "--progress",
        "plain",
    ]);
    command.args(["--frontend", "dockerfile.v0"]);
    for name in ["context", "dockerfile"] {
        let local = format!("{name}={}", context.display());
        command.arg("--local").arg(local);
    }
    let mut option = |name: &str, value: &str| {
        command.arg("--opt").arg(format!("{name}={value}"));
    };
    option(
        "platform",
        case.platform.as_deref().unwrap_or("linux/amd64"),
    );
    for (name, value) in &case.args {
        option(&format!("build-arg:{name}"), value);
    }
    for (name, value) in &case.labels {
        option(&format!("label:{name}"), value);
    }
    if let Some(target) = &case.target {
        option("target", target);
    }
    let mut output = format!("type=oci,tar=false,dest={}", layout.display());
    if let Some(epoch) = case.epoch {
        option("build-arg:SOURCE_DATE_EPOCH", &epoch.to_string());
        output.push_str(",rewrite-timestamp=true");
    }
    command
        .arg("--output")
        .arg(output)
        .env_remove("SOURCE_DATE_EPOCH");
    let output = command.stdin(Stdio::null()).output().unwrap();
    if output.status.success() {
        return image::lines(&layout, case, around);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("error: "));
    let last = last.unwrap_or_else(|| panic!("buildctl ended without an error:\n{stderr}"));
    let place = stderr
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("Dockerfile:"))
        .and_then(|line| line.trim().parse().ok());
    vec![failed(place), format!("# {}", without_state(last))]
}

/// A message of BuildKit without the directories of its state, which are others every time.
fn without_state(message: &str) -> String {
    let short = |word: &str| {
        let (_, inside) = word.split_once("/runc-overlayfs/")?;
        let of_snapshot = inside.split_once("/fs/");
        let (_, path) =
            of_snapshot.or_else(|| inside.strip_prefix("cachemounts/")?.split_once('/'))?;
        Some(format!("…/{path}"))
    };
    let words = message
        .split(' ')
        .map(|word| short(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}
