//! `RUN`: what is executed, with what around it.
//!
//! Invariant: a mount's target is absolute, and its source names a stage above or an image.

use stagecraft_dockerfile::{
    Code, Command, Diagnostic, Heredoc, Mount as MountInstruction, MountFlag, MountKind,
    RunInstruction, Span,
};

use crate::inputs::EPOCH_NAME;
use crate::operation::{CopySource, InlineFile, Mount, Operation, Run};
use crate::path;
use crate::plan::{EdgeReason, HistoryTemplate};
use crate::stage::{Outcome, StageReader};

/// Where a script of the Dockerfile stands while it runs.
const SCRIPTS: &str = "/dev/pipes";

/// The build argument that keeps the caches of one project from those of another.
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The build argument that names the machine.
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// How the machine is called that a `RUN` sees.
const DEFAULT_HOSTNAME: &str = "buildkitsandbox";

impl StageReader<'_, '_> {
    /// What a `RUN` does; nothing where it is wrong, which was reported then.
    pub(crate) fn run(&mut self, run: &RunInstruction) -> Option<Outcome> {
        self.check_machine();
        let (command, script) = command_text(run, &self.instruction.heredocs);
        let arguments = self.command(&command);
        if arguments.is_empty() {
            let what = "RUN [] names no program";
            self.error(Code::MissingArgument, self.instruction.span, what);
            return None;
        }
        let mounts: Vec<Option<Mount>> = run
            .options
            .mounts
            .iter()
            .map(|mount| self.mount(mount))
            .collect();
        let mut mounts: Vec<Mount> = mounts.into_iter().collect::<Option<_>>()?;
        let agent = place_agents(&mut mounts);
        let created_by = format!("RUN {} # buildkit", self.run_text(&arguments));
        let mut environment = self.state.environment.clone();
        for (name, value) in &self.session.arguments.proxies {
            environment.set_default(name, value);
        }
        if let Some(epoch) = self.session.inputs.source_date_epoch {
            environment.set_default(EPOCH_NAME, &epoch.to_string());
        }
        if let Some(agent) = &agent {
            environment.set_default("SSH_AUTH_SOCK", agent);
        }
        let operation = Operation::Run(Run {
            arguments,
            environment: environment.lines(),
            working_directory: self.state.working_directory(),
            user: self.state.config.config.user.clone(),
            mounts,
            network: run.options.network,
            security: run.options.security,
            devices: run.options.devices.clone(),
            script,
            hostname: self.hostname(),
        });
        Some((operation, Some(HistoryTemplate::new(created_by, false))))
    }

    /// `|2 A=x B=y /bin/sh -c cmd`: the stage's arguments, then the command.
    fn run_text(&self, arguments: &[String]) -> String {
        let mut given: Vec<(&str, String)> = Vec::new();
        for (name, value) in &self.state.arguments {
            let current = self.state.environment.get(name).map(str::to_owned);
            let value = current.or_else(|| value.clone()).unwrap_or_default();
            match given.iter_mut().find(|(known, _)| known == name) {
                Some(found) => found.1 = value,
                None => given.push((name, value)),
            }
        }
        let mut words = Vec::new();
        if !given.is_empty() {
            words.push(format!("|{}", given.len()));
            words.extend(given.iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend_from_slice(arguments);
        words.join(" ")
    }

    /// A machine executes programs of its own architecture only.
    fn check_machine(&mut self) {
        let machine = &self.session.inputs.build_platform;
        let wanted = &self.state.platform;
        if (&wanted.os, &wanted.architecture) == (&machine.os, &machine.architecture) {
            return;
        }
        let message = format!("this RUN is for {wanted}, and the machine is {machine}");
        self.report(
            Diagnostic::error(Code::NotSupported, self.instruction.span, message).help(
                "begin the stage with FROM --platform=$BUILDPLATFORM and let it build for TARGETPLATFORM; \
                 COPY and what changes only the configuration work for every platform",
            ),
        );
    }

    /// The name that the request gives the machine; runners have another.
    fn hostname(&mut self) -> Option<String> {
        let given = self.session.arguments.build_args.get(HOSTNAME)?;
        let hostname = given.clone();
        if hostname.is_empty() || hostname == DEFAULT_HOSTNAME {
            return None;
        }
        let message = format!("the build argument {HOSTNAME}={hostname} is not supported yet");
        self.error(Code::NotSupported, self.instruction.span, message);
        Some(hostname)
    }

    fn mount(&mut self, flag: &MountFlag) -> Option<Mount> {
        let mount = match flag.resolve(&mut |word| self.expand(word)) {
            Ok(mount) => mount,
            Err(problems) => {
                for problem in problems {
                    self.report(problem);
                }
                return None;
            }
        };
        let MountInstruction { kind, target, span } = mount;
        Some(match kind {
            MountKind::Bind {
                source, read_only, ..
            } => Mount::Bind {
                target: self.mount_target(&target, span)?,
                from: self.mount_source(flag)?.unwrap_or(CopySource::Context),
                source: path::clean(&source),
                read_only,
            },
            MountKind::Cache {
                id,
                sharing,
                source,
                read_only,
                access,
                ..
            } => Mount::Cache {
                id: id.unwrap_or_else(|| cache_id(&target)),
                namespace: self
                    .session
                    .arguments
                    .build_args
                    .get(CACHE_NAMESPACE)
                    .cloned(),
                target: self.mount_target(&target, span)?,
                sharing,
                from: self.cache_source(flag, &source, span)?,
                source: path::clean(&source),
                read_only,
                access,
            },
            MountKind::Tmpfs { size, read_only } => Mount::Tmpfs {
                target: self.mount_target(&target, span)?,
                size,
                read_only,
            },
            MountKind::Secret {
                id,
                environment,
                required,
                access,
            } => {
                let id = id.unwrap_or_else(|| last_part(&target));
                Mount::Secret {
                    target: self.secret_target(&target, span, &id, environment.as_deref())?,
                    id,
                    environment,
                    required,
                    access,
                }
            }
            MountKind::Ssh {
                id,
                required,
                access,
            } => Mount::Ssh {
                target: match target.as_str() {
                    "" => String::new(),
                    target => self.mount_target(target, span)?,
                },
                id: id.unwrap_or_else(|| "default".to_owned()),
                required,
                access,
            },
        })
    }

    /// Where a secret's file is: nowhere if only a variable is asked for. The outer nothing is an error.
    fn secret_target(
        &mut self,
        target: &str,
        span: Span,
        id: &str,
        environment: Option<&str>,
    ) -> Option<Option<String>> {
        match (target, environment) {
            ("", Some(_)) => Some(None),
            ("", None) => Some(Some(format!("/run/secrets/{}", last_part(id)))),
            (target, _) => self.mount_target(target, span).map(Some),
        }
    }

    /// The absolute target, seen from the working directory.
    fn mount_target(&mut self, target: &str, span: Span) -> Option<String> {
        let absolute = path::clean(&path::destination(&self.state.working_directory(), target));
        if absolute == "/" {
            let message = match target {
                "" => "the mount has no target".to_owned(),
                target => format!("nothing can be mounted on / (target={target})"),
            };
            self.error(Code::BadFlag, span, message);
            return None;
        }
        Some(absolute)
    }

    /// What a cache begins as: nothing, where `from` names nothing; then there is no path in it. The outer nothing is
    /// an error.
    fn cache_source(
        &mut self,
        flag: &MountFlag,
        path: &str,
        span: Span,
    ) -> Option<Option<CopySource>> {
        let from = self.mount_source(flag)?;
        let from = from.filter(|from| *from != CopySource::Empty);
        if from.is_none() && path::clean(path) != "/" {
            let message = format!("source={path} names nothing: the cache begins empty");
            self.report(
                Diagnostic::error(Code::BadFlag, span, message)
                    .help("from= names the stage or image whose files it begins with"),
            );
            return None;
        }
        Some(from)
    }

    /// What `from` names, which becomes a need of the stage. The outer nothing is an error.
    fn mount_source(&mut self, flag: &MountFlag) -> Option<Option<CopySource>> {
        let Some(from) = flag.from() else {
            return Some(None);
        };
        if self.session.graph.is_nothing(from.value) {
            return Some(Some(CopySource::Empty));
        }
        let reason = EdgeReason::Mount { step: self.number };
        self.source(from.value, "", from.span, reason).map(Some)
    }
}

/// Gives the agents without a target one, and says where the first is.
fn place_agents(mounts: &mut [Mount]) -> Option<String> {
    let targets = mounts.iter_mut().filter_map(|mount| match mount {
        Mount::Ssh { target, .. } => Some(target),
        _ => None,
    });
    let mut first = None;
    for (number, target) in targets.enumerate() {
        if target.is_empty() {
            *target = format!("/run/buildkit/ssh_agent.{number}");
        }
        first.get_or_insert_with(|| target.clone());
    }
    first
}

/// The name of a cache that has none: its cleaned target as written.
fn cache_id(target: &str) -> String {
    let cleaned = path::clean(target);
    match cleaned.trim_start_matches('/') {
        _ if target.starts_with('/') => cleaned,
        "" => ".".to_owned(),
        relative => relative.to_owned(),
    }
}

/// The command with its here-documents, and the script that it becomes where that says itself what runs it.
fn command_text(run: &RunInstruction, heredocs: &[Heredoc]) -> (Command, Option<InlineFile>) {
    let (Command::Shell(text), Some(first)) = (&run.command, heredocs.first()) else {
        return (run.command.clone(), None);
    };
    if !run.is_document {
        let mut text = text.clone();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.written);
            text.push_str(&heredoc.name);
        }
        return (Command::Shell(text), None);
    }
    if !first.content.starts_with("#!") {
        return (Command::Shell(first.content.clone()), None);
    }
    let script = InlineFile {
        name: first.name.clone(),
        content: first.content.clone(),
    };
    let path = path::clean(&format!("{SCRIPTS}/{}", first.name));
    (Command::Shell(path), Some(script))
}

/// The last part of a path; `/` and `.` have none but themselves.
fn last_part(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None if path.is_empty() => ".".to_owned(),
        Some("") | None => "/".to_owned(),
        Some(last) => last.to_owned(),
    }
}
