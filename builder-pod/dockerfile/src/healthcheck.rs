//! `HEALTHCHECK`: what is tested, and its times in Go's notation.

use crate::ast::{Command, Flag, Healthcheck, HealthcheckTest};
use crate::diagnostic::{Code, Diagnostic};
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
        "CMD" if !arguments.is_empty() => match command(source, after, diagnostics)? {
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
                duration(text).filter(|time| *time == 0 || *time >= SHORTEST),
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

/// Go's durations (`1h2m3.5s`) in nanoseconds; empty is 0.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if matches!(rest, "" | "0") {
        return text.len().eq(&rest.len()).then_some(0);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, *factor)?)?;
        rest = after;
    }
    Some(total)
}

/// A decimal number times a factor, without what is below one.
fn scaled(number: &str, factor: u64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut total = match whole {
        "" => 0,
        _ => whole.parse::<u64>().ok()?.checked_mul(factor)?,
    };
    let mut place = factor;
    for digit in fraction.bytes() {
        // Digits below a nanosecond are lost, as in Go.
        total = total.checked_add(u64::from(digit - b'0') * place / 10)?;
        place /= 10;
    }
    i64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, expected) in [
            ("", Some(0)),
            ("0", Some(0)),
            ("1ms", Some(1_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("4.35s", Some(4_350_000_000)),
            (".5h", Some(1_800_000_000_000)),
            ("+2s", Some(2_000_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("3\u{b5}s", Some(3_000)),
            ("5", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("1..2s", None),
            (".s", None),
            ("9999999h", None),
            ("+", None),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn retries_are_small_numbers() {
        assert_eq!(retries("3"), Some(3));
        assert_eq!(retries(""), Some(0));
        assert_eq!(retries("-1"), None);
        assert_eq!(retries("3000000000"), None);
    }
}
