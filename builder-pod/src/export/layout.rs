//! Writes a finished image as a directory in the OCI image layout (image-spec, "image-layout").

use std::path::{Path, PathBuf};

use stagecraft_image::Reference;

use super::{Blob, BlobContent, ExportError, Exporter};

/// Writes blobs, `oci-layout` and `index.json`; blobs that are there already stay.
pub(super) async fn write(
    exporter: &Exporter,
    directory: &Path,
    names: &[Reference],
    layers: &[Blob],
    config: &Blob,
    manifest: &Blob,
) -> Result<(), ExportError> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
    for blob in layers.iter().chain([config, manifest]) {
        let path = blobs.join(blob.descriptor.digest.hex());
        match &blob.content {
            BlobContent::Bytes(bytes) => replace(&path, bytes)?,
            BlobContent::File(from) => copy(from, &path)?,
            BlobContent::Image { layer, .. } => {
                let from = exporter
                    .store
                    .blob(*layer)
                    .await
                    .map_err(ExportError::Layer)?;
                copy(&from, &path)?;
            }
        }
    }
    replace(
        &directory.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    replace(&directory.join("index.json"), &index(names, manifest))
}

/// One entry for each name, or one without a name.
fn index(names: &[Reference], manifest: &Blob) -> Vec<u8> {
    let entry = |name: Option<&Reference>| {
        let mut entry = serde_json::json!({
            "mediaType": manifest.descriptor.media_type,
            "digest": manifest.descriptor.digest.to_string(),
            "size": manifest.descriptor.size,
        });
        if let Some(name) = name {
            entry["annotations"] =
                serde_json::json!({ "org.opencontainers.image.ref.name": name.to_string() });
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

fn copy(from: &Path, to: &Path) -> Result<(), ExportError> {
    if to.exists() {
        return Ok(());
    }
    let partial = partial(to);
    std::fs::copy(from, &partial).map_err(failed(from))?;
    std::fs::rename(&partial, to).map_err(failed(to))
}

/// Writes beside and renames, so that a reader never sees half a file.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let partial = partial(path);
    std::fs::write(&partial, bytes).map_err(failed(&partial))?;
    std::fs::rename(&partial, path).map_err(failed(path))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError + use<> {
    let path = path.to_owned();
    move |source| ExportError::Write { path, source }
}
