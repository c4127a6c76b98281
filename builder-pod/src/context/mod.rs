//! The build context: the files that COPY may take, the Dockerfile and the ignore file.
//!
//! Whatever the source, a context is a tree of metadata and a directory that holds the contents. The engine
//! never follows a path out of that directory: every look-up resolves inside it.
//! Invariant: context files belong to 0:0, as with other builders.

pub(crate) mod archive;
mod directory;
mod files;
mod git;
mod named;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use stagecraft_dockerfile::ignore::{IgnoreError, IgnoreFile};
use stagecraft_image::DigestError;
use stagecraft_layer::FsTree;
use stagecraft_protocol::request::{BuildRequest, DockerfileSource, Source};
use stagecraft_registry::{DownloadError, HttpSettings};

use crate::remote::RepositoryError;

pub(crate) use named::{NamedContextError, NamedContexts};

/// Largest Dockerfile or ignore file, in bytes.
const TEXT_LIMIT: u64 = 4 * 1024 * 1024;

/// The ignore file of a directory.
const IGNORE_FILE: &str = ".dockerignore";

/// A build context, ready to copy from.
pub struct Context {
    /// Metadata of every file, ignored ones included.
    pub tree: FsTree,
    /// What COPY and ADD must not see.
    pub ignore: Option<IgnoreFile>,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Its path relative to the context, for messages.
    pub dockerfile_name: String,
    /// Newest time of a file in it, seconds since 1970; `None` where files have no time of their own.
    pub newest: Option<i64>,
    /// What the source is, for pins: the digest of what was fetched, or the commit.
    pub revision: Option<String>,
    root: OwnedFd,
}

/// Why a context could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file or directory of the source could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `contextPath` is not in the source.
    #[error("the source has no directory {0}; check contextPath")]
    NoContextPath(String),
    /// The Dockerfile is not in the context.
    #[error("the context has no file {0}; check dockerfile.path, which is relative to the context")]
    NoDockerfile(String),
    /// A text file is too large or not UTF-8.
    #[error("{path}: {problem}")]
    Text {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The ignore file has a pattern that cannot be.
    #[error("{path} cannot be understood")]
    Ignore {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: IgnoreError,
    },
    /// The expected digest is none.
    #[error("the expected sha256 is malformed")]
    Checksum(#[source] DigestError),
    /// The source could not be fetched, or is not what its digest says.
    #[error("cannot fetch the source {url}")]
    Fetch {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: DownloadError,
    },
    /// The archive could not be unpacked.
    #[error("cannot unpack the source archive {url}")]
    Unpack {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: crate::rootfs::RootfsError,
    },
    /// The files of a git repository could not be had.
    #[error("cannot read the repository {url}")]
    Repository {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: RepositoryError,
    },
    /// A commit's files could not be laid out.
    #[error("cannot lay out the files of the repository")]
    LayOut(#[source] crate::rootfs::RootfsError),
    /// A file that cannot be a context.
    #[error("the source {0} is neither an archive nor a Dockerfile")]
    NoContext(String),
    /// The archive is of no known form.
    #[error("cannot read the source archive {url}")]
    Form {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A path leaves the source.
    #[error("the path {0:?} leaves the source")]
    Outside(String),
}

impl ContextError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Context {
    /// Opens the request's source; archives and inline files are laid out under `scratch`. `http` says which hosts may
    /// be spoken to.
    ///
    /// # Errors
    /// When the source or the Dockerfile cannot be had.
    pub async fn open(
        request: &BuildRequest,
        scratch: &Path,
        http: &HttpSettings,
    ) -> Result<Self, ContextError> {
        let laid_out = match &request.source {
            Source::Empty => files::lay_out(&[], scratch)?,
            Source::Inline { files } => files::lay_out(files, scratch)?,
            Source::Directory { path } => LaidOut::directory(Path::new(path))?,
            Source::ConfigMap { path, modes } => files::config_map(Path::new(path), modes)?,
            Source::Http { url, sha256 } => {
                archive::fetch(url, sha256.as_deref(), http, scratch).await?
            }
            Source::Git { .. } => git::fetch(request, http, scratch).await?,
            Source::Archive { path } => {
                archive::lay_out(Path::new(path), path.clone(), scratch).await?
            }
        };
        let laid_out = laid_out.below(&request.context_path)?;
        Self::from_laid_out(laid_out, &request.dockerfile)
    }

    fn from_laid_out(source: LaidOut, dockerfile: &DockerfileSource) -> Result<Self, ContextError> {
        let root = source.root;
        let (dockerfile, dockerfile_name) = match dockerfile {
            DockerfileSource::Inline(text) => (text.clone(), "Dockerfile".to_owned()),
            DockerfileSource::Path(path) => read_dockerfile(&root, path)?,
        };
        let own = format!("{dockerfile_name}{IGNORE_FILE}");
        let ignore = match source.has_ignore_file {
            true => match read_ignore(&root, &own)? {
                Some(own) => Some(own),
                None => read_ignore(&root, IGNORE_FILE)?,
            },
            false => None,
        };
        Ok(Self {
            tree: source.tree,
            ignore,
            dockerfile,
            dockerfile_name,
            newest: source.newest,
            revision: source.revision,
            root,
        })
    }

    /// Opens a directory that is a named context: it has an ignore file of its own, and no Dockerfile.
    ///
    /// # Errors
    /// When the directory or its ignore file cannot be read.
    pub fn open_named(path: &Path) -> Result<Self, ContextError> {
        let LaidOut {
            tree,
            root,
            newest,
            revision,
            ..
        } = LaidOut::directory(path)?;
        Ok(Self {
            ignore: read_ignore(&root, IGNORE_FILE)?,
            tree,
            dockerfile: String::new(),
            dockerfile_name: String::new(),
            newest,
            revision,
            root,
        })
    }

    /// Opens a file's content by its path in the tree.
    ///
    /// # Errors
    /// When it cannot be opened as a regular file.
    pub fn open_file(&self, path: &[u8]) -> std::io::Result<File> {
        open_in(&self.root, path, OFlags::NOFOLLOW)
    }
}

/// A source whose files can be opened below one directory.
struct LaidOut {
    tree: FsTree,
    root: OwnedFd,
    newest: Option<i64>,
    revision: Option<String>,
    /// Whether an ignore file in it counts: not where it comes from elsewhere as a whole, as in BuildKit.
    has_ignore_file: bool,
}

impl LaidOut {
    fn directory(path: &Path) -> Result<Self, ContextError> {
        let root = open_directory(path)?;
        let (tree, newest) = directory::read_tree(&root, path)?;
        Ok(Self {
            tree,
            root,
            newest,
            revision: None,
            has_ignore_file: true,
        })
    }

    /// A directory with what came from elsewhere.
    fn remote(path: &Path) -> Result<Self, ContextError> {
        let has_ignore_file = false;
        Ok(Self {
            has_ignore_file,
            ..Self::directory(path)?
        })
    }

    /// The same source, seen from one of its directories.
    fn below(self, context_path: &str) -> Result<Self, ContextError> {
        let clean: Vec<&str> = context_path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if clean.contains(&"..") {
            return Err(ContextError::Outside(context_path.to_owned()));
        }
        if clean.is_empty() {
            return Ok(self);
        }
        let joined = clean.join("/");
        let missing = || ContextError::NoContextPath(joined.clone());
        let tree = self.tree.subtree(joined.as_bytes()).ok_or_else(missing)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat2(
            &self.root,
            joined.as_str(),
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|_| missing())?;
        Ok(Self { tree, root, ..self })
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, ContextError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| ContextError::io("open the directory", path)(error.into()))
}

fn open_in(root: &OwnedFd, path: &[u8], flags: OFlags) -> std::io::Result<File> {
    // A FIFO must not block the engine; whatever is not a regular file is refused below.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The Dockerfile's text and name; a missing `Dockerfile` falls back to `dockerfile`.
fn read_dockerfile(root: &OwnedFd, path: &str) -> Result<(String, String), ContextError> {
    if let Some(text) = read_text(root, path)? {
        return Ok((text, path.to_owned()));
    }
    let lower = match path.rsplit_once('/') {
        Some((directory, "Dockerfile")) => Some(format!("{directory}/dockerfile")),
        None if path == "Dockerfile" => Some("dockerfile".to_owned()),
        _ => None,
    };
    if let Some(lower) = lower
        && let Some(text) = read_text(root, &lower)?
    {
        return Ok((text, lower));
    }
    Err(ContextError::NoDockerfile(path.to_owned()))
}

/// An ignore file of the source; `None` when there is none.
fn read_ignore(root: &OwnedFd, name: &str) -> Result<Option<IgnoreFile>, ContextError> {
    let Some(text) = read_text(root, name)? else {
        return Ok(None);
    };
    let parsed = IgnoreFile::parse(&text).map_err(|source| ContextError::Ignore {
        path: name.to_owned(),
        source,
    })?;
    Ok(Some(parsed))
}

/// A text file of the source, following links inside it; `None` when there is none.
fn read_text(root: &OwnedFd, path: &str) -> Result<Option<String>, ContextError> {
    let file = match open_in(root, path.as_bytes(), OFlags::empty()) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ContextError::io("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(TEXT_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(ContextError::io("read", path))?;
    let problem = |problem: String| ContextError::Text {
        path: path.to_owned(),
        problem,
    };
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(problem(format!("larger than {TEXT_LIMIT} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        problem(format!(
            "not valid UTF-8 at byte {}",
            error.utf8_error().valid_up_to()
        ))
    })
}
