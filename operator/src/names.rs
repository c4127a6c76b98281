//! Names of what belongs to an attempt, and the labels that find it.
//!
//! Invariant: a name is made of the object's uid, the run and the attempt alone, so that whoever repeats a step, after
//! a restart or beside another operator, meets what is there already.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use stagecraft_api::labels;

/// Characters of the object's name that a derived name starts with. The whole stays below 63, for labels.
const STEM_LIMIT: usize = 38;

/// Which attempt something belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptKey<'a> {
    /// Name of the ImageBuild.
    pub(crate) build: &'a str,
    /// Its uid.
    pub(crate) uid: &'a str,
    /// Number of the run.
    pub(crate) run: i32,
    /// Number of the attempt.
    pub(crate) attempt: i32,
}

impl AttemptKey<'_> {
    /// Name of the pod, and of the ConfigMap with its request.
    pub(crate) fn name(&self) -> String {
        let stem: String = self.build.chars().take(STEM_LIMIT).collect();
        let stem = stem.replace('.', "-");
        let stem = stem.trim_end_matches('-');
        let uid = &sha256_hex(self.uid.as_bytes())[..8];
        format!("{stem}-{uid}-{}-{}", self.run, self.attempt)
    }

    /// Labels of both.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (
                labels::MANAGED_BY.to_owned(),
                labels::MANAGED_BY_VALUE.to_owned(),
            ),
            (
                labels::COMPONENT.to_owned(),
                labels::COMPONENT_VALUE.to_owned(),
            ),
            (labels::BUILD_UID.to_owned(), self.uid.to_owned()),
            (labels::RUN.to_owned(), self.run.to_string()),
            (labels::ATTEMPT.to_owned(), self.attempt.to_string()),
        ]);
        if self.build.len() <= 63 {
            labels.insert(labels::BUILD.to_owned(), self.build.to_owned());
        }
        labels
    }
}

/// Selects everything that the operator made.
pub(crate) fn managed_selector() -> String {
    format!(
        "{}={},{}={}",
        labels::MANAGED_BY,
        labels::MANAGED_BY_VALUE,
        labels::COMPONENT,
        labels::COMPONENT_VALUE
    )
}

/// Selects what belongs to one ImageBuild.
pub(crate) fn build_selector(uid: &str) -> String {
    format!("{}={uid}", labels::BUILD_UID)
}

/// The SHA-256 of bytes, as 64 hexadecimal digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_valid_and_differs_by_uid_run_and_attempt() {
        let key = AttemptKey {
            build: "a.long.name-that-goes-on-and-on-and-on-and-on-and-on",
            uid: "one",
            run: 12,
            attempt: 3,
        };
        let name = key.name();
        assert!(name.len() <= 63 && name.ends_with("-12-3"), "{name}");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{name}"
        );
        assert_ne!(
            name,
            AttemptKey {
                uid: "two",
                ..key.clone()
            }
            .name()
        );
        assert_eq!(name, key.name());
    }
}
