//! Values in Go's notation, as BuildKit reads them: truth, numbers, amounts of memory, durations.
//!
//! Invariant: what Go refuses is refused here, a leading `+` or an underscore for example.

/// `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A number in octal.
pub(crate) fn octal(text: &str) -> Option<u32> {
    unsigned(text, 8)
}

/// A number in decimal.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    unsigned(text, 10)
}

fn unsigned(text: &str, radix: u32) -> Option<u32> {
    let is_digits = text.chars().all(|digit| digit.is_digit(radix));
    is_digits
        .then(|| u32::from_str_radix(text, radix).ok())
        .flatten()
}

/// An amount of memory in bytes: a number, with a unit or not, `64m` and `1.5GiB` for example. Units are powers
/// of 1024.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (number, unit) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let is_plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !number.chars().all(is_plain) {
        return None;
    }
    let amount: f64 = number.parse().ok()?;
    if amount < 0.0 || !amount.is_finite() {
        return None;
    }
    let factor: u64 = match unit.to_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return None,
    };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "Go computes in floating point and cuts off what is below a byte"
    )]
    Some((amount * factor as f64) as u64)
}

/// Go's durations (`1h2m3.5s`) in nanoseconds; empty is 0.
pub(crate) fn duration(text: &str) -> Option<i64> {
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
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if matches!(rest, "" | "0") {
        return (text.is_empty() || rest == "0").then_some(0);
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
    Some(sign * total)
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
    fn truth_is_written_in_the_ways_of_go_only() {
        assert_eq!(boolean("T"), Some(true));
        assert_eq!(boolean("0"), Some(false));
        for wrong in ["", "yes", "tRUE", "on"] {
            assert_eq!(boolean(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(octal("0755"), Some(0o755));
        assert_eq!(octal("8"), None);
        assert_eq!(decimal("4294967295"), Some(u32::MAX));
        for wrong in ["", "+1", "-1", "1_0", "4294967296", "0x1"] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_of_memory_have_units_of_1024() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1048576", Some(1_048_576)),
            ("64m", Some(64 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2 KB", Some(2048)),
            ("7b", Some(7)),
            ("1e3", Some(1000)),
            (".5k", Some(512)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1mm", None),
            ("1kibs", None),
            ("1 2", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, expected) in [
            ("", Some(0)),
            ("0", Some(0)),
            ("+0", Some(0)),
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
            ("-1s", Some(-1_000_000_000)),
            ("-0", Some(0)),
            ("-", None),
            ("1..2s", None),
            (".s", None),
            ("9999999h", None),
            ("+", None),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }
}
