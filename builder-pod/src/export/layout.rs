//! Writes a finished image in the OCI image layout (image-spec, "image-layout"): as a directory, or as an archive
//! that `docker load` reads too.
//!
//! Invariant: what stands at a destination is whole: files are written beside it and renamed.
//! Invariant: an archive's bytes depend on the image and its names alone.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use stagecraft_image::Reference;

use super::{Blob, BlobContent, ExportError, Exporter, Product, failed};
use crate::store::blocking;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where a blob's bytes are.
#[derive(Clone)]
enum Bytes {
    File(PathBuf),
    Memory(Vec<u8>),
}

/// Which readers an archive is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchiveForm {
    /// Those of the OCI image layout.
    Oci,
    /// `docker load` besides.
    Docker,
}

/// Writes blobs, `oci-layout` and `index.json`; blobs that are there already stay.
pub(super) async fn write_directory(
    exporter: &Exporter,
    directory: &Path,
    product: &Product,
) -> Result<(), ExportError> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
    for blob in product.blobs() {
        let path = blobs.join(blob.descriptor.digest.hex());
        match bytes_of(exporter, blob).await? {
            Bytes::Memory(bytes) => replace(&path, &bytes)?,
            Bytes::File(from) => blocking(move || copy(&from, &path)).await?,
        }
    }
    replace(&directory.join("oci-layout"), LAYOUT.as_bytes())?;
    let index = index(&product.names, product.top());
    replace(&directory.join("index.json"), &index)
}

/// Writes a tar archive of the layout.
pub(super) async fn write_archive(
    exporter: &Exporter,
    to: &Path,
    product: &Product,
    form: ArchiveForm,
) -> Result<(), ExportError> {
    let mut entries = vec![
        (
            "oci-layout".to_owned(),
            Bytes::Memory(LAYOUT.as_bytes().to_vec()),
        ),
        (
            "index.json".to_owned(),
            Bytes::Memory(index(&product.names, product.top())),
        ),
    ];
    if form == ArchiveForm::Docker {
        let list = Bytes::Memory(docker_list(product));
        entries.push(("manifest.json".to_owned(), list));
    }
    let mut blobs: Vec<&Blob> = product.blobs().collect();
    blobs.sort_by_key(|blob| blob.descriptor.digest.hex());
    blobs.dedup_by_key(|blob| blob.descriptor.digest.hex());
    for blob in blobs {
        entries.push((blob_name(blob), bytes_of(exporter, blob).await?));
    }
    let to = to.to_owned();
    blocking(move || {
        write_whole(&to, |file| {
            let mut archive = tar::Builder::new(BufWriter::with_capacity(128 * 1024, file));
            for (name, bytes) in &entries {
                append(&mut archive, name, bytes)?;
            }
            archive.into_inner()?.flush()
        })
    })
    .await
}

/// Writes a file beside its place and renames it, so that nobody sees half of it.
pub(super) fn write_whole(
    to: &Path,
    write: impl FnOnce(File) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    let partial = partial(to);
    let written = File::create(&partial).and_then(write);
    let renamed = written.and_then(|()| std::fs::rename(&partial, to));
    renamed.map_err(|error| {
        // What is left of a failed write is of no use; the failure to remove it says nothing new.
        let _ = std::fs::remove_file(&partial);
        failed(to)(error)
    })
}

async fn bytes_of(exporter: &Exporter, blob: &Blob) -> Result<Bytes, ExportError> {
    Ok(match &blob.content {
        BlobContent::Bytes(bytes) => Bytes::Memory(bytes.clone()),
        BlobContent::File(from) => Bytes::File(from.clone()),
        BlobContent::Image { layer, .. } => {
            let fetched = exporter.store.blob(*layer).await;
            Bytes::File(fetched.map_err(ExportError::Layer)?)
        }
    })
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    bytes: &Bytes,
) -> std::io::Result<()> {
    let (length, mut content): (u64, Box<dyn Read + '_>) = match bytes {
        Bytes::Memory(bytes) => (bytes.len() as u64, Box::new(bytes.as_slice())),
        Bytes::File(path) => {
            let file = File::open(path)?;
            (file.metadata()?.len(), Box::new(file))
        }
    };
    let mut header = tar::Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, name, &mut content)
}

fn blob_name(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.descriptor.digest.hex())
}

/// One entry for each name, or one without a name. The annotations are those that containerd reads.
fn index(names: &[Reference], manifest: &Blob) -> Vec<u8> {
    let entry = |name: Option<&Reference>| {
        let mut entry = serde_json::json!({
            "mediaType": manifest.descriptor.media_type,
            "digest": manifest.descriptor.digest.to_string(),
            "size": manifest.descriptor.size,
        });
        if let Some(name) = name {
            entry["annotations"] =
                serde_json::json!({ "io.containerd.image.name": name.to_string() });
            if let Some(tag) = name.tag() {
                entry["annotations"]["org.opencontainers.image.ref.name"] = tag.into();
            }
        }
        entry
    };
    let mut manifests: Vec<_> = names.iter().map(|name| entry(Some(name))).collect();
    if manifests.is_empty() {
        manifests.push(entry(None));
    }
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
    .into_bytes()
}

/// `manifest.json` as `docker save` writes it: where configuration and layers are, and the image's names.
fn docker_list(product: &Product) -> Vec<u8> {
    let image = &product.first;
    let tagged = product.names.iter().filter(|name| name.tag().is_some());
    let image = serde_json::json!([{
        "Config": blob_name(&image.config),
        "RepoTags": tagged.map(Reference::familiar).collect::<Vec<_>>(),
        "Layers": image.layers.iter().map(blob_name).collect::<Vec<_>>(),
    }]);
    image.to_string().into_bytes()
}

fn copy(from: &Path, to: &Path) -> Result<(), ExportError> {
    if to.exists() {
        return Ok(());
    }
    let partial = partial(to);
    std::fs::copy(from, &partial).map_err(failed(from))?;
    std::fs::rename(&partial, to).map_err(failed(to))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    write_whole(path, |mut file| file.write_all(bytes))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}
