//! What is wrong with a Dockerfile, all of it at once: what parsing and what planning found, and the failure it makes.
//!
//! Invariant: errors come in the order of the file, whoever found them.

use stagecraft_dockerfile::Diagnostic;
use stagecraft_protocol::failure::{Failure, FailureReason};

/// How many errors after the first are told in a failure's message.
const TOLD: usize = 5;

/// The errors of parsing and planning in the order of the file. What planning says of a line that could not be
/// parsed is left out: it is a consequence.
#[must_use]
pub fn errors(parsed: &[Diagnostic], planned: &[Diagnostic]) -> Vec<Diagnostic> {
    let is_unparsed = |line: u32| {
        let mut errors = parsed.iter().filter(|one| one.is_error());
        errors.any(|one| one.span.line == line)
    };
    let planned = planned
        .iter()
        .filter(|one| one.is_error() && !is_unparsed(one.span.line));
    let mut errors: Vec<Diagnostic> = parsed
        .iter()
        .filter(|one| one.is_error())
        .cloned()
        .collect();
    errors.extend(planned.cloned());
    errors.sort_by_key(|one| one.span.start);
    errors
}

/// The failure that errors make: the first with its code, and the others in short.
#[must_use]
pub fn failure(errors: &[Diagnostic], file: &str) -> Option<Box<Failure>> {
    let (first, others) = errors.split_first()?;
    let mut message = format!("{}: {}", first.code.number(), first.full_message());
    if !others.is_empty() {
        let told: Vec<String> = others
            .iter()
            .take(TOLD)
            .map(|one| {
                format!(
                    "line {}: {}: {}",
                    one.span.line,
                    one.code.number(),
                    one.message
                )
            })
            .collect();
        let rest = match others.len().saturating_sub(TOLD) {
            0 => String::new(),
            more => format!(", and {more} more in the log"),
        };
        message.push_str(&format!(" (also {}{rest})", told.join("; ")));
    }
    let mut failure = Failure::new(FailureReason::Dockerfile, message);
    failure.file = Some(file.to_owned());
    failure.line = Some(first.span.line);
    failure.column = Some(first.span.column);
    failure.instruction.clone_from(&first.instruction);
    failure.stage.clone_from(&first.stage);
    Some(Box::new(failure))
}

#[cfg(test)]
mod tests {
    use stagecraft_dockerfile::{Code, Span, parse};

    use super::*;

    fn planned(line: u32, start: usize, message: &str) -> Diagnostic {
        let span = Span {
            start,
            end: start + 1,
            line,
            column: 1,
        };
        Diagnostic::error(Code::UnknownStage, span, message)
    }

    #[test]
    fn errors_of_parsing_and_planning_come_together_in_the_order_of_the_file() {
        let (_, parsed) = parse("FROM a\nCOPY --from=9 x y\nCOPPY x y\n");
        let planned = [planned(2, 7, "stage 9"), planned(3, 25, "a consequence")];
        let errors = errors(&parsed, &planned);
        let lines: Vec<u32> = errors.iter().map(|one| one.span.line).collect();
        assert_eq!(lines, [2, 3]);
        let failure = failure(&errors, "Dockerfile").unwrap();
        assert_eq!(failure.line, Some(2));
        assert_eq!(
            failure.message,
            "SC1016: stage 9 (also line 3: SC1003: the instruction COPPY does not exist)"
        );
    }

    #[test]
    fn a_long_list_of_errors_is_cut_and_counted() {
        let all: Vec<Diagnostic> = (1..=9).map(|line| planned(line, 0, "x")).collect();
        let message = failure(&all, "Dockerfile").unwrap().message;
        assert!(
            message.ends_with("line 6: SC1016: x, and 3 more in the log)"),
            "{message}"
        );
        assert_eq!(failure(&[], "Dockerfile"), None);
    }
}
