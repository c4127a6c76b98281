//! Values in the notation of Go's `fmt`: BuildKit writes history entries with it, and entries must be the same.

use stagecraft_image::Healthcheck;

/// A list as `%q` writes it: `["a" "b"]`.
pub(crate) fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// A list as `%v` writes it: `[a b]`.
pub(crate) fn plain_list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// A text as `%q` writes it (`strconv.Quote`).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            plain if is_printable(plain) => out.push(plain),
            other if (other as u32) < 0x20 || other as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", other as u32));
            }
            other if (other as u32) < 0x1_0000 => {
                out.push_str(&format!("\\u{:04x}", other as u32));
            }
            other => out.push_str(&format!("\\U{:08x}", other as u32)),
        }
    }
    out.push('"');
    out
}

/// Whether a character is printed as it is. Rust's own notation escapes the same classes; a letter stands in front
/// because it also escapes a combining mark that begins a text.
fn is_printable(character: char) -> bool {
    let text: String = ['a', character].iter().collect();
    !text.escape_debug().to_string().contains("\\u{")
}

/// A health check as `%+v` writes it.
pub(crate) fn healthcheck(check: &Healthcheck) -> String {
    format!(
        "{{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        plain_list(&check.test),
        duration(check.interval),
        duration(check.timeout),
        duration(check.start_period),
        duration(check.start_interval),
        check.retries
    )
}

/// Nanoseconds as a `time.Duration` is written: `1h2m3.5s`, `1.5ms`, `0s`.
fn duration(nanoseconds: i64) -> String {
    const MICROSECOND: u64 = 1_000;
    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let text = match size {
        0 => "0s".to_owned(),
        1..MICROSECOND => format!("{size}ns"),
        MICROSECOND..MILLISECOND => format!("{}µs", decimal(size, MICROSECOND)),
        MILLISECOND..SECOND => format!("{}ms", decimal(size, MILLISECOND)),
        _ => {
            let minutes = size / SECOND / 60;
            let seconds = decimal(size - minutes * 60 * SECOND, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// `value / unit` exactly, without zeros at the end.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        fraction => format!("{}.{fraction}", value / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, expected) in [
            ("./app", r#""./app""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            (
                "\u{7}\u{8}\u{c}\n\r\t\u{b}\u{1b}\u{7f}",
                r#""\a\b\f\n\r\t\v\x1b\x7f""#,
            ),
            ("é ☺ 'x'", r#""é ☺ 'x'""#),
            (
                "\u{a0}\u{200b}\u{e0001}\u{85}",
                r#""\u00a0\u200b\U000e0001\u0085""#,
            ),
            ("e\u{301}", "\"e\u{301}\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(
            quoted_list(&["a".to_owned(), "b c".to_owned()]),
            r#"["a" "b c"]"#
        );
        assert_eq!(quoted_list(&[]), "[]");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (1_000_000, "1ms"),
            (2_500_000, "2.5ms"),
            (1_000_000_000, "1s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
            (-1_500_000_000, "-1.5s"),
        ] {
            assert_eq!(duration(nanoseconds), expected);
        }
    }
}
