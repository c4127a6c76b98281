//! `cargo xtask bench`: what a `RUN` costs beside the same commands without a supervisor, and how much memory the
//! engine takes (`memory.rs`).
//!
//! Of a `RUN`, both sides run on one root file system on this machine: natively as root of namespaces of their own, and through a
//! local runner. They take turns, so that what else the machine does meets both; the middle of the rounds counts.
//! Invariant: a side's time is taken inside, around the load alone; its processor time is that of all its processes,
//! the supervisor among them.

mod image;
mod load;
mod memory;
mod registry;
mod root;
mod timeline;

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use clap::Subcommand;

use self::load::{LOADS, Load};
use crate::command::{capture, cargo, phase, run as run_program};
use crate::setup;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// RUN steps through the fake-root supervisor, beside the same without it; needs root
    Run {
        /// How often each side runs
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Only loads whose name contains this
        filter: Option<String>,
    },
    /// Peak memory of the engine by size of the image, from and to a registry of this machine
    Memory {
        /// Sizes of the images, in MB
        #[arg(long, value_delimiter = ',', default_value = "100,1000,4000")]
        sizes: Vec<u64>,
        /// Files of the image whose number of files is what is measured
        #[arg(long, default_value_t = 20_000)]
        many_files: u64,
        /// Builder to measure [default: a release build of this checkout]
        #[arg(long, value_name = "FILE")]
        builder: Option<std::path::PathBuf>,
    },
    /// Draw the time line of a diamond of stages from the engine's own trace
    Timeline {
        /// The picture
        #[arg(
            long,
            value_name = "FILE",
            default_value = "docs/internals/diamond.svg"
        )]
        to: std::path::PathBuf,
        /// Builder to watch [default: a release build of this checkout]
        #[arg(long, value_name = "FILE")]
        builder: Option<std::path::PathBuf>,
    },
}

/// Carries out `action`.
pub(crate) fn run(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::Run { rounds, filter } => run_steps(*rounds, filter.as_deref()),
        Action::Memory {
            sizes,
            many_files,
            builder,
        } => memory::run(sizes, *many_files, builder.as_deref()),
        Action::Timeline { to, builder } => timeline::run(to, builder.as_deref()),
    }
}

fn run_steps(rounds: u32, filter: Option<&str>) -> anyhow::Result<()> {
    setup::for_benchmarks()?;
    let root = phase("file system of the loads", root::prepare)?;
    let sides = [Side::Native, Side::Runner(build_runner()?)];
    let chosen = |load: &&Load| filter.is_none_or(|text| load.name.contains(text));
    println!(
        "{:<12} {:>10} {:>10} {:>7} {:>11} {:>6}",
        "load", "native", "RUN", "ratio", "cpu ratio", "bar"
    );
    for load in LOADS.iter().filter(chosen) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (side, times) in sides.iter().zip(&mut times) {
                times.push(side.measure(&root, load)?);
            }
        }
        let [native, emulated] = times.map(|times| Times::middle(&times));
        println!(
            "{:<12} {:>7.0} ms {:>7.0} ms {:>7.2} {:>11.2} {:>6.2}",
            load.name,
            native.wall * 1e3,
            emulated.wall * 1e3,
            emulated.wall / native.wall,
            emulated.processor / native.processor,
            load.bar
        );
    }
    Ok(())
}

/// The program that executes one command through a local runner.
fn build_runner() -> anyhow::Result<std::path::PathBuf> {
    let arguments = [
        "build",
        "--release",
        "-p",
        "stagecraft-sandbox",
        "--example",
        "run",
    ];
    phase("runner", || run_program(cargo().args(arguments)))?;
    let metadata = capture(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str();
    Ok(Path::new(target.context("cargo names no target directory")?).join("release/examples/run"))
}

/// How a load runs.
enum Side {
    /// As root of namespaces of its own, under no filter.
    Native,
    /// Through this program.
    Runner(std::path::PathBuf),
}

impl Side {
    fn measure(&self, root: &Path, load: &Load) -> anyhow::Result<Times> {
        let mut inner: Vec<&std::ffi::OsStr> = Vec::new();
        match self {
            Self::Native => {
                let enter = "mount --rbind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
                let unshare = [
                    "unshare",
                    "--user",
                    "--map-root-user",
                    "--mount",
                    "--pid",
                    "--fork",
                    "sh",
                    "-c",
                    enter,
                ];
                inner.extend(unshare.map(std::ffi::OsStr::new));
            }
            Self::Runner(program) => inner.push(program.as_os_str()),
        }
        inner.push(root.as_os_str());
        let script = load.timed();
        // The shell that waits for all of it knows what processor time that took.
        let output = capture(
            Command::new("sh")
                .args(["-c", "\"$@\" 2> /dev/null && times", "sh"])
                .args(inner)
                .args(["sh", "-ec", &script]),
        )
        .with_context(|| format!("the load {} failed", load.name))?;
        Times::read(&output).with_context(|| format!("{output:?} tells no times"))
    }
}

/// What a load took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    wall: f64,
    processor: f64,
}

impl Times {
    /// Reads the line of nanoseconds that a load prints, and the second of `times`: user and system time of children.
    fn read(output: &str) -> Option<Self> {
        let mut lines = output.lines().rev();
        let children = lines.next()?;
        let _own = lines.next()?;
        let nanoseconds: f64 = lines.next()?.parse().ok()?;
        let seconds = |text: &str| -> Option<f64> {
            let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
            Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
        };
        let (user, system) = children.split_once(' ')?;
        Some(Self {
            wall: nanoseconds / 1e9,
            processor: seconds(user)? + seconds(system)?,
        })
    }

    /// The medians of several rounds.
    fn middle(rounds: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            wall: median(|times| times.wall),
            processor: median(|times| times.processor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_what_shell_and_load_print() {
        let output = "something else\n1500000000\n0m0.00s 0m0.01s\n1m2.50s 0m0.25s\n";
        let times = Times {
            wall: 1.5,
            processor: 62.75,
        };
        assert_eq!(Times::read(output), Some(times));
        assert_eq!(Times::read("0m0.00s 0m0.01s\n1m2.50s 0m0.25s\n"), None);
    }

    #[test]
    fn the_middle_is_taken_of_each_time_by_itself() {
        let of = |wall: f64, processor: f64| Times { wall, processor };
        let rounds = [of(3.0, 1.0), of(1.0, 9.0), of(2.0, 5.0)];
        assert_eq!(Times::middle(&rounds), of(2.0, 5.0));
    }
}
