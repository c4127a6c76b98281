//! COPY, ADD and WORKDIR: what they put where becomes a layer, and stands in the root where there is one.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_layer::{Decoder, FsTree, LayerId, LayerReader, Node, NodeKind, Time, parent_of};
use stagecraft_plan::{
    ContextId, Copy, CopySource, InlineFile, ModeChange, RemoteSource, WorkDirectory,
};

use super::StepError;
use super::put::{Contents, Put, Source, SourceTree, make, read_error};
use super::stage::{StageBuild, WithTail};
use crate::context::Context;
use crate::copy::{
    CopyEntry, CopyPlan, CopyRequest, FoundSource, USER_FILE_LIMIT, Users, find_sources,
    resolve_owner,
};
use crate::remote::Fetched;
use crate::store::{LayerTar, blocking};
use crate::times;

/// Largest passwd or group file that is read, in bytes: both come from the image.
const USERS_LIMIT: u64 = USER_FILE_LIMIT as u64;

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
            source: source.planned()?,
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

impl StageBuild<'_> {
    /// COPY and ADD.
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

    /// Makes a layer of all files of a named context: what a stage begins with.
    pub(super) async fn begin_with(&mut self, id: ContextId) -> Result<(), StepError> {
        let context = Arc::clone(self.executor.named_context(id)?);
        let all = Copy {
            from: CopySource::Named(id),
            sources: vec![".".to_owned()],
            destination: "/".to_owned(),
            ..Copy::default()
        };
        let source = SourceTree::Context(context);
        let puts = self.plan_copy(&all, &source, &FsTree::new()).await?;
        self.tree = Some(FsTree::new());
        self.put(puts).await
    }

    /// What arrives: the sources in their order, those that are fetched among them, archives unpacked where the
    /// instruction does that; then the Dockerfile's own documents.
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
        let mut remotes = copy.remotes.iter().peekable();
        for found in &found {
            while let Some(remote) = remotes.next_if(|one| one.position <= found.position) {
                puts.append(&mut self.remote(&mut plan, copy, &remote.source).await?);
            }
            match archives.get(&found.path) {
                Some(archive) => {
                    let entries = plan.unpack(archive.tree.planned()?)?.into_iter();
                    puts.extend(entries.map(|entry| Put::new(entry, archive)));
                }
                None => puts.extend(self.puts(plan.copy(found)?, source).await?),
            }
        }
        for remote in remotes {
            puts.append(&mut self.remote(&mut plan, copy, &remote.source).await?);
        }
        for document in &copy.documents {
            puts.append(&mut self.document(&mut plan, document)?);
        }
        Ok(puts)
    }

    /// What is fetched: a commit's files, or one file. An archive stays one, unless the instruction says otherwise.
    async fn remote(
        &self,
        plan: &mut CopyPlan<'_>,
        copy: &Copy,
        source: &RemoteSource,
    ) -> Result<Vec<Put>, StepError> {
        let fetched = self.executor.remotes.get(source).await?;
        let entries = match &*fetched {
            Fetched::Files(checkout) => plan.copy_tree(&checkout.tree)?,
            Fetched::File(file) => {
                let path = file.path.clone();
                let open = move || File::open(&path);
                if copy.unpack == Some(true)
                    && let Some(archive) = self.archive(file.name.clone().into(), open).await?
                {
                    let archive = Arc::new(archive);
                    let entries = plan.unpack(archive.tree.planned()?)?.into_iter();
                    return Ok(entries.map(|entry| Put::new(entry, &archive)).collect());
                }
                plan.copy_inline(file.name.as_bytes(), &file.node)?
            }
        };
        let source = Arc::new(Source::fetched(fetched));
        let put = |entry| Put::new(entry, &source);
        Ok(entries.into_iter().map(put).collect())
    }

    /// A file whose content stands in the Dockerfile. It has no time of its own.
    fn document(
        &self,
        plan: &mut CopyPlan<'_>,
        document: &InlineFile,
    ) -> Result<Vec<Put>, StepError> {
        let content: Arc<[u8]> = document.content.as_bytes().into();
        let size = content.len() as u64;
        let mut node = Node::new(NodeKind::File { size }, 0o644, 0, 0);
        node.mtime = self.settled(jiff::Timestamp::UNIX_EPOCH);
        let entries = plan.copy_inline(document.name.as_bytes(), &node)?;
        let source = Arc::new(Source::document(content));
        let put = |entry| Put::new(entry, &source);
        Ok(entries.into_iter().map(put).collect())
    }

    /// The sources that are archives, whatever they are called, by their paths.
    async fn archives(
        &self,
        source: &SourceTree,
        found: &[FoundSource],
    ) -> Result<HashMap<Vec<u8>, Arc<Source>>, StepError> {
        let mut archives = HashMap::new();
        let SourceTree::Context(context) = source else {
            return Ok(archives);
        };
        for found in found {
            if !context.tree.get(&found.path).is_some_and(Node::is_file) {
                continue;
            }
            let (context, path) = (Arc::clone(context), found.path.clone());
            let open = move || context.open_file(&path);
            if let Some(archive) = self.archive(found.path.clone(), open).await? {
                archives.insert(found.path.clone(), Arc::new(archive));
            }
        }
        Ok(archives)
    }

    /// Entries with the contents that they have in the source.
    pub(super) async fn puts(
        &self,
        entries: Vec<CopyEntry>,
        source: &SourceTree,
    ) -> Result<Vec<Put>, StepError> {
        let tree = source.planned()?;
        let contents = match source {
            SourceTree::Context(context) => Contents::Context(Arc::clone(context)),
            _ => Contents::of_layers(&self.executor.store, tree, &entries).await?,
        };
        let source = Arc::new(Source {
            tree: source.clone(),
            contents,
        });
        let put = |entry| Put::new(entry, &source);
        Ok(entries.into_iter().map(put).collect())
    }

    /// The entries of a file that is an archive, and its tar in scratch; `None` when it is something else.
    async fn archive(
        &self,
        shown: Vec<u8>,
        open: impl Fn() -> std::io::Result<File> + Send + 'static,
    ) -> Result<Option<Source>, StepError> {
        let scratch = self.executor.store.scratch_file("add");
        blocking(move || {
            let failed = |error| read_error(&shown, error);
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
            Ok(Some(Source {
                tree: SourceTree::Layers(Arc::new(tree)),
                contents: Contents::Archive(tar),
            }))
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
            // A number is its own group here, unlike in a RUN of the same user.
            resolve_owner(&work.user, &self.users().await?).map_err(StepError::from)?
        };
        let time = self.implicit_time();
        let files = entries.into_iter().rev().map(|path| {
            let mut node = Node::new(NodeKind::Directory, 0o755, owner.0, owner.1);
            node.mtime = time;
            let source = None;
            Put::made(CopyEntry { path, source, node })
        });
        self.put(files.collect()).await?;
        Ok(())
    }

    /// The tree of what is copied from; a stage is waited for without holding a runner.
    pub(super) async fn source(&mut self, from: &CopySource) -> Result<SourceTree, StepError> {
        match from {
            CopySource::Context => Ok(SourceTree::Context(Arc::clone(&self.executor.context))),
            CopySource::Empty => Ok(SourceTree::Layers(Arc::new(FsTree::new()))),
            CopySource::Image(id) => Ok(SourceTree::Layers(self.executor.image_tree(*id).await?)),
            CopySource::Named(id) => {
                let context = self.executor.named_context(*id)?;
                Ok(SourceTree::Context(Arc::clone(context)))
            }
            CopySource::Stage(index) => {
                let result = match self.executor.result_now(*index) {
                    Some(result) => result,
                    None => {
                        self.leave_root();
                        self.wait_for(*index).await
                    }
                };
                if result.tree.is_some() {
                    return Ok(SourceTree::Stage(result));
                }
                let tree = self.executor.tree_of(&result.stack).await?;
                Ok(SourceTree::Layers(tree))
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
                true => self.settled(jiff::Timestamp::UNIX_EPOCH),
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
        let copied = puts.iter().filter(|put| put.is_copied());
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
        self.settled(self.created)
    }

    /// A time for what has none of its own, in whole seconds.
    fn settled(&self, time: jiff::Timestamp) -> Time {
        Time {
            seconds: self.executor.times.settle(time).as_second(),
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
