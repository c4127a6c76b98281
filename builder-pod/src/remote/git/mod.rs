//! A git repository: one commit's files, without a program, a working tree or a configuration.
//!
//! Invariant: modes are 0644, 0755 and 0777, owners root, times the commit's: nothing depends on this machine.
//! Invariant: a directory of the repository is entered by its own name; a link in its place is no directory.

mod server;
mod submodules;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use stagecraft_git::{
    Attributes, Commit, EntryKind, GitDirectory, GitError, Kind, LineEnds, ObjectId, ObjectReader,
    Objects, Revision, SubmoduleError, Tag, TreeEntry, walk_tree,
};
use stagecraft_layer::{FsTree, Node, NodeKind, Time, join_paths, name_of, parent_of};
use stagecraft_registry::{BasicCredentials, DownloadError, HttpSettings};

use crate::store::blocking;
use server::{Received, Server};

/// Largest repository, in bytes of its objects as they are.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024 * 1024;

/// Longest target of a symbolic link, in bytes.
const LINK_LIMIT: u64 = 4095;

/// Where the content of a pack that is kept is: no object is called so.
const PACK: &[u8] = b"pack";

/// Largest `.gitattributes` that is looked at, in bytes.
const ATTRIBUTES_LIMIT: u64 = 1024 * 1024;

/// Largest file whose line ends are changed, in bytes: it is held in memory.
const TEXT_LIMIT: u64 = 32 * 1024 * 1024;

/// Most tags that name each other.
const TAG_LIMIT: usize = 8;

/// Why a repository's files could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The exchange with the server failed.
    #[error(transparent)]
    Host(#[from] DownloadError),
    /// What the server sent cannot be used, or it has not what is asked for.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A way to reach the repository that is not there.
    #[error("{0}:// repositories are not supported: use its https:// address")]
    Transport(&'static str),
    /// The expected commit is no id.
    #[error("{0:?} is no commit: hexadecimal digits are")]
    Checksum(String),
    /// `fetch-by-commit` without a whole commit.
    #[error("fetch-by-commit needs a checksum with all digits of a commit")]
    NoCommit,
    /// It is another commit than expected.
    #[error("the commit is {found}, which does not begin with {expected}")]
    Mismatch {
        /// What was expected.
        expected: String,
        /// What is there.
        found: ObjectId,
    },
    /// The directory is not there, or is none.
    #[error("the repository has no directory {0:?}")]
    NoDirectory(String),
    /// A submodule that `.gitmodules` does not name.
    #[error(".gitmodules has no url for the submodule {0:?}")]
    NoSubmodule(String),
    /// `.gitmodules` or an address in it.
    #[error("the submodules cannot be fetched")]
    Submodules(#[from] SubmoduleError),
    /// A submodule could not be had.
    #[error("cannot fetch the submodule {path:?}")]
    Submodule {
        /// Where it is.
        path: String,
        /// Why.
        source: Box<RepositoryError>,
    },
    /// Submodules of submodules without end.
    #[error("submodules are nested more than {0} deep")]
    Depth(usize),
    /// Scratch cannot be used.
    #[error("cannot make {}", path.display())]
    Scratch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl RepositoryError {
    /// Whether the same may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Host(error) => error.is_transient(),
            Self::Git(GitError::Read(_)) => true,
            Self::Submodule { source, .. } => source.is_transient(),
            _ => false,
        }
    }
}

/// What is wanted of which repository.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The repository; user and password may stand in it.
    pub(crate) remote: String,
    /// Branch, tag or commit; empty for the default.
    pub(crate) revision: String,
    /// The directory in it; empty for the whole.
    pub(crate) directory: String,
    /// What the commit's id must begin with.
    pub(crate) checksum: Option<String>,
    pub(crate) keep_git_directory: bool,
    pub(crate) submodules: bool,
    pub(crate) fetch_by_commit: bool,
    /// Who asks, where the address does not say it.
    pub(crate) credentials: Option<BasicCredentials>,
}

/// A commit's files. Their contents are objects in scratch: [`Node::content_path`] is the object's id.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub(crate) tree: Arc<FsTree>,
    pub(crate) commit: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub(crate) time: i64,
    objects: Vec<Objects>,
    /// The pack of a `.git` that is kept.
    pack: Option<ObjectReader>,
}

impl Checkout {
    /// Opens a file of the tree.
    pub(crate) fn open(&self, path: &[u8], node: &Node) -> std::io::Result<ObjectReader> {
        let place = node.content_path(path);
        if let Some(pack) = self.pack.as_ref().filter(|_| place == PACK) {
            return Ok(pack.clone());
        }
        let id = ObjectId::from_bytes(place);
        let mut readers = self.objects.iter().filter_map(|one| one.open(&id?));
        readers.next().ok_or(std::io::ErrorKind::NotFound.into())
    }
}

/// Names of new files in scratch.
pub(crate) trait Scratch: Sync {
    /// A name that nothing has.
    fn file(&self) -> PathBuf;
}

/// Where what is fetched goes.
struct Place<'a> {
    scratch: &'a dyn Scratch,
    /// Whether packs are kept as they are sent.
    keep_pack: bool,
}

impl Place<'_> {
    /// A new file, which is gone when it is closed.
    fn scratch_file(&self) -> Result<File, RepositoryError> {
        let path = self.scratch.file();
        let mut options = File::options();
        let opened = options.read(true).write(true).create_new(true).open(&path);
        let file = opened.and_then(|file| std::fs::remove_file(&path).map(|()| file));
        file.map_err(|source| RepositoryError::Scratch { path, source })
    }
}

/// Fetches.
pub(crate) async fn fetch(
    wanted: &Wanted,
    http: &HttpSettings,
    scratch: &dyn Scratch,
) -> Result<Checkout, RepositoryError> {
    if let Some(checksum) = &wanted.checksum
        && (checksum.is_empty() || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(RepositoryError::Checksum(checksum.clone()));
    }
    let revision = revision(wanted)?;
    let server = Server::connect(&wanted.remote, wanted.credentials.clone(), http).await?;
    // As in BuildKit: a part of a repository has no `.git`.
    let keep_pack = wanted.keep_git_directory && wanted.directory.is_empty();
    let place = Place { scratch, keep_pack };
    let received = server.receive(&revision, &place).await?;
    let (checksum, address) = (wanted.checksum.clone(), server.address.clone());
    let (mut checkout, submodules) =
        blocking(move || Checkout::read(received, checksum.as_deref(), &address)).await?;
    if wanted.submodules {
        submodules::add(&mut checkout, submodules, &server, http, scratch).await?;
    }
    if !wanted.directory.is_empty() {
        let no_directory = || RepositoryError::NoDirectory(wanted.directory.clone());
        let directory = wanted.directory.trim_matches('/').as_bytes();
        let is_directory = checkout.tree.get(directory).is_some_and(Node::is_directory);
        let below = checkout.tree.subtree(directory).filter(|_| is_directory);
        checkout.tree = Arc::new(below.ok_or_else(no_directory)?);
    }
    Ok(checkout)
}

/// What is asked for: with `fetch-by-commit` the checksum alone, whatever the revision is called.
fn revision(wanted: &Wanted) -> Result<Revision, RepositoryError> {
    let revision = Revision::parse(&wanted.revision)?;
    if !wanted.fetch_by_commit || matches!(revision, Revision::Commit(_)) {
        return Ok(revision);
    }
    let commit = wanted.checksum.as_deref().and_then(ObjectId::from_hex);
    commit
        .map(Revision::Commit)
        .ok_or(RepositoryError::NoCommit)
}

/// The commit that was asked for, if it is the expected one. The id of a tag with a message counts as well as that of
/// its commit.
fn commit_of(
    objects: &Objects,
    id: ObjectId,
    expected: Option<&str>,
) -> Result<ObjectId, RepositoryError> {
    let mut ids = vec![id];
    let mut commit = id;
    while let Some((Kind::Tag, _)) = objects.get(&commit) {
        commit = Tag::parse(&objects.read(&commit, Kind::Tag)?)?.object;
        ids.push(commit);
        if ids.len() > TAG_LIMIT {
            return Err(GitError::Malformed("a tag").into());
        }
    }
    let expected = expected.unwrap_or_default();
    if ids.iter().any(|id| id.to_string().starts_with(expected)) {
        return Ok(commit);
    }
    Err(RepositoryError::Mismatch {
        expected: expected.to_owned(),
        found: commit,
    })
}

/// A submodule of a commit: where it is, and which commit it is at.
pub(crate) struct Gitlink {
    path: Vec<u8>,
    commit: ObjectId,
}

impl Checkout {
    /// The files of a commit, and its submodules, which are empty directories so far.
    fn read(
        mut received: Received,
        expected: Option<&str>,
        address: &str,
    ) -> Result<(Self, Vec<Gitlink>), RepositoryError> {
        let objects = &mut received.objects;
        let id = commit_of(objects, received.id, expected)?;
        let commit = Commit::parse(&objects.read(&id, Kind::Commit)?)?;
        let entries = walk_tree(objects, &commit.tree)?;
        let attributes = attributes(objects, &entries)?;
        let mut tree = FsTree::new();
        for entry in &entries {
            let mut node = node(objects, entry)?;
            change_line_ends(objects, &attributes, entry, &mut node)?;
            node.mtime = time(commit.time);
            tree.insert(&entry.path, node);
        }
        let is_link = |entry: &&TreeEntry| entry.kind == EntryKind::Submodule;
        let links = entries.iter().filter(is_link).map(|entry| Gitlink {
            path: entry.path.clone(),
            commit: entry.id,
        });
        let links = links.collect();
        let mut checkout = Self {
            tree: Arc::new(tree),
            commit: id,
            time: commit.time,
            objects: Vec::new(),
            pack: None,
        };
        checkout.keep(received, &entries, address)?;
        Ok((checkout, links))
    }

    /// Keeps the objects, and makes a `.git` of the pack where there is one.
    fn keep(
        &mut self,
        mut received: Received,
        entries: &[TreeEntry],
        address: &str,
    ) -> Result<(), RepositoryError> {
        let Some((file, pack)) = received.pack else {
            self.objects.push(received.objects);
            return Ok(());
        };
        let reference = received.name.as_deref().map(|name| (name, received.id));
        let directory = GitDirectory {
            remote: address,
            commit: self.commit,
            is_shallow: received.is_shallow,
            reference,
            files: entries,
            pack: pack.entries,
            pack_checksum: pack.checksum,
        };
        let reader = ObjectReader::whole(file).map_err(GitError::Store)?;
        let (path, size) = (directory.pack_path(), reader.size());
        self.put(&path, size, PACK);
        self.pack = Some(reader);
        for file in directory.files()? {
            let id = received.objects.add_blob(&file.content)?;
            self.put(&file.path, file.content.len() as u64, id.as_bytes());
        }
        // Without it, git takes the directory for none of its own.
        self.directory(b".git/refs");
        self.objects.push(received.objects);
        Ok(())
    }

    /// Puts a file below `.git`.
    fn put(&mut self, path: &str, size: u64, content: &[u8]) {
        let path = format!(".git/{path}").into_bytes();
        self.directory(parent_of(&path));
        let mut node = Node::new(NodeKind::File { size }, 0o644, 0, 0);
        node.mtime = time(self.time);
        node.set_content_path(Some(content));
        Arc::make_mut(&mut self.tree).insert(&path, node);
    }

    /// Makes a directory and those above it.
    fn directory(&mut self, path: &[u8]) {
        let mut node = Node::new(NodeKind::Directory, 0o755, 0, 0);
        node.mtime = time(self.time);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = ends.map(|(at, _)| at).chain([path.len()]).collect();
        for end in ends {
            let directory = &path[..end];
            if !self.tree.contains(directory) {
                Arc::make_mut(&mut self.tree).insert(directory, node.clone());
            }
        }
    }

    /// Puts the files of another repository into a directory of this one.
    fn add(&mut self, directory: &[u8], other: Self) {
        let tree = Arc::make_mut(&mut self.tree);
        for (path, node) in other.tree.iter().filter(|(path, _)| !path.is_empty()) {
            tree.insert(&join_paths(directory, path), node.clone());
        }
        self.objects.extend(other.objects);
    }

    /// The text of a small file at the top of the repository.
    fn text(&self, name: &[u8]) -> Result<Option<String>, RepositoryError> {
        let Some(node) = self.tree.get(name).filter(|node| node.is_file()) else {
            return Ok(None);
        };
        let mut text = Vec::new();
        self.open(name, node)
            .and_then(|content| content.take(1024 * 1024).read_to_end(&mut text))
            .map_err(GitError::Store)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

fn time(seconds: i64) -> Time {
    Time {
        seconds,
        nanoseconds: 0,
    }
}

/// The attributes of a commit's files, those of directories above first.
fn attributes(objects: &Objects, entries: &[TreeEntry]) -> Result<Attributes, GitError> {
    let is_file = |entry: &&TreeEntry| {
        matches!(entry.kind, EntryKind::File { .. }) && name_of(&entry.path) == b".gitattributes"
    };
    let mut files: Vec<&TreeEntry> = entries.iter().filter(is_file).collect();
    files.sort_by_key(|entry| entry.path.iter().filter(|byte| **byte == b'/').count());
    let mut attributes = Attributes::default();
    for file in files {
        if objects
            .get(&file.id)
            .is_some_and(|(_, size)| size <= ATTRIBUTES_LIMIT)
        {
            let text = objects.read(&file.id, Kind::Blob)?;
            attributes.add(parent_of(&file.path), &String::from_utf8_lossy(&text))?;
        }
    }
    Ok(attributes)
}

/// Gives a file the line ends that its attributes ask for.
fn change_line_ends(
    objects: &mut Objects,
    attributes: &Attributes,
    entry: &TreeEntry,
    node: &mut Node,
) -> Result<(), GitError> {
    if !node.is_file() || node.size() > TEXT_LIMIT || !attributes.change_something() {
        return Ok(());
    }
    let ends = attributes.line_ends(&entry.path);
    if ends == LineEnds::Kept {
        return Ok(());
    }
    if let Some(changed) = ends.apply(&objects.read(&entry.id, Kind::Blob)?) {
        let size = changed.len() as u64;
        node.kind = NodeKind::File { size };
        node.set_content_path(Some(objects.add_blob(&changed)?.as_bytes()));
    }
    Ok(())
}

/// What an entry of a commit is on disk.
fn node(objects: &Objects, entry: &TreeEntry) -> Result<Node, GitError> {
    let (kind, mode) = match entry.kind {
        EntryKind::Directory | EntryKind::Submodule => (NodeKind::Directory, 0o755),
        EntryKind::Symlink => (link(objects, &entry.id)?, 0o777),
        EntryKind::File { is_executable } => {
            let found = objects.get(&entry.id);
            let found = found.filter(|(kind, _)| *kind == Kind::Blob);
            let (_, size) = found.ok_or(GitError::Missing(entry.id))?;
            let mode = if is_executable { 0o755 } else { 0o644 };
            (NodeKind::File { size }, mode)
        }
    };
    let mut node = Node::new(kind, mode, 0, 0);
    if node.is_file() {
        node.set_content_path(Some(entry.id.as_bytes()));
    }
    Ok(node)
}

fn link(objects: &Objects, id: &ObjectId) -> Result<NodeKind, GitError> {
    let is_short = objects.get(id).is_some_and(|(_, size)| size <= LINK_LIMIT);
    let target = match is_short {
        true => objects.read(id, Kind::Blob)?,
        false => return Err(GitError::Malformed("a symbolic link")),
    };
    if target.is_empty() || target.contains(&0) {
        return Err(GitError::Malformed("a symbolic link"));
    }
    Ok(NodeKind::Symlink {
        target: target.into(),
    })
}
