//! What a builder asks of registries.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stagecraft_image::{Descriptor, Digest, ImageConfig, Manifest, Platform, Reference};

use crate::{BlobStream, OciLayout, RegistryError};

/// Registries, as a builder sees them.
///
/// Guarantees: what is read has the digest and size it was asked by, or ends in an error; failures that may pass are
/// met inside, so an error is worth reporting. Callers may drop any future or stream at any time.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The image for one platform that a reference names. A tag is looked up once; the answer names digests only.
    ///
    /// # Errors
    /// [`RegistryError::Resolve`].
    async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError>;

    /// The bytes of a blob in a reference's repository.
    ///
    /// # Errors
    /// [`RegistryError::ReadBlob`], here or from the stream.
    async fn open_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, RegistryError>;

    /// Makes a blob part of the destination's repository without its bytes, if that can be done: because it is there,
    /// or in one of the repositories of `mount_from` on the same host. None means it must be pushed.
    ///
    /// # Errors
    /// [`RegistryError::PushBlob`].
    async fn ensure_blob(
        &self,
        destination: &Reference,
        descriptor: &Descriptor,
        mount_from: &[Reference],
    ) -> Result<Option<Pushed>, RegistryError>;

    /// Makes a blob part of the destination's repository, with its bytes only if need be.
    ///
    /// # Errors
    /// [`RegistryError::PushBlob`].
    async fn push_blob(
        &self,
        destination: &Reference,
        descriptor: &Descriptor,
        source: BlobSource,
        mount_from: &[Reference],
    ) -> Result<Pushed, RegistryError>;

    /// Puts a manifest under the destination's tag, or under its digest if it has no tag. Its blobs must be there.
    ///
    /// # Errors
    /// [`RegistryError::PushManifest`].
    async fn push_manifest(
        &self,
        destination: &Reference,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError>;
}

/// An image for one platform, pinned by digest.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// The reference that was asked for.
    pub reference: Reference,
    /// The layout that has its blobs, where no registry does.
    pub layout: Option<Arc<OciLayout>>,
    /// Digest of the manifest for the platform.
    pub digest: Digest,
    /// The manifest. It has as many layers as the configuration.
    pub manifest: Manifest,
    /// The configuration as the registry has it.
    pub config_bytes: Bytes,
    /// The configuration.
    pub config: ImageConfig,
}

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it over from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// Where the bytes to push are. They may be read more than once.
#[derive(Clone, Debug)]
pub enum BlobSource {
    /// In a file that does not change meanwhile.
    File(PathBuf),
    /// In memory.
    Bytes(Bytes),
}
