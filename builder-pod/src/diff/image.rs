//! Opens an image wherever it is: an OCI layout, an archive of one or of `docker save`, or a registry.
//!
//! Invariant: manifest and configuration have the digests by which they are named, or are not taken.
//! Invariant: a layer is fetched or read only when it is asked for.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stagecraft_image::{
    CONFIG_SIZE_LIMIT, Descriptor, Digest, Document, DocumentError, Index, MANIFEST_SIZE_LIMIT,
    Manifest, Platform, Reference,
};
use stagecraft_layer::Decoder;
use stagecraft_registry::{Registry, RegistryError};
use tokio::runtime::Handle;

use crate::store::{LayerTar, StoreError, blocking};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImagePlace {
    /// A directory in the OCI image layout.
    Layout(PathBuf),
    /// A tar archive of such a layout, or of `docker save`.
    Archive(PathBuf),
    /// A registry.
    Registry(Reference),
}

/// Why an image cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text is neither a path nor an image's name.
    #[error("{text:?} is no layout, no archive and no image's name")]
    Place {
        /// The text.
        text: String,
        /// Why it is no name.
        #[source]
        source: stagecraft_image::ReferenceError,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file, or the name in an archive.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An archive is none, or cannot be kept in scratch.
    #[error("cannot read the archive")]
    Archive(#[source] StoreError),
    /// A JSON document is too large to be one.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A JSON document is malformed.
    #[error("{path} is not what it should be")]
    Json {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest is malformed.
    #[error("the manifest is not what it should be")]
    Document(#[source] DocumentError),
    /// The layout has no image for the platform.
    #[error("there is no image for {0}")]
    NoImage(Platform),
    /// A document has another digest than its name says.
    #[error("{expected} has the digest {found}")]
    Digest {
        /// Its name.
        expected: Digest,
        /// What it has.
        found: Digest,
    },
    /// The registry failed.
    #[error("cannot read the image from its registry")]
    Registry(#[source] Box<RegistryError>),
    /// A layer is no layer.
    #[error("cannot read a layer")]
    Layer(#[source] stagecraft_layer::LayerError),
}

/// Where blobs are.
enum Blobs {
    Layout(PathBuf),
    Archive(Arc<LayerTar>),
    Registry(Arc<dyn Registry>, Reference),
}

/// Where a layer is.
enum LayerPlace {
    /// A blob that the manifest names.
    Blob(Box<Descriptor>),
    /// A file of an archive of `docker save`.
    Member(String),
}

/// An image that can be compared.
pub struct OpenedImage {
    /// Digest of its manifest; `docker save` has none.
    pub digest: Option<Digest>,
    /// Its manifest.
    pub manifest: Option<Value>,
    /// Its configuration.
    pub config: Value,
    layers: Vec<LayerPlace>,
    blobs: Blobs,
}

impl ImagePlace {
    /// What a text means: a path where something stands, or an image's name.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Layout(path.to_owned()));
        }
        if path.is_file() {
            return Ok(Self::Archive(path.to_owned()));
        }
        let reference = text.parse().map_err(|source| ImageError::Place {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self::Registry(reference))
    }
}

impl OpenedImage {
    /// Opens the image of a place for a platform. Archives are indexed in `scratch`.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub async fn open(
        place: &ImagePlace,
        platform: &Platform,
        registry: &Arc<dyn Registry>,
        scratch: &Path,
    ) -> Result<Self, ImageError> {
        match place {
            ImagePlace::Layout(directory) => {
                Self::of_layout(Blobs::Layout(directory.clone()), platform).await
            }
            ImagePlace::Archive(path) => {
                let (path, to) = (path.clone(), scratch.to_owned());
                let tar = blocking(move || open_archive(&path, &to)).await?;
                if tar.open(b"index.json").is_err() {
                    return Self::of_docker(tar);
                }
                Self::of_layout(Blobs::Archive(tar), platform).await
            }
            ImagePlace::Registry(reference) => {
                let resolved = registry.resolve(reference, platform).await;
                let image = resolved.map_err(|error| ImageError::Registry(Box::new(error)))?;
                let manifest = serde_json::to_value(&image.manifest).map_err(json("manifest"))?;
                Ok(Self {
                    digest: Some(image.digest),
                    manifest: Some(manifest),
                    config: serde_json::from_slice(&image.config_bytes).map_err(json("config"))?,
                    layers: blob_layers(&image.manifest),
                    blobs: Blobs::Registry(Arc::clone(registry), reference.clone()),
                })
            }
        }
    }

    async fn of_layout(blobs: Blobs, platform: &Platform) -> Result<Self, ImageError> {
        let bytes = blobs.document("index.json", MANIFEST_SIZE_LIMIT).await?;
        let mut index: Index = serde_json::from_slice(&bytes).map_err(json("index.json"))?;
        // An index may name an index; a layout that goes on like that for ever is no layout.
        for _ in 0..4 {
            let only = (index.manifests.len() == 1).then(|| index.manifests.first());
            let chosen = match only.flatten() {
                Some(only) => only,
                None => index
                    .choose(platform)
                    .map_err(|_| ImageError::NoImage(platform.clone()))?,
            };
            let digest = chosen.digest.clone();
            let bytes = blobs.blob(&digest, MANIFEST_SIZE_LIMIT).await?;
            match Document::parse(&bytes, None).map_err(ImageError::Document)? {
                Document::Index(next) => index = next,
                Document::Manifest(manifest) => {
                    let config = blobs
                        .blob(&manifest.config.digest, CONFIG_SIZE_LIMIT)
                        .await?;
                    return Ok(Self {
                        digest: Some(digest),
                        manifest: Some(serde_json::from_slice(&bytes).map_err(json("manifest"))?),
                        config: serde_json::from_slice(&config).map_err(json("config"))?,
                        layers: blob_layers(&manifest),
                        blobs,
                    });
                }
            }
        }
        Err(ImageError::NoImage(platform.clone()))
    }

    /// The first image of an archive of `docker save`.
    fn of_docker(tar: Arc<LayerTar>) -> Result<Self, ImageError> {
        let read = |name: &str, limit| bounded(tar.open(name.as_bytes()), name, limit);
        let list = read("manifest.json", MANIFEST_SIZE_LIMIT)?;
        let list: Value = serde_json::from_slice(&list).map_err(json("manifest.json"))?;
        let image = &list[0];
        let name = image["Config"].as_str().unwrap_or_default();
        let config = read(name, CONFIG_SIZE_LIMIT)?;
        let layers = image["Layers"].as_array().into_iter().flatten();
        let layers = layers.filter_map(|layer| layer.as_str().map(str::to_owned));
        Ok(Self {
            digest: None,
            manifest: None,
            config: serde_json::from_slice(&config).map_err(json(name))?,
            layers: layers.map(LayerPlace::Member).collect(),
            blobs: Blobs::Archive(tar),
        })
    }

    /// Number of its layers.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Digest of a layer's uncompressed archive, as the configuration says it; `None` where there is no such layer.
    pub(super) fn diff_id(&self, position: usize) -> Option<String> {
        self.layers.get(position)?;
        let diff_id = self.config["rootfs"]["diff_ids"][position].as_str();
        Some(diff_id.unwrap_or("unknown").to_owned())
    }

    /// Digest of a layer as it is stored.
    pub(super) fn blob(&self, position: usize) -> Option<String> {
        match self.layers.get(position)? {
            LayerPlace::Blob(descriptor) => Some(descriptor.digest.to_string()),
            LayerPlace::Member(_) => None,
        }
    }

    /// A reader of a layer's uncompressed archive, for threads that may block.
    pub(super) async fn layer(&self, position: usize) -> Result<Box<dyn Read + Send>, ImageError> {
        let Some(place) = self.layers.get(position) else {
            return Ok(Box::new(std::io::empty()));
        };
        let (reader, name): (Box<dyn Read + Send>, String) = match (place, &self.blobs) {
            (LayerPlace::Blob(descriptor), Blobs::Registry(registry, reference)) => {
                let opened = registry.open_blob(reference, descriptor).await;
                let stream = opened.map_err(|error| ImageError::Registry(Box::new(error)))?;
                let reader = stream.into_reader(Handle::current());
                (Box::new(reader), descriptor.digest.to_string())
            }
            (LayerPlace::Blob(descriptor), blobs) => {
                let name = blob_name(&descriptor.digest);
                (blobs.open(&name)?, name)
            }
            (LayerPlace::Member(name), blobs) => (blobs.open(name)?, name.clone()),
        };
        let decoder = blocking(move || Decoder::new(reader)).await;
        Ok(Box::new(decoder.map_err(read(&name))?))
    }
}

impl Blobs {
    /// Opens a file of the layout. A registry has none.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, ImageError> {
        match self {
            Self::Layout(directory) => {
                let file = File::open(directory.join(name)).map_err(read(name))?;
                Ok(Box::new(file))
            }
            Self::Archive(tar) => {
                let content = tar.open(name.as_bytes()).map_err(read(name))?;
                Ok(Box::new(content))
            }
            Self::Registry(..) => Err(read(name)(std::io::ErrorKind::NotFound.into())),
        }
    }

    async fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let reader = self.open(name)?;
        let name = name.to_owned();
        blocking(move || bounded(Ok(reader), &name, limit)).await
    }

    async fn blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let bytes = self.document(&blob_name(digest), limit).await?;
        let found = Digest::of(&bytes);
        if found != *digest {
            let expected = digest.clone();
            return Err(ImageError::Digest { expected, found });
        }
        Ok(bytes)
    }
}

fn open_archive(path: &Path, scratch: &Path) -> Result<Arc<LayerTar>, ImageError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(read(&name))?;
    let decoder = Decoder::new(file).map_err(read(&name))?;
    let to = tempfile::Builder::new()
        .prefix("archive-")
        .tempfile_in(scratch);
    let to = to.map_err(read(&name))?.into_temp_path();
    let kept = to.keep().map_err(|error| read(&name)(error.error))?;
    LayerTar::spool(decoder, kept).map_err(ImageError::Archive)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn blob_layers(manifest: &Manifest) -> Vec<LayerPlace> {
    let layers = manifest.layers.iter().cloned().map(Box::new);
    layers.map(LayerPlace::Blob).collect()
}

fn bounded(
    opened: std::io::Result<impl Read>,
    name: &str,
    limit: u64,
) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let reader = opened.map_err(read(name))?;
    reader
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(read(name))?;
    if bytes.len() as u64 > limit {
        let path = name.to_owned();
        return Err(ImageError::TooLarge { path, limit });
    }
    Ok(bytes)
}

fn read(path: &str) -> impl FnOnce(std::io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Read { path, source }
}

fn json(path: &str) -> impl FnOnce(serde_json::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Json { path, source }
}
