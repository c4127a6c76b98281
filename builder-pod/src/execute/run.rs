//! A RUN step: a runner executes it, and what it changed becomes a layer.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use stagecraft_plan::Run;
use stagecraft_protocol::ownership::SpecialOwner;
use stagecraft_protocol::runner::{Ending, ExecuteRequest, RunnerMessage};

use super::StepError;
use super::output::Output;
use super::put::{LayerFile, write_layer};
use super::stage::{StageBuild, WithTail};
use crate::copy::resolve_user;
use crate::progress::Vertex;
use crate::rootfs::Rootfs;
use crate::runners::Lease;
use crate::store::blocking;

impl StageBuild<'_> {
    pub(super) async fn run(&mut self, run: &Run, vertex: &Vertex) -> Result<(), WithTail> {
        self.ensure_root().await?;
        let user = resolve_user(&run.user, &self.users().await?).map_err(StepError::from)?;
        let request = ExecuteRequest {
            arguments: run.arguments.clone(),
            environment: environment(&run.environment, user.home.as_deref()),
            working_directory: run.working_directory.clone(),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            special_owners: Vec::new(),
        };
        let Some(mut lease) = self.lease.take() else {
            return Err(StepError::Unplanned("a RUN without a runner").into());
        };
        let Some(root) = lease.runner.root.take() else {
            return Err(StepError::Unplanned("a RUN without a root").into());
        };
        let (output, writers) = Output::open(vertex).map_err(StepError::Pipes)?;
        // Ends the step when this future is dropped: because another step failed, or at a signal.
        let ender = lease.runner.ender().map_err(StepError::Pipes)?;
        let (lease, root, answer) = blocking(move || execute(lease, root, request, writers)).await;
        ender.disarm();
        let log_tail = blocking(move || output.finish()).await;
        let special_owners = match answer.and_then(|answer| self.judge(run, answer)) {
            Ok(special_owners) => special_owners,
            Err(error) => return Err(WithTail::new(error, log_tail)),
        };
        self.keep_changes(lease, root, special_owners).await?;
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

/// Executes the step; blocks until every process of it is dead.
fn execute(
    mut lease: Lease,
    mut root: Rootfs,
    mut request: ExecuteRequest,
    writers: [OwnedFd; 2],
) -> (Lease, Rootfs, Result<RunnerMessage, StepError>) {
    request.special_owners = root.take_special_owners();
    let answer = match root.begin_step() {
        Ok(()) => lease
            .runner
            .execute(request, writers)
            .map_err(StepError::from),
        Err(error) => Err(error.into()),
    };
    (lease, root, answer)
}

/// The step's environment; HOME is the user's, unless the image sets one.
fn environment(planned: &[String], home: Option<&str>) -> Vec<String> {
    let mut environment = planned.to_vec();
    if !planned.iter().any(|variable| variable.starts_with("HOME=")) {
        environment.push(format!("HOME={}", home.unwrap_or("/")));
    }
    environment
}
