//! A runner on a machine: the same as in a pod, in namespaces that it makes itself with no privileges.
//!
//! Invariant: a step finds the same refusals as in a pod: no capability, no new privileges, the runtime's denials.

mod mounts;

use std::path::Path;

use rustix::io::Errno;
use stagecraft_protocol::PROTOCOL_VERSION;
use stagecraft_protocol::runner::RunnerMessage;

use self::mounts::MountError;
use super::session::{Session, SessionError};
use super::usage::MemoryKills;
use super::{chain, report};
use crate::channel::{Channel, ChannelError};
use crate::filter;
use crate::system::{namespaces, notification, process};

/// The name of the machine that steps see, as in a pod.
const HOST_NAME: &str = "buildkitsandbox";
/// Exit code of a runner that could not work or go on.
const FAILED: u8 = 1;

/// Why a local runner ends.
#[derive(Debug, thiserror::Error)]
enum LocalError {
    #[error("cannot settle the descriptors")]
    Descriptors(#[source] Errno),
    #[error("standard input is no connection to an engine")]
    NoEngine(#[source] Errno),
    #[error("{0}")]
    Namespaces(String, #[source] Errno),
    #[error("cannot map the user to root of the namespace ({path})")]
    Map {
        path: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot start the first process of the namespace")]
    Fork(#[source] Errno),
    #[error("cannot wait for the first process of the namespace")]
    Wait(#[source] Errno),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("cannot {action}")]
    Confine {
        action: &'static str,
        #[source]
        source: Errno,
    },
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the connection to the engine failed")]
    Channel(#[from] ChannelError),
}

/// The local runner whose `/` becomes `root`; its standard input is the connection to the engine.
pub(super) fn run(index: u32, root: &Path) -> u8 {
    let channel = process::settle_descriptors()
        .map_err(LocalError::Descriptors)
        .and_then(|()| process::take_standard_input().map_err(LocalError::NoEngine));
    let result = channel
        .map(Channel::new)
        .and_then(|channel| outside(channel, index, root));
    result.unwrap_or_else(|error| {
        report(&chain(&error));
        FAILED
    })
}

/// Makes the namespaces and waits for their first process.
fn outside(channel: Channel, index: u32, root: &Path) -> Result<u8, LocalError> {
    let kills = MemoryKills::open();
    if let Err(error) = enter_namespaces() {
        return refuse(&channel, index, error);
    }
    let first = process::fork(|| {
        let result = process::die_with_parent()
            .map_err(|source| LocalError::Confine {
                action: "die with the parent",
                source,
            })
            .and_then(|()| inside(channel, index, root, kills));
        match result {
            Ok(()) => 0,
            Err(error) => {
                report(&chain(&error));
                FAILED
            }
        }
    })
    .map_err(LocalError::Fork)?;
    let status = process::wait_for(first).map_err(LocalError::Wait)?;
    let is_exit = libc::WIFEXITED(status);
    Ok(if is_exit {
        u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(FAILED)
    } else {
        FAILED
    })
}

/// Tells the engine that the runner cannot work.
fn refuse(channel: &Channel, index: u32, error: LocalError) -> Result<u8, LocalError> {
    let mut words = chain(&error);
    if let LocalError::Mount(MountError::Call {
        source: Errno::PERM | Errno::ACCESS,
        ..
    }) = &error
    {
        words.push_str(
            ": this machine restricts user namespaces (look at kernel.apparmor_restrict_unprivileged_userns), \
             or hides a part of its /proc (a container does)",
        );
    }
    let problem = Some(words);
    let greeting = RunnerMessage::Hello {
        protocol_version: PROTOCOL_VERSION,
        index,
        problem,
    };
    channel.send(&greeting, &[])?;
    Err(error)
}

/// Unshares, and maps root of the new user namespace to the caller alone: that needs no privilege and no
/// `/etc/subuid`.
fn enter_namespaces() -> Result<(), LocalError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    namespaces::unshare_everything().map_err(|error| {
        let words = match error {
            Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS => {
                "this machine forbids user namespaces to its users, which RUN needs outside of a cluster \
                 (look at user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns)"
            }
            _ => "cannot make namespaces for RUN",
        };
        LocalError::Namespaces(words.to_owned(), error)
    })?;
    let write = |path: &'static str, text: String| {
        std::fs::write(path, text).map_err(|source| LocalError::Map { path, source })
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

/// The life of the first process in the namespaces.
fn inside(channel: Channel, index: u32, root: &Path, kills: MemoryKills) -> Result<(), LocalError> {
    let problem = match confine(root) {
        Ok(()) => None,
        Err(error) => {
            refuse(&channel, index, error)?;
            return Ok(());
        }
    };
    Ok(Session::run(channel, index, kills, problem)?)
}

/// Makes the root the process's own and gives up everything that a pod's runner has not.
fn confine(root: &Path) -> Result<(), LocalError> {
    let failed = |action| move |source| LocalError::Confine { action, source };
    rustix::system::sethostname(HOST_NAME.as_bytes()).map_err(failed("name the host"))?;
    mounts::enter(root, HOST_NAME)?;
    namespaces::drop_capabilities().map_err(failed("give up the capabilities"))?;
    process::renounce_privileges().map_err(failed("renounce new privileges"))?;
    notification::install(&filter::denying()).map_err(failed("install the denials"))
}
