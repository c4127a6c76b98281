//! Writing to a registry: blobs that are there, mounted or sent in one request, and manifests.
//!
//! Invariant: a blob is sent in one PUT with its length (distribution-spec, "pushing a blob monolithically"), from
//! the start again after a failure that may pass.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use stagecraft_image::{Descriptor, Digest, MANIFEST_SIZE_LIMIT, Reference};
use tokio::io::AsyncReadExt;

use crate::authenticator::Scopes;
use crate::endpoint::{Endpoint, Request};
use crate::exchange::transport_error;
use crate::resolve::header_digest;
use crate::retry::{Attempts, describe};
use crate::{BlobSource, HostError, Pushed};

/// How long an upload may make no progress. A registry is silent while it checks and stores what it got, which
/// takes long for large blobs.
const STALL_LIMIT: Duration = Duration::from_secs(300);
const CHUNK_SIZE: usize = 256 * 1024;

/// What was found about a blob that shall be in a repository.
pub(crate) enum Presence {
    /// It is there now.
    There(Pushed),
    /// It must be sent; the registry may have opened an upload for it already.
    Missing(Option<Url>),
}

/// What became of a blob's bytes.
enum Sent {
    /// The registry has them.
    Stored,
    /// It wants better credentials; those are at hand for the next try, if there are any.
    Refused(Response),
}

/// One blob on its way into one repository.
pub(crate) struct Upload<'a> {
    endpoint: &'a Endpoint,
    repository: &'a str,
    descriptor: &'a Descriptor,
    scopes: Scopes,
    what: String,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(
        endpoint: &'a Endpoint,
        repository: &'a str,
        descriptor: &'a Descriptor,
    ) -> Self {
        let scopes = Scopes::push(&endpoint.repository(repository));
        let what = format!("blob {} of {repository}", descriptor.digest);
        Self {
            endpoint,
            repository,
            descriptor,
            scopes,
            what,
        }
    }

    /// Looks whether the blob is there, or can be had from another repository of the same registry.
    pub(crate) async fn look(&self, mount_from: &[Reference]) -> Result<Presence, HostError> {
        if self.exists().await? {
            return Ok(Presence::There(Pushed::Existed));
        }
        let mut opened = None;
        for from in mount_from {
            if from.repository() == self.repository {
                continue;
            }
            match self.mount(from.repository()).await {
                Ok(Presence::There(pushed)) => {
                    self.abandon(opened).await;
                    return Ok(Presence::There(pushed));
                }
                Ok(Presence::Missing(upload)) => {
                    self.abandon(std::mem::replace(&mut opened, upload)).await
                }
                // A mount saves work and is never needed; what is really wrong shows when the bytes are sent.
                Err(error) => tracing::debug!(
                    from = from.repository(), error = %describe(&error), "cannot mount a blob"
                ),
            }
        }
        Ok(Presence::Missing(opened))
    }

    async fn exists(&self) -> Result<bool, HostError> {
        let url = self.url(&format!("blobs/{}", self.descriptor.digest))?;
        let request = Request::new(Method::HEAD, url, &self.scopes);
        let response = self.endpoint.send(&request, &self.what).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN => Err(self
                .endpoint
                .failure(response, &self.what, &self.scopes)
                .await),
            // Registries that cannot answer this still take the bytes.
            _ => Ok(false),
        }
    }

    async fn mount(&self, from: &str) -> Result<Presence, HostError> {
        let mut url = self.url("blobs/uploads/")?;
        let source = self.endpoint.repository(from);
        url.query_pairs_mut()
            .append_pair("mount", &self.descriptor.digest.to_string())
            .append_pair("from", &source);
        let scopes = Scopes::mount(&self.endpoint.repository(self.repository), &source);
        let response = self.post(url, &scopes).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Presence::There(Pushed::Mounted)),
            StatusCode::ACCEPTED => Ok(Presence::Missing(self.location(&response).ok())),
            _ => Err(self.endpoint.failure(response, &self.what, &scopes).await),
        }
    }

    /// Tells the registry that an upload it opened is not used. It would forget it by itself some day.
    pub(crate) async fn abandon(&self, upload: Option<Url>) {
        let Some(url) = upload else { return };
        let request = Request::new(Method::DELETE, url, &self.scopes);
        if let Err(error) = self.endpoint.send(&request, &self.what).await {
            tracing::debug!(error = %describe(&error), "cannot abandon an upload");
        }
    }

    /// Sends the bytes, first to the upload that is open already, if one is.
    pub(crate) async fn send(
        &self,
        source: &BlobSource,
        mut opened: Option<Url>,
    ) -> Result<(), HostError> {
        check_size(source, self.descriptor.size).await?;
        let _permit = self.endpoint.state.transfers.acquire().await.ok();
        let mut attempts = Attempts::new(self.endpoint.retry);
        let mut refused = false;
        loop {
            let location = match opened.take() {
                Some(location) => location,
                None => self.open().await?,
            };
            match self.put(location, source).await {
                Ok(Sent::Stored) => return Ok(()),
                // The body is used up, so the upload starts again; a token can end only once per upload.
                Ok(Sent::Refused(response)) if !refused => {
                    refused = true;
                    drop(response);
                }
                Ok(Sent::Refused(response)) => {
                    return Err(self
                        .endpoint
                        .failure(response, &self.what, &self.scopes)
                        .await);
                }
                Err(error) => attempts.pause_after(error).await?,
            }
        }
    }

    async fn open(&self) -> Result<Url, HostError> {
        let response = self.post(self.url("blobs/uploads/")?, &self.scopes).await?;
        if response.status() == StatusCode::ACCEPTED {
            return self.location(&response);
        }
        Err(self
            .endpoint
            .failure(response, &self.what, &self.scopes)
            .await)
    }

    async fn post(&self, url: Url, scopes: &Scopes) -> Result<Response, HostError> {
        let mut request = Request::new(Method::POST, url, scopes);
        // Some registries insist on a length even of nothing.
        request
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.endpoint.send(&request, &self.what).await
    }

    async fn put(&self, mut location: Url, source: &BlobSource) -> Result<Sent, HostError> {
        self.endpoint.check_url(&location)?;
        location
            .query_pairs_mut()
            .append_pair("digest", &self.descriptor.digest.to_string());
        let authorization = self
            .endpoint
            .state
            .authenticator
            .authorization(&self.scopes)
            .await?;
        let sent = Arc::new(AtomicU64::new(0));
        let body = body(source, Arc::clone(&sent)).await?;
        let request = self
            .endpoint
            .clients
            .http
            .put(location.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, self.descriptor.size)
            .body(body);
        let request = self
            .endpoint
            .with_authorization(request, &location, authorization.as_ref());
        let response = tokio::select! {
            response = request.send() => {
                response.map_err(|error| transport_error(&self.endpoint.host, error))?
            }
            () = stalled(&sent) => {
                let host = self.endpoint.host.clone();
                return Err(HostError::TimedOut { host, after: STALL_LIMIT });
            }
        };
        if response.status() == StatusCode::UNAUTHORIZED && self.endpoint.is_here(response.url()) {
            let authenticator = &self.endpoint.state.authenticator;
            authenticator
                .renew(response.headers(), &self.scopes, authorization.as_ref())
                .await?;
            return Ok(Sent::Refused(response));
        }
        if !response.status().is_success() {
            return Err(self
                .endpoint
                .failure(response, &self.what, &self.scopes)
                .await);
        }
        match header_digest(response.headers()) {
            Some(found) if found != self.descriptor.digest => Err(HostError::DigestMismatch {
                host: self.endpoint.host.clone(),
                expected: self.descriptor.digest.clone(),
                found,
            }),
            _ => Ok(Sent::Stored),
        }
    }

    fn url(&self, rest: &str) -> Result<Url, HostError> {
        self.endpoint.url(self.repository, rest)
    }

    /// Where an upload goes; it may be relative.
    fn location(&self, response: &Response) -> Result<Url, HostError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let url = location.and_then(|location| response.url().join(location).ok());
        url.filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| HostError::Protocol {
                host: self.endpoint.host.clone(),
                what: "it opens an upload without saying where".to_owned(),
            })
    }
}

/// Ends when nothing was sent for too long.
async fn stalled(sent: &AtomicU64) {
    let mut before = sent.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(STALL_LIMIT).await;
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

async fn check_size(source: &BlobSource, expected: u64) -> Result<(), HostError> {
    let found = match source {
        BlobSource::Bytes(bytes) => bytes.len() as u64,
        BlobSource::File(path) => tokio::fs::metadata(path)
            .await
            .map_err(|source| local(path, source))?
            .len(),
    };
    if found == expected {
        Ok(())
    } else {
        Err(HostError::LocalSize { expected, found })
    }
}

fn local(path: &Path, source: io::Error) -> HostError {
    HostError::Local {
        path: path.to_owned(),
        source,
    }
}

/// A fresh body; `sent` counts what the connection took.
async fn body(source: &BlobSource, sent: Arc<AtomicU64>) -> Result<reqwest::Body, HostError> {
    match source {
        BlobSource::Bytes(bytes) => Ok(bytes.clone().into()),
        BlobSource::File(path) => {
            let file = tokio::fs::File::open(path)
                .await
                .map_err(|source| local(path, source))?;
            Ok(reqwest::Body::wrap_stream(chunks(file, sent)))
        }
    }
}

fn chunks(file: tokio::fs::File, sent: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::try_unfold(file, move |mut file| {
        let sent = Arc::clone(&sent);
        async move {
            let mut chunk = BytesMut::with_capacity(CHUNK_SIZE);
            let read = file.read_buf(&mut chunk).await?;
            sent.fetch_add(read as u64, Ordering::Relaxed);
            Ok((read > 0).then(|| (chunk.freeze(), file)))
        }
    })
}

/// Puts a manifest under the destination's tag or digest.
pub(crate) async fn push_manifest(
    endpoint: &Endpoint,
    destination: &Reference,
    media_type: &str,
    bytes: Bytes,
) -> Result<Digest, HostError> {
    let host = || endpoint.host.clone();
    let digest = Digest::of(&bytes);
    if bytes.len() as u64 > MANIFEST_SIZE_LIMIT {
        let what = "the manifest to push".to_owned();
        return Err(HostError::TooLarge {
            host: host(),
            limit: MANIFEST_SIZE_LIMIT,
            what,
        });
    }
    let mismatch = |expected: &Digest, found: &Digest| {
        let (expected, found) = (expected.clone(), found.clone());
        HostError::DigestMismatch {
            host: host(),
            expected,
            found,
        }
    };
    if let Some(expected) = destination.digest().filter(|expected| **expected != digest) {
        return Err(mismatch(expected, &digest));
    }
    let repository = destination.repository();
    let identifier = destination
        .tag()
        .map_or_else(|| digest.to_string(), str::to_owned);
    let scopes = Scopes::push(&endpoint.repository(repository));
    let what = format!("the manifest {repository}:{identifier}");
    let url = endpoint.url(repository, &format!("manifests/{identifier}"))?;
    let mut request = Request::new(Method::PUT, url, &scopes);
    request.body = bytes;
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        request.headers.insert(CONTENT_TYPE, media_type);
    }
    let response = endpoint.send(&request, &what).await?;
    if !response.status().is_success() {
        return Err(endpoint.failure(response, &what, &scopes).await);
    }
    match header_digest(response.headers()) {
        Some(found) if found != digest => Err(mismatch(&digest, &found)),
        _ => Ok(digest),
    }
}
