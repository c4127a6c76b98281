//! What steps do: operations with every value resolved.
//!
//! Invariant: a flag of an instruction that changes what is built is in its operation, whether the engine carries it
//! out or not. What a plan had before a flag existed is written as it was: members without anything to say are left
//! out.

use serde::Serialize;
use stagecraft_dockerfile::git_reference::GitReference;
use stagecraft_dockerfile::{Access, CacheSharing, Device, Network, Security, without_passwords};

use crate::contexts::ContextId;
use crate::image::ImageId;
use crate::plan::StageIndex;

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Executes a command.
    Run(Run),
    /// Copies files in.
    Copy(Copy),
    /// Makes a directory.
    WorkDirectory(WorkDirectory),
    /// Changes the configuration only; it has no layer.
    Metadata,
}

/// A command to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Program and arguments; there is at least a program.
    pub arguments: Vec<String>,
    /// `NAME=value`, all there is (`HOME` comes from the passwd file at execution unless it is here).
    pub environment: Vec<String>,
    /// Absolute path without `.`, `..` and doubled slashes. It may not exist yet.
    pub working_directory: String,
    /// `user[:group]` as in the configuration; empty for root.
    pub user: String,
    /// What is mounted while it runs, in order: of two with one target the later counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// The network that it sees.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
    /// What it may do.
    #[serde(skip_serializing_if = "is_default")]
    pub security: Security,
    /// Devices of the machine that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// A script that stands in the Dockerfile: a file of mode 0755 that is there, and cannot be written, as
    /// `/dev/pipes/NAME` while it runs. [`Run::arguments`] names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<InlineFile>,
    /// The machine's name that it sees; nothing where it is the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// A file whose content stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineFile {
    /// Its name: one part of a path, or several.
    pub name: String,
    /// Its content, variables expanded where that is asked for.
    pub content: String,
}

/// Files to copy in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copy {
    /// Where they come from.
    pub from: CopySource,
    /// Paths and wildcards, expanded, as written: relative to the root of the source; `/` and `..` in front
    /// stay inside it.
    pub sources: Vec<String>,
    /// Absolute path, joined with the working directory. It ends in `/` if what was written does (or is empty,
    /// `.` or ends in `/.`): then it is a directory.
    pub destination: String,
    /// `--chown`, expanded: `user[:group]`.
    pub chown: Option<String>,
    /// `--chmod`, expanded: octal or symbolic.
    pub chmod: Option<String>,
    /// Whether it is `ADD`: archives are unpacked, unless [`Copy::unpack`] says otherwise.
    pub is_add: bool,
    /// What `--unpack` says: whether archives are unpacked, fetched ones too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpack: Option<bool>,
    /// Files of the Dockerfile, mode 0644, owner root, copied after [`Copy::sources`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<InlineFile>,
    /// What is fetched (`ADD` only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<Remote>,
    /// `--exclude`: patterns as in an ignore file, relative to each copied directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `--parents`: what leads to a source is made at the destination, from `/./` on where that stands in it.
    #[serde(skip_serializing_if = "is_default")]
    pub parents: bool,
    /// `--link`: the layer is made without looking at those below. Never with [`Copy::chmod`], as in BuildKit.
    #[serde(skip_serializing_if = "is_default")]
    pub link: bool,
}

/// Something that `ADD` fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// How many of [`Copy::sources`] stand in front of it.
    pub position: usize,
    /// What is fetched.
    pub source: RemoteSource,
}

/// Where something is fetched from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RemoteSource {
    /// A file behind a URL.
    #[serde(rename_all = "camelCase")]
    Url {
        /// The URL; written without a password.
        #[serde(serialize_with = "redacted")]
        url: String,
        /// The file's name where the destination gives none.
        name: String,
        /// `--checksum`: `algorithm:hex` of its content.
        checksum: Option<String>,
    },
    /// The tree of a git repository.
    #[serde(rename_all = "camelCase")]
    Git {
        /// The repository; written without a password.
        #[serde(serialize_with = "redacted")]
        remote: String,
        /// Branch, tag or commit; empty for the repository's own default.
        revision: String,
        /// The directory in it; empty for the whole.
        directory: String,
        /// What the commit's id must begin with.
        checksum: Option<String>,
        /// Whether `.git` comes along.
        keep_git_directory: bool,
        /// Whether submodules are fetched.
        submodules: bool,
        /// Whether the commit is fetched as such.
        fetch_by_commit: bool,
    },
}

impl RemoteSource {
    /// A git repository; `keep` and `checksum` are what stands beside the reference and is not in it.
    pub(crate) fn of_git(git: GitReference, keep: Option<bool>, checksum: Option<&str>) -> Self {
        let own = Some(git.checksum).filter(|text| !text.is_empty());
        Self::Git {
            checksum: own.or_else(|| checksum.map(str::to_owned)),
            remote: git.remote,
            revision: git.revision,
            directory: git.directory,
            keep_git_directory: git.keep_git_directory.or(keep).unwrap_or(false),
            submodules: git.submodules.unwrap_or(true),
            fetch_by_commit: git.fetch_by_commit,
        }
    }
}

/// Something that is there while a `RUN` runs. Targets are absolute and never `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mount {
    /// Files of the context, a stage or an image.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// Where.
        target: String,
        /// Whose files.
        from: CopySource,
        /// The path inside it, absolute.
        source: String,
        /// Whether it cannot be written; what is written otherwise is thrown away.
        read_only: bool,
    },
    /// A directory that outlives the build.
    #[serde(rename_all = "camelCase")]
    Cache {
        /// Where.
        target: String,
        /// Its name.
        id: String,
        /// What the build argument `BUILDKIT_CACHE_MOUNT_NS` says: caches of different namespaces are different.
        namespace: Option<String>,
        /// Who may use it at the same time.
        sharing: CacheSharing,
        /// What it holds at first; nothing if there is none.
        from: Option<CopySource>,
        /// The path inside that, absolute.
        source: String,
        /// Whether it cannot be written.
        read_only: bool,
        /// Mode (0755 where none is given) and owner of the directory when it is made.
        access: Access,
    },
    /// A directory in memory.
    #[serde(rename_all = "camelCase")]
    Tmpfs {
        /// Where.
        target: String,
        /// Its limit in bytes; 0 for none.
        size: u64,
        /// Whether it cannot be written.
        read_only: bool,
    },
    /// A secret, as a file or a variable or both.
    #[serde(rename_all = "camelCase")]
    Secret {
        /// Where its file is, if there is one.
        target: Option<String>,
        /// Its name in the request.
        id: String,
        /// The variable that holds it.
        environment: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// Mode (0400 where none is given) and owner of the file.
        access: Access,
    },
    /// The socket of an SSH agent. The environment names the first as `SSH_AUTH_SOCK`.
    #[serde(rename_all = "camelCase")]
    Ssh {
        /// Where.
        target: String,
        /// The agent's name in the request.
        id: String,
        /// Whether the build fails without it.
        required: bool,
        /// Mode (0600 where none is given) and owner of the socket.
        access: Access,
    },
}

impl Mount {
    /// The stage or image that it needs.
    #[must_use]
    pub fn source(&self) -> Option<CopySource> {
        match self {
            Self::Bind { from, .. } => Some(*from),
            Self::Cache { from, .. } => *from,
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }

    pub(crate) fn source_mut(&mut self) -> Option<&mut CopySource> {
        match self {
            Self::Bind { from, .. } => Some(from),
            Self::Cache { from, .. } => from.as_mut(),
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }
}

fn redacted<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&without_passwords(url))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where files are copied from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CopySource {
    /// The build context.
    #[default]
    Context,
    /// Nothing: `scratch`.
    Empty,
    /// The result of an earlier stage.
    Stage(StageIndex),
    /// An image.
    Image(ImageId),
    /// The files of a named context.
    Named(ContextId),
}

/// A directory to make, with its parents, mode 0755, unless it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkDirectory {
    /// Absolute path without `.`, `..` and doubled slashes.
    pub path: String,
    /// `user[:group]` that owns what is made; empty for root.
    pub user: String,
}
