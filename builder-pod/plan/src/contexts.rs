//! Named contexts: what stands for a stage or image of that name.
//!
//! Values have the form in which BuildKit's frontend gets them: `docker-image://NAME`, `oci-layout://STORE@DIGEST`,
//! `local:NAME`, or the address of a git repository or a file.
//! Invariant: a named context comes before a stage and an image of its name. Names are compared as they are written,
//! case counts.

use std::collections::BTreeMap;

use serde::Serialize;
use stagecraft_dockerfile::git_reference::GitReference;
use stagecraft_dockerfile::{Code, Diagnostic, Span, nearest, without_passwords};
use stagecraft_image::{Digest, Platform, Reference};

use crate::operation::RemoteSource;

/// Position of a named context in [`crate::BuildPlan::contexts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContextId(pub usize);

/// A named context whose files a plan uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedContext {
    /// Its name in the request, with the platform where it is for one only.
    pub name: String,
    /// Where its files come from.
    pub source: ContextSource,
}

/// Where the files of a named context come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ContextSource {
    /// A directory.
    #[serde(rename_all = "camelCase")]
    Directory {
        /// What the request calls it.
        name: String,
    },
    /// It is fetched. What an address of a file gives is a directory with that file, called `context`.
    Remote(RemoteSource),
}

/// An image in an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayoutImage {
    /// What the request calls the layout.
    pub(crate) store: String,
    /// The name of the context, pinned to the digest in the layout.
    pub(crate) reference: Reference,
}

/// What a named context is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedContext {
    /// `docker-image://scratch`.
    Nothing,
    /// An image of a registry.
    Image(String),
    /// An image of an OCI layout.
    Layout(LayoutImage),
    /// A tree of files.
    Files(PlannedContext),
}

/// Why the value of a named context means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadContext {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl BadContext {
    pub(crate) fn at(self, span: Span) -> Diagnostic {
        let mut wrong = Diagnostic::error(Code::BadValue, span, self.message);
        wrong.help = self.help;
        wrong
    }
}

/// The named contexts of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedContexts(BTreeMap<String, String>);

impl NamedContexts {
    pub(crate) fn new(given: &BTreeMap<String, String>) -> Self {
        Self(given.clone())
    }

    /// The context that stands for a stage. The names `scratch` and `context` cannot be taken from one.
    pub(crate) fn of_stage(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Option<Result<NamedContext, BadContext>> {
        let is_reserved = ["scratch", "context"]
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved));
        match is_reserved {
            true => None,
            false => self.find(name, platform),
        }
    }

    /// The context of a name: one for the platform (`NAME::OS/ARCHITECTURE`) comes first. The tag `latest` is left
    /// out.
    pub(crate) fn find(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Option<Result<NamedContext, BadContext>> {
        if self.0.is_empty() {
            return None;
        }
        let familiar = name.parse::<Reference>().ok()?.familiar();
        let name = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        let of_platform = format!("{name}::{}", platform.normalised());
        let (key, value) = self
            .0
            .get_key_value(&of_platform)
            .or_else(|| self.0.get_key_value(name))?;
        Some(read(name, key, value))
    }
}

/// What a value means: `name` is what was looked for, `key` how the request calls it.
fn read(name: &str, key: &str, value: &str) -> Result<NamedContext, BadContext> {
    let shown = without_passwords(value);
    let bad = |problem: String| BadContext {
        message: format!("the named context {key} is {shown:?}: {problem}"),
        help: None,
    };
    let Some((scheme, rest)) = value.split_once(':') else {
        return Err(bad("that is neither a path nor an address".to_owned()));
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let files = |source| {
        Ok(NamedContext::Files(PlannedContext {
            name: key.to_owned(),
            source,
        }))
    };
    match scheme {
        "docker-image" if rest == "scratch" => Ok(NamedContext::Nothing),
        "docker-image" => match rest.parse::<Reference>() {
            Ok(_) => Ok(NamedContext::Image(rest.to_owned())),
            Err(error) => Err(bad(format!("it names no image: {error}"))),
        },
        "oci-layout" => layout(name, rest).map(NamedContext::Layout).map_err(bad),
        "local" => files(ContextSource::Directory {
            name: rest.to_owned(),
        }),
        "http" | "https" | "git" => files(ContextSource::Remote(remote(value).map_err(bad)?)),
        scheme if scheme.starts_with("git@") => {
            files(ContextSource::Remote(remote(value).map_err(bad)?))
        }
        scheme => {
            const KINDS: [&str; 5] = ["docker-image", "oci-layout", "http", "https", "git"];
            Err(BadContext {
                message: format!(
                    "the named context {key} is `{scheme}:…`: {scheme} is no kind of a context"
                ),
                help: Some(match nearest(scheme, KINDS) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => {
                        "a context is a directory, docker-image://NAME, oci-layout://DIRECTORY, \
                             or the address of a git repository or a file"
                            .to_owned()
                    }
                }),
            })
        }
    }
}

/// An image of a layout, which must be named by its digest.
fn layout(name: &str, text: &str) -> Result<LayoutImage, String> {
    let (store, digest) = text
        .rsplit_once('@')
        .ok_or("an image of a layout is named by its digest")?;
    let digest: Digest = digest
        .parse()
        .map_err(|_| format!("{digest:?} is no digest"))?;
    let store = match store.rsplit_once(':') {
        Some((store, tag)) if !tag.contains('/') => store,
        _ => store,
    };
    let reference = format!("{name}@{digest}").parse::<Reference>();
    Ok(LayoutImage {
        store: store.to_owned(),
        reference: reference.map_err(|error| error.to_string())?,
    })
}

/// What is fetched from an address.
fn remote(address: &str) -> Result<RemoteSource, String> {
    let git = GitReference::parse(address).map_err(|error| error.to_string())?;
    match git {
        Some(git) => Ok(RemoteSource::of_git(git, None, None)),
        None if address.starts_with("git") => Err("it names no git repository".to_owned()),
        None => Ok(RemoteSource::Url {
            url: address.to_owned(),
            name: "context".to_owned(),
            checksum: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, platform: &str) -> Option<Result<NamedContext, BadContext>> {
        let given = [
            ("alpine", "docker-image://debian:12"),
            ("alpine::linux/arm64", "docker-image://ubuntu"),
            ("context", "docker-image://busybox"),
            ("empty", "docker-image://scratch"),
            ("files", "local:files"),
            ("relative", "./files"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        NamedContexts::new(&given.into()).find(name, &platform.parse().unwrap())
    }

    #[test]
    fn a_context_is_found_by_its_familiar_name_and_first_by_platform() {
        let image = |name: &str| Some(Ok(NamedContext::Image(name.to_owned())));
        for name in ["alpine", "alpine:latest", "docker.io/library/alpine"] {
            assert_eq!(found(name, "linux/amd64"), image("debian:12"), "{name}");
        }
        assert_eq!(found("alpine", "linux/arm64"), image("ubuntu"));
        assert_eq!(found("alpine", "linux/arm64/v8"), image("ubuntu"));
        assert_eq!(found("alpine:3", "linux/amd64"), None);
        assert_eq!(found("Alpine", "linux/amd64"), None);
        assert_eq!(
            found("empty", "linux/amd64"),
            Some(Ok(NamedContext::Nothing))
        );
        let files = PlannedContext {
            name: "files".to_owned(),
            source: ContextSource::Directory {
                name: "files".to_owned(),
            },
        };
        assert_eq!(
            found("files", "linux/amd64"),
            Some(Ok(NamedContext::Files(files)))
        );
    }

    #[test]
    fn a_value_that_names_nothing_says_what_could_be_there() {
        let problem = found("relative", "linux/amd64").unwrap().unwrap_err();
        assert_eq!(
            problem.message,
            "the named context relative is \"./files\": that is neither a path nor an address"
        );
        let problem = read("a", "a", "dockerimage://b").unwrap_err();
        assert_eq!(problem.help.as_deref(), Some("did you mean docker-image?"));
        let problem = read("a", "a", "target:b").unwrap_err();
        assert!(problem.message.contains("target is no kind of a context"));
        for address in ["ssh://me:secret@b/c", "https://me:secret@b/c.git?wrong=1"] {
            let problem = read("a", "a", address).unwrap_err();
            assert!(!problem.message.contains("secret"), "{}", problem.message);
        }
        assert!(read("a", "a", "docker-image://A").is_err());
        assert!(read("a", "a", "oci-layout://store:tag").is_err());
    }

    #[test]
    fn an_image_of_a_layout_has_the_name_of_the_context_and_the_digest_of_the_layout() {
        let digest = Digest::of(b"x");
        let value = format!("oci-layout://store:tag@{digest}");
        let Ok(NamedContext::Layout(image)) = read("base:1", "base:1", &value) else {
            panic!("{value} is a layout");
        };
        assert_eq!(image.store, "store");
        assert_eq!(
            image.reference.to_string(),
            format!("docker.io/library/base:1@{digest}")
        );
    }

    #[test]
    fn neither_scratch_nor_context_can_be_a_stage_that_a_context_stands_for() {
        let given = [
            ("context", "docker-image://a"),
            ("scratch", "docker-image://a"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let contexts = NamedContexts::new(&given.into());
        let platform: Platform = "linux/amd64".parse().unwrap();
        assert_eq!(contexts.of_stage("context", &platform), None);
        assert_eq!(contexts.of_stage("scratch", &platform), None);
        assert!(contexts.find("context", &platform).is_some());
    }
}
