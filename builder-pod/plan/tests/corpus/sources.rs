//! What ADD fetches: URLs and git repositories, with what decides what comes of them.

use serde_json::{Value, json};
use stagecraft_plan::{BuildPlan, ContextSource, Operation, RemoteSource};

/// Members that say how BuildKit gets at a repository.
const ACCESS: [&str; 3] = [
    "git.authheadersecret",
    "git.authtokensecret",
    "git.mountsshsock",
];

/// BuildKit's sources without images and directories.
pub(crate) fn judged(sources: &Value) -> Value {
    let sources = sources.as_array().into_iter().flatten();
    let fetched = sources.filter(|one| {
        let identifier = one["identifier"].as_str().unwrap();
        ["http://", "https://", "git://"]
            .iter()
            .any(|scheme| identifier.starts_with(scheme))
    });
    let mut fetched: Vec<Value> = fetched.cloned().collect();
    for one in &mut fetched {
        if let Some(attributes) = one["attributes"].as_object_mut() {
            attributes.retain(|name, _| !ACCESS.contains(&name.as_str()));
        }
    }
    fetched.into()
}

/// What a plan fetches, each once.
pub(crate) fn planned(plan: &BuildPlan) -> Value {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let copies = steps.filter_map(|step| match &step.operation {
        Operation::Copy(copy) => Some(copy),
        _ => None,
    });
    let remotes = copies.flat_map(|copy| &copy.remotes);
    let contexts = plan.contexts.iter().filter_map(|one| match &one.source {
        ContextSource::Directory { .. } => None,
        ContextSource::Remote(remote) => Some(remote),
    });
    let fetched = remotes.map(|remote| &remote.source).chain(contexts);
    let mut sources: Vec<Value> = fetched.map(source).collect();
    sources.sort_by_key(|one| one["identifier"].as_str().unwrap().to_owned());
    sources.dedup();
    sources.into()
}

fn source(source: &RemoteSource) -> Value {
    let flag = |is_on: bool| is_on.then_some("true");
    let attributes = match source {
        RemoteSource::Url { name, checksum, .. } => {
            json!({"http.filename": name, "http.checksum": checksum})
        }
        RemoteSource::Git {
            remote,
            checksum,
            keep_git_directory,
            submodules,
            fetch_by_commit,
            ..
        } => json!({
            "git.fullurl": remote,
            "git.checksum": checksum,
            "git.keepgitdir": flag(*keep_git_directory),
            "git.skipsubmodules": flag(!submodules),
            "git.fetchbycommit": flag(*fetch_by_commit),
        }),
    };
    json!({"identifier": identifier(source), "attributes": attributes})
}

/// BuildKit's name for it: a repository stands there without its scheme, user and query.
pub(crate) fn identifier(source: &RemoteSource) -> String {
    let (remote, revision, directory) = match source {
        RemoteSource::Url { url, .. } => return url.clone(),
        RemoteSource::Git {
            remote,
            revision,
            directory,
            ..
        } => (remote, revision, directory),
    };
    let bare = remote
        .split_once("://")
        .map_or(remote.as_str(), |(_, rest)| rest);
    let bare = bare.split_once('@').map_or(bare, |(_, rest)| rest);
    let bare = match bare.split_once(':') {
        Some((host, path)) if !path.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{host}/{path}")
        }
        _ => bare.to_owned(),
    };
    let fragment = match (revision.as_str(), directory.as_str()) {
        ("", "") => String::new(),
        (revision, "") => format!("#{revision}"),
        (revision, directory) => format!("#{revision}:{directory}"),
    };
    format!("git://{bare}{fragment}")
}
