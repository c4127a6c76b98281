//! Numbers in tar headers: octal text, or big-endian binary when the first bit is set.

use crate::node::Time;

/// The number in a field, if it is one and not negative. An empty field is 0, as all readers have it.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(signed(field)?).ok()
}

/// A time field.
pub(super) fn time_of(field: &[u8]) -> Option<Time> {
    let seconds = i64::try_from(signed(field)?).ok()?;
    Some(Time {
        seconds,
        nanoseconds: 0,
    })
}

fn signed(field: &[u8]) -> Option<i128> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => binary(field),
        _ => octal(field).map(i128::from),
    }
}

fn binary(field: &[u8]) -> Option<i128> {
    // The first bit only marks the form; the second is the sign.
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = match (index, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = (value << 8) | i128::from(byte);
    }
    (i128::from(i64::MIN)..=i128::from(u64::MAX))
        .contains(&value)
        .then_some(value)
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = field.split(|byte| *byte == 0).next()?;
    let text = text.trim_ascii();
    text.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_numbers_are_read_and_nonsense_is_not() {
        assert_eq!(unsigned(b"0000644\0"), Some(0o644));
        assert_eq!(unsigned(b"   12 \0\0"), Some(0o12));
        assert_eq!(unsigned(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(unsigned(b"77777777"), Some(0o77_777_777));
        assert_eq!(unsigned(&[0x80, 0, 0, 0, 0, 0x20, 0, 1]), Some(0x20_0001));
        assert_eq!(unsigned(&[0xff; 8]), None);
        assert_eq!(unsigned(b"0000689\0"), None);
        let minus_two = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
        ];
        assert_eq!(time_of(&minus_two).map(|time| time.seconds), Some(-2));
    }
}
