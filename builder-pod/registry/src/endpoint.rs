//! One host that serves a repository: the registry itself or a mirror of it.
//!
//! Invariant: every request goes through here or [`crate::upload`], so that each is judged, authorised and retried alike.

use std::sync::Arc;

use bytes::Bytes;
use oci_client::RegistryOperation;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use crate::authenticator::{Authenticator, Authorization, Scopes};
use crate::exchange::{failure, send};
use crate::guard::Guard;
use crate::retry::Attempts;
use crate::{HostError, RetryPolicy};

/// The HTTP clients of one registry and its mirrors: they differ in what certificates they trust.
pub(crate) struct Clients {
    pub(crate) http: reqwest::Client,
    pub(crate) oci: oci_client::Client,
}

/// What is remembered of one host.
pub(crate) struct HostState {
    pub(crate) authenticator: Authenticator,
    /// Blobs on the way. Apart from the short requests, so that a slow reader of blobs never blocks those.
    pub(crate) transfers: Arc<Semaphore>,
    pub(crate) requests: Semaphore,
}

/// A host, and where on it the repositories of a registry are.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// As people and credentials name it.
    pub(crate) host: String,
    /// `host[:port]` that is connected to.
    pub(crate) address: String,
    pub(crate) plain_http: bool,
    /// What stands before repositories here; empty or ending with a slash.
    pub(crate) prefix: String,
    /// The registry this is a mirror of.
    pub(crate) mirror_of: Option<String>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) state: Arc<HostState>,
    pub(crate) guard: Guard,
    pub(crate) retry: RetryPolicy,
}

/// A short request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) scopes: &'a Scopes,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, url: Url, scopes: &'a Scopes) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes,
        }
    }
}

impl Endpoint {
    /// The name of a registry's repository on this host.
    pub(crate) fn repository(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    /// `/v2/<repository>/<rest>` on this host.
    pub(crate) fn url(&self, repository: &str, rest: &str) -> Result<Url, HostError> {
        let scheme = if self.plain_http { "http" } else { "https" };
        let text = format!(
            "{scheme}://{}/v2/{}{repository}/{rest}",
            self.address, self.prefix
        );
        let mut url = Url::parse(&text).map_err(|error| HostError::Unreachable {
            host: self.host.clone(),
            source: crate::error::TransportCause::new(error),
        })?;
        // Mirrors of many registries at one address tell them apart by this, as containerd lets them.
        if let Some(registry) = &self.mirror_of {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    /// The repository's name for the OCI client, by the digest of something in it.
    pub(crate) fn oci_reference(&self, repository: &str, digest: &str) -> oci_client::Reference {
        let (registry, mirror) = match &self.mirror_of {
            Some(registry) => (registry.clone(), Some(self.address.clone())),
            None => (self.address.clone(), None),
        };
        let repository = self.repository(repository);
        let mut reference =
            oci_client::Reference::with_digest(registry, repository, digest.to_owned());
        if let Some(mirror) = mirror {
            reference.set_mirror_registry(mirror);
        }
        reference
    }

    /// Gives the OCI client what it needs to read from a repository.
    pub(crate) async fn authorise_oci(
        &self,
        reference: &oci_client::Reference,
        scopes: &Scopes,
    ) -> Result<(), HostError> {
        if let Some(authorization) = self.state.authenticator.authorization(scopes).await? {
            let oci = &self.clients.oci;
            oci.tokens
                .insert(reference, RegistryOperation::Pull, authorization.oci())
                .await;
            let registry = reference.resolve_registry();
            oci.store_auth_if_needed(registry, &Authorization::OCI_CACHE_ONLY)
                .await;
        }
        Ok(())
    }

    /// Sends a request, authorised and, where that may help, again. Any answer but 401 that is not transient is
    /// given back.
    pub(crate) async fn send(
        &self,
        request: &Request<'_>,
        what: &str,
    ) -> Result<Response, HostError> {
        self.check_url(&request.url)?;
        let mut attempts = Attempts::new(self.retry);
        loop {
            let error = match self.send_authorised(request).await {
                Ok(response) if is_final(response.status()) => return Ok(response),
                Ok(response) => self.failure(response, what, request.scopes).await,
                Err(error) => error,
            };
            attempts.pause_after(error).await?;
        }
    }

    /// Sends a request; if the host refuses it for lack of credentials, once more with better ones.
    async fn send_authorised(&self, request: &Request<'_>) -> Result<Response, HostError> {
        let authenticator = &self.state.authenticator;
        let authorization = authenticator.authorization(request.scopes).await?;
        let response = self.send_once(request, authorization.as_ref()).await?;
        // Only this host may say where its credentials go, not one it redirects to.
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_here(response.url()) {
            return Ok(response);
        }
        let headers = response.headers();
        match authenticator
            .renew(headers, request.scopes, authorization.as_ref())
            .await?
        {
            Some(better) => self.send_once(request, Some(&better)).await,
            None => Ok(response),
        }
    }

    async fn send_once(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Response, HostError> {
        // The semaphore is never closed.
        let _permit = self.state.requests.acquire().await.ok();
        let builder = self
            .clients
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(request.body.clone());
        send(
            &self.host,
            self.with_authorization(builder, &request.url, authorization),
        )
        .await
    }

    /// Puts the authorization on, if the request goes to this very host: an upload's location may be elsewhere.
    pub(crate) fn with_authorization(
        &self,
        builder: RequestBuilder,
        url: &Url,
        authorization: Option<&Authorization>,
    ) -> RequestBuilder {
        match authorization.and_then(Authorization::header) {
            Some(header) if self.is_here(url) => builder.header(AUTHORIZATION, header),
            _ => builder,
        }
    }

    /// Whether a URL is of this very host.
    pub(crate) fn is_here(&self, url: &Url) -> bool {
        let own = self.url("x", "");
        own.is_ok_and(|own| {
            own.scheme() == url.scheme()
                && own.host_str() == url.host_str()
                && own.port_or_known_default() == url.port_or_known_default()
        })
    }

    pub(crate) fn check_url(&self, url: &Url) -> Result<(), HostError> {
        self.guard
            .check_url(url)
            .map_err(|refused| HostError::Address {
                host: self.host.clone(),
                address: refused.address,
                why: refused.why,
            })
    }

    /// What an answer that is no success means.
    pub(crate) async fn failure(
        &self,
        response: Response,
        what: &str,
        scopes: &Scopes,
    ) -> HostError {
        let has_credentials = self.state.authenticator.has_credentials(scopes);
        failure(&self.host, response, what, has_credentials).await
    }
}

/// Whether an answer is for the caller: neither a refusal nor a failure that may pass.
fn is_final(status: StatusCode) -> bool {
    !matches!(
        status.as_u16(),
        401 | 408 | 425 | 429 | 500 | 502 | 503 | 504
    )
}
