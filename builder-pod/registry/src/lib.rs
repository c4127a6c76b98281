//! The registry client: pull, push, mirrors, credentials; and files over HTTP.
//!
//! Invariant: bytes are checked against their digest and size while they stream; nothing is held in memory but
//! manifests and configurations, and those are limited.
//! It must not know stages, file trees or root filesystems.

mod authenticator;
mod blob;
mod challenge;
mod client;
mod credentials;
mod download;
mod endpoint;
mod error;
mod exchange;
mod guard;
mod http;
mod layout;
mod pace;
mod registry;
mod resolve;
mod retry;
mod settings;
mod tls;
mod upload;

pub use blob::{BlobReader, BlobStream};
pub use client::RegistryClient;
pub use credentials::{Credentials, CredentialsError};
pub use download::{
    DOWNLOAD_SIZE_LIMIT, DOWNLOAD_TIME_LIMIT, DownloadError, DownloadSettings, Downloaded, download,
};
pub use error::{
    ErrorKind, HostError, RegistryError, ServerMessage, SettingsError, TransportCause,
};
pub use http::{
    BasicCredentials, HttpSettings, WebAnswer, WebClient, WebRequest, without_credentials,
};
pub use layout::{LayoutError, OciLayout};
pub use registry::{BlobSource, Pushed, Registry, ResolvedImage};
pub use settings::{ClientSettings, HostSettings, Mirror, MirrorError, RetryPolicy};
