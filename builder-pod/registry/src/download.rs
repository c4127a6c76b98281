//! Files over HTTP, for `ADD` and build contexts: streamed to a file, with their digest.
//!
//! Invariant: only http and https are spoken, also after redirections; link-local addresses, where clouds serve
//! their metadata, are never connected to.
//! Invariant: size and time have limits, whatever the server says.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::LAST_MODIFIED;
use stagecraft_image::{Digest, DigestHasher};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::exchange::{failure, send};
use crate::http::{HttpClient, HttpSettings};
use crate::pace::Pace;
use crate::retry::Attempts;
use crate::{ErrorKind, HostError, RetryPolicy, SettingsError};

/// Largest file, in bytes, unless settings say otherwise.
pub const DOWNLOAD_SIZE_LIMIT: u64 = 8 * 1024 * 1024 * 1024;

/// Longest time that one try may take, unless settings say otherwise.
pub const DOWNLOAD_TIME_LIMIT: Duration = Duration::from_secs(60 * 60);

/// How files are fetched.
#[derive(Clone, Debug)]
pub struct DownloadSettings {
    /// Largest file, in bytes.
    pub size_limit: u64,
    /// Longest time of one try.
    pub time_limit: Duration,
    /// Which hosts are spoken to, and whom they must convince.
    pub http: HttpSettings,
    /// How failures that may pass are met.
    pub retry: RetryPolicy,
}

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            size_limit: DOWNLOAD_SIZE_LIMIT,
            time_limit: DOWNLOAD_TIME_LIMIT,
            http: HttpSettings::default(),
            retry: RetryPolicy::default(),
        }
    }
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address is none, or of another scheme than http and https.
    #[error("the address is not an http:// or https:// URL")]
    Url,
    /// The client cannot be made.
    #[error("cannot make an HTTP client")]
    Settings(#[source] Box<SettingsError>),
    /// The exchange with the server failed.
    #[error(transparent)]
    Host(Box<HostError>),
    /// What came is something else.
    #[error("it has sha256 {}, not {}", found.hex(), expected.hex())]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DownloadError {
    /// Whether the same fetch may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Host(error) if error.is_transient())
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Host(error) => error.kind(),
            Self::Mismatch { .. } => ErrorKind::DigestMismatch,
            Self::Settings(_) => ErrorKind::UntrustedCertificate,
            Self::Url => ErrorKind::Refused,
            Self::Write { .. } => ErrorKind::Local,
        }
    }
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Its size, in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
    /// `Last-Modified` as the server sent it.
    pub last_modified: Option<String>,
}

/// Fetches `url` to the file `to`, and checks its digest where one is expected. User and password may stand in the
/// URL. After an error the file's content is arbitrary.
///
/// # Errors
/// [`DownloadError`].
pub async fn download(
    settings: &DownloadSettings,
    url: &str,
    expected: Option<&Digest>,
    to: &Path,
) -> Result<Downloaded, DownloadError> {
    let url = Url::parse(url).map_err(|_| DownloadError::Url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(DownloadError::Url);
    }
    let client = HttpClient::new(&settings.http, &url)
        .map_err(|error| DownloadError::Settings(Box::new(error)))?;
    client.check_address(&url).map_err(in_host)?;
    let fetch = Fetch {
        client,
        url,
        size_limit: settings.size_limit,
    };
    let mut attempts = Attempts::new(settings.retry);
    loop {
        let limited = tokio::time::timeout(settings.time_limit, fetch.once(to)).await;
        let result = limited.unwrap_or_else(|_| {
            Err(in_host(HostError::TimedOut {
                host: fetch.client.host.clone(),
                after: settings.time_limit,
            }))
        });
        match result {
            Ok(Downloaded { digest, .. }) if expected.is_some_and(|one| *one != digest) => {
                // Only here is there something to compare it with.
                let expected = expected.cloned().unwrap_or_else(|| digest.clone());
                let found = digest;
                return Err(DownloadError::Mismatch { expected, found });
            }
            Ok(downloaded) => return Ok(downloaded),
            Err(DownloadError::Host(error)) => {
                let given_up = attempts.pause_after(*error).await;
                given_up.map_err(in_host)?;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Fetch {
    client: HttpClient,
    url: Url,
    size_limit: u64,
}

impl Fetch {
    /// One try, from the start.
    async fn once(&self, to: &Path) -> Result<Downloaded, DownloadError> {
        let write = |source| DownloadError::Write {
            path: to.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::create(to).await.map_err(write)?;
        let host = &self.client.host;
        let response = send(host, self.client.http.get(self.url.clone()))
            .await
            .map_err(in_host)?;
        if !response.status().is_success() {
            let has_credentials = !self.url.username().is_empty();
            // The query may hold a signature.
            let error = failure(host, response, self.url.path(), has_credentials).await;
            return Err(in_host(error));
        }
        let last_modified = response.headers().get(LAST_MODIFIED);
        let last_modified =
            last_modified.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let (size, digest) = self.copy(response, &mut file, &write).await?;
        file.flush().await.map_err(write)?;
        Ok(Downloaded {
            size,
            digest,
            last_modified,
        })
    }

    async fn copy(
        &self,
        mut response: reqwest::Response,
        to: &mut (impl AsyncWrite + Unpin),
        write: &impl Fn(io::Error) -> DownloadError,
    ) -> Result<(u64, Digest), DownloadError> {
        let host = || self.client.host.clone();
        let too_large = || {
            let what = self.url.path().to_owned();
            in_host(HostError::TooLarge {
                host: host(),
                limit: self.size_limit,
                what,
            })
        };
        let announced = response.content_length();
        if announced.is_some_and(|length| length > self.size_limit) {
            return Err(too_large());
        }
        let mut hasher = DigestHasher::new();
        let (mut received, mut pace) = (0, Pace::default());
        loop {
            let chunk = pace.wait(&self.client.host, response.chunk());
            let chunk = match chunk.await.map_err(in_host)? {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok((received, hasher.finish())),
                Err(_) => {
                    let size = announced.unwrap_or(received);
                    let error = HostError::Interrupted {
                        host: host(),
                        received,
                        size,
                    };
                    return Err(in_host(error));
                }
            };
            pace.received(chunk.len());
            received += chunk.len() as u64;
            if received > self.size_limit {
                return Err(too_large());
            }
            hasher.update(&chunk);
            to.write_all(&chunk).await.map_err(write)?;
        }
    }
}

fn in_host(error: HostError) -> DownloadError {
    DownloadError::Host(Box::new(error))
}
