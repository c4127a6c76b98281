//! Records of extended headers, POSIX.1-2001 pax: `LENGTH NAME=VALUE\n`, the length counting the whole record.
//!
//! Values are cut out by their length alone, so that they may hold newlines and zero bytes.

use super::CAPABILITY_ATTRIBUTE;
use crate::error::LayerError;
use crate::node::Time;

/// The records that matter for an entry.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) capability: Option<Vec<u8>>,
    pub(super) sparse: SparseRecords,
}

/// GNU's records of sparse files, forms 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseRecords {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offset and length of every piece.
    pub(super) pieces: Vec<(u64, u64)>,
    pending_offset: Option<u64>,
}

impl SparseRecords {
    /// Whether the map stands in the content (form 1.0).
    pub(super) fn is_form_1(&self) -> bool {
        self.major == Some(1) && self.minor.unwrap_or(0) == 0
    }
}

/// Largest capability attribute: the kernel's has 24 bytes.
const CAPABILITY_LIMIT: usize = 1024;

impl PaxRecords {
    /// These records (of global headers) and over them those in `bytes`.
    pub(super) fn extended_by(&self, mut bytes: &[u8], offset: u64) -> Result<Self, LayerError> {
        let mut records = self.clone();
        // Some writers pad with zeros.
        while !bytes.is_empty() && bytes[0] != 0 {
            let wrong = |problem| LayerError::ExtendedHeader { offset, problem };
            let (name, value, rest) =
                split_record(bytes).ok_or_else(|| wrong("a record is not of its form"))?;
            records
                .set(name, value)
                .ok_or_else(|| wrong("a record's value is wrong"))?;
            bytes = rest;
        }
        Ok(records)
    }

    /// An empty value takes a global record back.
    fn set(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let text = |value: &[u8]| (!value.is_empty()).then(|| value.to_vec());
        match name {
            b"path" => self.path = text(value),
            b"linkpath" => self.link_path = text(value),
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.major = decimal(value)?,
            b"GNU.sparse.minor" => self.sparse.minor = decimal(value)?,
            b"GNU.sparse.name" => self.sparse.name = text(value),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = decimal(value)?,
            b"GNU.sparse.offset" => self.sparse.pending_offset = decimal(value)?,
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.pending_offset.take()?;
                self.sparse.pieces.push((offset, decimal(value)??));
            }
            b"GNU.sparse.map" => self.sparse.pieces = map(value)?,
            _ => {
                if name.strip_prefix(b"SCHILY.xattr.") == Some(CAPABILITY_ATTRIBUTE)
                    && value.len() <= CAPABILITY_LIMIT
                {
                    self.capability = text(value);
                }
            }
        }
        Some(())
    }
}

/// The first record's name and value, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..blank])??).ok()?;
    let record = bytes.get(..length)?.strip_suffix(b"\n")?.get(blank + 1..)?;
    let equals = record
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

/// A decimal number; the inner `None` stands for an empty value, the outer for nonsense.
#[allow(
    clippy::option_option,
    reason = "an empty record is something else than a wrong one"
)]
fn decimal(value: &[u8]) -> Option<Option<u64>> {
    if value.is_empty() {
        return Some(None);
    }
    let number = value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    number.map(Some)
}

/// `[-]SECONDS[.FRACTION]`, rounded down to nanoseconds.
fn time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = i64::try_from(decimal(whole.as_bytes())??).ok()?;
    let digits = fraction.get(..9).unwrap_or(fraction);
    let nanoseconds: u32 = format!("{digits:0<9}").parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// `OFFSET,LENGTH,…` of form 0.1.
fn map(value: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Option<Vec<u64>> = value
        .split(|byte| *byte == b',')
        .map(|number| decimal(number)?)
        .collect();
    let numbers = numbers?;
    let pieces = numbers
        .chunks(2)
        .map(|pair| Some((*pair.first()?, *pair.get(1)?)));
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_by_length_so_newlines_and_zeros_stay_in_them() {
        let mut bytes = b"11 path=a\n\n".to_vec();
        bytes.extend_from_slice(b"41 SCHILY.xattr.security.capability=\n1\0=\n");
        bytes.extend_from_slice(b"25 SCHILY.xattr.user.a=b\n");
        let records = PaxRecords::default().extended_by(&bytes, 0).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a\n"[..]));
        assert_eq!(records.capability.as_deref(), Some(&b"\n1\0="[..]));
    }

    #[test]
    fn times_have_fractions_and_may_be_negative() {
        for (text, seconds, nanoseconds) in [
            ("1700000000.5", 1_700_000_000, 500_000_000),
            ("-1.25", -2, 750_000_000),
            ("-3", -3, 0),
            ("7.1234567899", 7, 123_456_789),
            ("8.", 8, 0),
        ] {
            assert_eq!(
                time(text.as_bytes()),
                Some(Time {
                    seconds,
                    nanoseconds
                }),
                "{text}"
            );
        }
        for wrong in ["", "-", "1.x", "x", "99999999999999999999", "--1"] {
            assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_record_that_is_not_of_its_form_is_an_error() {
        let records = PaxRecords::default();
        for wrong in [
            &b"11 path=a\n"[..],
            b"99 path=a\n",
            b"x path=a\n",
            b"9 path=a\n9 size=x\n",
            b"4 =\n",
            b"99999999999999999999999 path=a\n",
        ] {
            assert!(
                records.extended_by(wrong, 0).is_err(),
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
    }
}
