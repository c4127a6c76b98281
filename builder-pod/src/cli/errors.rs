//! How an end looks on the terminal: text for people, one line of JSON for programs.

use std::io::IsTerminal;

use stagecraft_dockerfile::Colours;
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
    let colours = colours(&std::io::stderr());
    Progress::with_colours(Box::new(std::io::stderr()), colours)
}

/// Colours for a terminal, unless `NO_COLOR` is set to something (no-color.org) or the terminal is dumb.
pub(super) fn colours(out: &impl IsTerminal) -> Colours {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if out.is_terminal() && !is_set("NO_COLOR") && !is_dumb {
        Colours::Always
    } else {
        Colours::Never
    }
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
