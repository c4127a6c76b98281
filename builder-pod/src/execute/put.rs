//! What a step puts into its stage: entries with their contents, into the tree, a layer and the root.
//!
//! Invariant: of what is put twice at one path, the later one counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use stagecraft_image::Digest;
use stagecraft_layer::{Changes, FsTree, LayerId, Node, TarIndex, compare_paths};

use super::{StageResult, StepError};
use crate::context::Context;
use crate::copy::CopyEntry;
use crate::remote::Fetched;
use crate::runners::Lease;
use crate::store::{LayerTar, Store};

/// A layer's tar that was just written.
pub(super) struct LayerFile {
    pub(super) path: PathBuf,
    pub(super) diff_id: Digest,
    pub(super) index: TarIndex,
}

/// Where the contents of copied files are.
pub(super) enum Contents {
    Context(Arc<Context>),
    Archive(Arc<LayerTar>),
    Document(Arc<[u8]>),
    /// A file, or a commit of a git repository.
    Fetched(Arc<Fetched>),
    Layers(HashMap<LayerId, Arc<LayerTar>>),
}

/// Something to put into a stage. There is one of these for every path, so it holds no more than it must.
pub(super) struct Put {
    pub(super) entry: CopyEntry,
    /// What `entry.source` is a path of.
    source: Option<Arc<Source>>,
}

/// What is copied from: metadata and contents.
pub(super) struct Source {
    pub(super) tree: SourceTree,
    pub(super) contents: Contents,
}

/// Metadata of the files that may be copied.
#[derive(Clone)]
pub(super) enum SourceTree {
    Context(Arc<Context>),
    Stage(Arc<StageResult>),
    Layers(Arc<FsTree>),
}

impl Put {
    /// An entry of a source.
    pub(super) fn new(entry: CopyEntry, source: &Arc<Source>) -> Self {
        let source = entry.source.is_some().then(|| Arc::clone(source));
        Self { entry, source }
    }

    /// An entry without a source: a directory that nobody described.
    pub(super) fn made(entry: CopyEntry) -> Self {
        let source = None;
        Self { entry, source }
    }

    /// Whether it was copied from somewhere.
    pub(super) fn is_copied(&self) -> bool {
        self.source.is_some()
    }

    /// The content of a file; an error names it.
    pub(super) fn open_shown(&self) -> Result<Box<dyn Read>, StepError> {
        let shown = self.entry.source.as_deref().unwrap_or(&self.entry.path);
        self.open().map_err(|error| read_error(shown, error))
    }

    /// The content of a file.
    fn open(&self) -> std::io::Result<Box<dyn Read>> {
        match (&self.source, &self.entry.source) {
            (Some(source), Some(path)) => source.open(path),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

impl Source {
    /// A document that stands in the Dockerfile.
    pub(super) fn document(content: Arc<[u8]>) -> Self {
        Self {
            tree: SourceTree::Layers(Arc::default()),
            contents: Contents::Document(content),
        }
    }

    /// Something that was fetched.
    pub(super) fn fetched(fetched: Arc<Fetched>) -> Self {
        let tree = match &*fetched {
            Fetched::File(_) => Arc::default(),
            Fetched::Files(checkout) => Arc::clone(&checkout.tree),
        };
        Self {
            tree: SourceTree::Layers(tree),
            contents: Contents::Fetched(fetched),
        }
    }

    /// Opens a file by its path in the source.
    fn open(&self, path: &[u8]) -> std::io::Result<Box<dyn Read>> {
        match &self.contents {
            Contents::Document(content) => {
                return Ok(Box::new(std::io::Cursor::new(Arc::clone(content))));
            }
            Contents::Fetched(fetched) => {
                if let Fetched::File(file) = &**fetched {
                    return Ok(Box::new(File::open(&file.path)?));
                }
            }
            _ => {}
        }
        let node = self.tree.tree().and_then(|tree| tree.get(path));
        match node {
            Some(node) => self.contents.open(path, node),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

impl SourceTree {
    fn tree(&self) -> Option<&FsTree> {
        match self {
            Self::Context(context) => Some(&context.tree),
            Self::Layers(tree) => Some(tree),
            Self::Stage(result) => result.tree.as_ref(),
        }
    }

    /// The tree, which a plan copies from only where there is one.
    pub(super) fn planned(&self) -> Result<&FsTree, StepError> {
        self.tree()
            .ok_or(StepError::Unplanned("a stage without files"))
    }
}

impl Contents {
    /// The layers that hold the files of these entries, each as a seekable tar.
    pub(super) async fn of_layers(
        store: &Store,
        tree: &FsTree,
        entries: &[CopyEntry],
    ) -> Result<Self, StepError> {
        let mut tars = HashMap::new();
        let nodes = entries
            .iter()
            .filter_map(|entry| tree.get(entry.source.as_deref()?));
        for node in nodes.filter(|node| node.is_file() && node.size() > 0) {
            if let Entry::Vacant(slot) = tars.entry(node.layer) {
                slot.insert(store.tar(node.layer).await?);
            }
        }
        Ok(Self::Layers(tars))
    }

    /// Opens a file by its path and node in the source.
    fn open(&self, path: &[u8], node: &Node) -> std::io::Result<Box<dyn Read>> {
        match self {
            _ if node.size() == 0 => Ok(Box::new(std::io::empty())),
            Self::Context(context) => Ok(Box::new(context.open_file(path)?)),
            Self::Archive(tar) => Ok(Box::new(tar.open(node.content_path(path))?)),
            Self::Document(content) => Ok(Box::new(std::io::Cursor::new(Arc::clone(content)))),
            Self::Fetched(fetched) => match &**fetched {
                Fetched::Files(checkout) => Ok(Box::new(checkout.open(path, node)?)),
                Fetched::File(file) => Ok(Box::new(File::open(&file.path)?)),
            },
            Self::Layers(tars) => match tars.get(&node.layer) {
                Some(tar) => Ok(Box::new(tar.open(node.content_path(path))?)),
                None => Err(std::io::ErrorKind::NotFound.into()),
            },
        }
    }
}

/// An error of reading a file of a source.
pub(super) fn read_error(path: &[u8], source: std::io::Error) -> StepError {
    StepError::Read {
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}

/// Puts files into the root (where there is one), the tree and a layer.
pub(super) fn make(
    mut puts: Vec<Put>,
    mut tree: FsTree,
    mut lease: Option<Lease>,
    id: LayerId,
    path: PathBuf,
    epoch: Option<i64>,
) -> Result<(FsTree, Option<Lease>, LayerFile), StepError> {
    for put in &puts {
        let path = &put.entry.path;
        let node = put.entry.node.clone().in_layer(id);
        if let Some(root) = lease.as_mut().and_then(|lease| lease.runner.root.as_mut()) {
            if put.is_copied() && node.is_file() {
                let mut content = put.open_shown()?;
                root.write_entry(&mut tree, path, &node, Some(&mut *content))?;
            } else {
                root.write_entry(&mut tree, path, &node, None)?;
            }
        }
        tree.insert(path, node);
    }
    // Of what is made twice the later one counts: sorting keeps the order of equal ones.
    puts.reverse();
    puts.sort_by(|a, b| compare_paths(&a.entry.path, &b.entry.path));
    puts.dedup_by(|later, first| later.entry.path == first.entry.path);
    // What a later entry replaced with its directory is not there any more.
    puts.retain(|put| tree.contains(&put.entry.path));
    let upserts = puts.iter().map(|put| put.entry.path.as_slice().into());
    let changes = Changes {
        upserts: upserts.collect(),
        ..Changes::default()
    };
    let layer = write_layer(&tree, &changes, path, epoch, |path, _| {
        match puts.binary_search_by(|put| compare_paths(&put.entry.path, path)) {
            Ok(found) => puts[found].open(),
            Err(_) => Err(std::io::ErrorKind::NotFound.into()),
        }
    })?;
    Ok((tree, lease, layer))
}

/// Writes changes as a layer's uncompressed tar.
pub(super) fn write_layer<R: Read>(
    tree: &FsTree,
    changes: &Changes,
    path: PathBuf,
    epoch: Option<i64>,
    open: impl FnMut(&[u8], &Node) -> std::io::Result<R>,
) -> Result<LayerFile, StepError> {
    let failed = |source| StepError::Write {
        path: path.display().to_string(),
        source,
    };
    let file = File::create(&path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(128 * 1024, file);
    let (diff_id, index) = stagecraft_layer::write_layer(tree, changes, &mut out, epoch, open)
        .map_err(StepError::Layer)?;
    out.flush().map_err(failed)?;
    Ok(LayerFile {
        path,
        diff_id,
        index,
    })
}
