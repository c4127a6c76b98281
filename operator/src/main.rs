//! Entry point of the operator.

use std::process::ExitCode;

fn main() -> ExitCode {
    match stagecraft_operator::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stagecraft-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
