//! Whole steps through a local runner, as root of the machine and as an ordinary user.
//!
//! The program is three things: the tests, the runner that they start, and a probe that makes calls inside.
#![allow(
    unsafe_code,
    reason = "the probe makes calls that have no safe interface"
)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a case fails by panicking"
)]

#[path = "runner/cases.rs"]
mod cases;
#[path = "runner/conformance.rs"]
mod conformance;
#[path = "runner/escapes.rs"]
mod escapes;
#[path = "runner/harness.rs"]
mod harness;
#[path = "runner/lent.rs"]
mod lent;
#[path = "runner/probe.rs"]
mod probe;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("runner") => stagecraft_sandbox::runner_main(&arguments[1..]),
        Some("probe") => probe::run(&arguments[1..]),
        Some("escape") => escapes::attempt(&arguments[1..]),
        Some("as-this-user") => harness::run(&cases::ALL, &arguments[1..]),
        _ => harness::run_as_every_user(&arguments),
    }
}
