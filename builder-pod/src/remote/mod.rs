//! What `ADD` fetches: each once per build, in scratch, whoever asks first. Git repositories as contexts, too.
//!
//! Invariant: contents are streamed to scratch, never held.
//! Invariant: no message holds a password that stands in an address.

mod file;
pub(crate) mod git;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stagecraft_plan::RemoteSource;
use stagecraft_registry::{DownloadError, DownloadSettings, HttpSettings, without_credentials};
use tokio::sync::{OnceCell, Semaphore};

use crate::store::Store;

pub(crate) use file::FetchedFile;
pub use git::RepositoryError;
pub(crate) use git::{Checkout, Scratch, Wanted};

/// How many are fetched side by side.
const SIDE_BY_SIDE: usize = 4;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The file behind a URL could not be had, or is not what its checksum says.
    #[error("cannot fetch {url}")]
    Download {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: DownloadError,
    },
    /// A checksum of another kind.
    #[error("{0} cannot be checked: files have sha256 checksums here")]
    Algorithm(String),
    /// The files of a git repository could not be had.
    #[error("cannot read the repository {url}")]
    Repository {
        /// Its address, without user and password.
        url: String,
        /// The cause.
        #[source]
        source: RepositoryError,
    },
}

impl RemoteError {
    /// Whether the same may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Download { source, .. } => source.is_transient(),
            Self::Repository { source, .. } => source.is_transient(),
            Self::Algorithm(_) => false,
        }
    }
}

/// Something that was fetched.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// A file.
    File(FetchedFile),
    /// A commit's files.
    Files(Checkout),
}

type Outcome = Result<Arc<Fetched>, Arc<RemoteError>>;

/// Everything that the steps of a build fetch.
pub struct Remotes {
    store: Arc<Store>,
    download: DownloadSettings,
    slots: Mutex<HashMap<RemoteSource, Arc<OnceCell<Outcome>>>>,
    side_by_side: Semaphore,
}

impl Remotes {
    /// Fetches to files of `store`'s scratch.
    #[must_use]
    pub fn new(store: Arc<Store>, http: HttpSettings) -> Self {
        Self {
            store,
            download: DownloadSettings {
                http,
                ..DownloadSettings::default()
            },
            slots: Mutex::default(),
            side_by_side: Semaphore::new(SIDE_BY_SIDE),
        }
    }

    /// What a source is, fetched when it is not there yet.
    ///
    /// # Errors
    /// When it cannot be had; whoever asks is told the same.
    pub(crate) async fn get(&self, source: &RemoteSource) -> Outcome {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(source.clone()).or_default())
        };
        let fetched = slot.get_or_init(|| async {
            // The semaphore is never closed.
            let _permit = self.side_by_side.acquire().await;
            self.fetch(source).await.map(Arc::new).map_err(Arc::new)
        });
        fetched.await.clone()
    }

    async fn fetch(&self, source: &RemoteSource) -> Result<Fetched, RemoteError> {
        match source {
            RemoteSource::Url {
                url,
                name,
                checksum,
            } => {
                let path = self.store.scratch_file("fetched");
                let file = file::fetch(&self.download, url, name, checksum.as_deref(), path);
                file.await.map(Fetched::File)
            }
            RemoteSource::Git {
                remote,
                revision,
                directory,
                checksum,
                keep_git_directory,
                submodules,
                fetch_by_commit,
            } => {
                let wanted = Wanted {
                    remote: remote.clone(),
                    revision: revision.clone(),
                    directory: directory.clone(),
                    checksum: checksum.clone(),
                    keep_git_directory: *keep_git_directory,
                    submodules: *submodules,
                    fetch_by_commit: *fetch_by_commit,
                    credentials: None,
                };
                let fetched = git::fetch(&wanted, &self.download.http, &*self.store).await;
                fetched
                    .map(Fetched::Files)
                    .map_err(|source| RemoteError::Repository {
                        url: without_credentials(remote),
                        source,
                    })
            }
        }
    }
}

impl Scratch for Store {
    fn file(&self) -> std::path::PathBuf {
        self.scratch_file("objects")
    }
}
