//! Contexts of a few files that have no times of their own: inline files and ConfigMaps.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use stagecraft_layer::{FsTree, Time};
use stagecraft_protocol::request::InlineFile;

use super::{ContextError, LaidOut};

/// Lays inline files out under `scratch`.
pub(super) fn lay_out(files: &[InlineFile], scratch: &Path) -> Result<LaidOut, ContextError> {
    let directory = scratch.join("context");
    std::fs::create_dir_all(&directory).map_err(ContextError::io("make", &directory))?;
    let mut modes = BTreeMap::new();
    for file in files {
        let relative = Path::new(&file.path);
        let inside = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || file.path.is_empty() {
            return Err(ContextError::Outside(file.path.clone()));
        }
        let path = directory.join(relative);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(ContextError::io("make", parent))?;
        }
        std::fs::write(&path, &file.content).map_err(ContextError::io("write", &path))?;
        if let Some(mode) = file.mode {
            modes.insert(file.path.clone(), mode);
        }
    }
    timeless(LaidOut::directory(&directory)?, &modes)
}

/// A ConfigMap as the kubelet mounts it: `..data` names the directory with its current version.
pub(super) fn config_map(
    path: &Path,
    modes: &BTreeMap<String, u32>,
) -> Result<LaidOut, ContextError> {
    timeless(LaidOut::directory(&path.join("..data"))?, modes)
}

/// Gives every file the time 0 and the mode of the request: what the machine made up must not reach a layer.
pub(super) fn timeless(
    mut source: LaidOut,
    modes: &BTreeMap<String, u32>,
) -> Result<LaidOut, ContextError> {
    let mut tree = FsTree::new();
    for (path, node) in source.tree.iter() {
        let mut node = node.clone();
        node.mtime = Time {
            seconds: 0,
            nanoseconds: 0,
        };
        node.mode = if node.is_directory() {
            0o755
        } else {
            let name = String::from_utf8_lossy(path);
            modes.get(name.as_ref()).copied().unwrap_or(0o644)
        };
        tree.insert(path, node);
    }
    source.tree = tree;
    source.newest = None;
    Ok(source)
}
