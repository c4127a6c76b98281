//! Executes one command in a root file system, as an engine would: `run [--user UID[:GID]] ROOT COMMAND…`.

use std::error::Error;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use stagecraft_protocol::runner::{Ending, EngineMessage, ExecuteRequest, RunnerMessage};
use stagecraft_sandbox::{LocalOptions, launch_local, runner_main};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "runner") {
        return runner_main(&arguments[1..]);
    }
    let mut user = "0".to_owned();
    if arguments.first().is_some_and(|first| first == "--user") && arguments.len() > 1 {
        user = arguments[1].clone();
        arguments.drain(..2);
    }
    match run(&user, arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(user: &str, mut arguments: Vec<String>) -> Result<ExitCode, Box<dyn Error>> {
    if arguments.len() < 2 {
        return Err("usage: run [--user UID[:GID]] ROOT COMMAND…".into());
    }
    let root = arguments.remove(0).into();
    let (uid, gid) = user.split_once(':').unwrap_or((user, user));
    let options = LocalOptions {
        program: "/proc/self/exe".into(),
        root,
        index: 0,
    };
    let mut runner = launch_local(&options)?;
    let (greeting, _) = runner.channel.receive::<RunnerMessage>()?;
    let RunnerMessage::Hello { problem: None, .. } = greeting else {
        return Err(format!("the runner cannot work: {greeting:?}").into());
    };
    let request = ExecuteRequest {
        arguments,
        environment: vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
                .to_owned(),
            "HOME=/root".to_owned(),
        ],
        working_directory: "/".to_owned(),
        uid: uid.parse()?,
        gid: gid.parse()?,
        ..ExecuteRequest::default()
    };
    let output: OwnedFd = std::io::stdout().as_fd().try_clone_to_owned()?;
    let error: OwnedFd = std::io::stderr().as_fd().try_clone_to_owned()?;
    let message = EngineMessage::Execute(Box::new(request));
    runner
        .channel
        .send(&message, &[output.as_fd(), error.as_fd()])?;
    let (answer, _) = runner.channel.receive::<RunnerMessage>()?;
    runner.channel.send(&EngineMessage::Dismiss, &[])?;
    runner.child.wait()?;
    let RunnerMessage::Exited {
        ending,
        peak_memory_bytes,
        cpu_microseconds,
        special_owners,
    } = answer
    else {
        return Err(format!("the runner failed: {answer:?}").into());
    };
    writeln!(
        std::io::stderr(),
        "{ending:?}, {} MiB, {} ms, {} special owners",
        peak_memory_bytes >> 20,
        cpu_microseconds / 1000,
        special_owners.len()
    )?;
    Ok(match ending {
        Ending::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        _ => ExitCode::FAILURE,
    })
}
