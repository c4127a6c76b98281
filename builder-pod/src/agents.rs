//! The agents of `RUN --mount=type=ssh`, lent to a step: sockets of this machine, and keys that the engine signs with.
//!
//! The engine listens on a socket in the step's root and answers there. A step can ask which keys there are and have
//! something signed; every other request (to add, remove or lock keys, and extensions) is declined, whoever the agent is.
//! Invariant: no key is ever in a step's reach, and when a lent socket is dropped nobody reaches the agent through it
//! any more.

mod file;
mod keys;
mod wire;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

pub use file::KeyError;
pub use keys::Keys;

/// The request for the public halves of all keys.
const LIST: u8 = 11;
/// The request for a signature.
const SIGN: u8 = 13;
/// The answer to what is declined.
const FAILURE: u8 = 5;

/// Largest file of keys that is read, in bytes.
const KEY_FILE_LIMIT: u64 = 64 * 1024;

/// Where an agent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentSource {
    /// The socket of one that runs.
    Socket(PathBuf),
    /// A file of private keys, read when a step needs them.
    KeyFile(PathBuf),
}

/// Why an agent cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its keys cannot be read.
    #[error("cannot read the SSH key {id} from {path}")]
    Read {
        /// Its name.
        id: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Its file is no key.
    #[error("the SSH key {id} cannot be used")]
    Key {
        /// Its name.
        id: String,
        /// The cause.
        #[source]
        source: KeyError,
    },
}

/// Agents by name.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    by_id: BTreeMap<String, AgentSource>,
}

/// One that answers.
#[derive(Clone, Debug)]
pub enum Agent {
    /// It runs somewhere else and has this socket.
    Socket(PathBuf),
    /// These keys.
    Keys(Arc<Keys>),
}

impl Agents {
    /// Adds one; gives whether there was none of this name.
    pub fn add(&mut self, id: String, source: AgentSource) -> bool {
        self.by_id.insert(id, source).is_none()
    }

    /// An agent; `None` when the build has none of this name.
    ///
    /// # Errors
    /// When its keys cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<Agent>, AgentError> {
        let path = match self.by_id.get(id) {
            None => return Ok(None),
            Some(AgentSource::Socket(socket)) => return Ok(Some(Agent::Socket(socket.clone()))),
            Some(AgentSource::KeyFile(path)) => path,
        };
        let read = || {
            let mut text = Vec::new();
            let file = std::fs::File::open(path)?;
            file.take(KEY_FILE_LIMIT).read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| AgentError::Read {
            id: id.to_owned(),
            path: path.clone(),
            source,
        })?;
        let keys = Keys::read(&text).map_err(|source| AgentError::Key {
            id: id.to_owned(),
            source,
        })?;
        Ok(Some(Agent::Keys(Arc::new(keys))))
    }
}

/// A socket that leads to an agent as long as this lives.
#[derive(Debug)]
pub struct Lent {
    /// Closing it ends the listener.
    stop: Option<OwnedFd>,
    listener: Option<JoinHandle<()>>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Lent {
    /// Answers at `listener` with what the agent says.
    ///
    /// # Errors
    /// When a pipe or a thread cannot be had.
    pub fn new(listener: UnixListener, agent: Agent) -> std::io::Result<Self> {
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let streams = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&streams);
        let listener = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || listen(&listener, &stopped, &agent, &known))?;
        Ok(Self {
            stop: Some(stop),
            listener: Some(listener),
            streams,
        })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Takes connections until the other end of `stopped` is closed.
fn listen(
    listener: &UnixListener,
    stopped: &OwnedFd,
    agent: &Agent,
    streams: &Mutex<Vec<UnixStream>>,
) {
    loop {
        let mut entries = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        match poll(&mut entries, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        if !entries[1].revents().is_empty() {
            return;
        }
        if entries[0].revents().is_empty() {
            continue;
        }
        let Ok((step, _)) = listener.accept() else {
            return;
        };
        // Without a thread or a descriptor for it, it is as with an agent that hangs up.
        let _ = serve(step, agent, streams);
    }
}

/// Answers one connection in a thread of its own.
fn serve(
    mut step: UnixStream,
    agent: &Agent,
    streams: &Mutex<Vec<UnixStream>>,
) -> std::io::Result<()> {
    let mut known = streams.lock().unwrap_or_else(PoisonError::into_inner);
    let keep = |stream: &UnixStream, known: &mut Vec<UnixStream>| {
        stream.try_clone().map(|stream| known.push(stream))
    };
    let agent = agent.clone();
    keep(&step, &mut known)?;
    match agent {
        Agent::Keys(keys) => std::thread::Builder::new().spawn(move || {
            let _ = converse(&mut step, |request| Ok(keys.answer(request)));
            // Another descriptor of it is known still: only this hangs up.
            let _ = step.shutdown(Shutdown::Both);
        })?,
        Agent::Socket(socket) => {
            let mut agent = UnixStream::connect(socket)?;
            keep(&agent, &mut known)?;
            std::thread::Builder::new().spawn(move || {
                let _ = converse(&mut step, |request| pass_on(&mut agent, request));
                let _ = agent.shutdown(Shutdown::Both);
                let _ = step.shutdown(Shutdown::Both);
            })?
        }
    };
    Ok(())
}

/// Answers requests until the step hangs up.
fn converse(
    step: &mut UnixStream,
    mut answer: impl FnMut(&[u8]) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<()> {
    while let Some(request) = wire::read_frame(step)? {
        let answer = match request.first() {
            Some(&LIST | &SIGN) => answer(&request)?,
            _ => vec![FAILURE],
        };
        wire::write_frame(step, &answer)?;
    }
    Ok(())
}

/// What the agent at the other end of a stream says.
fn pass_on(agent: &mut UnixStream, request: &[u8]) -> std::io::Result<Vec<u8>> {
    wire::write_frame(agent, request)?;
    let answer = wire::read_frame(agent)?;
    answer.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_reach_a_running_agent_and_none_does_when_it_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let (agent, lent) = (place.path().join("agent"), place.path().join("lent"));
        let listener = UnixListener::bind(&agent).unwrap();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            // It sees the end when the socket is given back.
            while let Some(request) = wire::read_frame(&mut stream).unwrap_or(None) {
                heard.push(request[0]);
                wire::write_frame(&mut stream, &[99]).unwrap();
            }
            heard
        });
        let socket = Lent::new(UnixListener::bind(&lent).unwrap(), Agent::Socket(agent)).unwrap();
        let mut step = UnixStream::connect(&lent).unwrap();
        let mut ask = |request: &[u8]| {
            wire::write_frame(&mut step, request).unwrap();
            wire::read_frame(&mut step).unwrap().unwrap()
        };
        assert_eq!(ask(&[LIST]), [99]);
        // Add a key, remove all, lock, an extension.
        for declined in [17, 19, 22, 27] {
            assert_eq!(ask(&[declined, 0]), [FAILURE]);
        }
        assert_eq!(ask(&[SIGN, 1]), [99]);
        drop(socket);
        assert_eq!(step.read(&mut [0]).unwrap(), 0);
        assert_eq!(answers.join().unwrap(), [LIST, SIGN]);
        assert!(UnixStream::connect(&lent).is_err());
    }
}
