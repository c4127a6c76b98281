//! Executes one step: starts its first process under the supervisor, and ends when all of them are dead.
//!
//! Invariant: it answers only after every process of the step was reaped.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rustix::io::Errno;
use stagecraft_protocol::runner::{Ending, EngineMessage, ExecuteRequest, RunnerMessage};

use super::clean::Leftovers;
use super::lookup;
use super::script::Placed;
use super::session::{Session, SessionError, ends};
use super::usage::Usage;
use crate::channel::ChannelError;
use crate::filter::{self, Special};
use crate::supervisor::{Credentials, Place, Supervisor};
use crate::system::notification::{Notifications, install_notifying};
use crate::system::process::{self, Program, Reaped, Stage, Wait};
use crate::system::signals;

/// Threads that may answer a step's calls: one for each that can wait for a file system at a time.
const SUPERVISOR_THREADS: usize = 3;

/// Why a step cannot be executed, for a reason that is not the step's own.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("cannot install the filter of a step")]
    Filter(#[source] Errno),
    #[error("cannot note who the step's processes are")]
    Credentials(#[source] Errno),
    #[error("cannot open /dev/null")]
    Null(#[source] Errno),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("a thread of the runner panicked")]
    Panic,
}

/// How a step ended for the runner.
pub(super) enum End {
    /// The engine is told this.
    Answer(RunnerMessage),
    /// The engine is gone, or the runner was ordered to end.
    Dismissed,
}

/// Executes a step with these writing ends for its output.
pub(super) fn execute(
    session: &Session,
    request: ExecuteRequest,
    output: [OwnedFd; 2],
) -> Result<End, SessionError> {
    session.records.learn(&request.special_owners);
    let program = match program(&request, output)? {
        Ok(program) => program,
        Err(words) => return Ok(End::Answer(not_started(words))),
    };
    let leftovers = Leftovers::before();
    let script = match request.script.as_ref().map(Placed::new).transpose() {
        Ok(script) => script,
        Err(error) => return Ok(End::Answer(not_started(super::chain(&error)))),
    };
    let kills = session.kills.count();
    let first = Credentials::new(request.uid, request.gid, request.groups.clone());
    let supervisor = Supervisor::new(
        session.reach,
        first,
        Arc::clone(&session.records),
        request.mounts.clone(),
    )
    .map_err(StepError::Credentials)?;
    let running = Running::start(Arc::new(supervisor), program, &request)?;
    let (outcome, dismissed, usage) = running.watch(session)?;
    drop(script);
    leftovers.remove();
    if dismissed {
        return Ok(End::Dismissed);
    }
    let ending = match outcome {
        Outcome::Started(status, was_killed) => {
            let out_of_memory = !was_killed && session.kills.count() > kills;
            ending(status, out_of_memory)
        }
        Outcome::NotStarted(words) => Ending::NotStarted(words),
    };
    Ok(End::Answer(RunnerMessage::Exited {
        ending,
        peak_memory_bytes: usage.peak_memory_bytes,
        cpu_microseconds: usage.cpu_microseconds,
        special_owners: session.records.take_changed(),
    }))
}

/// How the first process ended, for the engine. A shell whose command was killed for memory ends with a code of
/// its own making: the cause is what counts.
fn ending(status: i32, out_of_memory: bool) -> Ending {
    if libc::WIFEXITED(status) {
        return match libc::WEXITSTATUS(status) {
            code if code != 0 && out_of_memory => Ending::Signal {
                signal: libc::SIGKILL,
                out_of_memory,
            },
            code => Ending::Code(code),
        };
    }
    Ending::Signal {
        signal: libc::WTERMSIG(status),
        out_of_memory,
    }
}

fn not_started(words: String) -> RunnerMessage {
    RunnerMessage::Exited {
        ending: Ending::NotStarted(words),
        peak_memory_bytes: 0,
        cpu_microseconds: 0,
        special_owners: Vec::new(),
    }
}

/// What to start; the inner error is the step's own fault, in words.
fn program(
    request: &ExecuteRequest,
    output: [OwnedFd; 2],
) -> Result<Result<Program, String>, StepError> {
    let null = process::open_null().map_err(StepError::Null)?;
    let text = |what: &str, text: &str| {
        CString::new(text).map_err(|_| format!("{what} has a zero byte: {text:?}"))
    };
    let texts = |what: &str, texts: &[String]| -> Result<Vec<CString>, String> {
        texts.iter().map(|entry| text(what, entry)).collect()
    };
    let name = request.arguments.first().map_or("", String::as_str);
    let resolve = || {
        let path = lookup::find(name, &request.environment, &request.working_directory)?;
        let [out, error] = output;
        Ok(Program {
            path,
            arguments: texts("an argument", &request.arguments)?,
            environment: texts("the environment", &request.environment)?,
            directory: text("the working directory", &request.working_directory)?,
            streams: [null, out, error],
        })
    };
    Ok(resolve())
}

/// How the first process came to its end.
enum Outcome {
    /// Its status as wait(2) has it, and whether the runner killed it.
    Started(i32, bool),
    /// In words, what failed.
    NotStarted(String),
}

/// A step whose first process was started.
struct Running {
    supervisor: Arc<Supervisor>,
    threads: Vec<JoinHandle<()>>,
    first: Result<u32, String>,
    /// The first process, when it ended before it was looked for.
    usage: Usage,
}

impl Running {
    /// Starts supervisor and first process.
    fn start(
        supervisor: Arc<Supervisor>,
        program: Program,
        request: &ExecuteRequest,
    ) -> Result<Self, StepError> {
        let filter = filter::notifying(Special {
            checks_permissions: supervisor.checks_permissions(),
            has_mounts: !request.mounts.is_empty(),
            without_network: request.without_network,
        });
        let (sender, receiver) = mpsc::channel::<Result<Notifications, Errno>>();
        // The filter holds for the thread that installs it and for what it forks: the runner itself stays free.
        let starter = std::thread::Builder::new().spawn(move || {
            let notifications = install_notifying(&filter);
            let is_installed = notifications.is_ok();
            let _ = sender.send(notifications);
            is_installed.then(|| (process::start(&program), program))
        });
        let starter = starter.map_err(StepError::Thread)?;
        let notifications = receiver.recv().map_err(|_| StepError::Panic)?;
        let notifications = Arc::new(notifications.map_err(StepError::Filter)?);
        let threads = (0..SUPERVISOR_THREADS)
            .map(|number| {
                let (supervisor, notifications) =
                    (Arc::clone(&supervisor), Arc::clone(&notifications));
                let place = if number == 0 {
                    Place::First
                } else {
                    Place::Reserve
                };
                std::thread::Builder::new().spawn(move || supervisor.serve(&notifications, place))
            })
            .collect::<Result<_, _>>()
            .map_err(StepError::Thread)?;
        let started = starter.join().map_err(|_| StepError::Panic)?;
        let first = match started {
            Some((Ok(process), _)) => Ok(process),
            Some((Err((stage, error)), program)) => Err(words(stage, error, &program, request)),
            None => return Err(StepError::Panic),
        };
        Ok(Self {
            supervisor,
            threads,
            first,
            usage: Usage::default(),
        })
    }

    /// Waits until the first process ends, then ends all others. Gives whether the runner must end as well.
    fn watch(mut self, session: &Session) -> Result<(Outcome, bool, Usage), SessionError> {
        let (mut dismissed, mut was_killed) = (false, false);
        let mut outcome = match &self.first {
            Ok(_) => None,
            Err(words) => Some(Outcome::NotStarted(words.clone())),
        };
        // A process may have ended before its signal could be seen.
        let mut reaping = self.reap(false);
        while outcome.is_none() {
            if let Some(status) = reaping.take() {
                outcome = Some(Outcome::Started(status, was_killed));
                break;
            }
            let woken = session.wait()?;
            let order = if woken.by_engine {
                order(session)
            } else {
                Order::None
            };
            let ended = woken.signals.iter().any(ends);
            if ended || !matches!(order, Order::None) {
                was_killed = true;
                dismissed |= ended || matches!(order, Order::End);
                process::kill_all();
                reaping = self.reap(true);
            } else {
                reaping = self.reap(false);
            }
        }
        process::kill_all();
        self.reap(true);
        self.stop();
        let usage = self.usage;
        Ok((
            outcome.unwrap_or(Outcome::Started(0, true)),
            dismissed,
            usage,
        ))
    }

    /// Reaps what has ended; `all` waits until nothing is left. Gives the first process's status when it was
    /// among them.
    fn reap(&mut self, all: bool) -> Option<i32> {
        let mut first = None;
        loop {
            match process::reap(all) {
                Wait::Ended(reaped) => first = self.note(&reaped).or(first),
                Wait::Running | Wait::NoChildren => return first,
            }
        }
    }

    fn note(&mut self, reaped: &Reaped) -> Option<i32> {
        self.usage.add(reaped);
        (self.first.as_ref() == Ok(&reaped.process)).then_some(reaped.status)
    }

    /// Ends the supervisor's threads.
    fn stop(&mut self) {
        self.supervisor.stop();
        for thread in self.threads.drain(..) {
            while !thread.is_finished() {
                signals::interrupt(&thread);
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            let _ = thread.join();
        }
        self.supervisor.settle();
    }
}

/// What the engine wants while a step runs.
enum Order {
    None,
    Kill,
    End,
}

fn order(session: &Session) -> Order {
    match session.channel.receive::<EngineMessage>() {
        Ok((EngineMessage::Kill, _)) => Order::Kill,
        Ok((EngineMessage::Dismiss, _)) | Err(ChannelError::Closed) => Order::End,
        // Anything else has no place here: an engine that sends it cannot be trusted with more.
        Ok(_) | Err(_) => Order::End,
    }
}

/// Why a program did not start, for people.
fn words(stage: Stage, error: Errno, program: &Program, request: &ExecuteRequest) -> String {
    let cause = std::io::Error::from(error);
    let cause = cause.to_string();
    let cause = cause
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    match stage {
        Stage::Streams => format!("cannot put the step's streams in place: {cause}"),
        Stage::Directory => {
            format!(
                "cannot enter the working directory {}: {cause}",
                request.working_directory
            )
        }
        Stage::Execute => {
            let path = program.path.to_string_lossy();
            let exists = rustix::fs::stat(program.path.as_c_str()).is_ok();
            if error == Errno::NOENT && exists {
                return format!("exec {path}: the interpreter it names does not exist");
            }
            format!("exec {path}: {cause}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_for_memory_is_the_cause_of_a_failure_and_of_no_success() {
        let code = |code: i32| code << 8;
        let killed = Ending::Signal {
            signal: 9,
            out_of_memory: true,
        };
        assert_eq!(ending(code(137), true), killed);
        assert_eq!(ending(code(2), true), killed);
        assert_eq!(ending(9, true), killed);
        assert_eq!(ending(code(0), true), Ending::Code(0));
        assert_eq!(ending(code(3), false), Ending::Code(3));
        assert_eq!(
            ending(11, false),
            Ending::Signal {
                signal: 11,
                out_of_memory: false
            }
        );
    }
}
