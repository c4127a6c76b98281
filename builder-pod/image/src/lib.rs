//! Image values: digest, reference, platform, descriptor, manifest, index and configuration.
//!
//! Invariant: everything here is a pure value or a pure function; no I/O of any kind.
//! It must not know registries' protocol, layers' contents or Dockerfiles.

mod config;
mod descriptor;
mod digest;
mod document;
mod index;
mod json;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, DigestHasher};
pub use document::{Document, DocumentError};
pub use index::{Index, NoPlatform};
pub use manifest::Manifest;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};

/// Largest manifest or index that is read, in bytes: the limit that registries themselves are advised to accept
/// (distribution-spec, "Pushing Manifests").
pub const MANIFEST_SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// Largest image configuration that is read, in bytes.
pub const CONFIG_SIZE_LIMIT: u64 = 8 * 1024 * 1024;
