//! The layers of a build, on disk: blobs of images as fetched, and every layer's entries as a seekable tar.
//!
//! Invariant: memory holds descriptors and indexes only; contents stay in scratch.
//! Invariant: a blob is fetched once per build, however many stages want it, and only when one does.
//! Invariant: a layer may be read while it is fetched, but not to its end before it is verified.

mod arriving;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stagecraft_image::{Descriptor, Digest, Reference};
use stagecraft_layer::{Decoder, LayerId, TarIndex};
use stagecraft_registry::{OciLayout, Registry, RegistryError, ResolvedImage};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use arriving::{Arriving, Interruption};

use crate::trace;

/// Why a layer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A blob could not be fetched.
    #[error("cannot fetch layer {digest} of {reference}")]
    Fetch {
        /// The blob.
        digest: Digest,
        /// The image it belongs to.
        reference: String,
        /// The cause; several readers of one layer may meet it.
        #[source]
        source: Arc<RegistryError>,
    },
    /// A file in scratch could not be read or written.
    #[error("cannot {action} {path}")]
    Scratch {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A layer of an image is not a layer.
    #[error("layer {digest} of {reference} cannot be read")]
    Malformed {
        /// The blob.
        digest: Digest,
        /// The image it belongs to.
        reference: String,
        /// The cause.
        #[source]
        source: stagecraft_layer::LayerError,
    },
    /// A layer's content is not what the image's configuration says.
    #[error("layer {digest} of {reference} unpacks to {found}, its configuration says {expected}")]
    WrongContent {
        /// The blob.
        digest: Digest,
        /// The image it belongs to.
        reference: String,
        /// Digest of what came out.
        found: Digest,
        /// Digest it should have.
        expected: Digest,
    },
    /// An archive could not be read.
    #[error("cannot read the archive for {path}")]
    Archive {
        /// Where its entries were to go.
        path: PathBuf,
        /// The cause.
        #[source]
        source: stagecraft_layer::LayerError,
    },
    /// No layer has this number.
    #[error("layer {0} is unknown")]
    Unknown(u32),
}

impl StoreError {
    fn scratch(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Scratch {
            action,
            path,
            source,
        }
    }
}

/// A layer of an image in a registry.
#[derive(Debug)]
pub struct ImageLayer {
    /// An image that has it.
    pub reference: Reference,
    /// The layout that has it, where no registry does.
    pub layout: Option<Arc<OciLayout>>,
    /// The blob as the manifest names it.
    pub descriptor: Descriptor,
    /// Digest of its uncompressed tar, from the image's configuration.
    pub diff_id: Digest,
}

/// A layer as an uncompressed tar whose entries can be read one by one.
#[derive(Debug)]
pub struct LayerTar {
    /// The tar.
    pub path: PathBuf,
    /// Digest of the tar.
    pub diff_id: Digest,
    file: File,
    index: TarIndex,
}

enum Slot {
    Image {
        layer: Arc<ImageLayer>,
        blob: Arc<OnceCell<Arc<Arriving>>>,
        tar: Arc<OnceCell<Arc<LayerTar>>>,
    },
    Built(Arc<LayerTar>),
    Open,
}

/// What a layer is.
#[derive(Clone, Debug)]
pub enum LayerOrigin {
    /// It comes with an image.
    Image(Arc<ImageLayer>),
    /// A step made it.
    Built(Arc<LayerTar>),
}

/// All layers of a build.
pub struct Store {
    scratch: PathBuf,
    registry: Arc<dyn Registry>,
    slots: Mutex<Vec<Slot>>,
    by_digest: Mutex<HashMap<Digest, LayerId>>,
}

impl Store {
    /// A store under `scratch` that fetches with `registry`.
    #[must_use]
    pub fn new(scratch: PathBuf, registry: Arc<dyn Registry>) -> Self {
        Self {
            scratch,
            registry,
            slots: Mutex::new(Vec::new()),
            by_digest: Mutex::new(HashMap::new()),
        }
    }

    /// Makes an image's layers known, bottom first; nothing is fetched.
    pub fn add_image(&self, image: &ResolvedImage) -> Vec<LayerId> {
        let pairs = image
            .manifest
            .layers
            .iter()
            .zip(&image.config.rootfs.diff_ids);
        pairs
            .map(|(descriptor, diff_id)| {
                let mut by_digest = self
                    .by_digest
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *by_digest
                    .entry(descriptor.digest.clone())
                    .or_insert_with(|| {
                        self.push(Slot::Image {
                            layer: Arc::new(ImageLayer {
                                reference: image.reference.clone(),
                                layout: image.layout.clone(),
                                descriptor: descriptor.clone(),
                                diff_id: diff_id.clone(),
                            }),
                            blob: Arc::default(),
                            tar: Arc::default(),
                        })
                    })
            })
            .collect()
    }

    /// A number for a layer that a step is about to make, and the file its tar goes to.
    pub fn new_layer(&self) -> (LayerId, PathBuf) {
        let id = self.push(Slot::Open);
        (id, self.scratch.join(format!("layer-{}.tar", id.0)))
    }

    /// A new name for a file in scratch that is no layer.
    pub fn scratch_file(&self, purpose: &str) -> PathBuf {
        let id = self.push(Slot::Open);
        self.scratch.join(format!("{purpose}-{}", id.0))
    }

    /// The layer is written: from now on its contents can be read.
    ///
    /// # Errors
    /// When the tar cannot be opened.
    pub fn finish_layer(
        &self,
        id: LayerId,
        path: PathBuf,
        diff_id: Digest,
        index: TarIndex,
    ) -> Result<(), StoreError> {
        let file = File::open(&path).map_err(StoreError::scratch("open", &path))?;
        let tar = Arc::new(LayerTar {
            path,
            diff_id,
            file,
            index,
        });
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get_mut(id.0 as usize) {
            Some(slot) => *slot = Slot::Built(tar),
            None => return Err(StoreError::Unknown(id.0)),
        }
        Ok(())
    }

    /// What a layer is.
    ///
    /// # Errors
    /// When it is unknown or not finished.
    pub fn origin(&self, id: LayerId) -> Result<LayerOrigin, StoreError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(id.0 as usize) {
            Some(Slot::Image { layer, .. }) => Ok(LayerOrigin::Image(Arc::clone(layer))),
            Some(Slot::Built(tar)) => Ok(LayerOrigin::Built(Arc::clone(tar))),
            _ => Err(StoreError::Unknown(id.0)),
        }
    }

    /// Starts to fetch an image layer's blob, when that is not done yet.
    ///
    /// # Errors
    /// When the registry does not have it.
    pub async fn begin(&self, id: LayerId) -> Result<(), StoreError> {
        self.arriving(id).await.map(drop)
    }

    /// The file with an image layer's blob as the registry has it, fetched when it is not there yet.
    ///
    /// # Errors
    /// When it cannot be fetched or kept.
    pub async fn blob(&self, id: LayerId) -> Result<PathBuf, StoreError> {
        let (layer, arriving) = self.arriving(id).await?;
        let complete = arriving.complete().await.map(Path::to_owned);
        complete.map_err(|interruption| layer.interrupted(interruption, &self.scratch))
    }

    /// A layer as a seekable tar; an image's layer is inflated, while it is fetched, when it is not there yet.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn tar(&self, id: LayerId) -> Result<Arc<LayerTar>, StoreError> {
        if let LayerOrigin::Built(tar) = self.origin(id)? {
            return Ok(tar);
        }
        let (layer, _, tar) = self.image_slot(id)?;
        let inflated = tar
            .get_or_try_init(|| async {
                let reader = self.reader(id).await?;
                let path = self.scratch.join(format!("layer-{}.tar", id.0));
                match blocking(move || inflate(&layer, reader, path)).await {
                    Ok(inflated) => Ok(inflated),
                    Err(error) => Err(self.interruption([id]).await.unwrap_or(error)),
                }
            })
            .await?;
        Ok(Arc::clone(inflated))
    }

    /// A reader of a layer's entries from first to last, for threads that may block. It waits for what is not
    /// there yet, and ends without an error only if the layer was verified.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn reader(&self, id: LayerId) -> Result<Box<dyn Read + Send>, StoreError> {
        if let LayerOrigin::Built(tar) = self.origin(id)? {
            let file = File::open(&tar.path).map_err(StoreError::scratch("open", &tar.path))?;
            return Ok(Box::new(file));
        }
        let (_, arriving) = self.arriving(id).await?;
        let opened = arriving.reader(Handle::current());
        let reader = opened.map_err(StoreError::scratch("open", &self.scratch))?;
        Ok(Box::new(Inflating::Waiting(Some(reader))))
    }

    /// Why one of these layers did not arrive, once it is known of all: a layer that is cut off or has other bytes
    /// looks malformed to whoever reads it, and this is the cause.
    pub async fn interruption(
        &self,
        layers: impl IntoIterator<Item = LayerId>,
    ) -> Option<StoreError> {
        for id in layers {
            let Ok((layer, blob, _)) = self.image_slot(id) else {
                continue;
            };
            let Some(arriving) = blob.get() else { continue };
            if let Err(interruption) = arriving.complete().await {
                return Some(layer.interrupted(interruption, &self.scratch));
            }
        }
        None
    }

    fn push(&self, slot: Slot) -> LayerId {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.push(slot);
        LayerId(u32::try_from(slots.len() - 1).unwrap_or(u32::MAX))
    }

    #[allow(
        clippy::type_complexity,
        reason = "the three parts of one slot, used on the spot"
    )]
    fn image_slot(
        &self,
        id: LayerId,
    ) -> Result<
        (
            Arc<ImageLayer>,
            Arc<OnceCell<Arc<Arriving>>>,
            Arc<OnceCell<Arc<LayerTar>>>,
        ),
        StoreError,
    > {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(id.0 as usize) {
            Some(Slot::Image { layer, blob, tar }) => {
                Ok((Arc::clone(layer), Arc::clone(blob), Arc::clone(tar)))
            }
            _ => Err(StoreError::Unknown(id.0)),
        }
    }

    /// An image layer and its blob, which may still be on its way.
    async fn arriving(&self, id: LayerId) -> Result<(Arc<ImageLayer>, Arc<Arriving>), StoreError> {
        let (layer, blob, _) = self.image_slot(id)?;
        let arriving = blob.get_or_try_init(|| self.fetch(&layer)).await?;
        Ok((layer, Arc::clone(arriving)))
    }

    async fn fetch(&self, layer: &ImageLayer) -> Result<Arc<Arriving>, StoreError> {
        let digest = &layer.descriptor.digest;
        let path = self.scratch.join(format!("blob-{}", digest.hex()));
        let opened = match &layer.layout {
            Some(layout) => Ok(layout.open_blob(&layer.descriptor)),
            None => {
                let descriptor = &layer.descriptor;
                self.registry.open_blob(&layer.reference, descriptor).await
            }
        };
        let blob = opened.map_err(|error| {
            layer.interrupted(Interruption::Registry(Arc::new(error)), &self.scratch)
        })?;
        let lane = format!("layer {}", digest.short());
        let span = trace::work(lane, format!("fetch, {} bytes", layer.descriptor.size));
        let arriving = Arriving::start(blob, path.clone(), span)
            .map_err(StoreError::scratch("make", &path))?;
        Ok(Arc::new(arriving))
    }
}

impl ImageLayer {
    fn interrupted(&self, interruption: Interruption, scratch: &Path) -> StoreError {
        match interruption {
            Interruption::Registry(source) => StoreError::Fetch {
                digest: self.descriptor.digest.clone(),
                reference: self.reference.familiar(),
                source,
            },
            Interruption::Write(source) => {
                // The error is shared; what of it decides anything is the system's number.
                let source = match source.raw_os_error() {
                    Some(code) => std::io::Error::from_raw_os_error(code),
                    None => source.kind().into(),
                };
                StoreError::scratch("write to", scratch)(source)
            }
        }
    }
}

/// An inflated blob whose first bytes decide how it is compressed; they are waited for where it is read.
enum Inflating<R: Read> {
    Waiting(Option<R>),
    Open(Decoder<R>),
}

impl<R: Read> Read for Inflating<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Self::Waiting(reader) = self {
            let reader = reader.take().ok_or(std::io::ErrorKind::UnexpectedEof)?;
            *self = Self::Open(Decoder::new(reader)?);
        }
        match self {
            Self::Open(decoder) => decoder.read(buffer),
            Self::Waiting(_) => Ok(0),
        }
    }
}

impl LayerTar {
    /// Writes an uncompressed archive to `path` and indexes it.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn spool(archive: impl Read, path: PathBuf) -> Result<Arc<Self>, StoreError> {
        let out = File::create(&path).map_err(StoreError::scratch("make", &path))?;
        let mut out = BufWriter::with_capacity(128 * 1024, out);
        let (index, diff_id) =
            TarIndex::copy(archive, &mut out).map_err(|source| StoreError::Archive {
                path: path.clone(),
                source,
            })?;
        out.flush().map_err(StoreError::scratch("write", &path))?;
        let file = File::open(&path).map_err(StoreError::scratch("open", &path))?;
        Ok(Arc::new(Self {
            path,
            diff_id,
            file,
            index,
        }))
    }

    /// A reader of the whole tar.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(StoreError::scratch("open", &self.path))
    }

    /// A reader of one file's content; readers of one layer do not disturb each other.
    ///
    /// # Errors
    /// `NotFound` when the layer has no file of that path.
    pub fn open(self: &Arc<Self>, path: &[u8]) -> std::io::Result<impl Read + use<>> {
        let tar = Arc::clone(self);
        let read_at = move |offset: u64, buffer: &mut [u8]| tar.file.read_at(buffer, offset);
        self.index
            .open(path, read_at)
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

/// Runs blocking work on a thread of its own kind; a panic in it goes on here.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: whoever awaits this is dropped too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Writes a layer's uncompressed tar to `path`, with an index of its entries and its digest checked.
fn inflate(
    layer: &ImageLayer,
    archive: impl Read,
    path: PathBuf,
) -> Result<Arc<LayerTar>, StoreError> {
    let reference = || layer.reference.familiar();
    let digest = &layer.descriptor.digest;
    let tar = LayerTar::spool(archive, path).map_err(|error| match error {
        StoreError::Archive { source, .. } => StoreError::Malformed {
            digest: digest.clone(),
            reference: reference(),
            source,
        },
        other => other,
    })?;
    let found = tar.diff_id.clone();
    if found != layer.diff_id {
        return Err(StoreError::WrongContent {
            digest: digest.clone(),
            reference: reference(),
            found,
            expected: layer.diff_id.clone(),
        });
    }
    Ok(tar)
}
