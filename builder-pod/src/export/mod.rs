//! Exports the target stage: layers are compressed, config and manifest written, all destinations served.
//!
//! Invariant: the digest depends on the stage alone, not on the destinations.

mod config;
mod destination;
mod files;
mod layout;
mod push;
mod tree;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagecraft_image::{Descriptor, Digest, Reference, media_type};
use stagecraft_layer::LayerId;
use stagecraft_registry::{Registry, RegistryError};

use files::Files;
use layout::ArchiveForm;

use crate::execute::StageResult;
use crate::progress::Progress;
use crate::store::{LayerOrigin, Store, StoreError, blocking};

pub use destination::Destination;
pub use tree::TreeError;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A layer of the result could not be had.
    #[error("cannot read a layer of the result")]
    Layer(#[source] StoreError),
    /// A layer could not be compressed.
    #[error("cannot compress {path}")]
    Compress {
        /// The layer's tar.
        path: PathBuf,
        /// The cause.
        #[source]
        source: stagecraft_layer::CompressError,
    },
    /// An image's name cannot be one.
    #[error("{name:?} is not an image name")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        #[source]
        source: stagecraft_image::ReferenceError,
    },
    /// A push failed.
    #[error("cannot push to {destination}")]
    Push {
        /// The image's name.
        destination: String,
        /// The cause.
        #[source]
        source: RegistryError,
    },
    /// The image's files could not be read from its layers, or written to an archive.
    #[error("cannot write the files of the image")]
    Files(#[source] stagecraft_layer::LayerError),
    /// The image's files could not be written into a directory.
    #[error("cannot write the files of the image into a directory")]
    Directory(#[source] TreeError),
    /// A layout or archive could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A finished image.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Digest of its configuration.
    pub config: Digest,
    /// Its names, whole.
    pub names: Vec<String>,
    /// Bytes of its blobs, manifest included.
    pub size_bytes: u64,
}

impl Exported {
    /// What `--metadata-file` holds: members as BuildKit calls them, and one of our own.
    #[must_use]
    pub fn metadata(&self) -> serde_json::Value {
        let digest = self.manifest.digest.to_string();
        let mut metadata = serde_json::json!({
            "containerimage.config.digest": self.config.to_string(),
            "containerimage.descriptor": {
                "mediaType": self.manifest.media_type,
                "digest": digest,
                "size": self.manifest.size,
            },
            "containerimage.digest": digest,
            "stagecraft.dev/sizeBytes": self.size_bytes,
        });
        if !self.names.is_empty() {
            metadata["image.name"] = self.names.join(",").into();
        }
        metadata
    }
}

/// A finished image, ready to be written anywhere.
struct Image {
    names: Vec<Reference>,
    layers: Vec<Blob>,
    config: Blob,
    manifest: Blob,
}

impl Image {
    /// Everything that it consists of.
    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config, &self.manifest])
    }
}

/// A blob of the result.
struct Blob {
    descriptor: Descriptor,
    content: BlobContent,
}

enum BlobContent {
    /// In this file.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A layer of an image, fetched only where a destination does not have it.
    Image {
        layer: LayerId,
        /// An image of a registry that has it.
        origin: Option<Reference>,
    },
}

/// What an export works with.
pub struct Exporter {
    /// Where the layers are.
    pub store: Arc<Store>,
    /// Where images are pushed.
    pub registry: Arc<dyn Registry>,
    /// Directory for compressed layers.
    pub scratch: PathBuf,
    /// Where progress goes.
    pub progress: Progress,
}

impl Exporter {
    /// Exports a stage to every destination.
    ///
    /// # Errors
    /// The first that occurs; destinations served before it stay as they are.
    pub async fn export(
        &self,
        stage: &StageResult,
        destinations: &[Destination],
        names: &[String],
    ) -> Result<Exported, ExportError> {
        let names = parse_names(names)?;
        let vertex = self.progress.internal("exporting layers");
        let layers = self.layers(stage).await?;
        vertex.done();
        let config = config::render(stage, &self.store).map_err(ExportError::Layer)?;
        let config = Blob::of_bytes(media_type::OCI_CONFIG, config);
        let manifest = config::manifest(&config.descriptor, layers.iter().map(|l| &l.descriptor));
        let manifest = Blob::of_bytes(media_type::OCI_MANIFEST, manifest);
        let image = Image {
            names,
            layers,
            config,
            manifest,
        };
        for destination in destinations {
            self.write(stage, destination, &image).await?;
        }
        Ok(Exported {
            size_bytes: image.blobs().map(|blob| blob.descriptor.size).sum(),
            manifest: image.manifest.descriptor,
            config: image.config.descriptor.digest,
            names: image.names.iter().map(ToString::to_string).collect(),
        })
    }

    async fn write(
        &self,
        stage: &StageResult,
        destination: &Destination,
        image: &Image,
    ) -> Result<(), ExportError> {
        let path = match destination {
            Destination::Registry => return push::push(self, image).await,
            other => other.path().unwrap_or(Path::new("")),
        };
        let vertex = self
            .progress
            .internal(format!("writing {}", path.display()));
        match destination {
            Destination::Registry => {}
            Destination::OciLayout(path) => layout::write_directory(self, path, image).await?,
            Destination::OciArchive(path) => {
                layout::write_archive(self, path, image, ArchiveForm::Oci).await?;
            }
            Destination::DockerArchive(path) => {
                layout::write_archive(self, path, image, ArchiveForm::Docker).await?;
            }
            Destination::Directory(path) => {
                Files::of(self, stage).await?.write_directory(path).await?;
            }
            Destination::Tar(path) => Files::of(self, stage).await?.write_tar(path).await?,
        }
        vertex.done();
        Ok(())
    }

    /// The target's layers as blobs: images' as they are, ours compressed.
    async fn layers(&self, stage: &StageResult) -> Result<Vec<Blob>, ExportError> {
        let mut layers = Vec::with_capacity(stage.stack.len());
        for &id in &stage.stack {
            let blob = match self.store.origin(id).map_err(ExportError::Layer)? {
                LayerOrigin::Image(layer) => Blob {
                    descriptor: Descriptor {
                        media_type: media_type::oci_layer(&layer.descriptor.media_type).to_owned(),
                        ..Descriptor::new(
                            "",
                            layer.descriptor.digest.clone(),
                            layer.descriptor.size,
                        )
                    },
                    content: BlobContent::Image {
                        layer: id,
                        origin: layer.layout.is_none().then(|| layer.reference.clone()),
                    },
                },
                LayerOrigin::Built(tar) => {
                    let to = self.scratch.join(format!("layer-{}.tar.gz", id.0));
                    let from = tar.path.clone();
                    blocking(move || compress(&from, to)).await?
                }
            };
            layers.push(blob);
        }
        Ok(layers)
    }
}

impl Blob {
    fn of_bytes(media_type: &str, bytes: Vec<u8>) -> Self {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        Self {
            descriptor,
            content: BlobContent::Bytes(bytes),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::Write { path, source }
}

fn parse_names(names: &[String]) -> Result<Vec<Reference>, ExportError> {
    let parse = |name: &String| {
        name.parse::<Reference>()
            .map_err(|source| ExportError::Name {
                name: name.clone(),
                source,
            })
    };
    names.iter().map(parse).collect()
}

fn compress(from: &Path, to: PathBuf) -> Result<Blob, ExportError> {
    let reader = BufReader::with_capacity(128 * 1024, File::open(from).map_err(failed(from))?);
    let mut writer = BufWriter::new(File::create(&to).map_err(failed(&to))?);
    let compressed = stagecraft_layer::compress(reader, &mut writer, crate::limits::threads())
        .map_err(|source| ExportError::Compress {
            path: from.to_owned(),
            source,
        })?;
    writer.flush().map_err(failed(&to))?;
    Ok(Blob {
        descriptor: Descriptor::new(
            media_type::OCI_LAYER_GZIP,
            compressed.digest,
            compressed.size,
        ),
        content: BlobContent::File(to),
    })
}
