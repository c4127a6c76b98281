//! Kubernetes quantities as numbers.
//!
//! Invariant: reading one never rounds down below what was asked for.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of the unit (`500m` is 500, `4Gi` is 4,294,967,296,000); `None` for what is no quantity.
pub(crate) fn milli(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    // Thousandths per unit of the number, as a fraction.
    let (factor, divisor): (u128, u128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "" => (1000, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<u32>().ok()?;
            (10_u128.checked_pow(exponent)?.checked_mul(1000)?, 1)
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse::<u128>().ok()?;
    let divisor = divisor.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let milli = digits.checked_mul(factor)?.div_ceil(divisor);
    u64::try_from(milli).ok()
}

/// Whole units, rounded up: bytes for memory and disk.
pub(crate) fn units(quantity: &Quantity) -> Option<u64> {
    Some(milli(quantity)?.div_ceil(1000))
}

/// A quantity of this many thousandths.
pub(crate) fn from_milli(milli: u64) -> Quantity {
    if milli.is_multiple_of(1000) {
        Quantity((milli / 1000).to_string())
    } else {
        Quantity(format!("{milli}m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        let cases = [
            ("2", Some(2000)),
            ("500m", Some(500)),
            ("1.5", Some(1500)),
            (".5", Some(500)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("3M", Some(3_000_000_000)),
            ("1e3", Some(1_000_000)),
            ("100n", Some(1)),
            ("", None),
            ("Gi", None),
            ("-1", None),
            ("1 Gi", None),
            ("1gb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(milli(&Quantity(text.into())), expected, "{text:?}");
        }
        assert_eq!(units(&Quantity("512Mi".into())), Some(512 << 20));
        assert_eq!(from_milli(1500).0, "1500m");
        assert_eq!(from_milli(4000).0, "4");
    }
}
