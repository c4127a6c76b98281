//! Finds out before any step whether the supervisor can work here, and if not, what forbids it.

use std::sync::mpsc;

use rustix::io::Errno;

use crate::filter;
use crate::system::memory::{Memory, Reach};
use crate::system::notification::{Notifications, Reply, install_notifying};
use crate::system::process;

const WORD: &[u8; 16] = b"stagecraft-test!";
const ANSWER: i64 = 4242;
/// How long the tested process may take, in milliseconds.
const PATIENCE: i32 = 10_000;

/// Why the supervisor cannot work.
#[derive(Debug, thiserror::Error)]
pub(super) enum SelfTestError {
    #[error("the node forbids seccomp user notification, which RUN needs")]
    Filter(#[source] Errno),
    #[error("the node cannot start a process under a seccomp filter")]
    Process(#[source] Errno),
    #[error("a process under the filter did not notify the runner")]
    Silent,
    #[error(
        "the node forbids a runner to read the memory of its own processes{hint}: RUN cannot work in this isolation"
    )]
    Memory { hint: &'static str },
    #[error("an answer of the runner did not arrive")]
    Answer,
    #[error("the file system of the root keeps no user attributes, in which RUN records owners")]
    Attributes(#[source] Errno),
    #[error("the node forbids a runner to change the limits of its own processes")]
    Limits(#[source] Errno),
}

/// Tests that owners can be recorded on the root.
pub(super) fn attributes() -> Result<(), SelfTestError> {
    const NAME: &str = "user.stagecraft.test";
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr("/", NAME, b"1", flags).map_err(SelfTestError::Attributes)?;
    rustix::fs::removexattr("/", NAME).map_err(SelfTestError::Attributes)
}

/// Lets a child make a call that notifies, reads and writes its memory and answers.
pub(super) fn run() -> Result<Reach, SelfTestError> {
    let (sender, receiver) = mpsc::channel();
    // The filter stays with the thread that installs it, and so does not outlive the test.
    let thread = std::thread::spawn(move || {
        let notifications = install_notifying(&filter::testing()).map_err(SelfTestError::Filter)?;
        let mut word = *WORD;
        let child = process::fork(|| {
            let _ = process::become_reachable();
            u8::from(!process::call_for_test(&mut word, ANSWER))
        })
        .map_err(SelfTestError::Process)?;
        let _ = sender.send((notifications, child));
        process::wait_for(child).map_err(SelfTestError::Process)
    });
    let reach = receiver.recv().map_or(Ok(None), |(notifications, child)| {
        let reach = converse(&notifications);
        if reach.is_err() {
            process::kill_child(child);
        }
        reach.map(Some)
    });
    let status = thread.join().map_err(|_| SelfTestError::Silent)?;
    match (reach?, status?) {
        (Some(reach), 0) => Ok(reach),
        _ => Err(SelfTestError::Answer),
    }
}

fn converse(notifications: &Notifications) -> Result<Reach, SelfTestError> {
    if !notifications.wait(PATIENCE) {
        return Err(SelfTestError::Silent);
    }
    let notification = notifications.receive().ok_or(SelfTestError::Silent)?;
    let (thread, [address, ..]) = (notification.thread(), *notification.arguments());
    let works = |reach: &Reach| {
        let memory = Memory::new(thread, *reach);
        let mut found = [0; 16];
        memory.read(address, &mut found).is_ok()
            && &found == WORD
            && memory.write(address, &WORD.map(|byte| byte ^ 0xff)).is_ok()
    };
    let reach = [Reach::Calls, Reach::File].into_iter().find(works);
    let reach = reach.ok_or_else(|| SelfTestError::Memory { hint: hint() })?;
    let limits = crate::system::limits::real_time_limits(thread)
        .and_then(|limits| crate::system::limits::set_real_time_limits(thread, limits));
    limits.map_err(SelfTestError::Limits)?;
    notifications.reply(&notification, Reply::Value(ANSWER));
    Ok(reach)
}

/// What is known to forbid it.
fn hint() -> &'static str {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim().parse() {
        Ok(2..=9) => " (kernel.yama.ptrace_scope is 2 or more)",
        _ => "",
    }
}
