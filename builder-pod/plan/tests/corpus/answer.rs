//! A plan in the form of the judge's answers.
//!
//! A filesystem is named by what made it: the line of an instruction, an image, or nothing.

use serde_json::{Map, Value, json};
use stagecraft_plan::{
    Base, BuildPlan, Copy, CopySource, ImageId, Operation, Run, StageIndex, StagePlan, Step,
    WorkDirectory,
};

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
                    execs.push(exec(run, step, stage, &on));
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
        let entries = stage.steps.iter().map(|step| step.history.entry(None));
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
    }
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
        None => format!("{reference}@{}", image.digest),
    };
    json!({"source": format!("docker-image://{pinned}"), "platform": image.platform.to_string()})
}

fn stage_result(plan: &BuildPlan, stage: StageIndex) -> Value {
    after(plan, plan.stage(stage).unwrap())
}

fn exec(run: &Run, step: &Step, stage: &StagePlan, on: &Value) -> Value {
    json!({
        "line": step.place.line,
        "on": on,
        "args": run.arguments,
        "env": run.environment,
        "cwd": run.working_directory,
        "user": run.user,
        "platform": stage.platform.to_string(),
    })
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
    let from = match copy.from {
        CopySource::Context => json!({"source": "local://context"}),
        CopySource::Stage(stage) => stage_result(plan, stage),
        CopySource::Image(id) => image(plan, id),
    };
    let actions: Vec<Value> = copy
        .sources
        .iter()
        .map(|source| {
            let mut action = Map::new();
            for (name, value) in [
                ("from", from.clone()),
                ("source", json!(absolute(source))),
                ("destination", json!(copy.destination)),
                (
                    "owner",
                    json!(owner(copy.chown.as_deref().unwrap_or_default())),
                ),
                (
                    "mode",
                    json!(mode(copy.chmod.as_deref().unwrap_or_default())),
                ),
                ("unpack", json!(copy.is_add)),
                ("followSymlink", json!(true)),
                ("contentsOfDirectory", json!(true)),
                ("createDestination", json!(true)),
                ("wildcards", json!(true)),
                ("emptyWildcards", json!(true)),
            ] {
                action.insert(name.to_owned(), value);
            }
            json!({"copy": action})
        })
        .collect();
    json!({"line": step.place.line, "on": on, "actions": actions})
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
