//! From the plan's mounts to what is put in their places: sources are found, secrets read.
//!
//! Invariant: nobody holds a runner while it waits for the stage that a mount is of.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use stagecraft_dockerfile::Access;
use stagecraft_layer::{Node, NodeKind, is_below};
use stagecraft_plan::{CopySource, Mount as Planned, Run};

use super::{Content, Mount, MountError, Mounts, node};
use crate::caches::CacheName;
use crate::copy::{CopyEntry, CopyError};
use crate::execute::StepError;
use crate::execute::put::{Put, SourceTree};
use crate::execute::stage::StageBuild;
use crate::secrets::Mask;

/// Mode of a secret's file that says none.
const SECRET_MODE: u32 = 0o400;
/// Mode of an agent's socket that says none.
const AGENT_MODE: u32 = 0o600;
/// Mode of a memory file system's directory.
const MEMORY_MODE: u32 = 0o1777;

/// The way out of a missing secret.
const GIVE_SECRET: &str =
    ": give it with --secret id=NAME,src=FILE, or under spec.secrets of an ImageBuild";

impl StageBuild<'_> {
    /// Everything that a step mounts, ready to be put in its place.
    pub(in crate::execute) async fn gather_mounts(
        &mut self,
        run: &Run,
    ) -> Result<Mounts, StepError> {
        let mut mounts = Mounts::default();
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for planned in &run.mounts {
            let gathered = self.gather(planned, &mut mounts, &mut secrets).await;
            let Some((target, content)) = gathered.map_err(|error| match target_of(planned) {
                Some(target) => error.at(target),
                None => error,
            })?
            else {
                continue;
            };
            // Of two with one target the later counts.
            mounts.list.retain(|mount| mount.target != target);
            let read_only = is_read_only(planned);
            mounts.list.push(Mount {
                target,
                read_only,
                content,
            });
        }
        // What is mounted in another mount comes after it.
        mounts.list.sort_by(|a, b| a.target.cmp(&b.target));
        mounts.mask = Mask::new(secrets.iter().map(Vec::as_slice));
        Ok(mounts)
    }

    async fn gather(
        &mut self,
        planned: &Planned,
        mounts: &mut Mounts,
        secrets: &mut Vec<Vec<u8>>,
    ) -> Result<Option<(String, Content)>, StepError> {
        Ok(match planned {
            Planned::Bind {
                target,
                from,
                source,
                ..
            } => {
                let files = self.mounted_files(from, source).await?;
                Some((target.clone(), Content::Files(files)))
            }
            Planned::Tmpfs { target, .. } => {
                let node = Node::new(NodeKind::Directory, MEMORY_MODE, 0, 0);
                Some((target.clone(), Content::Memory(node)))
            }
            Planned::Cache {
                target,
                id,
                namespace,
                sharing,
                from,
                source,
                access,
                ..
            } => {
                let initial = match from {
                    Some(from) => self.mounted_files(from, source).await?,
                    None => Vec::new(),
                };
                let name = CacheName {
                    namespace: namespace.clone(),
                    id: id.clone(),
                    access: *access,
                    origin: (!initial.is_empty()).then(|| origin(&initial)),
                };
                let content = Content::Cache {
                    name,
                    sharing: *sharing,
                    initial,
                };
                Some((target.clone(), content))
            }
            Planned::Secret {
                target,
                id,
                environment,
                required,
                access,
            } => {
                let Some(value) = self.secret(id, *required)? else {
                    // As with BuildKit, the variable is there and empty.
                    let empty = environment.iter().map(|name| format!("{name}="));
                    mounts.environment.extend(empty);
                    return Ok(None);
                };
                secrets.push(value.clone());
                if let Some(name) = environment {
                    let text = text(id, &value)?;
                    mounts.environment.push(format!("{name}={text}"));
                }
                target
                    .as_ref()
                    .map(|target| (target.clone(), secret_file(access, value)))
            }
            Planned::Ssh {
                target,
                id,
                required,
                access,
            } => self
                .agent(id, *required, access)?
                .map(|agent| (target.clone(), agent)),
        })
    }

    fn agent(
        &self,
        id: &str,
        required: bool,
        access: &Access,
    ) -> Result<Option<Content>, MountError> {
        let Some(agent) = self.executor.lendings.agents.get(id)? else {
            return match required {
                true => Err(MountError::NoAgent(id.to_owned())),
                false => Ok(None),
            };
        };
        let owner = (access.uid.unwrap_or(0), access.gid.unwrap_or(0));
        let mode = access.mode.unwrap_or(AGENT_MODE);
        Ok(Some(Content::Agent(mode, owner, agent)))
    }

    fn secret(&self, id: &str, required: bool) -> Result<Option<Vec<u8>>, MountError> {
        match self.executor.lendings.secrets.get(id)? {
            None if required => Err(MountError::NoSecret(id.to_owned(), GIVE_SECRET)),
            found => Ok(found),
        }
    }

    /// The file or directory `path` of a source, by paths below it.
    async fn mounted_files(
        &mut self,
        from: &CopySource,
        path: &str,
    ) -> Result<Vec<Put>, StepError> {
        let source = self.source(from).await?;
        let entries = entries(&source, path)?;
        self.puts(entries, &source).await
    }
}

/// A secret as the value of a variable.
fn text(id: &str, value: &[u8]) -> Result<String, MountError> {
    String::from_utf8(value.to_vec())
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| MountError::NotText(id.to_owned()))
}

/// Where a mount is, for messages.
fn target_of(mount: &Planned) -> Option<&str> {
    match mount {
        Planned::Bind { target, .. }
        | Planned::Cache { target, .. }
        | Planned::Tmpfs { target, .. }
        | Planned::Ssh { target, .. } => Some(target),
        Planned::Secret { target, .. } => target.as_deref(),
    }
}

/// Whether a step cannot write there.
const fn is_read_only(mount: &Planned) -> bool {
    match mount {
        Planned::Bind { read_only, .. }
        | Planned::Cache { read_only, .. }
        | Planned::Tmpfs { read_only, .. } => *read_only,
        Planned::Secret { .. } | Planned::Ssh { .. } => true,
    }
}

fn secret_file(access: &Access, value: Vec<u8>) -> Content {
    let size = value.len() as u64;
    let mode = access.mode.unwrap_or(SECRET_MODE);
    let file = node(NodeKind::File { size }, mode, (access.uid, access.gid));
    Content::File(file, Arc::from(value))
}

/// `path` of the source and everything below it that the ignore file does not hide, by paths below `path`.
fn entries(source: &SourceTree, path: &str) -> Result<Vec<CopyEntry>, StepError> {
    let tree = source.planned()?;
    let ignore = match source {
        SourceTree::Context(context) => context.ignore.as_ref(),
        _ => None,
    };
    let is_hidden = |path: &[u8]| {
        !path.is_empty()
            && ignore.is_some_and(|ignore| ignore.is_ignored(&String::from_utf8_lossy(path)))
    };
    let top = tree
        .resolve(path.as_bytes(), true)
        .map_err(|_| CopyError::Loop(path.to_owned()))?;
    let not_found = |ignored| CopyError::NotFound {
        source_path: path.to_owned(),
        nearest: None,
        ignored,
    };
    let node = tree.get(&top).ok_or_else(|| not_found(false))?;
    let prefix = match top.len() {
        0 => 0,
        length => length + 1,
    };
    let entry = |path: &[u8], node: &Node| CopyEntry {
        path: path.get(prefix..).unwrap_or_default().to_vec(),
        source: Some(path.to_vec()),
        node: node.clone(),
    };
    let mut entries = vec![entry(&top, node)];
    // Directories that are hidden are there all the same where something in them is not.
    let mut hidden: Vec<(&[u8], &Node)> = Vec::new();
    for (path, node) in tree.walk(&top).filter(|(path, _)| *path != top) {
        while hidden
            .last()
            .is_some_and(|(above, _)| !is_below(path, above))
        {
            hidden.pop();
        }
        if is_hidden(path) {
            if node.is_directory() {
                hidden.push((path, node));
            }
            continue;
        }
        entries.extend(hidden.drain(..).map(|(path, node)| entry(path, node)));
        entries.push(entry(path, node));
    }
    if is_hidden(&top) && entries.len() == 1 {
        return Err(not_found(true).into());
    }
    Ok(entries)
}

/// What tells these files from others: a hash of their metadata without times, which differ each time a stage is
/// built.
fn origin(puts: &[Put]) -> String {
    let mut hash = Sha256::new();
    for put in puts {
        let node = &put.entry.node;
        let (path, target) = (&put.entry.path, node.symlink_target().unwrap_or_default());
        for text in [path.as_slice(), target] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let numbers = [
            u64::from(node.full_mode()),
            u64::from(node.uid),
            u64::from(node.gid),
            node.size(),
            node.rdev(),
        ];
        for number in numbers {
            hash.update(number.to_le_bytes());
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
