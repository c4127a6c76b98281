//! A context that is an archive: fetched over HTTP, or a file at hand. A file that is no archive is a Dockerfile with
//! nothing beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use stagecraft_image::Digest;
use stagecraft_layer::{Decoder, FsTree, LayerId, LayerReader};
use stagecraft_registry::{DownloadSettings, HttpSettings, download, without_credentials};

use super::files::timeless;
use super::{ContextError, LaidOut, TEXT_LIMIT, open_directory};
use crate::rootfs::Rootfs;
use crate::store::blocking;

/// Fetches, verifies and unpacks the file behind `url` under `scratch`.
pub(super) async fn fetch(
    url: &str,
    sha256: Option<&str>,
    http: &HttpSettings,
    scratch: &Path,
) -> Result<LaidOut, ContextError> {
    let file = scratch.join("source-archive");
    let shown = without_credentials(url);
    let digits = sha256.map(|text| text.strip_prefix("sha256:").unwrap_or(text));
    let expected = digits
        .map(Digest::from_hex)
        .transpose()
        .map_err(ContextError::Checksum)?;
    let settings = DownloadSettings {
        http: http.clone(),
        ..DownloadSettings::default()
    };
    let downloaded = download(&settings, url, expected.as_ref(), &file)
        .await
        .map_err(|source| ContextError::Fetch {
            url: shown.clone(),
            source,
        })?;
    let mut source = lay_out(&file, shown, scratch).await?;
    source.revision = Some(downloaded.digest.to_string());
    let _ = std::fs::remove_file(file);
    Ok(source)
}

/// Lays a file out under `scratch`: an archive's entries, or the file alone.
pub(super) async fn lay_out(
    file: &Path,
    shown: String,
    scratch: &Path,
) -> Result<LaidOut, ContextError> {
    let directory = scratch.join("context");
    std::fs::create_dir_all(&directory).map_err(ContextError::io("make", &directory))?;
    let file = file.to_owned();
    blocking(move || {
        let url = shown.clone();
        let form = |source| ContextError::Form { url, source };
        if is_archive(&file).map_err(form)? {
            return unpack(&file, &directory, shown);
        }
        let text = read_text(&file).map_err(ContextError::io("read", &file))?;
        let text = text.ok_or(ContextError::NoContext(shown))?;
        let dockerfile = directory.join("Dockerfile");
        std::fs::write(&dockerfile, text).map_err(ContextError::io("write", &dockerfile))?;
        let modes = BTreeMap::from([("Dockerfile".to_owned(), 0o600)]);
        timeless(LaidOut::remote(&directory)?, &modes)
    })
    .await
}

/// Whether a file is an archive, by its content: one entry of it can be read.
///
/// # Errors
/// When it cannot be opened, or is compressed in a way that cannot be inflated.
pub(crate) fn is_archive(file: &Path) -> std::io::Result<bool> {
    let decoder = Decoder::new(File::open(file)?)?;
    Ok(matches!(
        LayerReader::new(decoder).next_entry(),
        Ok(Some(_))
    ))
}

/// The file as text; `None` where it is something else, or too large for a Dockerfile.
fn read_text(file: &Path) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut limited = File::open(file)?.take(TEXT_LIMIT + 1);
    limited.read_to_end(&mut bytes)?;
    let is_small = bytes.len() as u64 <= TEXT_LIMIT;
    let text = String::from_utf8(bytes).ok();
    Ok(text.filter(|text| is_small && !text.contains('\0')))
}

fn unpack(file: &Path, directory: &Path, url: String) -> Result<LaidOut, ContextError> {
    let opened = File::open(file).map_err(ContextError::io("open", file))?;
    let decoder = Decoder::new(opened).map_err(ContextError::io("read", file))?;
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
    Ok(LaidOut {
        tree: owned_by_root,
        root,
        newest,
        revision: None,
        has_ignore_file: false,
    })
}
