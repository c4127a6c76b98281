//! The secrets of a build: named by the request, read when a step asks for one, and nowhere else.
//!
//! Invariant: a secret's value is in no plan, no key, no history and no message; what a step prints of it is hidden.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

/// Largest secret, in bytes, as with BuildKit.
pub const SECRET_LIMIT: u64 = 500 * 1024;

/// Shorter lines of a secret are not hidden in output: they would hide too much.
const SHORTEST_HIDDEN: usize = 4;

/// What stands where a secret was printed.
const MASK: &str = "***";

/// Where a secret's value is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, read when a step needs it.
    File(PathBuf),
    /// Here.
    Value(Vec<u8>),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Value(_) => formatter.write_str("Value(…)"),
        }
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("cannot read the secret {id} from {path}")]
    Read {
        /// Its name.
        id: String,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the secret {id} has more than {SECRET_LIMIT} bytes")]
    TooLarge {
        /// Its name.
        id: String,
    },
}

/// Secrets by name.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    by_id: BTreeMap<String, SecretSource>,
}

impl Secrets {
    /// Adds one; gives whether there was none of this name.
    pub fn add(&mut self, id: String, source: SecretSource) -> bool {
        self.by_id.insert(id, source).is_none()
    }

    /// A secret's value; `None` when the request has none of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<Vec<u8>>, SecretError> {
        let value = match self.by_id.get(id) {
            None => return Ok(None),
            Some(SecretSource::Value(value)) => value.clone(),
            Some(SecretSource::File(path)) => {
                let read = || {
                    let mut value = Vec::new();
                    let file = std::fs::File::open(path)?;
                    file.take(SECRET_LIMIT + 1).read_to_end(&mut value)?;
                    Ok(value)
                };
                read().map_err(|source| SecretError::Read {
                    id: id.to_owned(),
                    path: path.clone(),
                    source,
                })?
            }
        };
        if value.len() as u64 > SECRET_LIMIT {
            return Err(SecretError::TooLarge { id: id.to_owned() });
        }
        Ok(Some(value))
    }
}

/// Hides values in what a step prints.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that none is hidden in part.
    hidden: Vec<String>,
}

impl Mask {
    /// A mask for these values, line by line.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hidden: Vec<String> = Vec::new();
        for value in values {
            let text = String::from_utf8_lossy(value);
            let lines = text.lines().map(str::trim);
            hidden.extend(
                lines
                    .filter(|line| line.len() >= SHORTEST_HIDDEN)
                    .map(str::to_owned),
            );
        }
        hidden.sort_by_key(|line| std::cmp::Reverse(line.len()));
        hidden.dedup();
        Self { hidden }
    }

    /// The line without what is hidden.
    #[must_use]
    pub fn apply(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for hidden in &self.hidden {
            if line.contains(hidden) {
                line = line.replace(hidden, MASK);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_secret_is_hidden_and_short_ones_are_not() {
        let mask = Mask::new([b"first-line\n  second\nabc\n".as_slice(), b"first"]);
        assert_eq!(mask.apply("a first-line b"), "a *** b");
        assert_eq!(mask.apply("second=second firsts"), "***=*** ***s");
        assert_eq!(mask.apply("abc"), "abc");
    }

    #[test]
    fn a_secret_is_read_when_it_is_wanted_and_never_shown() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("s");
        let mut secrets = Secrets::default();
        assert!(secrets.add("f".to_owned(), SecretSource::File(file.clone())));
        assert!(secrets.add("v".to_owned(), SecretSource::Value(b"value".to_vec())));
        assert!(
            !format!("{secrets:?}").contains("118, 97")
                && !format!("{secrets:?}").contains("value")
        );
        assert!(matches!(secrets.get("f"), Err(SecretError::Read { .. })));
        std::fs::write(&file, "from the file").unwrap();
        assert_eq!(secrets.get("f").unwrap().unwrap(), b"from the file");
        assert_eq!(secrets.get("v").unwrap().unwrap(), b"value");
        assert!(secrets.get("x").unwrap().is_none());
        std::fs::write(&file, vec![b'x'; 500 * 1024 + 1]).unwrap();
        assert!(matches!(
            secrets.get("f"),
            Err(SecretError::TooLarge { .. })
        ));
    }
}
