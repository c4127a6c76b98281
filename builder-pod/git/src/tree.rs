//! Directories: from a commit's tree to a list of paths.
//!
//! Invariant: every path that comes out is relative and has neither `..` nor a `.git` in any spelling that some file
//! system takes for it.

use crate::objects::{Kind, Objects};
use crate::{GitError, ObjectId};

/// Most entries of a commit, as of an archive.
const ENTRIES_LIMIT: u64 = 2_000_000;

/// Most directories in each other.
const DEPTH_LIMIT: usize = 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Whether it can be executed.
        is_executable: bool,
    },
    /// A symbolic link; its content is the target.
    Symlink,
    /// A directory.
    Directory,
    /// A commit of another repository.
    Submodule,
}

/// A file, link, directory or submodule of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path, relative.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Its content.
    pub id: ObjectId,
}

/// Everything below a tree, parents before children.
///
/// # Errors
/// When a tree is missing, malformed or too large, or has a name that no file may have.
pub fn walk_tree(objects: &Objects, root: &ObjectId) -> Result<Vec<TreeEntry>, GitError> {
    let mut entries = Vec::new();
    let mut pending = vec![(Vec::new(), *root, 0)];
    while let Some((directory, id, depth)) = pending.pop() {
        if depth > DEPTH_LIMIT {
            return Err(GitError::TooLarge {
                limit: DEPTH_LIMIT as u64,
                what: "directories in each other",
            });
        }
        let content = objects.read(&id, Kind::Tree)?;
        for entry in parse(&content, &directory, id)? {
            if entries.len() as u64 == ENTRIES_LIMIT {
                return Err(GitError::TooLarge {
                    limit: ENTRIES_LIMIT,
                    what: "files",
                });
            }
            if entry.kind == EntryKind::Directory {
                pending.push((entry.path.clone(), entry.id, depth + 1));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The entries of one tree: `MODE NAME NUL ID`, each.
fn parse(content: &[u8], directory: &[u8], tree: ObjectId) -> Result<Vec<TreeEntry>, GitError> {
    let malformed = || GitError::Malformed("a directory");
    let mut entries: Vec<TreeEntry> = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(malformed)?;
        let (mode, after) = (&rest[..space], &rest[space + 1..]);
        let nul = after
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(malformed)?;
        let (name, after) = (&after[..nul], &after[nul + 1..]);
        let length = tree.format().length();
        let id = after
            .get(..length)
            .and_then(ObjectId::from_bytes)
            .ok_or_else(malformed)?;
        rest = &after[length..];
        let kind = match mode {
            b"40000" | b"040000" => EntryKind::Directory,
            b"120000" => EntryKind::Symlink,
            b"160000" => EntryKind::Submodule,
            // Old repositories have other bits too; git itself looks at one of them.
            [b'1', b'0', b'0', bits @ ..] if bits.len() == 3 => EntryKind::File {
                is_executable: bits[0] & 1 != 0,
            },
            _ => return Err(malformed()),
        };
        if !is_allowed(name, kind) {
            return Err(GitError::Name(String::from_utf8_lossy(name).into_owned()));
        }
        let mut path = directory.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        entries.push(TreeEntry { path, kind, id });
    }
    let mut names: Vec<&[u8]> = entries.iter().map(|entry| entry.path.as_slice()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(malformed());
    }
    Ok(entries)
}

/// Whether a file may be called so. What git itself refuses to check out is refused.
fn is_allowed(name: &[u8], kind: EntryKind) -> bool {
    if matches!(name, b"" | b"." | b"..") || name.len() > 255 || name.contains(&b'/') {
        return false;
    }
    let text = String::from_utf8_lossy(name);
    // What some file systems pass over: marks of direction on one, blanks and dots at the end and streams on another.
    let is_ignored = |c: &char| matches!(u32::from(*c), 0x200c..=0x200f | 0x202a..=0x202e | 0x206a..=0x206f | 0xfeff);
    let seen: String = text.chars().filter(|c| !is_ignored(c)).collect();
    let seen = seen.to_ascii_lowercase();
    let before_stream = seen.split(':').next().unwrap_or_default();
    let trimmed = before_stream.trim_end_matches(['.', ' ']);
    if matches!(trimmed, ".git" | "git~1") || seen.split('\\').any(|part| part == ".git") {
        return false;
    }
    // As a link, what tells of submodules would be read from elsewhere.
    trimmed != ".gitmodules" || kind != EntryKind::Symlink
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut content = Vec::new();
        for (mode, name) in entries {
            content.extend_from_slice(mode.as_bytes());
            content.push(b' ');
            content.extend_from_slice(name);
            content.push(0);
            content.extend_from_slice(&[7; 20]);
        }
        content
    }

    fn parsed(entries: &[(&str, &[u8])]) -> Result<Vec<TreeEntry>, GitError> {
        let id = ObjectId::from_bytes(&[1; 20]).unwrap();
        parse(&content(entries), b"d", id)
    }

    #[test]
    fn modes_tell_what_an_entry_is() {
        let entries = parsed(&[
            ("100644", b"a"),
            ("100755", b"b"),
            ("100664", b"c"),
            ("120000", b"d"),
            ("40000", b"e"),
            ("160000", b"f"),
        ]);
        let kinds: Vec<EntryKind> = entries.unwrap().iter().map(|entry| entry.kind).collect();
        let file = |is_executable| EntryKind::File { is_executable };
        let (link, directory, submodule) = (
            EntryKind::Symlink,
            EntryKind::Directory,
            EntryKind::Submodule,
        );
        assert_eq!(
            kinds,
            [
                file(false),
                file(true),
                file(false),
                link,
                directory,
                submodule
            ]
        );
    }

    /// CVE-2014-9390, CVE-2019-1352, CVE-2019-1353: names that a file system takes for `.git`; CVE-2018-17456 and
    /// CVE-2018-11235 began with links and paths like these.
    #[test]
    fn cve_2014_9390_no_spelling_of_the_git_directory_is_a_file() {
        for name in [
            &b".git"[..],
            b".GIT",
            b".git ",
            b".git. .",
            b"git~1",
            b"GIT~1",
            b".git::$INDEX_ALLOCATION",
            b"a\\.git",
            ".g\u{200c}it".as_bytes(),
            b"",
            b".",
            b"..",
            b"a/b",
        ] {
            let error = parsed(&[("100644", name)]).unwrap_err();
            assert!(matches!(error, GitError::Name(_)), "{name:?}: {error}");
        }
        assert!(parsed(&[("120000", b".gitmodules")]).is_err());
        for name in [
            &b".gitmodules"[..],
            b".gitignore",
            b"git",
            b".git2",
            b"...",
            b"\xff",
        ] {
            assert!(parsed(&[("100644", name)]).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_there_twice_is_malformed() {
        let id = ObjectId::from_bytes(&[1; 20]).unwrap();
        let whole = content(&[("100644", b"a")]);
        for end in 1..whole.len() {
            assert!(parse(&whole[..end], b"", id).is_err(), "{end}");
        }
        assert!(parsed(&[("100644", b"a"), ("40000", b"a")]).is_err());
        assert!(parsed(&[("777", b"a")]).is_err());
    }
}
