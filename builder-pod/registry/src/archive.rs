//! Archives over HTTP, for build contexts: streamed to a file, with their digest checked.
//!
//! Invariant: only http and https are spoken, also after redirections; link-local addresses, where clouds serve
//! their metadata, are never connected to.

use std::io;
use std::path::{Path, PathBuf};

use reqwest::Url;
use stagecraft_image::{Digest, DigestError, DigestHasher};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::exchange::{CONNECT_LIMIT, SILENCE_LIMIT, failure, send, transport_error};
use crate::guard::Guard;
use crate::retry::Attempts;
use crate::tls::Roots;
use crate::{ErrorKind, HostError, RetryPolicy, SettingsError};

/// Largest archive, in bytes, unless settings say otherwise.
pub const ARCHIVE_SIZE_LIMIT: u64 = 8 * 1024 * 1024 * 1024;

/// How archives are fetched.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    /// Largest archive, in bytes.
    pub size_limit: u64,
    /// Refuse hosts that resolve to an address of this machine.
    pub refuse_loopback: bool,
    /// CA certificates (PEM) trusted beside the system's.
    pub ca_certificates_pem: Option<Vec<u8>>,
    /// How failures that may pass are met.
    pub retry: RetryPolicy,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            size_limit: ARCHIVE_SIZE_LIMIT,
            refuse_loopback: false,
            ca_certificates_pem: None,
            retry: RetryPolicy::default(),
        }
    }
}

/// Why an archive could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The address is none, or of another scheme than http and https.
    #[error("the address is not an http:// or https:// URL")]
    Url,
    /// The checksum is malformed.
    #[error("the expected sha256 is malformed")]
    Checksum(#[source] DigestError),
    /// The client cannot be made.
    #[error("cannot make an HTTP client")]
    Settings(#[source] Box<SettingsError>),
    /// The exchange with the server failed.
    #[error("cannot fetch the archive")]
    Host(#[source] Box<HostError>),
    /// What came is something else.
    #[error("the archive has sha256 {}, not {}", found.hex(), expected.hex())]
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

impl ContextError {
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
            Self::Url | Self::Checksum(_) => ErrorKind::Refused,
            Self::Write { .. } => ErrorKind::Local,
        }
    }
}

/// Fetches `url` to the file `to` and checks its SHA-256, given as 64 hexadecimal digits with or without `sha256:`.
/// User and password may stand in the URL. Gives the number of bytes. After an error the file's content is arbitrary.
///
/// # Errors
/// [`ContextError`].
pub async fn fetch_archive(url: &str, sha256: &str, to: &Path) -> Result<u64, ContextError> {
    fetch_archive_with(&ArchiveSettings::default(), url, sha256, to).await
}

/// [`fetch_archive`] with other settings than the default ones.
///
/// # Errors
/// [`ContextError`].
pub async fn fetch_archive_with(
    settings: &ArchiveSettings,
    url: &str,
    sha256: &str,
    to: &Path,
) -> Result<u64, ContextError> {
    let url = Url::parse(url).map_err(|_| ContextError::Url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ContextError::Url);
    }
    let digits = sha256.strip_prefix("sha256:").unwrap_or(sha256);
    let expected = Digest::from_hex(digits).map_err(ContextError::Checksum)?;
    let fetch = Fetch::new(settings, url)?;
    let mut attempts = Attempts::new(settings.retry);
    loop {
        match fetch.once(to).await {
            Ok((_, found)) if found != expected => {
                return Err(ContextError::Mismatch { expected, found });
            }
            Ok((size, _)) => return Ok(size),
            Err(ContextError::Host(error)) => {
                let given_up = attempts.pause_after(*error).await;
                given_up.map_err(|error| ContextError::Host(Box::new(error)))?;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Fetch {
    http: reqwest::Client,
    url: Url,
    host: String,
    size_limit: u64,
}

impl Fetch {
    fn new(settings: &ArchiveSettings, url: Url) -> Result<Self, ContextError> {
        let guard = Guard {
            refuse_this_machine: settings.refuse_loopback,
            refuse_link_local: true,
        };
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let in_settings = |error| ContextError::Settings(Box::new(error));
        let roots =
            Roots::new(&host, settings.ca_certificates_pem.as_deref()).map_err(in_settings)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(roots.rustls(&host).map_err(in_settings)?)
            .dns_resolver(guard)
            .redirect(guard.redirect_policy())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("stagecraft/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| in_host(transport_error(&host, error)))?;
        guard.check_url(&url).map_err(|refused| {
            let (host, address, why) = (host.clone(), refused.address, refused.why);
            in_host(HostError::Address { host, address, why })
        })?;
        Ok(Self {
            http,
            url,
            host,
            size_limit: settings.size_limit,
        })
    }

    /// One try, from the start.
    async fn once(&self, to: &Path) -> Result<(u64, Digest), ContextError> {
        let write = |source| ContextError::Write {
            path: to.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::create(to).await.map_err(write)?;
        let response = send(&self.host, self.http.get(self.url.clone()))
            .await
            .map_err(in_host)?;
        if !response.status().is_success() {
            let has_credentials = !self.url.username().is_empty();
            let error = failure(&self.host, response, "the archive", has_credentials).await;
            return Err(in_host(error));
        }
        let copied = self.copy(response, &mut file, &write).await?;
        file.flush().await.map_err(write)?;
        Ok(copied)
    }

    async fn copy(
        &self,
        mut response: reqwest::Response,
        to: &mut (impl AsyncWrite + Unpin),
        write: &impl Fn(io::Error) -> ContextError,
    ) -> Result<(u64, Digest), ContextError> {
        let host = || self.host.clone();
        let too_large = || {
            let what = "the archive".to_owned();
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
        let mut received = 0;
        loop {
            let chunk = tokio::time::timeout(SILENCE_LIMIT, response.chunk())
                .await
                .map_err(|_| {
                    in_host(HostError::TimedOut {
                        host: host(),
                        after: SILENCE_LIMIT,
                    })
                })?;
            let chunk = match chunk {
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
            received += chunk.len() as u64;
            if received > self.size_limit {
                return Err(too_large());
            }
            hasher.update(&chunk);
            to.write_all(&chunk).await.map_err(write)?;
        }
    }
}

fn in_host(error: HostError) -> ContextError {
    ContextError::Host(Box::new(error))
}
