//! Finds the sources of a COPY in its tree: names, directories, wildcards.
//!
//! Invariant: nothing outside the source's root and nothing that the ignore file hides is ever found.

use stagecraft_dockerfile::glob::{self, Glob};
use stagecraft_layer::{Node, is_below, join_paths, name_of, parent_of};

use super::visible::Visible;
use super::{CopyError, CopyRequest, text};

/// A source that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSource {
    /// Its name as the copy sees it, its last link not followed.
    pub name: Vec<u8>,
    /// The path that it leads to, links followed.
    pub path: Vec<u8>,
    /// What of the directory is copied, relative to it; `None` for all of it.
    pub pattern: Option<String>,
    /// Which of the copy's sources it comes from.
    pub position: usize,
}

/// Every source in the order written; the matches of a wildcard in the order of their paths.
///
/// # Errors
/// When a named source does not exist, or all wildcards together match nothing.
pub fn find_sources(request: &CopyRequest<'_>) -> Result<Vec<FoundSource>, CopyError> {
    let mut found = Vec::new();
    for (position, source) in request.sources.iter().enumerate() {
        let before = found.len();
        let clean = clean(source);
        if request.parents {
            with_parents(request, source, &mut found)?;
        } else if glob::has_wildcard(&clean) {
            matches(request, source, &clean, &mut found)?;
        } else {
            found.push(named(request, source, clean.into_bytes())?);
        }
        for found in &mut found[before..] {
            found.position = position;
        }
    }
    match request.sources.first() {
        Some(first) if found.is_empty() => Err(CopyError::NoMatch(first.clone())),
        _ => Ok(found),
    }
}

/// A source of `--parents`: the directory before the first `/./`, or the root, with what follows as its pattern.
fn with_parents(
    request: &CopyRequest<'_>,
    source: &str,
    found: &mut Vec<FoundSource>,
) -> Result<(), CopyError> {
    let (base, below) = source.split_once("/./").unwrap_or(("", source));
    let (base, below) = (clean(base), clean(below));
    if below.is_empty() {
        return Err(CopyError::ParentsOfRoot(source.to_owned()));
    }
    let mut bases = Vec::new();
    match glob::has_wildcard(&base) {
        true => matches(request, source, &base, &mut bases)?,
        false => bases.push(named(request, source, base.clone().into_bytes())?),
    }
    if !glob::has_wildcard(&base) && !glob::has_wildcard(&below) {
        let directory = bases
            .first()
            .map(|base| base.path.clone())
            .unwrap_or_default();
        let path = join_paths(&directory, below.as_bytes());
        named(request, source, path.clone())?;
        if !request.source.contains(&path) {
            return Err(CopyError::ParentIsLink(source.to_owned()));
        }
    }
    for base in bases {
        let base = FoundSource {
            pattern: Some(below.clone()),
            ..base
        };
        let visible = Visible::new(request, &base)?;
        let is_shown = |(path, _): (&[u8], _)| path.len() > base.path.len() && visible.shows(path);
        let matches_something = request.source.walk(&base.path).any(is_shown);
        found.extend(matches_something.then_some(base));
    }
    Ok(())
}

/// The path without a leading slash, `.` and `..`; it never goes above the root.
fn clean(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn named(request: &CopyRequest<'_>, source: &str, name: Vec<u8>) -> Result<FoundSource, CopyError> {
    let looped = |_| CopyError::Loop(source.to_owned());
    let path = request.source.resolve(&name, true).map_err(looped)?;
    let exists = request.source.contains(&path);
    let ignored = exists && (is_hidden(request, &name) || is_hidden(request, &path));
    if exists && !ignored {
        return Ok(FoundSource {
            name,
            path,
            pattern: None,
            position: 0,
        });
    }
    Err(CopyError::NotFound {
        source_path: source.to_owned(),
        nearest: if exists {
            None
        } else {
            nearest(request, &name)
        },
        ignored,
    })
}

/// A directory that the ignore file hides still counts when it shows something of it again.
fn is_hidden(request: &CopyRequest<'_>, path: &[u8]) -> bool {
    let Some(ignore) = request
        .ignore
        .filter(|ignore| ignore.is_ignored(&text(path)))
    else {
        return false;
    };
    let shown = |(path, _): (&[u8], _)| !ignore.is_ignored(&text(path));
    !(ignore.has_exceptions() && request.source.walk(path).any(shown))
}

/// The matches of a wildcard. What stands before its first wildcard must exist and may lead through links;
/// what is in a directory that matches is not looked at.
fn matches(
    request: &CopyRequest<'_>,
    source: &str,
    clean: &str,
    found: &mut Vec<FoundSource>,
) -> Result<(), CopyError> {
    let parts: Vec<&str> = clean.split('/').collect();
    let plain = parts
        .iter()
        .take_while(|part| !glob::has_wildcard(part))
        .count();
    let (base, pattern) = parts.split_at(plain);
    let base = named(request, source, base.join("/").into_bytes())?.path;
    let pattern = pattern.join("/");
    let pattern = Glob::parse(&pattern).map_err(|_| CopyError::Pattern(source.to_owned()))?;
    let start = base.len() + usize::from(!base.is_empty());
    let mut taken: Option<Vec<u8>> = None;
    for (path, _) in request
        .source
        .walk(&base)
        .filter(|(path, _)| path.len() > start)
    {
        let is_inside = |directory: &Vec<u8>| is_below(path, directory);
        if taken.as_ref().is_some_and(is_inside) || !pattern.matches(&text(&path[start..])) {
            continue;
        }
        if !is_hidden(request, path) {
            found.push(named(request, source, path.to_vec())?);
            taken = Some(path.to_vec());
        }
    }
    Ok(())
}

/// A path that exists and is written like the one that does not: its first component that is missing is
/// replaced by the most alike name of the same directory.
fn nearest(request: &CopyRequest<'_>, path: &[u8]) -> Option<String> {
    let tree = request.source;
    let mut components = path.split(|byte| *byte == b'/');
    let mut directory: Vec<u8> = Vec::new();
    let missing = components.find(|component| {
        let next = tree.resolve(&join_paths(&directory, component), true).ok();
        match next.filter(|next| tree.get(next).is_some_and(Node::is_directory)) {
            Some(next) => directory = next,
            None => return true,
        }
        false
    })?;
    let children = tree.children(&directory).map(|(path, _)| path);
    let names: Vec<String> = children
        .filter(|child| !is_hidden(request, child))
        .map(|child| text(name_of(child)))
        .collect();
    let best = stagecraft_dockerfile::nearest(&text(missing), names.iter().map(String::as_str))?;
    let found = join_paths(&directory, best.as_bytes());
    let whole = components.fold(found.clone(), |path, component| {
        join_paths(&path, component)
    });
    let exists = tree.contains(&whole) && !is_hidden(request, &whole);
    let is_parent = parent_of(path).len() > directory.len();
    match exists {
        true => Some(text(&whole)),
        false if is_parent && !tree.get(&found).is_some_and(Node::is_directory) => None,
        false => Some(text(&found)),
    }
}
