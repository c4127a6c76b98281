//! Pushes a finished image to the registries of its names.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use stagecraft_image::{Descriptor, Reference};
use stagecraft_registry::{BlobSource, Pushed};
use tracing::Instrument;

use super::{Blob, BlobContent, ExportError, Exporter, Image, Product};
use crate::trace;

/// Blobs that travel at a time; the registry client limits its requests besides.
const AT_A_TIME: usize = 4;

/// Pushes every blob once per repository, then the manifest under each name.
pub(super) async fn push(exporter: &Exporter, product: &Product) -> Result<(), ExportError> {
    let by_repository = by_repository(product.names.iter().cloned());
    // A second repository of the same registry takes the blobs over from the first.
    let mut done: Vec<Reference> = Vec::new();
    for names in by_repository.values() {
        let Some(first) = names.first() else { continue };
        let vertex = exporter
            .progress
            .internal(format!("pushing layers to {first}"));
        let blobs = product
            .images()
            .flat_map(|image| image.layers.iter().chain([&image.config]));
        let pushes = blobs.map(|blob| push_blob(exporter, first, blob, &done));
        futures::stream::iter(pushes)
            .buffer_unordered(AT_A_TIME)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        vertex.done();
        if product.index.is_some() {
            for image in product.images() {
                push_manifest(exporter, &by_digest(first, image), &image.manifest).await?;
            }
        }
        for name in names {
            let vertex = exporter
                .progress
                .internal(format!("pushing manifest for {name}"));
            let span = trace::work("export", format!("push the manifest to {name}"));
            push_manifest(exporter, name, product.top())
                .instrument(span)
                .await?;
            vertex.done();
        }
        done.push(first.clone());
    }
    Ok(())
}

/// Names by the repository that they are in, in their order.
pub(super) fn by_repository(
    names: impl Iterator<Item = Reference>,
) -> BTreeMap<String, Vec<Reference>> {
    let mut by_repository: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for name in names {
        by_repository.entry(name.name()).or_default().push(name);
    }
    by_repository
}

/// The name of an image in a repository that only an index names.
fn by_digest(repository: &Reference, image: &Image) -> Reference {
    let digest = image.manifest.descriptor.digest.clone();
    repository.without_tag().with_digest(digest)
}

async fn push_manifest(
    exporter: &Exporter,
    name: &Reference,
    manifest: &Blob,
) -> Result<(), ExportError> {
    let BlobContent::Bytes(bytes) = &manifest.content else {
        return Ok(());
    };
    let media_type = &manifest.descriptor.media_type;
    let pushed = exporter
        .registry
        .push_manifest(name, media_type, bytes.clone())
        .await;
    pushed.map(drop).map_err(|source| ExportError::Push {
        destination: name.to_string(),
        source,
    })
}

/// Sees to it that a repository has a blob; others that have it may hand it over.
pub(super) async fn push_blob(
    exporter: &Exporter,
    destination: &Reference,
    blob: &Blob,
    done: &[Reference],
) -> Result<(), ExportError> {
    let Descriptor { digest, size, .. } = &blob.descriptor;
    let send = || {
        let lane = format!("push {}", digest.short());
        let span = trace::work(lane, format!("{size} bytes to {destination}"));
        send_blob(exporter, destination, blob, done).instrument(span)
    };
    let sent = exporter.sent(destination, digest);
    sent.get_or_try_init(send).await?;
    Ok(())
}

async fn send_blob(
    exporter: &Exporter,
    destination: &Reference,
    blob: &Blob,
    done: &[Reference],
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Push {
        destination: destination.to_string(),
        source,
    };
    let mut candidates: Vec<Reference> = done
        .iter()
        .filter(|other| other.host() == destination.host())
        .cloned()
        .collect();
    let source = match &blob.content {
        BlobContent::File(path) => BlobSource::File(path.clone()),
        BlobContent::Bytes(bytes) => BlobSource::Bytes(bytes.clone().into()),
        BlobContent::Image { layer, origin } => {
            let same_host = origin.iter().filter(|one| one.host() == destination.host());
            candidates.extend(same_host.cloned());
            let there = exporter
                .registry
                .ensure_blob(destination, &blob.descriptor, &candidates)
                .await
                .map_err(failed)?;
            if matches!(there, Some(Pushed::Existed | Pushed::Mounted)) {
                return Ok(());
            }
            // They were just asked in vain.
            candidates.clear();
            let path = exporter
                .store
                .blob(*layer)
                .await
                .map_err(ExportError::Layer)?;
            BlobSource::File(path)
        }
    };
    exporter
        .registry
        .push_blob(destination, &blob.descriptor, source, &candidates)
        .await
        .map_err(failed)?;
    Ok(())
}
