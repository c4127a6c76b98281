//! `HEALTHCHECK`: what is tested, and its times in Go's notation.

use crate::ast::{Command, Flag, Healthcheck, HealthcheckTest};
use crate::diagnostic::{Code, Diagnostic};
use crate::go_values;
use crate::instruction::{Source, command};
use crate::words::is_blank;

/// Shortest time that a flag may have, in nanoseconds; 0 inherits.
const SHORTEST: i64 = 1_000_000;

/// Parses what stands from `start` on, behind the flags.
pub(crate) fn parse(
    source: &Source<'_>,
    flags: &[Flag],
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Healthcheck> {
    let rest = source.rest(start);
    let length = rest.value.find(is_blank).unwrap_or(rest.value.len());
    let (kind, arguments) = rest.value.split_at(length);
    let after = source.text().len() - arguments.len() - trailing(source.text());
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if arguments.is_empty() => Some(HealthcheckTest::None),
        "CMD" if !arguments.is_empty() => match command(source.rest(after), diagnostics)? {
            Command::Exec(words) if words.is_empty() => None,
            command => Some(HealthcheckTest::Command(command)),
        },
        _ => None,
    };
    let Some(test) = test else {
        let what = "HEALTHCHECK is NONE or CMD with a command";
        diagnostics.push(Diagnostic::error(Code::MissingArgument, rest.span, what));
        return None;
    };
    let mut check = Healthcheck {
        test,
        interval: 0,
        timeout: 0,
        start_period: 0,
        start_interval: 0,
        retries: 0,
    };
    for flag in flags {
        let text = flag.value.as_deref().unwrap_or_default();
        let field = match flag.name.as_str() {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            _ => &mut check.retries,
        };
        let (value, help) = match flag.name.as_str() {
            "retries" => (retries(text), "it is a number of tries"),
            _ => (
                go_values::duration(text).filter(|time| *time == 0 || *time >= SHORTEST),
                "a time is at least 1ms, 1m30s for example",
            ),
        };
        match value {
            Some(value) => *field = value,
            None => diagnostics.push(
                Diagnostic::error(
                    Code::BadValue,
                    flag.span,
                    format!("--{} cannot be {text:?}", flag.name),
                )
                .help(help),
            ),
        }
    }
    Some(check)
}

/// Whether the arguments begin with `NONE`: flags in front of it mean nothing.
pub(crate) fn is_none(arguments: &str) -> bool {
    let word = arguments.split(is_blank).next().unwrap_or_default();
    word.eq_ignore_ascii_case("NONE")
}

/// Length of the blanks at the end.
fn trailing(text: &str) -> usize {
    text.len() - text.trim_end().len()
}

fn retries(text: &str) -> Option<i64> {
    match text {
        "" => Some(0),
        _ => text.parse::<i32>().ok().filter(|n| *n >= 0).map(i64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_small_numbers() {
        assert_eq!(retries("3"), Some(3));
        assert_eq!(retries(""), Some(0));
        assert_eq!(retries("-1"), None);
        assert_eq!(retries("3000000000"), None);
    }
}
