//! An operation as text: the lines below a step.

use std::fmt::{self, Formatter};

use stagecraft_dockerfile::{Access, CacheSharing, Network, Security, without_passwords};

use crate::operation::{Copy, CopySource, InlineFile, Mount, Operation, RemoteSource, Run};
use crate::plan::BuildPlan;
use crate::render::{owner, pinned};

impl BuildPlan {
    pub(crate) fn operation_text(
        &self,
        operation: &Operation,
        out: &mut Formatter<'_>,
    ) -> fmt::Result {
        match operation {
            Operation::Metadata => Ok(()),
            Operation::Run(run) => self.run_text(run, out),
            Operation::Copy(copy) => self.copy_text(copy, out),
            Operation::WorkDirectory(directory) => {
                let owner = owner(&directory.user);
                writeln!(out, "    directory {:?} of {owner}", directory.path)
            }
        }
    }

    fn run_text(&self, run: &Run, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "    execute {:?}", run.arguments)?;
        if let Some(script) = &run.script {
            writeln!(out, "    script {}", document(script))?;
        }
        if let Some(hostname) = &run.hostname {
            writeln!(out, "    on a machine called {hostname:?}")?;
        }
        let user = owner(&run.user);
        writeln!(out, "    in {:?} as {user}", run.working_directory)?;
        for line in &run.environment {
            writeln!(out, "    with {line:?}")?;
        }
        for mount in &run.mounts {
            writeln!(out, "    mount {}", self.mount(mount))?;
        }
        match run.network {
            Network::Default => {}
            Network::None => writeln!(out, "    without a network")?,
            Network::Host => writeln!(out, "    in the network of the machine")?,
        }
        if run.security == Security::Insecure {
            writeln!(out, "    with every privilege")?;
        }
        for device in &run.devices {
            let required = if device.required { " (required)" } else { "" };
            writeln!(out, "    device {:?}{required}", device.name)?;
        }
        Ok(())
    }

    fn mount(&self, mount: &Mount) -> String {
        match mount {
            Mount::Bind {
                target,
                from,
                source,
                read_only,
            } => {
                let writes = if *read_only {
                    ""
                } else {
                    ", writes thrown away"
                };
                let from = self.source_name(*from);
                format!("{target:?}: {source:?} of {from}{writes}")
            }
            Mount::Cache {
                target,
                id,
                namespace,
                sharing,
                from,
                source,
                read_only,
                access,
            } => {
                let namespace = namespace.as_ref().map(|name| format!(" of {name:?}"));
                let sharing = match sharing {
                    CacheSharing::Shared => "shared",
                    CacheSharing::Private => "private",
                    CacheSharing::Locked => "locked",
                };
                let begins = from
                    .map(|from| format!(", begins as {source:?} of {}", self.source_name(from)));
                format!(
                    "{target:?}: cache {id:?}{}, {sharing}{}{}{}",
                    namespace.unwrap_or_default(),
                    begins.unwrap_or_default(),
                    access_text(access),
                    read_only_text(*read_only)
                )
            }
            Mount::Tmpfs {
                target,
                size,
                read_only,
            } => {
                let limit = match size {
                    0 => String::new(),
                    size => format!(" of at most {size} bytes"),
                };
                format!("{target:?}: memory{limit}{}", read_only_text(*read_only))
            }
            Mount::Secret {
                target,
                id,
                environment,
                required,
                access,
            } => {
                let target = target.as_ref().map(|target| format!("{target:?}"));
                let variable = environment.as_ref().map(|name| format!("${name}"));
                let places: Vec<String> = target.into_iter().chain(variable).collect();
                format!(
                    "{}: secret {id:?}{}{}",
                    places.join(" and "),
                    access_text(access),
                    required_text(*required)
                )
            }
            Mount::Ssh {
                target,
                id,
                required,
                access,
            } => format!(
                "{target:?}: ssh agent {id:?}{}{}",
                access_text(access),
                required_text(*required)
            ),
        }
    }

    fn copy_text(&self, copy: &Copy, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "    from {}", self.source_name(copy.from))?;
        let mut remotes = copy.remotes.iter().peekable();
        for (position, source) in copy.sources.iter().enumerate() {
            while let Some(remote) = remotes.next_if(|one| one.position <= position) {
                writeln!(out, "    fetch {}", fetched(&remote.source))?;
            }
            writeln!(out, "    copy {source:?}")?;
        }
        for remote in remotes {
            writeln!(out, "    fetch {}", fetched(&remote.source))?;
        }
        for file in &copy.documents {
            writeln!(out, "    write {}", document(file))?;
        }
        writeln!(out, "    to {:?}", copy.destination)?;
        for pattern in &copy.exclude {
            writeln!(out, "    but not {pattern:?}")?;
        }
        if let Some(chown) = &copy.chown {
            writeln!(out, "    owner {chown:?}")?;
        }
        if let Some(chmod) = &copy.chmod {
            writeln!(out, "    mode {chmod:?}")?;
        }
        if copy.parents {
            writeln!(out, "    with the directories that lead to it")?;
        }
        if copy.link {
            writeln!(out, "    independent of the layers below")?;
        }
        match (copy.is_add, copy.unpack) {
            (true, None) => writeln!(out, "    archives are unpacked"),
            (_, Some(true)) => writeln!(out, "    archives are unpacked, fetched ones too"),
            (_, Some(false)) => writeln!(out, "    archives stay archives"),
            (false, None) => Ok(()),
        }
    }

    fn source_name(&self, from: CopySource) -> String {
        match from {
            CopySource::Context => "the context".to_owned(),
            CopySource::Empty => "nothing".to_owned(),
            CopySource::Stage(index) => self.name_of(index),
            CopySource::Image(id) => self.image(id).map(pinned).unwrap_or_default(),
            CopySource::Named(id) => self.context_name(id),
        }
    }
}

fn document(file: &InlineFile) -> String {
    format!("{:?} with {:?}", file.name, file.content)
}

pub(crate) fn fetched(source: &RemoteSource) -> String {
    let (what, checksum) = match source {
        RemoteSource::Url { url, checksum, .. } => {
            (format!("{:?}", without_passwords(url)), checksum)
        }
        RemoteSource::Git {
            remote,
            revision,
            directory,
            checksum,
            keep_git_directory,
            ..
        } => {
            let mut what = format!("the repository {:?}", without_passwords(remote));
            if !revision.is_empty() {
                what += &format!(" at {revision:?}");
            }
            if !directory.is_empty() {
                what += &format!(", its {directory:?}");
            }
            if *keep_git_directory {
                what += " with .git";
            }
            (what, checksum)
        }
    };
    match checksum {
        Some(checksum) => format!("{what} if it is {checksum}"),
        None => what,
    }
}

fn access_text(access: &Access) -> String {
    let mut text = String::new();
    if let Some(mode) = access.mode {
        text += &format!(", mode {mode:04o}");
    }
    if access.uid.is_some() || access.gid.is_some() {
        let (uid, gid) = (access.uid.unwrap_or(0), access.gid.unwrap_or(0));
        text += &format!(", owner {uid}:{gid}");
    }
    text
}

const fn read_only_text(read_only: bool) -> &'static str {
    if read_only { ", read only" } else { "" }
}

const fn required_text(required: bool) -> &'static str {
    if required { ", required" } else { "" }
}
