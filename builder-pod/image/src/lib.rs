//! Image values: digest, reference, platform, descriptor, manifest, index, configuration.
//!
//! Invariant: values and their text forms only; no I/O, no environment, no clock.

mod config;
mod descriptor;
mod digest;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs, Set};
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError, Hasher};
pub use manifest::{Index, Manifest, PlatformError};
pub use platform::{Platform, PlatformParseError};
pub use reference::{Reference, ReferenceError};

/// Largest manifest or index that is read, in bytes (distribution-spec recommends at least 4 MiB).
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

/// Largest image configuration that is read, in bytes.
pub const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;
