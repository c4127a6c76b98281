//! A plan in the form of the judge's answers.
//!
//! A filesystem is named by what made it: the line of an instruction, an image, or nothing.

use serde_json::{Value, json};
use stagecraft_dockerfile::{Access, Network, Security};
use stagecraft_plan::{
    Base, BuildPlan, ContextId, ContextSource, Copy, CopySource, ImageId, ImageOrigin, Mount,
    Operation, RemoteSource, Run, StageIndex, StagePlan, Step, WorkDirectory,
};

use crate::sources;

/// The plan's answer.
pub(crate) fn answer(plan: &BuildPlan) -> Value {
    let target = plan.target_stage().unwrap();
    let mut execs = Vec::new();
    let mut files = Vec::new();
    for stage in &plan.stages {
        let mut on = before(plan, stage);
        for step in &stage.steps {
            let facts = match &step.operation {
                Operation::Metadata => continue,
                Operation::Run(run) => {
                    execs.push(exec(plan, run, step, stage, &on));
                    on = lines(step);
                    continue;
                }
                Operation::Copy(copy) => copied(plan, copy, step, &on),
                Operation::WorkDirectory(made) => directory(plan, made, step, &on),
            };
            files.push(facts);
            on = lines(step);
        }
    }
    let line = |fact: &Value| fact["line"].as_u64();
    execs.sort_by_key(line);
    files.sort_by_key(line);
    let mut images: Vec<Value> = plan
        .images
        .iter()
        .map(|image| {
            let (reference, platform) = (image.reference.to_string(), image.platform.to_string());
            json!({"reference": reference, "platform": platform})
        })
        .collect();
    images.sort_by_key(|image| format!("{} {}", image["reference"], image["platform"]));
    json!({
        "config": configuration(plan, target),
        "images": images,
        "execs": execs,
        "files": files,
        "sources": sources::planned(plan),
        "result": after(plan, target),
    })
}

/// The target's configuration with the history that the engine would write.
fn configuration(plan: &BuildPlan, target: &StagePlan) -> Value {
    let mut config = target.config.clone();
    let mut chain = vec![target];
    while let Base::Stage(below) = chain.last().unwrap().base {
        chain.push(plan.stage(below).unwrap());
    }
    for stage in chain.iter().rev() {
        let entries = stage.steps.iter().filter_map(|step| step.history.as_ref());
        let entries = entries.map(|entry| entry.entry(None));
        config.history.extend(entries);
    }
    serde_json::to_value(config).unwrap()
}

/// What a stage begins with.
fn before(plan: &BuildPlan, stage: &StagePlan) -> Value {
    match stage.base {
        Base::Scratch => json!({}),
        Base::Image(id) => image(plan, id),
        Base::Stage(below) => after(plan, plan.stage(below).unwrap()),
        Base::Context(id) => named(plan, id),
    }
}

/// A named context as a source.
fn named(plan: &BuildPlan, id: ContextId) -> Value {
    let identifier = match &plan.context(id).unwrap().source {
        ContextSource::Directory { name } => format!("local://{name}"),
        ContextSource::Remote(remote) => sources::identifier(remote),
    };
    json!({"source": identifier})
}

/// What a stage ends with.
fn after(plan: &BuildPlan, stage: &StagePlan) -> Value {
    let is_layer = |step: &&Step| !matches!(step.operation, Operation::Metadata);
    match stage.steps.iter().rev().find(is_layer) {
        Some(step) => lines(step),
        None => before(plan, stage),
    }
}

fn lines(step: &Step) -> Value {
    json!({"lines": [step.place.line]})
}

/// An image as a source; one without layers is nothing.
fn image(plan: &BuildPlan, id: ImageId) -> Value {
    let image = plan.image(id).unwrap();
    if image.config.rootfs.diff_ids.is_empty() {
        return json!({});
    }
    let reference = image.reference.to_string();
    let pinned = match reference.split_once('@') {
        Some(_) => reference,
        None => format!("{reference}@{}", image.digest.as_ref().unwrap()),
    };
    match image.origin {
        ImageOrigin::Registry => json!({
            "source": format!("docker-image://{pinned}"),
            "platform": image.platform.to_string(),
        }),
        ImageOrigin::Layout(_) => json!({"source": format!("oci-layout://{pinned}")}),
    }
}

fn stage_result(plan: &BuildPlan, stage: StageIndex) -> Value {
    after(plan, plan.stage(stage).unwrap())
}

fn exec(plan: &BuildPlan, run: &Run, step: &Step, stage: &StagePlan, on: &Value) -> Value {
    // BuildKit has files by their targets first, then secrets, then agents.
    let kind = |mount: &&Mount| match mount {
        Mount::Secret { .. } => 1,
        Mount::Ssh { .. } => 2,
        _ => 0,
    };
    let mut in_order: Vec<&Mount> = run.mounts.iter().collect();
    in_order.sort_by_key(|mount| (kind(mount), file_target(mount)));
    let mut mounts: Vec<Value> = in_order
        .iter()
        .filter_map(|mount| mounted(plan, mount))
        .collect();
    if let Some(script) = &run.script {
        let file =
            json!({"path": format!("/{}", script.name), "mode": "0755", "data": script.content});
        mounts.insert(
            0,
            json!({
                "type": "bind",
                "target": "/dev/pipes/",
                "from": {"file": file},
                "source": "/",
                "readOnly": true,
            }),
        );
    }
    let variables: Vec<Value> = run
        .mounts
        .iter()
        .filter_map(|mount| match mount {
            Mount::Secret {
                id,
                environment: Some(name),
                required,
                ..
            } => Some(json!({"id": id, "name": name, "optional": !required})),
            _ => None,
        })
        .collect();
    let devices: Vec<Value> = run
        .devices
        .iter()
        .map(|device| json!({"name": device.name, "optional": !device.required}))
        .collect();
    json!({
        "line": step.place.line,
        "on": on,
        "args": run.arguments,
        "env": run.environment,
        "cwd": run.working_directory,
        "user": run.user,
        "hostname": run.hostname,
        "platform": stage.platform.to_string(),
        "mounts": mounts,
        "secretEnvs": variables,
        "network": match run.network {
            Network::Default => "",
            Network::None => "none",
            Network::Host => "host",
        },
        "security": match run.security {
            Security::Sandbox => "",
            Security::Insecure => "insecure",
        },
        "devices": devices,
    })
}

fn file_target<'a>(mount: &&'a Mount) -> &'a str {
    match mount {
        Mount::Bind { target, .. } | Mount::Cache { target, .. } | Mount::Tmpfs { target, .. } => {
            target
        }
        Mount::Secret { .. } | Mount::Ssh { .. } => "",
    }
}

/// The root of a source is not said.
fn below(source: &str) -> Value {
    match source {
        "/" => Value::Null,
        path => json!(path),
    }
}

/// What a cache begins as: a directory with mode and owner, where these are asked for.
fn cache_beginning(
    plan: &BuildPlan,
    from: Option<CopySource>,
    source: &str,
    access: &Access,
) -> (Value, Value) {
    if access.is_default() || source != "/" {
        let from = from.map_or_else(|| json!({}), |from| files_of(plan, from));
        return (from, below(source));
    }
    let bits = access.mode.unwrap_or(0o755) & 0o777;
    let (uid, gid) = (access.uid.unwrap_or(0), access.gid.unwrap_or(0));
    let directory = json!({
        "path": "/cache",
        "mode": format!("{bits:04o}"),
        "owner": format!("{uid}:{gid}"),
    });
    (json!({"directory": directory}), json!("/cache"))
}

fn mounted(plan: &BuildPlan, mount: &Mount) -> Option<Value> {
    Some(match mount {
        Mount::Bind {
            target,
            from,
            source,
            read_only,
        } => json!({
            "type": "bind",
            "target": target,
            "from": files_of(plan, *from),
            "source": below(source),
            "readOnly": read_only,
        }),
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
            let namespace = namespace.as_deref().unwrap_or_default();
            let (from, source) = cache_beginning(plan, *from, source, access);
            json!({
                "type": "cache",
                "target": target,
                "id": format!("{namespace}/{id}"),
                "sharing": sharing,
                "from": from,
                "source": source,
                "readOnly": read_only,
            })
        }
        Mount::Tmpfs {
            target,
            size,
            read_only,
        } => json!({
            "type": "tmpfs",
            "target": target,
            "size": size,
            "readOnly": read_only,
        }),
        Mount::Secret {
            target,
            id,
            required,
            access,
            ..
        } => json!({
            "type": "secret",
            "target": target.as_ref()?,
            "id": id,
            "uid": access.uid,
            "gid": access.gid,
            "mode": format!("{:04o}", access.mode.unwrap_or(0o400)),
            "optional": !required,
        }),
        Mount::Ssh {
            target,
            id,
            required,
            access,
        } => json!({
            "type": "ssh",
            "target": target,
            "id": if id == "default" { "" } else { id },
            "uid": access.uid,
            "gid": access.gid,
            "mode": format!("{:04o}", access.mode.unwrap_or(0o600)),
            "optional": !required,
        }),
    })
}

fn files_of(plan: &BuildPlan, from: CopySource) -> Value {
    match from {
        CopySource::Context => json!({"source": "local://context"}),
        CopySource::Empty => json!({}),
        CopySource::Stage(stage) => stage_result(plan, stage),
        CopySource::Image(id) => image(plan, id),
        CopySource::Named(id) => named(plan, id),
    }
}

fn directory(plan: &BuildPlan, made: &WorkDirectory, step: &Step, on: &Value) -> Value {
    let mkdir = json!({
        "path": made.path,
        "mode": "0755",
        "owner": owner(&made.user),
        "parents": true,
        "timestamp": plan.source_date_epoch,
    });
    json!({"line": step.place.line, "on": on, "actions": [{"mkdir": mkdir}]})
}

fn copied(plan: &BuildPlan, copy: &Copy, step: &Step, on: &Value) -> Value {
    let from = files_of(plan, copy.from);
    let mut actions = Vec::new();
    let mut remotes = copy.remotes.iter().peekable();
    for (position, source) in copy.sources.iter().enumerate() {
        while let Some(remote) = remotes.next_if(|one| one.position <= position) {
            actions.push(fetched(copy, &remote.source));
        }
        actions.push(from_files(copy, &from, source));
    }
    actions.extend(remotes.map(|remote| fetched(copy, &remote.source)));
    for document in &copy.documents {
        let path = absolute(&document.name);
        let file = json!({"path": path, "mode": "0644", "data": document.content});
        actions.push(action(
            copy,
            json!({"from": {"file": file}, "source": path}),
        ));
    }
    let actions: Vec<Value> = actions
        .into_iter()
        .map(|copy| json!({"copy": copy}))
        .collect();
    // Laid over nothing it is a copy like any other.
    let link = copy.link && *on != json!({});
    json!({"line": step.place.line, "on": on, "actions": actions, "link": link})
}

/// What every copy says, and more.
fn action(copy: &Copy, more: Value) -> Value {
    let mut action = json!({
        "destination": copy.destination,
        "owner": owner(copy.chown.as_deref().unwrap_or_default()),
        "mode": mode(copy.chmod.as_deref().unwrap_or_default()),
        "exclude": copy.exclude,
        "createDestination": true,
    });
    let (Value::Object(members), Value::Object(more)) = (&mut action, more) else {
        unreachable!("both are objects")
    };
    members.extend(more);
    action
}

fn from_files(copy: &Copy, from: &Value, source: &str) -> Value {
    let (root, include) = match (copy.parents, source.split_once("/./")) {
        (false, _) => (source, None),
        (true, Some((root, rest))) => (root, Some(rest)),
        (true, None) => ("/", Some(source)),
    };
    let has_wildcards = |path: &str| path.contains(['*', '?', '[']);
    let required = include.filter(|rest| !has_wildcards(root) && !has_wildcards(rest));
    let required = required.map(|rest| vec![absolute(&format!("{root}/{rest}"))]);
    let include = include.map(|rest| vec![absolute(rest).trim_start_matches('/').to_owned()]);
    action(
        copy,
        json!({
            "from": from,
            "source": absolute(root),
            "include": include,
            "required": required,
            "unpack": copy.unpack.unwrap_or(copy.is_add),
            "followSymlink": true,
            "contentsOfDirectory": true,
            "wildcards": true,
            "emptyWildcards": true,
        }),
    )
}

fn fetched(copy: &Copy, remote: &RemoteSource) -> Value {
    let (source, unpack) = match remote {
        RemoteSource::Url { name, .. } => (format!("/{name}"), copy.unpack.unwrap_or(false)),
        RemoteSource::Git { .. } => ("/".to_owned(), false),
    };
    let from = json!({"source": sources::identifier(remote)});
    action(
        copy,
        json!({"from": from, "source": source, "unpack": unpack}),
    )
}

/// A path of a source from its root, without `.`, `..` and doubled slashes.
pub(crate) fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `user[:group]` with numbers in their shortest form, root being one. No user before a group is root; no group behind
/// the colon is no colon.
fn owner(text: &str) -> String {
    let number = |part: &str| match (part, part.parse::<u32>()) {
        ("root", _) => "0".to_owned(),
        (_, Ok(number)) => number.to_string(),
        (name, Err(_)) => name.to_owned(),
    };
    match text.split_once(':') {
        Some(("", "")) => "0".to_owned(),
        Some((user, "")) => number(user),
        Some(("", group)) => format!("0:{}", number(group)),
        Some((user, group)) => format!("{}:{}", number(user), number(group)),
        None => number(text),
    }
}

/// An octal mode with four digits; a symbolic one as written.
fn mode(text: &str) -> String {
    match u32::from_str_radix(text, 8) {
        Ok(bits) => format!("{bits:04o}"),
        Err(_) => text.to_owned(),
    }
}
