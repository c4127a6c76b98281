//! Reading blobs: streamed, verified, resumed where the connection was lost, from one mirror after the other.
//!
//! Invariant: a stream yields at most the descriptor's size, and ends without an error only if size and digest are right.
//! What it yielded before an error is not to be trusted.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use reqwest::{Method, StatusCode};
use stagecraft_image::{Descriptor, Digest, DigestHasher};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::authenticator::Scopes;
use crate::endpoint::{Endpoint, Request};
use crate::exchange::oci_error;
use crate::pace::{LEAST, Pace};
use crate::retry::{Attempts, describe};
use crate::{HostError, RegistryError};

/// The bytes of a blob.
pub struct BlobStream {
    chunks: BoxStream<'static, Result<Bytes, RegistryError>>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("BlobStream")
    }
}

impl BlobStream {
    /// A stream of chunks that somebody else verifies, or need not verify.
    #[must_use]
    pub fn new(chunks: BoxStream<'static, Result<Bytes, RegistryError>>) -> Self {
        Self { chunks }
    }

    /// The same bytes for blocking code. It must run on a thread that may block, such as one of `spawn_blocking`;
    /// errors are [`io::Error`]s around the [`RegistryError`].
    #[must_use]
    pub fn into_reader(self, runtime: Handle) -> BlobReader {
        BlobReader {
            stream: self,
            runtime,
            chunk: Bytes::new(),
        }
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_next_unpin(context)
    }
}

/// The bytes of a blob for blocking code.
#[derive(Debug)]
pub struct BlobReader {
    stream: BlobStream,
    runtime: Handle,
    chunk: Bytes,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !buffer.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk[..length]);
        self.chunk.advance(length);
        Ok(length)
    }
}

type Body = BoxStream<'static, io::Result<Bytes>>;

/// A blob on its way.
pub(crate) struct Download {
    /// Those that are left; the first is in use.
    endpoints: std::collections::VecDeque<Endpoint>,
    repository: String,
    digest: Digest,
    size: u64,
    hasher: DigestHasher,
    received: u64,
    pace: Pace,
    /// Bytes that came since something last went wrong.
    since_failure: u64,
    attempts: Attempts,
    body: Option<Body>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Download {
    /// Starts reading from the first endpoint that has the blob.
    pub(crate) async fn start(
        endpoints: Vec<Endpoint>,
        repository: &str,
        descriptor: &Descriptor,
    ) -> Result<Self, HostError> {
        let first = endpoints.first().ok_or_else(no_endpoint)?;
        let permit = std::sync::Arc::clone(&first.state.transfers)
            .acquire_owned()
            .await
            .ok();
        let mut download = Self {
            attempts: Attempts::new(first.retry),
            endpoints: endpoints.into(),
            repository: repository.to_owned(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            hasher: DigestHasher::new(),
            received: 0,
            pace: Pace::default(),
            since_failure: 0,
            body: None,
            _permit: permit,
        };
        download.open().await?;
        Ok(download)
    }

    /// The stream of what comes.
    pub(crate) fn into_stream(self, name: String) -> BlobStream {
        let step = move |download: Option<Self>| {
            let name = name.clone();
            async move {
                let mut download = download?;
                match download.next().await {
                    Ok(Some(chunk)) => Some((Ok(chunk), Some(download))),
                    Ok(None) => None,
                    Err(source) => {
                        let error = RegistryError::ReadBlob {
                            digest: download.digest,
                            repository: name,
                            source: Box::new(source),
                        };
                        Some((Err(error), None))
                    }
                }
            }
        };
        BlobStream::new(Box::pin(futures::stream::unfold(Some(self), step)))
    }

    /// All bytes at once, for small blobs.
    pub(crate) async fn collect(mut self) -> Result<Bytes, HostError> {
        let mut bytes = bytes::BytesMut::new();
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        loop {
            let host = self.host();
            if self.body.is_none() {
                self.open().await?;
            }
            let Some(body) = self.body.as_mut() else {
                continue;
            };
            match self.pace.wait(&host, body.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => {}
                Ok(Some(Ok(chunk))) => {
                    if self.received + chunk.len() as u64 > self.size {
                        return Err(self.too_large());
                    }
                    self.received += chunk.len() as u64;
                    self.hasher.update(&chunk);
                    self.pace.received(chunk.len());
                    self.progressed(chunk.len());
                    return Ok(Some(chunk));
                }
                // The OCI client checks the digest too, and says so as the last item of a complete body.
                Ok(None | Some(Err(_))) if self.received == self.size => {
                    return self.verify().map(|()| None);
                }
                Ok(None | Some(Err(_))) => {
                    let (received, size) = (self.received, self.size);
                    self.recover(HostError::Interrupted {
                        host,
                        received,
                        size,
                    })
                    .await?;
                }
                Err(error) => self.recover(error).await?,
            }
        }
    }

    /// Forgets failures after some progress: a host that breaks off behind every byte is given up.
    fn progressed(&mut self, bytes: usize) {
        self.since_failure = self.since_failure.saturating_add(bytes as u64);
        if self.since_failure >= LEAST {
            self.attempts.reset();
        }
    }

    /// Opens the body from where the last one ended, at the first endpoint that gives it.
    async fn open(&mut self) -> Result<(), HostError> {
        while self.body.is_none() {
            let Some(endpoint) = self.endpoints.front().cloned() else {
                return Err(no_endpoint());
            };
            match self.open_at(&endpoint).await {
                Ok(body) => self.body = Some(body),
                Err(error) => self.recover(error).await?,
            }
        }
        Ok(())
    }

    /// Decides how to go on after a failure: again, at the next endpoint, or not at all.
    async fn recover(&mut self, error: HostError) -> Result<(), HostError> {
        self.body = None;
        self.since_failure = 0;
        let Err(error) = self.attempts.pause_after(error).await else {
            return Ok(());
        };
        if self.endpoints.len() < 2 {
            return Err(error);
        }
        tracing::warn!(
            digest = %self.digest, host = %self.host(), error = %describe(&error),
            "a mirror failed; asking the next host"
        );
        self.endpoints.pop_front();
        self.attempts.reset();
        Ok(())
    }

    async fn open_at(&mut self, endpoint: &Endpoint) -> Result<Body, HostError> {
        endpoint.guard.check_host(&endpoint.address).await?;
        let scopes = Scopes::pull(&endpoint.repository(&self.repository));
        let digest = self.digest.to_string();
        let what = format!("blob {digest} of {}", self.repository);
        let reference = endpoint.oci_reference(&self.repository, &digest);
        endpoint.authorise_oci(&reference, &scopes).await?;
        let mut opened = self.request(endpoint, &reference, &digest).await;
        if is_unauthorized(&opened) {
            // The OCI client keeps what the host wants to itself; a request of ours learns it and gets a token.
            let url = endpoint.url(&self.repository, &format!("blobs/{digest}"))?;
            let head = Request::new(Method::HEAD, url, &scopes);
            let answer = endpoint.send(&head, &what).await?;
            if !answer.status().is_success() {
                return Err(endpoint.failure(answer, &what, &scopes).await);
            }
            endpoint.authorise_oci(&reference, &scopes).await?;
            opened = self.request(endpoint, &reference, &digest).await;
        }
        let has_credentials = endpoint.state.authenticator.has_credentials(&scopes);
        let opened =
            opened.map_err(|error| oci_error(&endpoint.host, error, &what, has_credentials))?;
        self.body_of(opened)
    }

    async fn request(
        &mut self,
        endpoint: &Endpoint,
        reference: &oci_client::Reference,
        digest: &str,
    ) -> Result<BlobResponse, OciDistributionError> {
        let oci = &endpoint.clients.oci;
        // A digest alone, not a descriptor: other addresses that a manifest names are never followed.
        if self.received == 0 {
            oci.pull_blob_stream(reference, digest)
                .await
                .map(BlobResponse::Full)
        } else {
            oci.pull_blob_stream_partial(reference, digest, self.received, None)
                .await
        }
    }

    /// The bytes that are still missing.
    fn body_of(&self, opened: BlobResponse) -> Result<Body, HostError> {
        let (stream, skipped) = match opened {
            BlobResponse::Partial(stream) => (stream, 0),
            // The host starts over: what came already is skipped.
            BlobResponse::Full(stream) => (stream, self.received),
        };
        let announced = stream
            .content_length
            .map(|length| length + self.received - skipped);
        if announced.is_some_and(|length| length > self.size) {
            return Err(self.too_large());
        }
        let mut left = usize::try_from(skipped).unwrap_or(usize::MAX);
        let body = stream.stream.map(move |chunk| {
            let mut chunk = chunk?;
            let cut = left.min(chunk.len());
            left -= cut;
            chunk.advance(cut);
            Ok(chunk)
        });
        Ok(Box::pin(body))
    }

    fn verify(&mut self) -> Result<(), HostError> {
        let found = std::mem::take(&mut self.hasher).finish();
        if found == self.digest {
            return Ok(());
        }
        Err(HostError::DigestMismatch {
            host: self.host(),
            expected: self.digest.clone(),
            found,
        })
    }

    fn too_large(&self) -> HostError {
        let what = format!("blob {}", self.digest);
        HostError::TooLarge {
            host: self.host(),
            limit: self.size,
            what,
        }
    }

    fn host(&self) -> String {
        self.endpoints
            .front()
            .map(|endpoint| endpoint.host.clone())
            .unwrap_or_default()
    }
}

fn is_unauthorized(result: &Result<BlobResponse, OciDistributionError>) -> bool {
    match result {
        Err(OciDistributionError::UnauthorizedError { .. }) => true,
        Err(OciDistributionError::ServerError { code, .. }) => {
            *code == StatusCode::UNAUTHORIZED.as_u16()
        }
        _ => false,
    }
}

/// Every registry has at least itself as an endpoint.
fn no_endpoint() -> HostError {
    HostError::Protocol {
        host: String::new(),
        what: "there is no host to ask".to_owned(),
    }
}
