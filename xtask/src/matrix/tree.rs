//! The files of an image, read from a tar archive of them, and what two images differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::cluster::hexadecimal;

/// Entries by absolute path.
pub(super) type Tree = BTreeMap<String, Entry>;

/// Where a tar archive keeps extended attributes.
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// What is compared of a file; times are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    kind: char,
    mode: u32,
    owner: (u64, u64),
    device: Option<(u32, u32)>,
    link: Option<String>,
    attributes: BTreeMap<String, Vec<u8>>,
    /// SHA-256 of what a file holds.
    content: Option<String>,
}

/// Two trees side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Paths that either has.
    pub(super) paths: usize,
    /// Of those, the ones where only what may differ does.
    pub(super) volatile: usize,
    /// The others that differ: the path, and what each has there.
    pub(super) differences: Vec<(String, Option<Entry>, Option<Entry>)>,
}

/// Reads a tar archive. A hard link is an entry like the one it names.
pub(super) fn read(archive: &Path) -> anyhow::Result<Tree> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(BufReader::new(file));
    for member in archive.entries().context("cannot read the archive")? {
        let mut member = member.context("cannot read a member")?;
        let path = absolute(&member.path_bytes());
        let kind = member.header().entry_type();
        let target = member.link_name_bytes().map(|bytes| bytes.into_owned());
        if let (true, Some(target)) = (kind.is_hard_link(), &target) {
            let target = absolute(target);
            let entry = tree.get(&target).cloned();
            let entry = entry
                .with_context(|| format!("{path} is a link to {target}, which is not there yet"))?;
            tree.insert(path, entry);
            continue;
        }
        let mut attributes = BTreeMap::new();
        for record in member
            .pax_extensions()
            .context("cannot read a member")?
            .into_iter()
            .flatten()
        {
            let record = record.context("cannot read a record")?;
            if let Some(name) = record
                .key()
                .ok()
                .and_then(|key| key.strip_prefix(ATTRIBUTE))
            {
                attributes.insert(name.to_owned(), record.value_bytes().to_vec());
            }
        }
        let header = member.header();
        let is_device = kind.is_character_special() || kind.is_block_special();
        // Of anything else the fields may be empty.
        let device = match is_device {
            true => header.device_major()?.zip(header.device_minor()?),
            false => None,
        };
        let mut entry = Entry {
            kind: char::from(kind.as_byte()),
            mode: header.mode()? & 0o7777,
            owner: (header.uid()?, header.gid()?),
            device,
            link: target
                .filter(|_| kind.is_symlink())
                .map(|link| String::from_utf8_lossy(&link).into_owned()),
            attributes,
            content: None,
        };
        if kind.is_file() {
            entry.content = Some(digest(&mut member).context("cannot read a file")?);
        }
        tree.insert(path, entry);
    }
    Ok(tree)
}

fn digest(content: &mut impl Read) -> std::io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = content.read(&mut buffer)?;
        if length == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(buffer.get(..length).unwrap_or_default());
    }
}

fn absolute(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_start_matches("./").trim_matches('/');
    match path {
        "" | "." => "/".to_owned(),
        path => format!("/{path}"),
    }
}

/// Compares path by path. Where a path is volatile, one may lack it, and what a file holds may differ; what it is, its
/// mode and its owner may not.
pub(super) fn compare(one: &Tree, other: &Tree, is_volatile: impl Fn(&str) -> bool) -> Comparison {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut comparison = Comparison {
        paths: paths.len(),
        ..Comparison::default()
    };
    for path in paths {
        let (first, second) = (one.get(path), other.get(path));
        if first == second {
            continue;
        }
        let may_differ = match (first, second) {
            (Some(first), Some(second)) => is_like(first, second),
            _ => true,
        };
        if may_differ && is_volatile(path) {
            comparison.volatile += 1;
        } else {
            comparison
                .differences
                .push((path.clone(), first.cloned(), second.cloned()));
        }
    }
    comparison
}

/// Whether two entries differ in nothing but what they hold.
fn is_like(one: &Entry, other: &Entry) -> bool {
    let empty = |entry: &Entry| Entry {
        content: None,
        ..entry.clone()
    };
    empty(one) == empty(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, u32, &str)]) -> Tree {
        let entry = |mode: u32, content: &str| Entry {
            kind: '0',
            mode,
            owner: (0, 0),
            device: None,
            link: None,
            attributes: BTreeMap::new(),
            content: Some(content.to_owned()),
        };
        entries
            .iter()
            .map(|(path, mode, content)| ((*path).to_owned(), entry(*mode, content)))
            .collect()
    }

    #[test]
    fn only_content_and_presence_of_volatile_paths_may_differ() {
        let one = tree(&[
            ("/a", 0o644, "x"),
            ("/log/a", 0o600, "1"),
            ("/log/b", 0o600, ""),
            ("/log/c", 0o600, ""),
        ]);
        let other = tree(&[
            ("/a", 0o644, "y"),
            ("/log/a", 0o600, "2"),
            ("/log/b", 0o644, ""),
        ]);
        let found = compare(&one, &other, |path| path.starts_with("/log"));
        assert_eq!((found.paths, found.volatile), (4, 2));
        let different: Vec<&str> = found
            .differences
            .iter()
            .map(|(path, ..)| path.as_str())
            .collect();
        assert_eq!(different, ["/a", "/log/b"]);
    }

    #[test]
    fn an_archive_is_read_with_its_links_and_attributes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut builder = tar::Builder::new(File::create(file.path()).unwrap());
        let attribute = [("SCHILY.xattr.user.x", b"y".as_slice())];
        builder.append_pax_extensions(attribute).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o4755);
        header.set_uid(5);
        header.set_gid(0);
        header.set_size(3);
        builder
            .append_data(&mut header.clone(), "./a", b"abc".as_slice())
            .unwrap();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Link);
        builder.append_link(&mut header, "b", "a").unwrap();
        builder.finish().unwrap();
        let tree = read(file.path()).unwrap();
        assert_eq!(tree["/a"], tree["/b"]);
        assert_eq!((tree["/a"].mode, tree["/a"].owner), (0o4755, (5, 0)));
        assert_eq!(tree["/a"].attributes["user.x"], b"y");
    }
}
