//! COPY over small trees, written in their text form.

mod archives;
mod destinations;
mod flags;
mod sources;

use super::*;

fn tree(text: &str) -> FsTree {
    FsTree::parse(text).unwrap()
}

struct Case<'a> {
    source: &'a str,
    target: &'a str,
    sources: &'a [&'a str],
    destination: &'a str,
    owner: Option<(u32, u32)>,
    chmod: Option<&'a str>,
    ignore: &'a str,
    parents: bool,
    exclude: &'a [&'a str],
}

const PLAIN: Case<'static> = Case {
    source: "",
    target: "",
    sources: &[],
    destination: "/",
    owner: None,
    chmod: None,
    ignore: "",
    parents: false,
    exclude: &[],
};

fn copy(case: &Case<'_>) -> Result<Vec<String>, CopyError> {
    let (source, target) = (tree(case.source), tree(case.target));
    let sources: Vec<String> = case.sources.iter().map(|s| (*s).to_owned()).collect();
    let mode = case.chmod.map(|text| ModeChange::parse(text).unwrap());
    let ignore = IgnoreFile::parse(case.ignore).unwrap();
    let exclude = IgnoreFile::from_patterns(case.exclude.iter().copied()).unwrap();
    let entries = plan_copy(&CopyRequest {
        ignore: Some(&ignore),
        parents: case.parents,
        exclude: Some(&exclude),
        owner: case.owner,
        mode: mode.as_ref(),
        ..CopyRequest::plain(&source, &sources, &target, case.destination)
    })?;
    Ok(entries.iter().map(line).collect())
}

fn plan_copy(request: &CopyRequest<'_>) -> Result<Vec<CopyEntry>, CopyError> {
    let mut plan = CopyPlan::new(request);
    let mut entries = Vec::new();
    for found in find_sources(request)? {
        entries.append(&mut plan.copy(&found)?);
    }
    Ok(entries)
}

fn line(entry: &CopyEntry) -> String {
    format!(
        "{:o} {}:{} {} <- {}",
        entry.node.full_mode(),
        entry.node.uid,
        entry.node.gid,
        text(&entry.path),
        entry.source.as_deref().map_or("-".to_owned(), text)
    )
}

const SOURCE: &str = "\
f 0644 7:8 3 a.txt
d 0750 7:8 - d
f 0755 7:8 1 d/run
d 0700 7:8 - d/sub
f 0600 7:8 1 d/sub/x
l 0777 7:8 - link -> a.txt
l 0777 7:8 - d/out -> ../../../etc/passwd
";
