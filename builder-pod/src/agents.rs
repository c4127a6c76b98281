//! The agents of `RUN --mount=type=ssh`: sockets of this machine, lent to a step.
//!
//! The engine listens on a socket in the step's root and passes on what is said there. No key is ever here: an agent
//! signs, and keeps its keys.
//!
//! Invariant: when a lent socket is dropped nobody reaches the agent through it any more.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

/// Sockets of agents by name.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    by_id: BTreeMap<String, PathBuf>,
}

impl Agents {
    /// Adds one; gives whether there was none of this name.
    pub fn add(&mut self, id: String, socket: PathBuf) -> bool {
        self.by_id.insert(id, socket).is_none()
    }

    /// The socket of an agent.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Path> {
        self.by_id.get(id).map(PathBuf::as_path)
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
    /// Answers at `listener` with what the agent at `agent` says.
    ///
    /// # Errors
    /// When a pipe or a thread cannot be had.
    pub fn new(listener: UnixListener, agent: PathBuf) -> std::io::Result<Self> {
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
    agent: &Path,
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
        // An agent that does not answer is one that hangs up.
        let Ok((step, _)) = listener.accept() else {
            return;
        };
        if let Ok(agent) = UnixStream::connect(agent) {
            let _ = connect(&step, &agent, streams);
        }
    }
}

/// Passes on what both say, each in a thread of its own.
fn connect(
    step: &UnixStream,
    agent: &UnixStream,
    streams: &Mutex<Vec<UnixStream>>,
) -> std::io::Result<()> {
    let mut known = streams.lock().unwrap_or_else(PoisonError::into_inner);
    for (from, to) in [(step, agent), (agent, step)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        known.push(from.try_clone()?);
        std::thread::Builder::new().spawn(move || pass_on(from, to))?;
    }
    Ok(())
}

fn pass_on(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_a_lent_socket_reaches_the_agent_until_it_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let (agent, lent) = (place.path().join("agent"), place.path().join("lent"));
        let listener = UnixListener::bind(&agent).unwrap();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(b"pong").unwrap();
            // The agent sees the end when the socket is given back.
            stream.read(&mut question).unwrap()
        });
        let socket = Lent::new(UnixListener::bind(&lent).unwrap(), agent).unwrap();
        let mut step = UnixStream::connect(&lent).unwrap();
        step.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        step.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong");
        drop(socket);
        assert_eq!(step.read(&mut answer).unwrap(), 0);
        assert_eq!(answers.join().unwrap(), 0);
        assert!(UnixStream::connect(&lent).is_err());
    }
}
