//! Exports the target stage: layers are compressed, config and manifest written, all destinations served.
//!
//! Invariant: the digest depends on the stage alone, not on the destinations.

mod config;
mod layout;
mod push;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagecraft_image::{Descriptor, Digest, Reference, media_type};
use stagecraft_layer::LayerId;
use stagecraft_registry::{Registry, RegistryError};

use crate::execute::StageResult;
use crate::progress::Progress;
use crate::store::{LayerOrigin, Store, StoreError, blocking};

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the registries of the image's names.
    Registry,
    /// To a directory in the OCI image layout.
    OciLayout(PathBuf),
}

impl Destination {
    /// Reads `--output`: comma-separated `key=value`.
    ///
    /// # Errors
    /// In words, when a key or type is unknown or one is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut kind, mut dest) = (None, None);
        for member in text.split(',') {
            match member.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", value)) => dest = Some(PathBuf::from(value)),
                _ => return Err(format!("--output {text}: unknown member {member:?}")),
            }
        }
        match (kind, dest) {
            (Some("registry"), None) => Ok(Self::Registry),
            (Some("registry"), Some(_)) => {
                Err(format!("--output {text}: type=registry takes no dest"))
            }
            (Some("oci"), Some(dest)) => Ok(Self::OciLayout(dest)),
            (Some("oci"), None) => Err(format!("--output {text}: type=oci needs dest=DIRECTORY")),
            (Some(other), _) => Err(format!(
                "--output {text}: type {other} is not supported yet; there are registry and oci"
            )),
            (None, _) => Err(format!("--output {text}: expected type=TYPE[,dest=PATH]")),
        }
    }
}

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
    /// The layout could not be written.
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
    /// Digest of its manifest.
    pub digest: Digest,
    /// Bytes of its blobs, manifest included.
    pub size_bytes: u64,
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
    Image { layer: LayerId, origin: Reference },
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
        let exported = Exported {
            digest: manifest.descriptor.digest.clone(),
            size_bytes: layers
                .iter()
                .map(|layer| layer.descriptor.size)
                .sum::<u64>()
                + config.descriptor.size
                + manifest.descriptor.size,
        };
        for destination in destinations {
            match destination {
                Destination::Registry => {
                    push::push(self, &names, &layers, &config, &manifest).await?;
                }
                Destination::OciLayout(directory) => {
                    let vertex = self
                        .progress
                        .internal(format!("writing {}", directory.display()));
                    layout::write(self, directory, &names, &layers, &config, &manifest).await?;
                    vertex.done();
                }
            }
        }
        Ok(exported)
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
                        origin: layer.reference.clone(),
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
    let failed = |source| ExportError::Write {
        path: from.to_owned(),
        source,
    };
    let reader = BufReader::with_capacity(128 * 1024, File::open(from).map_err(failed)?);
    let mut writer = BufWriter::new(File::create(&to).map_err(failed)?);
    let compressed = stagecraft_layer::compress(reader, &mut writer, crate::limits::threads())
        .map_err(|source| {
            ExportError::Compress {
                path: from.to_owned(),
                source,
            }
        })?;
    writer.flush().map_err(failed)?;
    Ok(Blob {
        descriptor: Descriptor::new(
            media_type::OCI_LAYER_GZIP,
            compressed.digest,
            compressed.size,
        ),
        content: BlobContent::File(to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_or_refused_in_words() {
        assert_eq!(
            Destination::parse("type=registry"),
            Ok(Destination::Registry)
        );
        assert_eq!(
            Destination::parse("type=oci,dest=out"),
            Ok(Destination::OciLayout(PathBuf::from("out")))
        );
        for wrong in [
            "type=oci",
            "type=tar,dest=x",
            "dest=x",
            "type=registry,push=true",
            "",
        ] {
            assert!(Destination::parse(wrong).is_err(), "{wrong}");
        }
    }
}
