//! The conversation with the engine, the same in a pod and on a machine.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use stagecraft_protocol::PROTOCOL_VERSION;
use stagecraft_protocol::runner::{EngineMessage, RunnerMessage};

use super::clean::{self, CleanError};
use super::self_test::{self, SelfTestError};
use super::step::{self, StepError};
use super::usage::MemoryKills;
use crate::channel::{Channel, ChannelError};
use crate::supervisor::Records;
use crate::system::memory::Reach;
use crate::system::process;
use crate::system::signals::{self, Arrived};

/// Why a session ended otherwise than by the engine's order.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("cannot prepare the runner: {action}")]
    Prepare {
        action: &'static str,
        #[source]
        source: Errno,
    },
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    #[error("cannot open the root file system")]
    Root(#[source] Errno),
    #[error("cannot read the mounts")]
    Mounts(#[source] std::io::Error),
    #[error("cannot wait for the engine")]
    Wait(#[source] Errno),
    #[error("the connection to the engine failed")]
    Channel(#[from] ChannelError),
    #[error("the engine sent {0} descriptors with a step, not 2")]
    Streams(usize),
    #[error("cannot empty the root file system")]
    Empty(#[from] CleanError),
    #[error("cannot execute steps")]
    Step(#[from] StepError),
}

/// What a session works with from step to step.
pub(super) struct Session {
    pub(super) channel: Channel,
    pub(super) signals: OwnedFd,
    pub(super) kills: MemoryKills,
    pub(super) reach: Reach,
    pub(super) records: Arc<Records>,
}

/// What woke the runner.
pub(super) struct Woken {
    /// The engine said something, or is gone.
    pub(super) by_engine: bool,
    pub(super) signals: Vec<Arrived>,
}

impl Session {
    /// Serves the engine until it dismisses the runner or is gone.
    ///
    /// # Errors
    /// When the runner cannot work here (the engine was told) or cannot go on.
    pub(super) fn run(
        channel: Channel,
        index: u32,
        kills: MemoryKills,
        problem: Option<String>,
    ) -> Result<(), SessionError> {
        let prepared = prepare();
        let problem = problem.or_else(|| prepared.as_ref().err().map(|error| super::chain(error)));
        let greeting = RunnerMessage::Hello {
            protocol_version: PROTOCOL_VERSION,
            index,
            problem,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).map_err(SessionError::Root)?;
        channel.send(&greeting, &[root.as_fd()])?;
        drop(root);
        let (signals, reach) = prepared?;
        let records = Records::of_this_namespace().map_err(SessionError::Mounts)?;
        let session = Self {
            channel,
            signals,
            kills,
            reach,
            records: Arc::new(records),
        };
        let result = session.serve();
        if let Err(error) = &result {
            let _ = session
                .channel
                .send(&RunnerMessage::Failed(super::chain(error)), &[]);
        }
        result
    }

    fn serve(&self) -> Result<(), SessionError> {
        loop {
            let woken = self.wait()?;
            if woken.signals.iter().any(ends) {
                return Ok(());
            }
            if !woken.by_engine {
                continue;
            }
            let (message, streams) = match self.channel.receive::<EngineMessage>() {
                Err(ChannelError::Closed) => return Ok(()),
                other => other?,
            };
            match message {
                EngineMessage::Execute(request) => {
                    let count = streams.len();
                    let streams = streams
                        .try_into()
                        .map_err(|_| SessionError::Streams(count))?;
                    match step::execute(self, *request, streams)? {
                        step::End::Answer(answer) => self.channel.send(&answer, &[])?,
                        step::End::Dismissed => return Ok(()),
                    }
                }
                EngineMessage::Empty => {
                    clean::empty("/")?;
                    self.records.forget();
                    self.channel.send(&RunnerMessage::Emptied, &[])?;
                }
                // It crossed the end of the step that it was meant for.
                EngineMessage::Kill => {}
                EngineMessage::Dismiss => return Ok(()),
            }
        }
    }

    /// Waits for the engine or a signal.
    pub(super) fn wait(&self) -> Result<Woken, SessionError> {
        let mut entries = [
            PollFd::from_borrowed_fd(self.channel.as_descriptor(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        loop {
            match poll(&mut entries, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(SessionError::Wait(error)),
            }
        }
        let [engine, signals] = entries.map(|entry| !entry.revents().is_empty());
        let signals = if signals {
            signals::arrived(&self.signals)
        } else {
            Vec::new()
        };
        Ok(Woken {
            by_engine: engine,
            signals,
        })
    }
}

/// Whether a signal orders the runner to end: those of its own namespace order nothing.
pub(super) fn ends(signal: &Arrived) -> bool {
    signal.signal != libc::SIGCHLD && signal.from_outside
}

/// Makes the process what a runner must be, and tests whether it can work.
fn prepare() -> Result<(OwnedFd, Reach), SessionError> {
    let failed = |action| move |source| SessionError::Prepare { action, source };
    process::renounce_privileges().map_err(failed("renounce new privileges"))?;
    process::adopt_orphans().map_err(failed("adopt orphans"))?;
    // What the supervisor makes has the mode it asks for; steps start with the usual mask.
    rustix::process::umask(Mode::empty());
    signals::prepare_interrupting().map_err(failed("handle a signal"))?;
    let signals = signals::take_over().map_err(failed("take over signals"))?;
    self_test::attributes()?;
    let reach = self_test::run()?;
    process::become_unreachable().map_err(failed("become unreachable"))?;
    Ok((signals, reach))
}
