//! A `.git` directory for a commit that was fetched: what git's own program reads.
//!
//! Invariant: the same commit and pack give the same bytes: no time, name or number of this machine is in them.

use crate::id::Hasher;
use crate::{EntryKind, GitError, ObjectFormat, ObjectId, TreeEntry};

/// An object of a pack, for its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// Its id.
    pub id: ObjectId,
    /// Where it begins.
    pub offset: u64,
    /// CRC-32 of its bytes in the pack.
    pub checksum: u32,
}

/// A file of a `.git` directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFile {
    /// Its path below `.git`.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// What a `.git` directory is made of.
#[derive(Debug)]
pub struct GitDirectory<'a> {
    /// The repository's address; it holds no password.
    pub remote: &'a str,
    /// The commit that is checked out.
    pub commit: ObjectId,
    /// Whether commits before it are missing.
    pub is_shallow: bool,
    /// The branch or tag, with its whole name, and what it names.
    pub reference: Option<(&'a str, ObjectId)>,
    /// The commit's files.
    pub files: &'a [TreeEntry],
    /// Everything in the pack.
    pub pack: Vec<PackEntry>,
    /// The pack's own hash.
    pub pack_checksum: ObjectId,
}

impl GitDirectory<'_> {
    /// The path of the pack below `.git`.
    #[must_use]
    pub fn pack_path(&self) -> String {
        format!("objects/pack/pack-{}.pack", self.pack_checksum)
    }

    /// The files but the pack.
    ///
    /// # Errors
    /// When a hash cannot be made.
    pub fn files(mut self) -> Result<Vec<GitFile>, GitError> {
        let file = |path: &str, content: String| GitFile {
            path: path.to_owned(),
            content: content.into_bytes(),
        };
        let commit = self.commit;
        let mut files = vec![
            file("HEAD", format!("{commit}\n")),
            file("config", self.config()),
        ];
        if self.is_shallow {
            files.push(file("shallow", format!("{commit}\n")));
        }
        if let Some((name, id)) = self.reference
            && name.starts_with("refs/")
        {
            files.push(file(name, format!("{id}\n")));
        }
        let path = self.pack_path().replace(".pack", ".idx");
        let content = self.pack_index()?;
        files.push(GitFile { path, content });
        let (path, content) = ("index".to_owned(), self.index()?);
        files.push(GitFile { path, content });
        Ok(files)
    }

    fn config(&self) -> String {
        let (version, extension) = match self.commit.format() {
            ObjectFormat::Sha1 => (0, ""),
            ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectformat = sha256\n"),
        };
        let quoted = self.remote.replace('\\', "\\\\").replace('"', "\\\"");
        format!(
            "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n{extension}\
             [remote \"origin\"]\n\turl = \"{quoted}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
        )
    }

    /// Version 2 of the format.
    fn pack_index(&mut self) -> Result<Vec<u8>, GitError> {
        let malformed = || GitError::Malformed("a pack");
        self.pack.sort_unstable_by_key(|entry| entry.id);
        self.pack.dedup_by_key(|entry| entry.id);
        let entries = &self.pack;
        let mut out = b"\xfftOc\0\0\0\x02".to_vec();
        for first in 0..=u8::MAX {
            let count = entries.partition_point(|entry| entry.id.as_bytes()[0] <= first);
            let count = u32::try_from(count).map_err(|_| malformed())?;
            out.extend_from_slice(&count.to_be_bytes());
        }
        for entry in entries {
            out.extend_from_slice(entry.id.as_bytes());
        }
        for entry in entries {
            out.extend_from_slice(&entry.checksum.to_be_bytes());
        }
        let mut large = Vec::new();
        for entry in entries {
            let offset = match u32::try_from(entry.offset) {
                Ok(offset) if offset < 1 << 31 => offset,
                _ => {
                    large.push(entry.offset);
                    u32::try_from(large.len() - 1).map_err(|_| malformed())? | 1 << 31
                }
            };
            out.extend_from_slice(&offset.to_be_bytes());
        }
        for offset in large {
            out.extend_from_slice(&offset.to_be_bytes());
        }
        out.extend_from_slice(self.pack_checksum.as_bytes());
        signed(out, self.commit.format())
    }

    /// Version 2 of the format. Of the files on disk it says nothing, not even their size, so that git looks at their
    /// contents once.
    fn index(&self) -> Result<Vec<u8>, GitError> {
        let is_file = |entry: &&TreeEntry| entry.kind != EntryKind::Directory;
        let mut entries: Vec<&TreeEntry> = self.files.iter().filter(is_file).collect();
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let count = u32::try_from(entries.len()).map_err(|_| GitError::Malformed("a directory"))?;
        let mut out = b"DIRC\0\0\0\x02".to_vec();
        out.extend_from_slice(&count.to_be_bytes());
        for entry in entries {
            let start = out.len();
            let mode: u32 = match entry.kind {
                EntryKind::File {
                    is_executable: true,
                } => 0o100_755,
                EntryKind::Symlink => 0o120_000,
                EntryKind::Submodule => 0o160_000,
                _ => 0o100_644,
            };
            for number in [0, 0, 0, 0, 0, 0, mode, 0, 0, 0] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(entry.id.as_bytes());
            let length = u16::try_from(entry.path.len())
                .unwrap_or(u16::MAX)
                .min(0xfff);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&entry.path);
            // At least one zero, up to a multiple of eight.
            let length = out.len() - start;
            out.resize(start + (length / 8 + 1) * 8, 0);
        }
        signed(out, self.commit.format())
    }
}

/// Bytes with their hash behind them.
fn signed(mut bytes: Vec<u8>, format: ObjectFormat) -> Result<Vec<u8>, GitError> {
    let mut hasher = Hasher::new(format);
    hasher.update(&bytes);
    bytes.extend_from_slice(hasher.finish()?.as_bytes());
    Ok(bytes)
}
