//! How an end looks on the terminal: text for people, one line of JSON for programs.

use stagecraft_protocol::failure::Failure;
use stagecraft_protocol::verdict::Outcome;

use crate::progress::Progress;

/// Form of an error on standard error.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ErrorFormat {
    Text,
    Json,
}

/// Exit code of a wrong command line.
const USAGE: u8 = 2;

/// Prints what is wrong with the command line.
pub(super) fn usage(message: &str) -> u8 {
    eprintln!("error: {message}");
    USAGE
}

/// Progress lines on standard error.
pub(super) fn progress_to_stderr() -> Progress {
    Progress::new(Box::new(std::io::stderr()))
}

/// Prints how it ended.
pub(super) fn print_end(outcome: &Outcome, format: ErrorFormat) {
    match outcome {
        Outcome::Succeeded { digest, .. } => println!("{digest}"),
        Outcome::Failed(failure) => match format {
            ErrorFormat::Text => eprintln!("{}", text(failure)),
            ErrorFormat::Json => {
                eprintln!("{}", serde_json::to_string(failure).unwrap_or_default());
            }
        },
        Outcome::Planned { .. } | Outcome::NeedsRunners { .. } => {}
    }
}

/// `error[Reason]: message`, the place, and the last lines of the step.
fn text(failure: &Failure) -> String {
    let mut text = String::new();
    if !failure.log_tail.is_empty() {
        text.push_str("last output of the step:\n");
        for line in &failure.log_tail {
            text.push_str(&format!("  | {line}\n"));
        }
    }
    text.push_str(&format!("error[{}]: {}", failure.reason, failure.message));
    if let Some(file) = &failure.file {
        text.push_str(&format!("\n  --> {file}"));
        if let Some(line) = failure.line {
            text.push_str(&format!(":{line}"));
            if let Some(column) = failure.column {
                text.push_str(&format!(":{column}"));
            }
        }
        if let Some(instruction) = &failure.instruction {
            text.push_str(&format!(": {instruction}"));
        }
    }
    text
}
