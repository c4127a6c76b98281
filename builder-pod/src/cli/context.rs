//! CONTEXT and `--file`: a directory, a git repository, something behind a URL, or standard input.
//!
//! Invariant: what a text is does not depend on the network.

use std::io::Read;
use std::path::Path;

use stagecraft_dockerfile::git_reference::GitReference;
use stagecraft_protocol::request::{DockerfileSource, Source};

use crate::context::archive::is_archive;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// A context and the Dockerfile in it.
pub(super) struct Given {
    pub(super) source: Source,
    /// The directory of the source that is the context; empty for the whole.
    pub(super) context_path: String,
    pub(super) dockerfile: DockerfileSource,
    /// What came by standard input, for as long as the build goes on.
    pub(super) spooled: Option<tempfile::TempPath>,
}

impl Given {
    /// What the two texts mean. Standard input goes to a file in `scratch`.
    pub(super) fn read(
        context: &Path,
        file: Option<&Path>,
        scratch: &Path,
    ) -> Result<Self, String> {
        let text = context.to_str().unwrap_or_default();
        let repository = GitReference::parse(text)
            .map_err(|error| format!("the context {text}: {error}"))?
            .filter(|git| !git.is_like_a_path || !context.exists());
        if let Some(git) = repository {
            return Self::repository(git, file);
        }
        match text {
            STANDARD_INPUT if file.is_some_and(is_standard_input) => {
                Err("context and Dockerfile cannot both be standard input".to_owned())
            }
            STANDARD_INPUT => Self::standard_input(file, scratch),
            _ if text.starts_with("http://") || text.starts_with("https://") => Ok(Self {
                source: Source::Http {
                    url: text.to_owned(),
                    sha256: None,
                },
                context_path: String::new(),
                dockerfile: in_context(file)?,
                spooled: None,
            }),
            _ => Self::directory(context, file),
        }
    }

    fn repository(git: GitReference, file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            source: Source::Git {
                url: git.remote,
                revision: git.revision,
                checksum: Some(git.checksum).filter(|checksum| !checksum.is_empty()),
                submodules: git.submodules.unwrap_or(true),
                keep_git_directory: git.keep_git_directory.unwrap_or(false),
                fetch_by_commit: git.fetch_by_commit,
                credentials: None,
            },
            context_path: git.directory,
            dockerfile: in_context(file)?,
            spooled: None,
        })
    }

    fn directory(context: &Path, file: Option<&Path>) -> Result<Self, String> {
        let context = context.canonicalize().map_err(|error| {
            format!(
                "the context {}: {error}; CONTEXT is a directory, a git repository, a URL, or - for standard input",
                context.display()
            )
        })?;
        if !context.is_dir() {
            return Err(format!(
                "the context {} is not a directory",
                context.display()
            ));
        }
        Ok(Self {
            context_path: String::new(),
            dockerfile: beside(&context, file)?,
            source: Source::Directory {
                path: path_text(&context)?,
            },
            spooled: None,
        })
    }

    /// An archive, or a Dockerfile without a context.
    fn standard_input(file: Option<&Path>, scratch: &Path) -> Result<Self, String> {
        let failed = |error| format!("cannot read the context from standard input: {error}");
        let mut spooled = tempfile::NamedTempFile::new_in(scratch).map_err(failed)?;
        std::io::copy(&mut std::io::stdin().lock(), spooled.as_file_mut()).map_err(failed)?;
        let spooled = spooled.into_temp_path();
        if is_archive(&spooled).map_err(failed)? {
            return Ok(Self {
                source: Source::Archive {
                    path: path_text(&spooled)?,
                },
                context_path: String::new(),
                dockerfile: in_context(file)?,
                spooled: Some(spooled),
            });
        }
        if file.is_some() {
            return Err(
                "standard input is no archive, so it is the Dockerfile, and --file names another"
                    .to_owned(),
            );
        }
        let text = std::fs::read(&spooled).map_err(failed)?;
        let text = String::from_utf8(text)
            .map_err(|_| "standard input is neither an archive nor a Dockerfile".to_owned())?;
        Ok(Self {
            source: Source::Empty,
            context_path: String::new(),
            dockerfile: DockerfileSource::Inline(text),
            spooled: None,
        })
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// A Dockerfile in what is not there yet: the path is one of the context.
fn in_context(file: Option<&Path>) -> Result<DockerfileSource, String> {
    match file {
        None => Ok(DockerfileSource::Path("Dockerfile".to_owned())),
        Some(file) if is_standard_input(file) => dockerfile_from_standard_input(),
        Some(file) => Ok(DockerfileSource::Path(path_text(file)?)),
    }
}

/// `--file` is relative to the working directory, the request's path to the context.
fn beside(context: &Path, file: Option<&Path>) -> Result<DockerfileSource, String> {
    let file = match file {
        None => return in_context(None),
        Some(file) if is_standard_input(file) => return dockerfile_from_standard_input(),
        Some(file) => file,
    };
    let found = file
        .canonicalize()
        .map_err(|error| format!("the Dockerfile {}: {error}", file.display()))?;
    if let Ok(inside) = found.strip_prefix(context) {
        return Ok(DockerfileSource::Path(path_text(inside)?));
    }
    std::fs::read_to_string(&found)
        .map(DockerfileSource::Inline)
        .map_err(|error| format!("the Dockerfile {}: {error}", file.display()))
}

fn dockerfile_from_standard_input() -> Result<DockerfileSource, String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot read the Dockerfile from standard input: {error}"))?;
    Ok(DockerfileSource::Inline(text))
}

pub(super) fn path_text(path: &Path) -> Result<String, String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("the path {} is not valid UTF-8", path.display()))
}
