//! Visible but quiet progress: a line when a phase starts, one when it ends, and one a minute between.
//!
//! What a program prints goes to a log file of its phase; a failure shows the end of it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How often a phase that takes long says that it is still at work.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// Lines of a failed program's output that are shown.
const SHOWN_LINES: usize = 25;

/// The phases of one command.
pub(crate) struct Phases {
    started: Instant,
    logs: PathBuf,
}

impl Phases {
    /// Starts the clock; output of programs goes to files in `logs`.
    pub(crate) fn start(logs: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self {
            started: Instant::now(),
            logs,
        })
    }

    /// Runs `work` as a phase called `name`; it gets the path of its log.
    pub(crate) fn run<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let log = self.logs.join(format!("{}.log", name.replace(' ', "-")));
        File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        self.note(name);
        let begun = Instant::now();
        let (finished, waiting) = mpsc::channel::<()>();
        let result = std::thread::scope(|scope| {
            scope.spawn(move || {
                while waiting.recv_timeout(HEARTBEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                    self.note(&format!(
                        "{name}: at it for {} s",
                        begun.elapsed().as_secs()
                    ));
                }
            });
            let result = work(&log);
            drop(finished);
            result
        });
        let value = result.with_context(|| format!("{name} failed"))?;
        self.note(&format!(
            "{name}: done in {:.1} s",
            begun.elapsed().as_secs_f32()
        ));
        Ok(value)
    }

    /// Prints one line with the time since the start.
    pub(crate) fn note(&self, text: &str) {
        let mut output = std::io::stdout().lock();
        // A closed standard output is no reason to leave a cluster half built.
        let _ = writeln!(output, "[{:>4} s] {text}", self.started.elapsed().as_secs());
    }

    /// Prints the last line.
    pub(crate) fn finish(&self, text: &str) {
        self.note(&format!(
            "{text} after {:.1} s",
            self.started.elapsed().as_secs_f32()
        ));
    }
}

/// Runs `command` to its end with its output appended to `log`.
///
/// # Errors
/// When it cannot be started or fails; the message ends with the last lines of the log.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log file")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}; {}", log_end(log));
    }
    Ok(())
}

/// The last lines of `log`, introduced by its path.
pub(crate) fn log_end(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    format!("{} ends with:\n{}", log.display(), lines[from..].join("\n"))
}

/// Asks `condition` until it holds.
///
/// # Errors
/// When it does not within `limit`; the message is `what` and the last reason that `condition` gave.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Ok(()) => return Ok(()),
            Err(reason) if Instant::now() >= deadline => {
                return Err(reason.context(format!("{what}: not within {} s", limit.as_secs())));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
