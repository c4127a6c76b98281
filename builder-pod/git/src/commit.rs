//! Commits and tags: what of them matters for their files.

use crate::{GitError, ObjectId};

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its files.
    pub tree: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
}

/// A tag with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it names.
    pub object: ObjectId,
}

impl Commit {
    /// Reads a commit's content.
    ///
    /// # Errors
    /// When it has no tree or no time.
    pub fn parse(content: &[u8]) -> Result<Self, GitError> {
        let malformed = || GitError::Malformed("a commit");
        let tree = header(content, b"tree ").ok_or_else(malformed)?;
        // `NAME <MAIL> SECONDS ZONE`: names may hold anything but a line end.
        let committer = header(content, b"committer ").ok_or_else(malformed)?;
        let mut words = committer.rsplit(|byte| *byte == b' ');
        let seconds = words
            .nth(1)
            .and_then(|word| core::str::from_utf8(word).ok());
        Ok(Self {
            tree: id(tree).ok_or_else(malformed)?,
            time: seconds
                .and_then(|text| text.parse().ok())
                .ok_or_else(malformed)?,
        })
    }
}

impl Tag {
    /// Reads a tag's content.
    ///
    /// # Errors
    /// When it names nothing.
    pub fn parse(content: &[u8]) -> Result<Self, GitError> {
        let object = header(content, b"object ").and_then(id);
        let object = object.ok_or(GitError::Malformed("a tag"))?;
        Ok(Self { object })
    }
}

fn id(hex: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(core::str::from_utf8(hex).ok()?)
}

/// The first line that begins so, before the message.
fn header<'a>(content: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let lines = content.split(|byte| *byte == b'\n');
    let mut headers = lines.take_while(|line| !line.is_empty());
    headers.find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_has_a_tree_and_a_time() {
        let id = "a".repeat(40);
        let text = format!(
            "tree {id}\nauthor A <a@b> 1 +0000\ncommitter x > 5 y <c@d> -7 +0200\nencoding x\n\ntree of the message\n"
        );
        let commit = Commit::parse(text.as_bytes()).unwrap();
        assert_eq!((commit.tree.to_string(), commit.time), (id, -7));
        for text in [
            "",
            "tree x\n",
            "\ntree of the message",
            "committer a 1 +0000\n",
        ] {
            assert!(Commit::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
