//! Exports the target stage: layers are compressed, config and manifest written, all destinations served.
//!
//! Invariant: the digest depends on the stage alone, not on the destinations.

mod config;
mod destination;
mod early;
mod files;
mod layout;
mod push;
mod tree;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stagecraft_image::{Descriptor, Digest, Platform, Reference, media_type};
use stagecraft_layer::LayerId;
use stagecraft_registry::{Registry, RegistryError};
use tokio::sync::OnceCell;
use tracing::Instrument;

use files::Files;
use layout::ArchiveForm;

use crate::execute::StageResult;
use crate::progress::Progress;
use crate::store::{LayerOrigin, Store, StoreError, blocking};
use crate::trace;

pub use destination::Destination;
pub use early::EarlyExport;
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
    /// There is no stage to export.
    #[error("internal error: there is nothing to export")]
    Nothing,
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
    /// Its manifest, or its index.
    pub manifest: Descriptor,
    /// Digest of its configuration; nothing where it is for several platforms.
    pub config: Option<Digest>,
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
            "containerimage.descriptor": {
                "mediaType": self.manifest.media_type,
                "digest": digest,
                "size": self.manifest.size,
            },
            "containerimage.digest": digest,
            "stagecraft.dev/sizeBytes": self.size_bytes,
        });
        if let Some(config) = &self.config {
            metadata["containerimage.config.digest"] = config.to_string().into();
        }
        if !self.names.is_empty() {
            metadata["image.name"] = self.names.join(",").into();
        }
        metadata
    }
}

/// A finished image, or one for several platforms, ready to be written anywhere.
struct Product {
    names: Vec<Reference>,
    /// The image for the first platform.
    first: Image,
    /// Those for further platforms.
    others: Vec<Image>,
    /// What names them all, where there are several.
    index: Option<Blob>,
}

/// A finished image for one platform.
struct Image {
    layers: Vec<Blob>,
    config: Blob,
    manifest: Blob,
    platform: Platform,
}

impl Product {
    fn images(&self) -> impl Iterator<Item = &Image> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// What a name of it means: the index, or the only manifest.
    fn top(&self) -> &Blob {
        self.index.as_ref().unwrap_or(&self.first.manifest)
    }

    /// Everything that it consists of, what names something behind it.
    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.images().flat_map(Image::blobs).chain(&self.index)
    }
}

impl Image {
    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config, &self.manifest])
    }
}

/// A blob of the result.
#[derive(Clone)]
struct Blob {
    descriptor: Descriptor,
    content: BlobContent,
}

#[derive(Clone)]
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

/// Something that is done once, however many want it.
type Once<T> = Arc<OnceCell<T>>;

/// What an export works with, and what it has done already.
pub struct Exporter {
    store: Arc<Store>,
    registry: Arc<dyn Registry>,
    scratch: PathBuf,
    progress: Progress,
    compressed: Mutex<HashMap<LayerId, Once<Blob>>>,
    /// Layers are compressed one at a time: each on all processors.
    turn: tokio::sync::Mutex<()>,
    /// The blobs that repositories have, by `host/repository` and digest.
    sent: Mutex<HashMap<(String, Digest), Once<()>>>,
}

impl Exporter {
    /// An exporter of layers of `store` to `registry`, with `scratch` for compressed ones.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        registry: Arc<dyn Registry>,
        scratch: PathBuf,
        progress: Progress,
    ) -> Self {
        Self {
            store,
            registry,
            scratch,
            progress,
            compressed: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// Exports a stage, built for one platform or several, to every destination.
    ///
    /// # Errors
    /// The first that occurs; destinations served before it stay as they are.
    pub async fn export(
        &self,
        stages: &[Arc<StageResult>],
        destinations: &[Destination],
        names: &[String],
    ) -> Result<Exported, ExportError> {
        let names = parse_names(names)?;
        let vertex = self.progress.internal("exporting layers");
        let mut others = Vec::with_capacity(stages.len());
        for stage in stages {
            others.push(self.image(stage).await?);
        }
        vertex.done();
        if others.is_empty() {
            return Err(ExportError::Nothing);
        }
        let first = others.remove(0);
        let index = (!others.is_empty()).then(|| {
            let images = std::iter::once(&first).chain(&others);
            let entries = images.map(|image| (&image.manifest.descriptor, &image.platform));
            Blob::of_bytes(media_type::OCI_INDEX, config::index(entries))
        });
        let product = Product {
            names,
            first,
            others,
            index,
        };
        for destination in destinations {
            self.write(stages, destination, &product).await?;
        }
        let config = product.first.config.descriptor.digest.clone();
        Ok(Exported {
            size_bytes: product.blobs().map(|blob| blob.descriptor.size).sum(),
            manifest: product.top().descriptor.clone(),
            config: product.index.is_none().then_some(config),
            names: product.names.iter().map(ToString::to_string).collect(),
        })
    }

    /// The image that a stage is for its platform.
    async fn image(&self, stage: &StageResult) -> Result<Image, ExportError> {
        let layers = self.layers(stage).await?;
        let config = config::render(stage, &self.store).map_err(ExportError::Layer)?;
        let config = Blob::of_bytes(media_type::OCI_CONFIG, config);
        let manifest = config::manifest(&config.descriptor, layers.iter().map(|l| &l.descriptor));
        Ok(Image {
            layers,
            config,
            manifest: Blob::of_bytes(media_type::OCI_MANIFEST, manifest),
            platform: stage.config.platform().normalised(),
        })
    }

    async fn write(
        &self,
        stages: &[Arc<StageResult>],
        destination: &Destination,
        product: &Product,
    ) -> Result<(), ExportError> {
        let path = match destination {
            Destination::Registry => return push::push(self, product).await,
            other => other.path().unwrap_or(Path::new("")),
        };
        let vertex = self
            .progress
            .internal(format!("writing {}", path.display()));
        match destination {
            Destination::Registry => {}
            Destination::OciLayout(path) => layout::write_directory(self, path, product).await?,
            Destination::OciArchive(path) => {
                layout::write_archive(self, path, product, ArchiveForm::Oci).await?;
            }
            Destination::DockerArchive(path) => {
                layout::write_archive(self, path, product, ArchiveForm::Docker).await?;
            }
            Destination::Directory(path) => {
                for (stage, image) in stages.iter().zip(product.images()) {
                    // Of several platforms each has a directory of its own, called as by BuildKit.
                    let path = match &product.index {
                        None => path.clone(),
                        Some(_) => path.join(image.platform.to_string().replace('/', "_")),
                    };
                    Files::of(self, stage).await?.write_directory(&path).await?;
                }
            }
            Destination::Tar(path) => {
                for stage in stages.iter().take(1) {
                    Files::of(self, stage).await?.write_tar(path).await?;
                }
            }
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
                LayerOrigin::Built(_) => self.compressed(id).await?,
            };
            layers.push(blob);
        }
        Ok(layers)
    }

    /// A layer that a step made as a blob, compressed once.
    async fn compressed(&self, id: LayerId) -> Result<Blob, ExportError> {
        let origin = self.store.origin(id).map_err(ExportError::Layer)?;
        let LayerOrigin::Built(tar) = origin else {
            return Err(ExportError::Nothing);
        };
        let slot = {
            let mut slots = self
                .compressed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(id).or_default())
        };
        let compress = || async {
            let _turn = self.turn.lock().await;
            let to = self.scratch.join(format!("layer-{}.tar.gz", id.0));
            let from = tar.path.clone();
            let span = trace::work("export", format!("compress layer {}", id.0));
            blocking(move || compress(&from, to)).instrument(span).await
        };
        slot.get_or_try_init(compress).await.cloned()
    }

    /// Whether a repository has a blob; it is sent once.
    fn sent(&self, repository: &Reference, digest: &Digest) -> Once<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sent.entry((repository.name(), digest.clone())).or_default())
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
