//! The client: settings in, [`Registry`] out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use oci_client::client::{ClientConfig, ClientProtocol};
use stagecraft_image::{Descriptor, Digest, Platform, Reference};
use tokio::sync::Semaphore;

use crate::authenticator::Authenticator;
use crate::blob::Download;
use crate::endpoint::{Clients, Endpoint, HostState};
use crate::error::TransportCause;
use crate::exchange::{CONNECT_LIMIT, SILENCE_LIMIT};
use crate::guard::Guard;
use crate::resolve;
use crate::settings::{HostSettings, Mirror};
use crate::tls::Roots;
use crate::upload::{Presence, Upload, push_manifest};
use crate::{
    BlobSource, BlobStream, ClientSettings, Credentials, HostError, Pushed, Registry,
    RegistryError, ResolvedImage, RetryPolicy, SettingsError,
};

/// Where Docker Hub's registry really is.
const DOCKER_HUB_ADDRESS: &str = "registry-1.docker.io";
/// What the OCI client's token cache may keep: longer than any build, because [`Authenticator`] decides.
const OCI_TOKEN_LIFETIME: usize = 24 * 60 * 60;

/// A client for any number of registries. Clones of it behind an `Arc` share connections and tokens.
pub struct RegistryClient {
    known: HashMap<String, (HostSettings, Arc<Clients>)>,
    others: Arc<Clients>,
    states: Mutex<HashMap<String, Arc<HostState>>>,
    credentials: Arc<Credentials>,
    guard: Guard,
    retry: RetryPolicy,
    requests_at_a_time: usize,
}

impl std::fmt::Debug for RegistryClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RegistryClient")
            .field("hosts", &self.known.keys())
            .finish_non_exhaustive()
    }
}

impl RegistryClient {
    /// A client with these settings. Nothing is connected to yet.
    ///
    /// # Errors
    /// When a CA bundle cannot be used.
    pub fn new(settings: ClientSettings) -> Result<Self, SettingsError> {
        let guard = Guard {
            refuse_this_machine: settings.refuse_loopback,
            refuse_link_local: false,
        };
        let mut known = HashMap::new();
        for host in settings.hosts {
            let clients = clients(&host, guard, settings.user_agent)?;
            known.insert(host.host.clone(), (host, Arc::new(clients)));
        }
        let others = HostSettings {
            host: "other registries".to_owned(),
            ..HostSettings::default()
        };
        Ok(Self {
            known,
            others: Arc::new(clients(&others, guard, settings.user_agent)?),
            states: Mutex::default(),
            credentials: Arc::new(settings.credentials),
            guard,
            retry: settings.retry,
            requests_at_a_time: settings.requests_at_a_time.max(1),
        })
    }

    /// Where a registry's images are read from: its mirrors, then itself.
    fn endpoints(&self, host: &str) -> Vec<Endpoint> {
        let mirrors = self
            .known
            .get(host)
            .into_iter()
            .flat_map(|(settings, clients)| {
                settings.mirrors.iter().map(move |mirror| (mirror, clients))
            });
        let mut endpoints: Vec<Endpoint> = mirrors
            .map(|(mirror, clients)| self.mirror(host, mirror, clients))
            .collect();
        endpoints.push(self.endpoint(host));
        endpoints
    }

    /// The registry itself.
    fn endpoint(&self, host: &str) -> Endpoint {
        let (plain_http, clients) = match self.known.get(host) {
            Some((settings, clients)) => (settings.plain_http, clients),
            None => (false, &self.others),
        };
        let address = if host == "docker.io" {
            DOCKER_HUB_ADDRESS
        } else {
            host
        };
        Endpoint {
            host: host.to_owned(),
            address: address.to_owned(),
            plain_http,
            prefix: String::new(),
            mirror_of: None,
            clients: Arc::clone(clients),
            state: self.state(host, plain_http, clients),
            guard: self.guard,
            retry: self.retry,
        }
    }

    fn mirror(&self, registry: &str, mirror: &Mirror, clients: &Arc<Clients>) -> Endpoint {
        let mut prefix = mirror.prefix.clone();
        if !prefix.is_empty() {
            prefix.push('/');
        }
        Endpoint {
            host: mirror.host.clone(),
            address: mirror.host.clone(),
            plain_http: mirror.plain_http,
            prefix,
            mirror_of: Some(registry.to_owned()),
            clients: Arc::clone(clients),
            state: self.state(&mirror.host, mirror.plain_http, clients),
            guard: self.guard,
            retry: self.retry,
        }
    }

    /// What is remembered of a host; http and https are two.
    fn state(&self, host: &str, plain_http: bool, clients: &Clients) -> Arc<HostState> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let scheme = if plain_http { "http" } else { "https" };
        let state = states
            .entry(format!("{scheme}://{host}"))
            .or_insert_with(|| {
                Arc::new(HostState {
                    authenticator: Authenticator::new(
                        host.to_owned(),
                        plain_http,
                        self.guard,
                        self.retry,
                        clients.http.clone(),
                        Arc::clone(&self.credentials),
                    ),
                    transfers: Arc::new(Semaphore::new(self.requests_at_a_time)),
                    requests: Semaphore::new(self.requests_at_a_time),
                })
            });
        Arc::clone(state)
    }
}

/// The clients for one registry and its mirrors.
fn clients(
    settings: &HostSettings,
    guard: Guard,
    user_agent: &'static str,
) -> Result<Clients, SettingsError> {
    let host = settings.host.as_str();
    let failed = |source: TransportCause| SettingsError::Client {
        host: host.to_owned(),
        source,
    };
    let roots = Roots::new(host, settings.ca_certificates_pem.as_deref())?;
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(roots.rustls(host)?)
        .dns_resolver(guard)
        .redirect(guard.redirect_policy())
        .connect_timeout(CONNECT_LIMIT)
        .user_agent(user_agent)
        .build()
        .map_err(|error| failed(TransportCause::new(error)))?;
    let mut plain: Vec<String> = settings
        .mirrors
        .iter()
        .filter(|mirror| mirror.plain_http)
        .map(|mirror| mirror.host.clone())
        .collect();
    if settings.plain_http {
        plain.push(
            if host == "docker.io" {
                DOCKER_HUB_ADDRESS
            } else {
                host
            }
            .to_owned(),
        );
    }
    let oci = oci_client::Client::try_from(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(plain),
        tls_certs_only: roots.oci(),
        default_token_expiration_secs: OCI_TOKEN_LIFETIME,
        read_timeout: Some(SILENCE_LIMIT),
        connect_timeout: Some(CONNECT_LIMIT),
        user_agent,
        ..ClientConfig::default()
    })
    .map_err(|error| failed(TransportCause::new(error)))?;
    Ok(Clients { http, oci })
}

#[async_trait]
impl Registry for RegistryClient {
    async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError> {
        let endpoints = self.endpoints(reference.host());
        resolve::resolve(endpoints, reference, platform)
            .await
            .map_err(|source| RegistryError::Resolve {
                reference: reference.familiar(),
                source: Box::new(source),
            })
    }

    async fn open_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, RegistryError> {
        let endpoints = self.endpoints(reference.host());
        let download = Download::start(endpoints, reference.repository(), descriptor).await;
        let download = download.map_err(|source| RegistryError::ReadBlob {
            digest: descriptor.digest.clone(),
            repository: reference.name(),
            source: Box::new(source),
        })?;
        Ok(download.into_stream(reference.name()))
    }

    async fn ensure_blob(
        &self,
        destination: &Reference,
        descriptor: &Descriptor,
        mount_from: &[Reference],
    ) -> Result<Option<Pushed>, RegistryError> {
        let endpoint = self.endpoint(destination.host());
        let upload = Upload::new(&endpoint, destination.repository(), descriptor);
        match upload.look(&same_host(destination, mount_from)).await {
            Ok(Presence::There(pushed)) => Ok(Some(pushed)),
            Ok(Presence::Missing(opened)) => {
                upload.abandon(opened).await;
                Ok(None)
            }
            Err(source) => Err(push_failed(destination, descriptor, source)),
        }
    }

    async fn push_blob(
        &self,
        destination: &Reference,
        descriptor: &Descriptor,
        source: BlobSource,
        mount_from: &[Reference],
    ) -> Result<Pushed, RegistryError> {
        let endpoint = self.endpoint(destination.host());
        let upload = Upload::new(&endpoint, destination.repository(), descriptor);
        let failed = |source| push_failed(destination, descriptor, source);
        match upload
            .look(&same_host(destination, mount_from))
            .await
            .map_err(failed)?
        {
            Presence::There(pushed) => Ok(pushed),
            Presence::Missing(opened) => {
                upload.send(&source, opened).await.map_err(failed)?;
                Ok(Pushed::Uploaded)
            }
        }
    }

    async fn push_manifest(
        &self,
        destination: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError> {
        let endpoint = self.endpoint(destination.host());
        push_manifest(&endpoint, destination, media_type, bytes.into())
            .await
            .map_err(|source| RegistryError::PushManifest {
                reference: destination.familiar(),
                source: Box::new(source),
            })
    }
}

fn same_host(destination: &Reference, candidates: &[Reference]) -> Vec<Reference> {
    candidates
        .iter()
        .filter(|other| other.host() == destination.host())
        .cloned()
        .collect()
}

fn push_failed(
    destination: &Reference,
    descriptor: &Descriptor,
    source: HostError,
) -> RegistryError {
    RegistryError::PushBlob {
        digest: descriptor.digest.clone(),
        repository: destination.name(),
        source: Box::new(source),
    }
}
