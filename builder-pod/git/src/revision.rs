//! From a branch, tag or commit as people write it to what a server has.
//!
//! Invariant: nothing that could be taken for an option, a line end or another reference's syntax is a revision.

use crate::{GitError, ObjectFormat, ObjectId, RemoteRef};

/// A revision as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The repository's own default.
    Default,
    /// A whole commit id.
    Commit(ObjectId),
    /// A branch or tag; where there is none, the beginning of a commit's id.
    Name(String),
}

/// What a revision is on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What is fetched: a commit, or a tag with a message.
    pub id: ObjectId,
    /// The commit, where a tag with a message leads to it.
    pub commit: ObjectId,
    /// The branch or tag.
    pub name: Option<String>,
}

/// Fewest digits of a short commit.
const SHORT: usize = 4;

impl Revision {
    /// Reads a revision.
    ///
    /// # Errors
    /// When no branch, tag or commit can be called so.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        if text.is_empty() {
            return Ok(Self::Default);
        }
        if let Some(id) = ObjectId::from_hex(text) {
            return Ok(Self::Commit(id));
        }
        match is_reference(text) {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(GitError::BadRevision(text.to_owned())),
        }
    }

    /// What the names of the branches and tags in question begin with.
    #[must_use]
    pub fn prefixes(&self) -> Vec<String> {
        match self {
            Self::Default => vec!["HEAD".to_owned()],
            Self::Commit(_) => Vec::new(),
            Self::Name(name) => candidates(name).to_vec(),
        }
    }

    /// What it is among the server's branches and tags; `None` where it is none of them. Branches go before tags.
    #[must_use]
    pub fn find(&self, refs: &[RemoteRef]) -> Option<Resolved> {
        let names = match self {
            Self::Default => vec!["HEAD".to_owned()],
            Self::Commit(id) => {
                return Some(Resolved {
                    id: *id,
                    commit: *id,
                    name: None,
                });
            }
            Self::Name(name) => candidates(name).to_vec(),
        };
        let mut found = names
            .iter()
            .filter_map(|name| refs.iter().find(|one| one.name == *name));
        found.next().map(|found| Resolved {
            id: found.id,
            commit: found.peeled.unwrap_or(found.id),
            name: Some(found.name.clone()),
        })
    }

    /// The digits, where it may be the beginning of a commit's id.
    #[must_use]
    pub fn short_commit(&self, format: ObjectFormat) -> Option<&str> {
        let Self::Name(name) = self else { return None };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_short = (SHORT..format.length() * 2).contains(&name.len());
        (is_short && name.bytes().all(is_digit)).then_some(name)
    }
}

/// The whole names that a short one may have, the one that counts first.
fn candidates(name: &str) -> [String; 3] {
    let below = |prefix: &str| format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name));
    [below("refs/"), below("refs/heads/"), below("refs/tags/")]
}

/// Whether git takes it for the name of a reference.
fn is_reference(text: &str) -> bool {
    let is_bad =
        |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !text.starts_with('-')
        && !text.ends_with('.')
        && text != "@"
        && text.len() <= 1024
        && !text.contains("..")
        && !text.contains("@{")
        && !text.chars().any(is_bad)
        && text.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str, digit: &str, peeled: Option<&str>) -> RemoteRef {
        let id = |digit: &str| ObjectId::from_hex(&digit.repeat(40)).unwrap();
        RemoteRef {
            name: name.to_owned(),
            id: id(digit),
            peeled: peeled.map(id),
        }
    }

    #[test]
    fn a_branch_goes_before_a_tag_and_a_whole_name_before_both() {
        let refs = [
            remote("HEAD", "0", None),
            remote("refs/heads/main", "1", None),
            remote("refs/heads/both", "2", None),
            remote("refs/tags/both", "3", Some("4")),
            remote("refs/tags/v1", "5", Some("6")),
            remote("refs/pull/7/head", "7", None),
        ];
        for (text, expected) in [
            ("", Some(("0", "0"))),
            ("main", Some(("1", "1"))),
            ("both", Some(("2", "2"))),
            ("tags/both", Some(("3", "4"))),
            ("refs/tags/both", Some(("3", "4"))),
            ("v1", Some(("5", "6"))),
            ("refs/pull/7/head", Some(("7", "7"))),
            ("pull/7/head", Some(("7", "7"))),
            ("other", None),
        ] {
            let found = Revision::parse(text).unwrap().find(&refs);
            let digits = found.map(|found| (found.id.to_string(), found.commit.to_string()));
            let expected = expected.map(|(id, commit)| (id.repeat(40), commit.repeat(40)));
            assert_eq!(digits, expected, "{text}");
        }
    }

    /// CVE-2019-13139: a revision that begins with a dash was an option of git's.
    #[test]
    fn cve_2019_13139_what_could_be_an_option_is_no_revision() {
        for text in [
            "--upload-pack=touch /tmp/x",
            "-u",
            "a b",
            "a\nwant x",
            "a..b",
            "a^{tree}",
            "a:b",
            "*",
            "@",
            "@{1}",
            "a/.b",
            "a//b",
            "/a",
            "a.lock",
            "a.",
        ] {
            assert!(Revision::parse(text).is_err(), "{text}");
        }
        for text in ["a", "feature/x-1", "v1.2.3", "refs/heads/ünlaut", "a@b"] {
            assert!(Revision::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_short_commit_has_at_least_four_small_digits() {
        let short = |text: &str| {
            let revision = Revision::parse(text).unwrap();
            revision.short_commit(ObjectFormat::Sha1).is_some()
        };
        assert!(short("abcd") && short(&"0".repeat(39)));
        assert!(!short("abc") && !short("ABCD") && !short("main") && !short(&"0".repeat(41)));
    }
}
