//! A runner's life: it meets its engine, executes steps one at a time, and ends with the connection.
//!
//! Invariant: it is the first process of its process namespace, so that all processes of a step are its to kill
//! and to reap.
//! Invariant: no process of a step lives while it talks to the engine.

mod arguments;
mod clean;
mod local;
mod lookup;
mod pod;
mod script;
mod self_test;
mod session;
mod step;
mod usage;

use std::process::ExitCode;

use arguments::{Arguments, Place};

/// Exit code for wrong arguments.
const USAGE: u8 = 2;

/// The runner with the arguments that follow `stagecraft-builder runner`: `--index N` in a pod, `--local --index
/// N --root DIRECTORY` on a machine. Call it before the process has other threads.
#[must_use]
pub fn runner_main(arguments: &[String]) -> ExitCode {
    let code = match Arguments::parse(arguments) {
        Ok(Arguments {
            index,
            place: Place::Pod,
        }) => pod::run(index, arguments),
        Ok(Arguments {
            index,
            place: Place::Local { root },
        }) => local::run(index, &root),
        Err(problem) => {
            report(&problem.to_string());
            USAGE
        }
    };
    ExitCode::from(code)
}

/// Says something where a person may look for it: the runner's standard error is the container's log.
fn report(text: &str) {
    let line = format!("stagecraft runner: {text}\n");
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
