//! SHA-256 digests in the form of the OCI image specification ("Digests").
//!
//! Invariant: a [`Digest`] is always well-formed; `sha256:` and 64 lower-case hexadecimal digits is its only text.
//! Other algorithms are refused: no registry in use serves them for images, and a digest that cannot be checked is
//! none.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// A SHA-256 digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// What is wrong with the text of a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` before the digits.
    #[error("digest `{0}` has no algorithm; the form is sha256:<64 hexadecimal digits>")]
    NoAlgorithm(String),
    /// The algorithm is another one.
    #[error("digest algorithm `{0}` is not supported, only sha256 is")]
    Algorithm(String),
    /// The digits are too few, too many, or none.
    #[error(
        "digest `sha256:{0}` is malformed: 64 lower-case hexadecimal digits must follow sha256:"
    )]
    Digits(String),
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = DigestHasher::new();
        hasher.update(bytes.as_ref());
        hasher.finish()
    }

    /// A digest from its 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from 64 hexadecimal digits without algorithm, in either case, as checksums are written elsewhere.
    ///
    /// # Errors
    /// [`DigestError::Digits`] for anything else.
    pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Digits(digits.to_owned());
        let text = digits.as_bytes();
        if text.len() != 64 {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let mut value = 0;
            for &digit in pair {
                let digit = char::from(digit).to_digit(16).ok_or_else(malformed)?;
                value = value << 4 | digit as u8;
            }
            *byte = value;
        }
        Ok(Self(bytes))
    }

    /// The 64 hexadecimal digits without algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.hex();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(PREFIX)?;
        formatter.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((algorithm, digits)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm(text.to_owned()));
        };
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(DigestError::Digits(digits.to_owned()));
        }
        Self::from_hex(digits)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Computes a [`Digest`] piece by piece. As a writer it takes everything and never fails.
#[derive(Clone, Default)]
pub struct DigestHasher(Sha256);

impl DigestHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for DigestHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DigestHasher")
    }
}

impl io::Write for DigestHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn hashing_in_pieces_equals_hashing_at_once() {
        let mut hasher = DigestHasher::new();
        hasher.update(b"one ");
        hasher.update(b"");
        hasher.update(b"two");
        assert_eq!(hasher.finish(), Digest::of(b"one two"));
    }

    #[test]
    fn text_and_json_round_trip() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string(), EMPTY);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert_eq!(
            Digest::from_hex(&digest.hex().to_uppercase()).unwrap(),
            digest
        );
    }

    #[test]
    fn malformed_digests_are_refused_with_what_is_wrong() {
        let short = "ab".repeat(31);
        let upper = "AB".repeat(32);
        let letter = "g".repeat(64);
        let multibyte = "é".repeat(32);
        let cases: [(String, DigestError); 7] = [
            (String::new(), DigestError::NoAlgorithm(String::new())),
            ("abc".into(), DigestError::NoAlgorithm("abc".into())),
            ("sha512:ab".into(), DigestError::Algorithm("sha512".into())),
            (format!("sha256:{short}"), DigestError::Digits(short)),
            (format!("sha256:{upper}"), DigestError::Digits(upper)),
            (format!("sha256:{letter}"), DigestError::Digits(letter)),
            (
                format!("sha256:{multibyte}"),
                DigestError::Digits(multibyte),
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
    }
}
