//! Writes an image's files: as one tar archive, or into a directory.
//!
//! An archive has everything: owners, devices, capabilities. A directory is written as whoever runs the builder:
//! files belong to that user, capabilities are left out, and devices, which only root could make, are refused.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use stagecraft_layer::{Changes, FsTree, LayerId, LayerReader, Node};

use super::layout::write_whole;
use super::tree::TreeWriter;
use super::{ExportError, Exporter, failed};
use crate::execute::StageResult;
use crate::store::{LayerTar, blocking};

/// An image's files: what they are, and who has their contents.
pub(super) struct Files {
    tree: FsTree,
    tars: HashMap<LayerId, Arc<LayerTar>>,
}

impl Files {
    /// The files of a stage; its layers are read where that was not done before.
    pub(super) async fn of(exporter: &Exporter, stage: &StageResult) -> Result<Self, ExportError> {
        let mut tree = FsTree::new();
        let mut tars = HashMap::new();
        for &id in &stage.stack {
            let tar = exporter.store.tar(id).await.map_err(ExportError::Layer)?;
            let archive = tar.reader().map_err(ExportError::Layer)?;
            let applied = blocking(move || {
                let mut reader = LayerReader::new(archive);
                stagecraft_layer::apply_layer(&mut tree, id, &mut reader).map(|()| tree)
            });
            tree = applied.await.map_err(ExportError::Files)?;
            tars.insert(id, tar);
        }
        Ok(Self { tree, tars })
    }

    /// Writes a tar archive of all files.
    pub(super) async fn write_tar(self, to: &Path) -> Result<(), ExportError> {
        let to = to.to_owned();
        blocking(move || {
            let mut failure = None;
            let written = write_whole(&to, |file| {
                let mut out = BufWriter::with_capacity(128 * 1024, file);
                match self.append_all(&mut out) {
                    Ok(()) => out.flush(),
                    Err(error) => {
                        failure = Some(error);
                        Err(std::io::ErrorKind::Other.into())
                    }
                }
            });
            failure.map_or(written, |error| Err(ExportError::Files(error)))
        })
        .await
    }

    fn append_all(&self, out: &mut impl Write) -> Result<(), stagecraft_layer::LayerError> {
        let mut changes = Changes::new();
        for (path, _) in self.tree.iter() {
            changes.upsert(path);
        }
        let open = |path: &[u8], node: &Node| self.open(path, node);
        stagecraft_layer::write_layer(&self.tree, &changes, out, None, open).map(drop)
    }

    /// Writes all files into a directory, which may exist; what is in it and not in the image stays.
    pub(super) async fn write_directory(self, to: &Path) -> Result<(), ExportError> {
        let to = to.to_owned();
        blocking(move || {
            std::fs::create_dir_all(&to).map_err(failed(&to))?;
            let mut writer = TreeWriter::open(&to).map_err(failed(&to))?;
            writer
                .write(&self.tree, |path, node| self.open(path, node))
                .map_err(ExportError::Directory)
        })
        .await
    }

    fn open(&self, path: &[u8], node: &Node) -> std::io::Result<Box<dyn Read>> {
        if node.size() == 0 {
            return Ok(Box::new(std::io::empty()));
        }
        let tar = self.tars.get(&node.layer);
        let tar = tar.ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(tar.open(node.content_path(path))?))
    }
}
