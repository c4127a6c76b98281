//! A RUN step: a runner executes it, and what it changed becomes a layer.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use stagecraft_dockerfile::Network;
use stagecraft_layer::FsTree;
use stagecraft_plan::Run;
use stagecraft_protocol::ownership::SpecialOwner;
use stagecraft_protocol::runner::{Ending, ExecuteRequest, RunnerMessage, Script};
use tracing::Instrument;

use super::StepError;
use super::mounts::Mounts;
use super::output::Output;
use super::put::{LayerFile, write_layer};
use super::stage::{StageBuild, WithTail};
use crate::caches::Caches;
use crate::copy::resolve_user;
use crate::progress::Vertex;
use crate::rootfs::Rootfs;
use crate::runners::Lease;
use crate::store::blocking;
use crate::trace;

impl StageBuild<'_> {
    pub(super) async fn run(&mut self, run: &Run, vertex: &Vertex) -> Result<(), WithTail> {
        let mut mounts = self.gather_mounts(run).await?;
        self.ensure_root().await?;
        let user = resolve_user(&run.user, &self.users().await?).map_err(StepError::from)?;
        let request = ExecuteRequest {
            arguments: run.arguments.clone(),
            environment: environment(&run.environment, &mut mounts, user.home.as_deref()),
            working_directory: run.working_directory.clone(),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            special_owners: Vec::new(),
            script: run.script.as_ref().map(|script| Script {
                name: script.name.clone(),
                content: script.content.clone(),
            }),
            mounts: Vec::new(),
            without_network: run.network == Network::None,
        };
        let Some(mut lease) = self.lease.take() else {
            return Err(StepError::Unplanned("a RUN without a runner").into());
        };
        let Some(root) = lease.runner.root.take() else {
            return Err(StepError::Unplanned("a RUN without a root").into());
        };
        let (output, writers) = Output::open(vertex, &mounts.mask).map_err(StepError::Pipes)?;
        // Ends the step when this future is dropped: because another step failed, or at a signal.
        let ender = lease.runner.ender().map_err(StepError::Pipes)?;
        let view = match &self.tree {
            Some(tree) if !mounts.is_empty() => tree.clone(),
            _ => FsTree::new(),
        };
        let caches = self.executor.lendings.caches.clone();
        let mounting = Mounting {
            mounts,
            view,
            caches,
        };
        let (lease, root, answer) =
            blocking(move || execute(lease, root, request, mounting, writers))
                .instrument(trace::work(self.lane(), "execute"))
                .await;
        ender.disarm();
        let log_tail = blocking(move || output.finish()).await;
        let special_owners = match answer.and_then(|answer| self.judge(run, answer)) {
            Ok(special_owners) => special_owners,
            Err(error) => return Err(WithTail::new(error, log_tail)),
        };
        let span = trace::work(self.lane(), "find changes and write the layer");
        self.keep_changes(lease, root, special_owners)
            .instrument(span)
            .await?;
        self.created = self.executor.times.now().max(self.created);
        Ok(())
    }

    /// Makes a layer of what the step changed.
    async fn keep_changes(
        &mut self,
        mut lease: Lease,
        mut root: Rootfs,
        special_owners: Vec<SpecialOwner>,
    ) -> Result<(), StepError> {
        let Some(mut tree) = self.tree.take() else {
            return Err(StepError::Unplanned("a RUN without files"));
        };
        let (id, path) = self.executor.store.new_layer();
        let epoch = self.executor.times.epoch;
        let written = blocking(move || -> Result<_, StepError> {
            let changes = root.snapshot(&mut tree, id, &special_owners)?;
            let layer = write_layer(&tree, &changes, path, epoch, |file, _| {
                root.open_file(file).map_err(std::io::Error::other)
            })?;
            Ok((root, tree, layer))
        });
        let (root, tree, layer) = written.await?;
        let LayerFile {
            path,
            diff_id,
            index,
        } = layer;
        self.executor.store.finish_layer(id, path, diff_id, index)?;
        self.stack.push(id);
        lease.runner.root = Some(root);
        self.tree = Some(tree);
        self.lease = Some(lease);
        Ok(())
    }

    /// What the runner's answer means; gives the owners that it tells of.
    fn judge(&self, run: &Run, answer: RunnerMessage) -> Result<Vec<SpecialOwner>, StepError> {
        let RunnerMessage::Exited {
            ending,
            peak_memory_bytes,
            special_owners,
            ..
        } = answer
        else {
            return Err(StepError::Unplanned("an answer to another question"));
        };
        self.executor
            .shared
            .runner_peak
            .fetch_max(peak_memory_bytes, Ordering::Relaxed);
        self.judge_ending(run, ending)?;
        Ok(special_owners)
    }

    fn judge_ending(&self, run: &Run, ending: Ending) -> Result<(), StepError> {
        let command = run.arguments.last().cloned().unwrap_or_default();
        match ending {
            Ending::Code(0) => Ok(()),
            Ending::Code(code) => Err(StepError::Exit { command, code }),
            Ending::Signal {
                out_of_memory: true,
                ..
            } => Err(StepError::OutOfMemory {
                command,
                limit_bytes: self.executor.memory_limit_bytes,
            }),
            Ending::Signal { signal, .. } => Err(StepError::Signal { command, signal }),
            Ending::NotStarted(why) => Err(StepError::NotStarted(why)),
        }
    }
}

/// What is mounted, among which files, and where its caches are.
struct Mounting {
    mounts: Mounts,
    view: FsTree,
    caches: Caches,
}

/// Executes the step; blocks until every process of it is dead.
fn execute(
    mut lease: Lease,
    mut root: Rootfs,
    request: ExecuteRequest,
    mounting: Mounting,
    writers: [OwnedFd; 2],
) -> (Lease, Rootfs, Result<RunnerMessage, StepError>) {
    let answer = execute_mounted(&mut lease, &mut root, request, mounting, writers);
    (lease, root, answer)
}

fn execute_mounted(
    lease: &mut Lease,
    root: &mut Rootfs,
    mut request: ExecuteRequest,
    mounting: Mounting,
    writers: [OwnedFd; 2],
) -> Result<RunnerMessage, StepError> {
    let Mounting {
        mounts,
        view,
        caches,
    } = mounting;
    root.begin_step()?;
    let mut mounted = match mounts.is_empty() {
        true => None,
        false => Some(mounts.put(root, view, &caches)?),
    };
    if let Some(mounted) = &mut mounted {
        request.mounts = mounted.take_points();
    }
    request.special_owners = root.take_special_owners();
    let answer = lease.runner.execute(request, writers)?;
    if let Some(mounted) = mounted {
        let owners = match &answer {
            RunnerMessage::Exited { special_owners, .. } => special_owners.as_slice(),
            _ => &[],
        };
        mounted.take_away(root, owners)?;
    }
    Ok(answer)
}

/// The step's environment, its secrets last; HOME is the user's, unless something sets one.
fn environment(planned: &[String], mounts: &mut Mounts, home: Option<&str>) -> Vec<String> {
    let secrets = std::mem::take(&mut mounts.environment);
    let is_secret = |variable: &String| {
        let name = variable.split('=').next();
        secrets
            .iter()
            .any(|secret| secret.split('=').next() == name)
    };
    let mut environment: Vec<String> = planned
        .iter()
        .filter(|variable| !is_secret(variable))
        .cloned()
        .collect();
    environment.extend(secrets);
    if !environment
        .iter()
        .any(|variable| variable.starts_with("HOME="))
    {
        environment.push(format!("HOME={}", home.unwrap_or("/")));
    }
    environment
}
