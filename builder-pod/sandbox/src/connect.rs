//! The engine's side: how it meets its runners.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::channel::Channel;
use crate::system::socket;

/// How long the runners of a pod may take to start after the engine.
const MEETING_TIME: Duration = Duration::from_secs(300);

/// Why runners cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A call failed.
    #[error("cannot {action}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// A runner could not be started.
    #[error("cannot start the runner {program}")]
    Start {
        /// The executable.
        program: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A runner did not come.
    #[error("only {met} of {expected} runners connected within {} seconds", MEETING_TIME.as_secs())]
    Missing {
        /// Runners that came.
        met: usize,
        /// Runners that were expected.
        expected: u32,
    },
    /// Somebody else connected.
    #[error("user {0} of another identity connected in a runner's place")]
    Stranger(u32),
}

fn call(action: &'static str) -> impl FnOnce(Errno) -> SandboxError {
    move |source| SandboxError::Call { action, source }
}

/// The abstract socket of a pod's engine. It takes the expected runners and is closed before any `RUN` starts.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// Listens on the abstract socket `name` of this network namespace.
    ///
    /// # Errors
    /// When somebody listens there already.
    pub fn bind_abstract(name: &str) -> Result<Self, SandboxError> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(call("make a socket"))?;
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes())
            .map_err(call("name the socket for runners"))?;
        rustix::net::bind(&socket, &address).map_err(call("bind the socket for runners"))?;
        rustix::net::listen(&socket, 16).map_err(call("listen for runners"))?;
        Ok(Self { socket })
    }

    /// Waits for `count` runners of this identity, then closes the socket.
    ///
    /// # Errors
    /// When one does not come in time, or somebody else connects.
    pub fn accept_runners(self, count: u32) -> Result<Vec<Channel>, SandboxError> {
        let deadline = Instant::now() + MEETING_TIME;
        let mut runners = Vec::new();
        while runners.len() < count as usize {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SandboxError::Missing {
                    met: runners.len(),
                    expected: count,
                });
            }
            let wait = rustix::event::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut ready, Some(&wait)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(call("wait for runners")(error)),
            }
            let socket = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC)
                .map_err(call("accept a runner"))?;
            let peer = socket::peer_user(&socket).map_err(call("ask for a runner's identity"))?;
            if peer != rustix::process::getuid().as_raw() {
                return Err(SandboxError::Stranger(peer));
            }
            runners.push(Channel::new(socket));
        }
        Ok(runners)
    }
}

/// What a local runner is started with.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// The `stagecraft-builder` executable.
    pub program: PathBuf,
    /// The directory that becomes its `/`; it exists.
    pub root: PathBuf,
    /// Its number.
    pub index: u32,
}

/// A runner on this machine.
#[derive(Debug)]
pub struct LocalRunner {
    /// The connection to it.
    pub channel: Channel,
    /// Its process. Ending it ends everything in its namespaces.
    pub child: Child,
}

/// Starts a runner in namespaces of its own: `program runner --local --index N --root DIRECTORY`, whose standard
/// input is its end of the connection.
///
/// # Errors
/// When the process cannot be started; what goes wrong in it arrives as its first message.
pub fn launch_local(options: &LocalOptions) -> Result<LocalRunner, SandboxError> {
    let start = |source| SandboxError::Start {
        program: options.program.clone(),
        source,
    };
    let (ours, theirs) = UnixStream::pair().map_err(start)?;
    let child = Command::new(&options.program)
        .args([
            "runner",
            "--local",
            "--index",
            &options.index.to_string(),
            "--root",
        ])
        .arg(&options.root)
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .map_err(start)?;
    Ok(LocalRunner {
        channel: Channel::new(ours.into()),
        child,
    })
}
