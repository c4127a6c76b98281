//! Names of objects, and the hashes that make them.

use core::fmt;

use sha2::Digest as _;

use crate::GitError;
use crate::objects::Kind;

/// Which hash a repository names its objects by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ObjectFormat {
    /// SHA-1, of 20 bytes.
    #[default]
    Sha1,
    /// SHA-256, of 32 bytes.
    Sha256,
}

impl ObjectFormat {
    /// The length of an id in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Its name in the protocol and in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

/// The name of an object: a hash of its kind, size and content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    length: u8,
    bytes: [u8; 32],
}

impl ObjectId {
    /// The id with these bytes; `None` if there are neither 20 nor 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let length = match bytes.len() {
            20 => 20,
            32 => 32,
            _ => return None,
        };
        let mut id = Self {
            length,
            bytes: [0; 32],
        };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// The id written as 40 or 64 small hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        Self::from_bytes(&bytes?)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The hash that made it.
    #[must_use]
    pub const fn format(&self) -> ObjectFormat {
        match self.length {
            20 => ObjectFormat::Sha1,
            _ => ObjectFormat::Sha256,
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A hash while it is computed.
pub(crate) enum Hasher {
    Sha1(Box<sha1_checked::Sha1>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(crate) fn new(format: ObjectFormat) -> Self {
        match format {
            ObjectFormat::Sha1 => Self::Sha1(Box::default()),
            ObjectFormat::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    /// A hash that has taken what stands before an object's content.
    pub(crate) fn of_object(format: ObjectFormat, kind: Kind, size: u64) -> Self {
        let mut hasher = Self::new(format);
        hasher.update(format!("{} {size}\0", kind.name()).as_bytes());
        hasher
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => sha1_checked::Digest::update(&mut **hasher, bytes),
            Self::Sha256(hasher) => sha2::Digest::update(hasher, bytes),
        }
    }

    /// # Errors
    /// When the bytes were made to collide with others.
    pub(crate) fn finish(self) -> Result<ObjectId, GitError> {
        let malformed = GitError::Malformed("a hash");
        match self {
            Self::Sha1(hasher) => {
                let result = hasher.try_finalize();
                if result.has_collision() {
                    return Err(GitError::Collision);
                }
                ObjectId::from_bytes(result.hash()).ok_or(malformed)
            }
            Self::Sha256(hasher) => ObjectId::from_bytes(&hasher.finalize()).ok_or(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        let blob = |format, content: &[u8]| {
            let mut hasher = Hasher::of_object(format, Kind::Blob, content.len() as u64);
            hasher.update(content);
            hasher.finish().unwrap().to_string()
        };
        assert_eq!(
            blob(ObjectFormat::Sha1, b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            blob(ObjectFormat::Sha256, b"hello\n"),
            "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"
        );
    }

    #[test]
    fn an_id_is_forty_or_sixty_four_small_digits() {
        for text in ["a".repeat(40), "0".repeat(64)] {
            assert_eq!(ObjectId::from_hex(&text).unwrap().to_string(), text);
        }
        for text in [
            String::new(),
            "a".repeat(39),
            "A".repeat(40),
            "a".repeat(62),
            "é".repeat(20),
        ] {
            assert_eq!(ObjectId::from_hex(&text), None, "{text}");
        }
    }
}
