//! Images in an OCI image layout on this machine (image-spec, "image-layout").
//!
//! Invariant: as with registries, what is read has the digest and size that it was asked by, or ends in an error.
//! Invariant: only `oci-layout`, `index.json` and files below `blobs` are read, the latter by their digests.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use stagecraft_image::{
    CONFIG_SIZE_LIMIT, Descriptor, Digest, DigestHasher, Document, DocumentError, ImageConfig,
    Index, MANIFEST_SIZE_LIMIT, Platform, Reference,
};

use crate::resolve::{NESTING_LIMIT, check_layers, check_manifest};
use crate::{BlobStream, HostError, RegistryError, ResolvedImage};

/// Bytes of a blob that are read at a time.
const CHUNK: usize = 256 * 1024;

/// The annotation with the tag of an entry.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI image layout: a directory.
#[derive(Debug)]
pub struct OciLayout {
    directory: PathBuf,
}

/// Why a directory is no layout, or has not what is looked for.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its `oci-layout` is malformed.
    #[error("{} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Its version is not one that we know.
    #[error("the layout {} has version {version:?}; 1.0.0 is known", directory.display())]
    Version {
        /// The layout.
        directory: PathBuf,
        /// What it says.
        version: String,
    },
    /// Its `index.json` is no index.
    #[error("{} is no index", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why, where it is malformed; nothing where it is a manifest.
        source: Option<DocumentError>,
    },
    /// No entry has the tag.
    #[error(
        "the layout {} has no image {tag:?}; {}",
        directory.display(),
        if available.is_empty() { "none of its images has a tag".to_owned() } else { format!("it has {}", available.join(", ")) }
    )]
    NoTag {
        /// The layout.
        directory: PathBuf,
        /// The tag.
        tag: String,
        /// The tags that are there.
        available: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl OciLayout {
    /// Opens a layout.
    ///
    /// # Errors
    /// When the directory is none.
    pub fn open(directory: &Path) -> Result<Self, LayoutError> {
        let path = directory.join("oci-layout");
        let bytes = read(&path)?;
        let marker: Marker = serde_json::from_slice(&bytes)
            .map_err(|source| LayoutError::Malformed { path, source })?;
        let directory = directory.to_owned();
        if marker.image_layout_version != "1.0.0" {
            let version = marker.image_layout_version;
            return Err(LayoutError::Version { directory, version });
        }
        Ok(Self { directory })
    }

    /// The digest of the image with a tag. An image that is alone is found by any tag, as Docker's client does it.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn find(&self, tag: &str) -> Result<Digest, LayoutError> {
        let path = self.directory.join("index.json");
        let bytes = read(&path)?;
        let index = match Document::parse(&bytes, None) {
            Ok(Document::Index(index)) => index,
            Ok(Document::Manifest(_)) => return Err(LayoutError::Index { path, source: None }),
            Err(error) => {
                let source = Some(error);
                return Err(LayoutError::Index { path, source });
            }
        };
        if let Some(entry) = index.manifests.iter().find(|entry| has_tag(entry, tag)) {
            return Ok(entry.digest.clone());
        }
        let mut digests: Vec<&Digest> = index.manifests.iter().map(|one| &one.digest).collect();
        digests.dedup();
        match digests.as_slice() {
            [only] => Ok((*only).clone()),
            _ => Err(LayoutError::NoTag {
                directory: self.directory.clone(),
                tag: tag.to_owned(),
                available: tags(&index),
            }),
        }
    }

    /// The image for a platform that a digest names, the digest of `reference`.
    ///
    /// # Errors
    /// [`RegistryError::Resolve`].
    pub fn resolve(
        self: &Arc<Self>,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError> {
        let resolved = self.resolve_here(reference, platform);
        resolved.map_err(|source| RegistryError::Resolve {
            reference: reference.familiar(),
            source: Box::new(source),
        })
    }

    fn resolve_here(
        self: &Arc<Self>,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, HostError> {
        let what = || format!("{} in {}", reference.familiar(), self.name());
        let mut digest = reference
            .digest()
            .cloned()
            .ok_or_else(|| HostError::NotAnImage {
                what: what(),
                why: "it has no digest".to_owned(),
            })?;
        for _ in 0..NESTING_LIMIT {
            let bytes = self.document(&digest, MANIFEST_SIZE_LIMIT)?;
            let document = Document::parse(&bytes, None).map_err(|source| HostError::Document {
                host: self.name(),
                what: digest.to_string(),
                source,
            })?;
            let manifest = match document {
                Document::Index(index) => {
                    digest = index.choose(platform)?.digest.clone();
                    continue;
                }
                Document::Manifest(manifest) => *manifest,
            };
            check_manifest(&manifest, &what())?;
            let config_bytes = self.document(&manifest.config.digest, CONFIG_SIZE_LIMIT)?;
            let config =
                ImageConfig::parse(&config_bytes).map_err(|source| HostError::Document {
                    host: self.name(),
                    what: format!("the configuration of {digest}"),
                    source,
                })?;
            check_layers(&manifest, &config, &what())?;
            return Ok(ResolvedImage {
                reference: reference.clone(),
                layout: Some(Arc::clone(self)),
                digest,
                manifest,
                config_bytes: config_bytes.into(),
                config,
            });
        }
        Err(HostError::NotAnImage {
            what: what(),
            why: format!("more than {NESTING_LIMIT} indexes stand in one another"),
        })
    }

    /// The bytes of a blob.
    #[must_use]
    pub fn open_blob(&self, descriptor: &Descriptor) -> BlobStream {
        let reading = Reading {
            path: self.path(&descriptor.digest),
            file: None,
            layout: self.name(),
            expected: descriptor.clone(),
            hasher: DigestHasher::new(),
            received: 0,
        };
        let step = |reading: Option<Reading>| async move {
            let reading = reading?;
            let (name, digest) = (reading.layout.clone(), reading.expected.digest.clone());
            let read = tokio::task::spawn_blocking(move || reading.next()).await;
            let read = read.unwrap_or_else(|error| Err(reading_ended(&name, error)));
            match read {
                Ok(Some((chunk, reading))) => Some((Ok(chunk), Some(reading))),
                Ok(None) => None,
                Err(source) => {
                    let error = RegistryError::ReadBlob {
                        digest,
                        repository: name,
                        source: Box::new(source),
                    };
                    Some((Err(error), None))
                }
            }
        };
        BlobStream::new(Box::pin(futures::stream::unfold(Some(reading), step)))
    }

    /// A manifest, an index or a configuration, with its digest checked.
    fn document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, HostError> {
        let path = self.path(digest);
        let failed = |source| HostError::Local {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(HostError::TooLarge {
                host: self.name(),
                limit,
                what: digest.to_string(),
            });
        }
        let found = Digest::of(&bytes);
        match found == *digest {
            true => Ok(bytes),
            false => Err(HostError::DigestMismatch {
                host: self.name(),
                expected: digest.clone(),
                found,
            }),
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// What messages call it.
    fn name(&self) -> String {
        format!("the layout {}", self.directory.display())
    }
}

/// A blob that is read.
struct Reading {
    path: PathBuf,
    file: Option<File>,
    layout: String,
    expected: Descriptor,
    hasher: DigestHasher,
    received: u64,
}

impl Reading {
    /// The next bytes; nothing at an end that is the right one.
    fn next(mut self) -> Result<Option<(Bytes, Self)>, HostError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| HostError::Local { path, source }
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path).map_err(failed(&self.path))?),
        };
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk).map_err(failed(&self.path))?;
        if length == 0 {
            return self.verify().map(|()| None);
        }
        chunk.truncate(length);
        self.received += length as u64;
        if self.received > self.expected.size {
            return Err(HostError::TooLarge {
                host: self.layout,
                limit: self.expected.size,
                what: self.expected.digest.to_string(),
            });
        }
        self.hasher.update(&chunk);
        Ok(Some((chunk.into(), self)))
    }

    fn verify(self) -> Result<(), HostError> {
        let found = self.hasher.finish();
        match found == self.expected.digest {
            true => Ok(()),
            false => Err(HostError::DigestMismatch {
                host: self.layout,
                expected: self.expected.digest,
                found,
            }),
        }
    }
}

fn reading_ended(layout: &str, error: tokio::task::JoinError) -> HostError {
    HostError::Local {
        path: layout.into(),
        source: io::Error::other(error),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let failed = |source| LayoutError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more than the limit shows that there is more.
    let mut file = file.take(MANIFEST_SIZE_LIMIT + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whether an entry has a tag. Some tools write the whole name of the image.
fn has_tag(entry: &Descriptor, tag: &str) -> bool {
    entry.annotations.get(REF_NAME).is_some_and(|name| {
        name == tag
            || name
                .parse::<Reference>()
                .is_ok_and(|name| name.tag() == Some(tag))
    })
}

fn tags(index: &Index) -> Vec<String> {
    let named = index.manifests.iter();
    let mut tags: Vec<String> = named
        .filter_map(|entry| entry.annotations.get(REF_NAME).cloned())
        .collect();
    tags.dedup();
    tags
}
