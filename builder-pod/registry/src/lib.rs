//! The registry client: pull, push, mirrors, credentials; and archives over plain HTTP.
//!
//! Invariant: bytes are checked against their digest and size while they stream; nothing is held in memory but
//! manifests and configurations, and those are limited.
//! It must not know stages, file trees or root filesystems.

mod archive;
mod authenticator;
mod blob;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
mod exchange;
mod guard;
mod layout;
mod registry;
mod resolve;
mod retry;
mod settings;
mod tls;
mod upload;

pub use archive::{
    ARCHIVE_SIZE_LIMIT, ArchiveSettings, ContextError, fetch_archive, fetch_archive_with,
};
pub use blob::{BlobReader, BlobStream};
pub use client::RegistryClient;
pub use credentials::{Credentials, CredentialsError};
pub use error::{
    ErrorKind, HostError, RegistryError, ServerMessage, SettingsError, TransportCause,
};
pub use layout::{LayoutError, OciLayout};
pub use registry::{BlobSource, Pushed, Registry, ResolvedImage};
pub use settings::{ClientSettings, HostSettings, Mirror, MirrorError, RetryPolicy};
