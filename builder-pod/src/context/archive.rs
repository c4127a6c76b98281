//! A context that is an archive fetched over HTTP.

use std::fs::File;
use std::path::Path;

use stagecraft_layer::{Decoder, FsTree, LayerId};

use super::{ContextError, LaidOut, open_directory};
use crate::rootfs::Rootfs;

/// Fetches, verifies and unpacks the archive under `scratch`.
pub(super) async fn fetch(
    url: &str,
    sha256: &str,
    scratch: &Path,
) -> Result<LaidOut, ContextError> {
    let file = scratch.join("source-archive");
    let shown = without_credentials(url);
    stagecraft_registry::fetch_archive(url, sha256, &file)
        .await
        .map_err(|source| ContextError::Fetch {
            url: shown.clone(),
            source,
        })?;
    let directory = scratch.join("context");
    std::fs::create_dir_all(&directory).map_err(ContextError::io("make", &directory))?;
    let revision = Some(format!("sha256:{}", sha256.to_ascii_lowercase()));
    let unpacked = tokio::task::spawn_blocking(move || unpack(&file, &directory, shown)).await;
    let mut source = match unpacked {
        Ok(source) => source?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    source.revision = revision;
    Ok(source)
}

fn unpack(file: &Path, directory: &Path, url: String) -> Result<LaidOut, ContextError> {
    let opened = File::open(file).map_err(ContextError::io("open", file))?;
    let decoder = Decoder::new(opened).map_err(|source| ContextError::Form {
        url: url.clone(),
        source,
    })?;
    let mut rootfs = Rootfs::new(open_directory(directory)?);
    let mut tree = FsTree::new();
    rootfs
        .unpack(&mut tree, LayerId::NONE, decoder)
        .map_err(|source| ContextError::Unpack { url, source })?;
    let mut newest = None;
    let mut owned_by_root = FsTree::new();
    for (path, node) in tree.iter() {
        let mut node = node.clone();
        (node.uid, node.gid) = (0, 0);
        newest = newest.max(Some(node.mtime.seconds));
        owned_by_root.insert(path, node);
    }
    let root = open_directory(directory)?;
    let _ = std::fs::remove_file(file);
    Ok(LaidOut {
        tree: owned_by_root,
        root,
        newest,
        revision: None,
    })
}

/// The address without what may stand before an `@`: it goes into messages.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}
