//! COPY, ADD and WORKDIR: what they put where becomes a layer, and stands in the root where there is one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_image::Digest;
use stagecraft_layer::{
    Changes, Decoder, FsTree, LayerId, LayerReader, Node, NodeKind, TarIndex, Time, compare_paths,
    parent_of,
};
use stagecraft_plan::{Copy, CopySource, InlineFile, ModeChange, WorkDirectory};

use super::StepError;
use super::stage::{StageBuild, WithTail};
use crate::context::Context;
use crate::copy::{
    CopyEntry, CopyPlan, CopyRequest, FoundSource, USER_FILE_LIMIT, Users, find_sources,
    resolve_owner, resolve_user,
};
use crate::runners::Lease;
use crate::store::{LayerTar, Store, blocking};
use crate::times;

/// Largest passwd or group file that is read, in bytes: both come from the image.
const USERS_LIMIT: u64 = USER_FILE_LIMIT as u64;

/// A layer's tar that was just written.
pub(super) struct LayerFile {
    pub(super) path: PathBuf,
    pub(super) diff_id: Digest,
    pub(super) index: TarIndex,
}

/// Where the contents of copied files are.
#[derive(Clone)]
enum Contents {
    Context(Arc<Context>),
    Archive(Arc<LayerTar>),
    Document(Arc<[u8]>),
    Layers(Arc<HashMap<LayerId, Arc<LayerTar>>>),
}

/// Something to put into a stage.
pub(super) struct Put {
    entry: CopyEntry,
    origin: Option<Origin>,
}

/// Where a copied node comes from.
struct Origin {
    path: Vec<u8>,
    node: Node,
    contents: Contents,
}

impl Put {
    fn new(entry: CopyEntry, source: &FsTree, contents: &Contents) -> Self {
        let origin = entry.source.as_ref().and_then(|path| {
            let node = source.get(path)?.clone();
            Some(Origin {
                path: path.clone(),
                node,
                contents: contents.clone(),
            })
        });
        Self { entry, origin }
    }
}

impl Origin {
    fn open(&self) -> std::io::Result<Box<dyn Read>> {
        self.contents.open(&self.path, &self.node)
    }
}

/// A copy with its owner and mode resolved.
struct ResolvedCopy<'a> {
    sources: &'a [String],
    destination: &'a str,
    owner: Option<(u32, u32)>,
    mode: Option<ModeChange>,
    ignored_by: Option<Arc<Context>>,
    parents: bool,
    exclude: IgnoreFile,
    implicit_time: Time,
}

impl ResolvedCopy<'_> {
    fn borrowed<'b>(
        &'b self,
        source: &'b SourceTree,
        target: &'b FsTree,
    ) -> Result<CopyRequest<'b>, StepError> {
        Ok(CopyRequest {
            source: source.tree()?,
            ignore: self
                .ignored_by
                .as_ref()
                .and_then(|context| context.ignore.as_ref()),
            sources: self.sources,
            parents: self.parents,
            exclude: Some(&self.exclude),
            destination: self.destination,
            owner: self.owner,
            mode: self.mode.as_ref(),
            target,
            layer: LayerId::NONE,
            implicit_time: self.implicit_time,
        })
    }
}

/// Metadata of the files that may be copied, and who reads them.
enum SourceTree {
    Context(Arc<Context>),
    Stage(Arc<super::StageResult>),
    Image(Arc<FsTree>),
}

impl SourceTree {
    fn tree(&self) -> Result<&FsTree, StepError> {
        match self {
            Self::Context(context) => Ok(&context.tree),
            Self::Image(tree) => Ok(tree),
            Self::Stage(result) => result
                .tree
                .as_ref()
                .ok_or(StepError::Unplanned("a stage without files")),
        }
    }
}

impl Contents {
    /// The layers that hold the files of these entries, each as a seekable tar.
    async fn of_layers(
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
        Ok(Self::Layers(Arc::new(tars)))
    }

    /// Opens a file by its path and node in the source.
    fn open(&self, path: &[u8], node: &Node) -> std::io::Result<Box<dyn Read>> {
        match self {
            _ if node.size() == 0 => Ok(Box::new(std::io::empty())),
            Self::Context(context) => Ok(Box::new(context.open_file(path)?)),
            Self::Archive(tar) => Ok(Box::new(tar.open(node.content_path(path))?)),
            Self::Document(content) => Ok(Box::new(std::io::Cursor::new(Arc::clone(content)))),
            Self::Layers(tars) => match tars.get(&node.layer) {
                Some(tar) => Ok(Box::new(tar.open(node.content_path(path))?)),
                None => Err(std::io::ErrorKind::NotFound.into()),
            },
        }
    }
}

impl StageBuild<'_> {
    /// COPY, and ADD of local files.
    pub(super) async fn copy(&mut self, copy: &Copy) -> Result<(), WithTail> {
        let source = self.source(&copy.from).await?;
        self.prepare().await?;
        let Some(tree) = self.tree.take() else {
            return Err(StepError::Unplanned("a stage without files").into());
        };
        // The layer of `--link` knows nothing of those below it.
        let below = if copy.link { &FsTree::new() } else { &tree };
        let planned = self.plan_copy(copy, &source, below).await;
        self.tree = Some(tree);
        self.put(planned?).await?;
        Ok(())
    }

    /// What arrives: the sources in their order, archives unpacked where the instruction does that, then the
    /// Dockerfile's own documents.
    async fn plan_copy(
        &self,
        copy: &Copy,
        source: &SourceTree,
        target: &FsTree,
    ) -> Result<Vec<Put>, StepError> {
        let request = self.copy_request(copy, source, target).await?;
        let request = request.borrowed(source, target)?;
        let found = find_sources(&request)?;
        let archives = match copy.unpack.unwrap_or(copy.is_add) {
            true => self.archives(source, &found).await?,
            false => HashMap::new(),
        };
        let mut plan = CopyPlan::new(&request);
        let mut puts = Vec::new();
        for found in &found {
            match archives.get(&found.path) {
                Some((archive, tar)) => {
                    let contents = Contents::Archive(Arc::clone(tar));
                    let entries = plan.unpack(archive)?.into_iter();
                    puts.extend(entries.map(|entry| Put::new(entry, archive, &contents)));
                }
                None => puts.extend(self.puts(plan.copy(found)?, source).await?),
            }
        }
        for document in &copy.documents {
            puts.append(&mut self.document(&mut plan, document)?);
        }
        Ok(puts)
    }

    /// A file whose content stands in the Dockerfile. It has no time of its own.
    fn document(
        &self,
        plan: &mut CopyPlan<'_>,
        document: &InlineFile,
    ) -> Result<Vec<Put>, StepError> {
        let content: Arc<[u8]> = document.content.as_bytes().into();
        let size = content.len() as u64;
        let node = Node::new(NodeKind::File { size }, 0o644, 0, 0);
        let entries = plan.copy_inline(document.name.as_bytes(), &node)?;
        let put = |entry: CopyEntry| Put {
            origin: entry.source.as_ref().map(|path| Origin {
                path: path.clone(),
                node: node.clone(),
                contents: Contents::Document(Arc::clone(&content)),
            }),
            entry,
        };
        Ok(entries.into_iter().map(put).collect())
    }

    /// The sources that are archives, whatever they are called, by their paths.
    async fn archives(
        &self,
        source: &SourceTree,
        found: &[FoundSource],
    ) -> Result<HashMap<Vec<u8>, (FsTree, Arc<LayerTar>)>, StepError> {
        let mut archives = HashMap::new();
        let SourceTree::Context(context) = source else {
            return Ok(archives);
        };
        for found in found {
            if let Some(archive) = self.archive(context, &found.path).await? {
                archives.insert(found.path.clone(), archive);
            }
        }
        Ok(archives)
    }

    /// Entries with the contents that they have in the source.
    async fn puts(
        &self,
        entries: Vec<CopyEntry>,
        source: &SourceTree,
    ) -> Result<Vec<Put>, StepError> {
        let tree = source.tree()?;
        let contents = match source {
            SourceTree::Context(context) => Contents::Context(Arc::clone(context)),
            _ => Contents::of_layers(&self.executor.store, tree, &entries).await?,
        };
        let put = |entry| Put::new(entry, tree, &contents);
        Ok(entries.into_iter().map(put).collect())
    }

    /// The entries of a source that is an archive, and its tar in scratch; `None` when it is something else.
    async fn archive(
        &self,
        context: &Arc<Context>,
        path: &[u8],
    ) -> Result<Option<(FsTree, Arc<LayerTar>)>, StepError> {
        if !context.tree.get(path).is_some_and(Node::is_file) {
            return Ok(None);
        }
        let path = path.to_vec();
        let (context, scratch) = (Arc::clone(context), self.executor.store.scratch_file("add"));
        blocking(move || {
            let failed = |error| read_error(&path, error);
            let open = || context.open_file(&path);
            let Ok(decoder) = Decoder::new(open().map_err(failed)?) else {
                return Ok(None);
            };
            if !matches!(LayerReader::new(decoder).next_entry(), Ok(Some(_))) {
                return Ok(None);
            }
            let decoder = Decoder::new(open().map_err(failed)?).map_err(failed)?;
            let tar = LayerTar::spool(decoder, scratch)?;
            let mut tree = FsTree::new();
            let mut reader = LayerReader::new(tar.reader()?);
            stagecraft_layer::apply_layer(&mut tree, LayerId::NONE, &mut reader)
                .map_err(StepError::Layer)?;
            Ok(Some((tree, tar)))
        })
        .await
    }

    /// WORKDIR: the directory and its parents, owned by the current user, where they do not exist.
    pub(super) async fn work_directory(&mut self, work: &WorkDirectory) -> Result<(), WithTail> {
        self.prepare().await?;
        let Some(tree) = self.tree.as_ref() else {
            return Err(StepError::Unplanned("a stage without files").into());
        };
        let path = tree
            .resolve(work.path.as_bytes(), true)
            .map_err(|_| crate::copy::CopyError::Loop(work.path.clone()))
            .map_err(StepError::from)?;
        let mut entries = Vec::new();
        let mut next = path.as_slice();
        while tree.get(next).is_none() {
            entries.push(next.to_vec());
            next = parent_of(next);
        }
        if tree.get(next).is_some_and(|node| !node.is_directory()) {
            let name = String::from_utf8_lossy(next).into_owned();
            return Err(StepError::from(crate::copy::CopyError::NotADirectory(name)).into());
        }
        let owner = if entries.is_empty() || matches!(work.user.as_str(), "" | "0" | "root") {
            (0, 0)
        } else {
            let user = resolve_user(&work.user, &self.users().await?).map_err(StepError::from)?;
            (user.uid, user.gid)
        };
        let time = self.implicit_time();
        let files = entries.into_iter().rev().map(|path| {
            let mut node = Node::new(NodeKind::Directory, 0o755, owner.0, owner.1);
            node.mtime = time;
            Put {
                entry: CopyEntry {
                    path,
                    source: None,
                    node,
                },
                origin: None,
            }
        });
        self.put(files.collect()).await?;
        Ok(())
    }

    /// The tree of what is copied from; a stage is waited for without holding a runner.
    async fn source(&mut self, from: &CopySource) -> Result<SourceTree, StepError> {
        match from {
            CopySource::Context => Ok(SourceTree::Context(Arc::clone(&self.executor.context))),
            CopySource::Empty => Ok(SourceTree::Image(Arc::new(FsTree::new()))),
            CopySource::Image(id) => Ok(SourceTree::Image(self.executor.image_tree(*id).await?)),
            CopySource::Stage(index) => {
                let result = match self.executor.result_now(*index) {
                    Some(result) => result,
                    None => {
                        self.leave_root();
                        self.executor.result(*index).await
                    }
                };
                if result.tree.is_some() {
                    return Ok(SourceTree::Stage(result));
                }
                let tree = self.executor.tree_of(&result.stack).await?;
                Ok(SourceTree::Image(tree))
            }
        }
    }

    /// Files and, where a RUN follows, the root must be there before something is put among them.
    pub(super) async fn prepare(&mut self) -> Result<(), StepError> {
        if self.needs_root() {
            self.ensure_root().await
        } else {
            self.ensure_tree().await
        }
    }

    /// What a copy's text means in this stage.
    async fn copy_request<'a>(
        &self,
        copy: &'a Copy,
        source: &SourceTree,
        target: &FsTree,
    ) -> Result<ResolvedCopy<'a>, StepError> {
        let owner = match &copy.chown {
            None => None,
            Some(text) if is_numeric(text) => Some(resolve_owner(text, &Users::default())?),
            Some(text) => Some(resolve_owner(text, &self.users_of(target).await?)?),
        };
        // From the context everything is root's; a stage's files keep their owners.
        let mode = copy.chmod.as_deref().map(ModeChange::parse).transpose();
        let mode = mode.map_err(crate::copy::CopyError::from)?;
        let ignored_by = match source {
            SourceTree::Context(context) => Some(Arc::clone(context)),
            _ => None,
        };
        let exclude = IgnoreFile::from_patterns(copy.exclude.iter().map(String::as_str));
        Ok(ResolvedCopy {
            sources: &copy.sources,
            parents: copy.parents,
            exclude: exclude.map_err(crate::copy::CopyError::from)?,
            destination: &copy.destination,
            owner,
            mode,
            ignored_by,
            // A linked layer depends on nothing below it, its times neither.
            implicit_time: match copy.link {
                true => Time::default(),
                false => self.implicit_time(),
            },
        })
    }

    /// Puts entries into the tree, a layer and, where there is one, the root.
    pub(super) async fn put(&mut self, puts: Vec<Put>) -> Result<(), StepError> {
        let (Some(tree), lease) = (self.tree.take(), self.lease.take()) else {
            return Err(StepError::Unplanned("a stage without files"));
        };
        let (id, path) = self.executor.store.new_layer();
        let epoch = self.executor.times.epoch;
        let copied = puts.iter().filter(|put| put.origin.is_some());
        let newest = copied.map(|put| times::of_file(put.entry.node.mtime)).max();
        let made = blocking(move || make(puts, tree, lease, id, path, epoch));
        let (tree, lease, layer) = made.await?;
        self.executor
            .store
            .finish_layer(id, layer.path, layer.diff_id, layer.index)?;
        self.stack.push(id);
        self.tree = Some(tree);
        self.lease = lease;
        self.created = self.created.max(newest.unwrap_or(self.created));
        Ok(())
    }

    /// Directories that nobody described get the time of what is below them.
    fn implicit_time(&self) -> Time {
        let time = self.executor.times.clamp(self.created);
        Time {
            seconds: time.as_second(),
            nanoseconds: 0,
        }
    }

    /// The user database of the stage as it is now.
    pub(super) async fn users(&self) -> Result<Users, StepError> {
        match &self.tree {
            Some(tree) => self.users_of(tree).await,
            None => Ok(Users::default()),
        }
    }

    async fn users_of(&self, tree: &FsTree) -> Result<Users, StepError> {
        let passwd = self.small_file(tree, b"etc/passwd").await?;
        let group = self.small_file(tree, b"etc/group").await?;
        Ok(Users::parse(&passwd, &group))
    }

    /// A file's content, links followed inside the stage; empty where it is missing, special or too large.
    async fn small_file(&self, tree: &FsTree, path: &[u8]) -> Result<Vec<u8>, StepError> {
        let Ok(path) = tree.resolve(path, true) else {
            return Ok(Vec::new());
        };
        let Some(node) = tree.get(&path).filter(|n| n.is_file() && n.size() > 0) else {
            return Ok(Vec::new());
        };
        if node.size() > USERS_LIMIT {
            return Ok(Vec::new());
        }
        let read = |mut reader: Box<dyn Read>| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        };
        let root = self
            .lease
            .as_ref()
            .and_then(|lease| lease.runner.root.as_ref());
        let bytes = match root {
            Some(root) => root
                .open_file(&path)
                .map(|f| read(Box::new(f.take(USERS_LIMIT))))?,
            None => {
                let tar = self.executor.store.tar(node.layer).await?;
                tar.open(node.content_path(&path))
                    .and_then(|content| read(Box::new(content)))
            }
        };
        bytes.map_err(|error| read_error(&path, error))
    }
}

fn is_numeric(chown: &str) -> bool {
    chown
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b':')
}

fn read_error(path: &[u8], source: std::io::Error) -> StepError {
    StepError::Read {
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}

/// Puts files into the root (where there is one), the tree and a layer.
fn make(
    puts: Vec<Put>,
    mut tree: FsTree,
    mut lease: Option<Lease>,
    id: LayerId,
    path: PathBuf,
    epoch: Option<i64>,
) -> Result<(FsTree, Option<Lease>, LayerFile), StepError> {
    let mut origins = HashMap::new();
    let mut changes = Changes::default();
    for Put { entry, origin } in puts {
        let mut node = entry.node;
        node.layer = id;
        if let Some(root) = lease.as_mut().and_then(|lease| lease.runner.root.as_mut()) {
            match origin.as_ref().filter(|origin| origin.node.is_file()) {
                Some(origin) => {
                    let mut content = origin
                        .open()
                        .map_err(|error| read_error(&origin.path, error))?;
                    root.write_entry(&mut tree, &entry.path, &node, Some(&mut *content))?;
                }
                None => root.write_entry(&mut tree, &entry.path, &node, None)?,
            }
        }
        tree.insert(&entry.path, node);
        changes.upserts.push(entry.path.clone().into());
        origins.extend(origin.map(|origin| (entry.path, origin)));
    }
    changes.upserts.sort_by(|a, b| compare_paths(a, b));
    changes.upserts.dedup();
    // What a later entry replaced with its directory is not there any more.
    changes.upserts.retain(|path| tree.contains(path));
    let layer = write_layer(&tree, &changes, path, epoch, |path, _| {
        match origins.get(path) {
            Some(origin) => origin.open(),
            None => Err(std::io::ErrorKind::NotFound.into()),
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
