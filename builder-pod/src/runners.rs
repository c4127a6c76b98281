//! The runners of a build: how they are come by, who has which, and what stands in their roots.
//!
//! A pod has as many runners as its containers; locally they are started when first needed. A runner that is
//! given back keeps its root, named after the stage it holds, until another stage wants the runner: whoever
//! continues that stage continues in place, and everyone else finds the stage's layers in the store.
//!
//! Invariant: nobody holds a runner while waiting for another stage, so few runners never deadlock.
//! Invariant: dropping the pool ends every runner, whatever it executes.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use stagecraft_protocol::runner::{EngineMessage, ExecuteRequest, RunnerMessage};
use stagecraft_sandbox::{Channel, ChannelError, Listener, LocalOptions, SandboxError};
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};

use crate::rootfs::Rootfs;

/// Where runners come from.
#[derive(Debug)]
pub enum RunnerSource {
    /// The other containers of this pod connect to an abstract socket.
    Pod {
        /// The socket, bound before anything else is done, so that no runner waits in vain.
        listener: Listener,
        /// How many of them there are.
        count: u32,
    },
    /// Processes of this machine, started when needed.
    Local {
        /// The `stagecraft-builder` executable.
        program: PathBuf,
    },
}

/// Why a runner could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The pod's runners could not be waited for.
    #[error("cannot meet the pod's runners")]
    Meet(#[source] SandboxError),
    /// A local runner did not start.
    #[error("cannot start a runner on this machine")]
    Launch(#[source] SandboxError),
    /// A directory for a local root could not be made.
    #[error("cannot make the root directory {path}")]
    RootDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It speaks another protocol or sent something else than a greeting.
    #[error("runner {index} greeted with {found}")]
    Greeting {
        /// Its number as expected.
        index: u32,
        /// What came instead, in words.
        found: String,
    },
    /// Its self-test found that `RUN` cannot work here.
    #[error("{0}")]
    SelfTest(String),
    /// The connection broke.
    #[error("the connection to runner {index} ended while it {activity}")]
    Lost {
        /// Its number.
        index: u32,
        /// What it was doing.
        activity: &'static str,
        /// The cause.
        #[source]
        source: ChannelError,
    },
    /// It gave up, in its own words.
    #[error("runner {index} failed: {message}")]
    Failed {
        /// Its number.
        index: u32,
        /// Its words.
        message: String,
    },
}

/// A connected runner.
pub struct Runner {
    index: u32,
    channel: Channel,
    /// Its root, as the engine works on it, and the stage whose files are in it.
    pub root: Option<Rootfs>,
    descriptor: OwnedFd,
    // Held so that the process is reaped when the runner is dropped.
    child: Option<Child>,
}

/// What names the content of a root: a stage and how many of its steps are in it.
pub type Content = (usize, usize);

struct Idle {
    runner: Runner,
    content: Option<Content>,
}

/// All runners of a build.
pub struct RunnerPool {
    /// What starts further runners; `None` in a pod, which has all it will ever have.
    program: Option<PathBuf>,
    scratch: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    started: Mutex<u32>,
    /// Read by every launch from its begin to its end.
    launches: Arc<RwLock<()>>,
}

/// A runner on loan.
pub struct Lease {
    /// The runner.
    pub runner: Runner,
    /// What its root holds; `None` when it is empty.
    pub content: Option<Content>,
    permit: OwnedSemaphorePermit,
}

impl RunnerPool {
    /// A pool that lends at most `at_a_time` runners. In a pod, waits for all of them to connect.
    ///
    /// # Errors
    /// When a runner of the pod does not connect, or its self-test failed.
    pub async fn open(
        source: RunnerSource,
        scratch: PathBuf,
        at_a_time: u32,
    ) -> Result<Self, RunnerError> {
        let (program, runners, lendable) = match source {
            RunnerSource::Local { program } => (Some(program), Vec::new(), at_a_time),
            RunnerSource::Pod { listener, count } => {
                let runners = crate::store::blocking(move || meet(listener, count)).await?;
                (None, runners, at_a_time.min(count))
            }
        };
        let idle = runners
            .into_iter()
            .map(|runner| Idle {
                runner,
                content: None,
            })
            .collect();
        let permits = Arc::new(Semaphore::new(lendable.clamp(1, 1024) as usize));
        Ok(Self {
            program,
            scratch,
            permits,
            idle: Mutex::new(idle),
            started: Mutex::new(0),
            launches: Arc::default(),
        })
    }

    /// Lends a runner, if possible one whose root already holds `wanted`.
    ///
    /// # Errors
    /// When a local runner does not start.
    pub async fn acquire(&self, wanted: Option<Content>) -> Result<Lease, RunnerError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let Ok(permit) = permit else {
            return Err(RunnerError::SelfTest("the build is ending".to_owned()));
        };
        if let Some(idle) = self.take_idle(wanted) {
            return Ok(Lease {
                runner: idle.runner,
                content: idle.content,
                permit,
            });
        }
        let Some(program) = &self.program else {
            // Permits never exceed the pod's runners, so one is idle whenever a permit was free.
            return Err(RunnerError::SelfTest(
                "the pod has no idle runner".to_owned(),
            ));
        };
        let index = {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            *started += 1;
            *started - 1
        };
        let (program, root) = (program.clone(), self.scratch.join(format!("root-{index}")));
        let launching = Arc::clone(&self.launches).read_owned().await;
        let launched = crate::store::blocking(move || {
            let launched = launch(program, root, index);
            drop(launching);
            launched
        });
        let runner = launched.await?;
        Ok(Lease {
            runner,
            content: None,
            permit,
        })
    }

    /// Waits for launches that nobody waits for any more: a runner whose scratch is gone complains.
    pub async fn settle(&self) {
        drop(self.launches.write().await);
    }

    /// What roots hold is of no use any more: whoever gets one empties it.
    pub fn forget(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        for idle in idle.iter_mut() {
            idle.content = None;
        }
    }

    /// Takes a runner back; `content` is what its root holds now.
    pub fn release(&self, lease: Lease, content: Option<Content>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle {
            runner: lease.runner,
            content,
        });
        drop(idle);
        drop(lease.permit);
    }

    /// The wanted content first, then an empty root, then whichever was given back first.
    fn take_idle(&self, wanted: Option<Content>) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let position = idle
            .iter()
            .position(|entry| wanted.is_some() && entry.content == wanted)
            .or_else(|| idle.iter().position(|entry| entry.content.is_none()))
            .or_else(|| (!idle.is_empty()).then_some(0))?;
        Some(idle.remove(position))
    }
}

impl Runner {
    /// Executes one `RUN` step; blocks until every process of it is dead.
    ///
    /// # Errors
    /// When the runner is lost or gives up.
    pub fn execute(
        &mut self,
        request: ExecuteRequest,
        output: [OwnedFd; 2],
    ) -> Result<RunnerMessage, RunnerError> {
        use std::os::fd::AsFd;
        let message = EngineMessage::Execute(Box::new(request));
        let descriptors = [output[0].as_fd(), output[1].as_fd()];
        self.channel
            .send(&message, &descriptors)
            .map_err(self.lost("executed a step"))?;
        // Only the runner may hold the writing ends now, or the output never ends.
        drop(output);
        self.answer("executed a step")
    }

    /// Empties its root for another stage; blocks until it is done.
    ///
    /// # Errors
    /// When the runner is lost or gives up.
    pub fn empty(&mut self) -> Result<(), RunnerError> {
        self.root = None;
        self.channel
            .send(&EngineMessage::Empty, &[])
            .map_err(self.lost("emptied its root"))?;
        self.answer("emptied its root").map(|_| ())
    }

    /// A descriptor of its `/`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn root_descriptor(&self) -> std::io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }

    fn answer(&mut self, activity: &'static str) -> Result<RunnerMessage, RunnerError> {
        let (message, _) = self
            .channel
            .receive::<RunnerMessage>()
            .map_err(self.lost(activity))?;
        match message {
            RunnerMessage::Failed(message) => Err(RunnerError::Failed {
                index: self.index,
                message,
            }),
            message => Ok(message),
        }
    }

    fn lost(&self, activity: &'static str) -> impl FnOnce(ChannelError) -> RunnerError + use<> {
        let index = self.index;
        move |source| RunnerError::Lost {
            index,
            activity,
            source,
        }
    }

    /// A second handle on its socket, to end it while it executes.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn ender(&self) -> std::io::Result<Ender> {
        self.channel
            .try_clone_socket()
            .map(|socket| Ender(Some(socket)))
    }
}

/// Ends a runner, whatever it executes, when dropped.
pub struct Ender(Option<OwnedFd>);

impl Ender {
    /// The step ended by itself: nothing is to be ended any more.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            // The runner takes the end of its connection as the order to end.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.channel.send(&EngineMessage::Dismiss, &[]);
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for the pod's runners to connect.
fn meet(listener: Listener, count: u32) -> Result<Vec<Runner>, RunnerError> {
    let connections = listener.accept_runners(count).map_err(RunnerError::Meet)?;
    let greeted = connections.into_iter().map(|channel| greet(channel, None));
    let runners: Vec<Runner> = greeted.collect::<Result<_, _>>()?;
    check_indexes(runners.iter().map(|runner| runner.index))?;
    Ok(runners)
}

/// Two containers that take themselves for the same runner are no pod that the operator made.
fn check_indexes(indexes: impl Iterator<Item = u32>) -> Result<(), RunnerError> {
    let mut seen = HashSet::new();
    for index in indexes {
        if !seen.insert(index) {
            let found = "the number of another runner".to_owned();
            return Err(RunnerError::Greeting { index, found });
        }
    }
    Ok(())
}

fn launch(program: PathBuf, root: PathBuf, index: u32) -> Result<Runner, RunnerError> {
    std::fs::create_dir(&root).map_err(|source| RunnerError::RootDirectory {
        path: root.clone(),
        source,
    })?;
    let local = stagecraft_sandbox::launch_local(&LocalOptions {
        program,
        root,
        index,
    })
    .map_err(RunnerError::Launch)?;
    greet(local.channel, Some(local.child))
}

/// Takes a runner's first message.
fn greet(channel: Channel, child: Option<Child>) -> Result<Runner, RunnerError> {
    let (message, mut descriptors) =
        channel
            .receive::<RunnerMessage>()
            .map_err(|source| RunnerError::Lost {
                index: 0,
                activity: "started",
                source,
            })?;
    let RunnerMessage::Hello {
        protocol_version,
        index,
        problem,
    } = message
    else {
        return Err(RunnerError::Greeting {
            index: 0,
            found: format!("{message:?}"),
        });
    };
    if let Some(problem) = problem {
        return Err(RunnerError::SelfTest(problem));
    }
    if protocol_version != stagecraft_protocol::PROTOCOL_VERSION {
        return Err(RunnerError::Greeting {
            index,
            found: format!("protocol {protocol_version}"),
        });
    }
    let Some(descriptor) = descriptors.pop() else {
        return Err(RunnerError::Greeting {
            index,
            found: "no descriptor of its root".to_owned(),
        });
    };
    Ok(Runner {
        index,
        channel,
        root: None,
        descriptor,
        child,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runners_of_one_number_are_refused() {
        assert!(check_indexes([1, 0, 2].into_iter()).is_ok());
        let error = check_indexes([0, 1, 1].into_iter()).unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "runner 1 greeted with the number of another runner");
    }
}
