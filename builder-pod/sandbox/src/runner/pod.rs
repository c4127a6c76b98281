//! A runner in a container of its own: its `/` is the root file system of its chain.

use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use stagecraft_protocol::runner::SOCKET_NAME;

use super::session::{Session, SessionError};
use super::usage::MemoryKills;
use super::{chain, report};
use crate::channel::Channel;
use crate::system::process;

/// The image's one directory.
const OWN_DIRECTORY: &str = "/stagecraft";
/// How long the engine may take to start after its runners. Longer than that, it has ended and needs none.
const MEETING_TIME: Duration = Duration::from_secs(30);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(50);
/// Ids that a build may use without asking more of the node.
const MAP_LENGTH: u64 = 65_536;
/// Exit code of a runner that could not work or go on.
const FAILED: u8 = 1;

/// Why a runner of a pod ends.
#[derive(Debug, thiserror::Error)]
enum PodError {
    #[error("cannot settle the descriptors")]
    Descriptors(#[source] Errno),
    #[error("cannot read the own program")]
    Program(#[source] std::io::Error),
    #[error("cannot keep the program in memory")]
    Memory(#[source] Errno),
    #[error("cannot execute the program from memory")]
    Execute(#[source] Errno),
    #[error("cannot remove {OWN_DIRECTORY}")]
    Remove(#[source] std::io::Error),
    #[error("cannot make a socket")]
    Socket(#[source] Errno),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The runner of a pod with this number. `arguments` are those it was started with, for starting itself again.
pub(super) fn run(index: u32, arguments: &[String]) -> u8 {
    match live(index, arguments) {
        Ok(()) => 0,
        Err(error) => {
            report(&chain(&error));
            FAILED
        }
    }
}

fn live(index: u32, arguments: &[String]) -> Result<(), PodError> {
    process::settle_descriptors().map_err(PodError::Descriptors)?;
    if !runs_from_memory() {
        return Err(move_to_memory(arguments));
    }
    remove_own_directory()?;
    let problem = if rustix::process::getpid().is_init() {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        judge_map(&map)
    } else {
        Some("the runner is not the first process of its container".to_owned())
    };
    let kills = MemoryKills::open();
    match meet()? {
        Some(channel) => Ok(Session::run(channel, index, kills, problem)?),
        None => Ok(()),
    }
}

/// Whether this process executes the copy that [`move_to_memory`] made.
fn runs_from_memory() -> bool {
    std::fs::read_link("/proc/self/exe")
        .is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
}

/// Starts the program again from memory, so that nothing of it is a file of the root. Comes back only with what
/// failed.
fn move_to_memory(arguments: &[String]) -> PodError {
    let mut source = match std::fs::File::open("/proc/self/exe") {
        Ok(file) => file,
        Err(error) => return PodError::Program(error),
    };
    let flags = MemfdFlags::CLOEXEC;
    // Linux before 6.3 does not know the flag that says that a memory file may be executed.
    let memory = rustix::fs::memfd_create("stagecraft", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("stagecraft", flags));
    let memory = match memory {
        Ok(memory) => memory,
        Err(error) => return PodError::Memory(error),
    };
    let mut target = std::fs::File::from(memory);
    if let Err(error) = std::io::copy(&mut source, &mut target) {
        return PodError::Program(error);
    }
    let words = ["stagecraft-builder", "runner"]
        .into_iter()
        .map(str::to_owned);
    let words: Vec<CString> = words
        .chain(arguments.iter().cloned())
        .filter_map(|word| CString::new(word).ok())
        .collect();
    PodError::Execute(process::execute_again(&target.into(), &words))
}

fn remove_own_directory() -> Result<(), PodError> {
    if !Path::new(OWN_DIRECTORY).exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(OWN_DIRECTORY).map_err(PodError::Remove)
}

/// What is wrong with the user namespace of the pod, in words.
fn judge_map(map: &str) -> Option<String> {
    let mut lines = map.lines().map(|line| {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        <[u64; 3]>::try_from(numbers).unwrap_or_default()
    });
    match lines.next() {
        Some([0, 0, _]) => Some(
            "the runner is root of the node itself: the pod was admitted without a user namespace"
                .to_owned(),
        ),
        Some([0, _, length]) if length >= MAP_LENGTH => None,
        _ => Some(format!(
            "the pod's user namespace does not map the ids 0 to {}: {map:?}",
            MAP_LENGTH - 1
        )),
    }
}

/// Connects to the engine of the pod; `None` when there is none.
fn meet() -> Result<Option<Channel>, PodError> {
    let address =
        SocketAddrUnix::new_abstract_name(SOCKET_NAME.as_bytes()).map_err(PodError::Socket)?;
    let deadline = Instant::now() + MEETING_TIME;
    loop {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(PodError::Socket)?;
        if rustix::net::connect(&socket, &address).is_ok() {
            return Ok(Some(Channel::new(socket)));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_user_namespace_of_its_own_will_do() {
        assert_eq!(judge_map("         0 1879048192      65536\n"), None);
        let host = judge_map("         0          0 4294967295\n").unwrap();
        assert!(host.contains("without a user namespace"), "{host}");
        assert!(judge_map("         0       1000          1\n").is_some());
        assert!(judge_map("").is_some());
    }
}
