//! Image references, read as Docker reads them (distribution/reference grammar).
//!
//! `debian:12-slim` is `docker.io/library/debian:12-slim`; the first part is a host when it has a dot or colon,
//! is `localhost`, or has an upper-case letter.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError};

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// Longest repository name with its host, in characters.
const NAME_LIMIT: usize = 255;

/// Names an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing at all.
    #[error("an image name is empty")]
    Empty,
    /// The repository has a character that it cannot have.
    #[error(
        "the image name {0:?} is not valid: a repository has lower-case letters, digits and single separators (. _ - /)"
    )]
    Repository(String),
    /// The repository is in upper case.
    #[error("the image name {0:?} is not valid: a repository must be lower-case")]
    UpperCase(String),
    /// The host cannot be one.
    #[error("the image name {name:?} is not valid: {host:?} is not a host")]
    Host {
        /// The whole text.
        name: String,
        /// What stands in the host's place.
        host: String,
    },
    /// The tag cannot be one.
    #[error(
        "the image name {name:?} is not valid: the tag {tag:?} has at most 128 letters, digits, _ . -, and starts with neither . nor -"
    )]
    Tag {
        /// The whole text.
        name: String,
        /// The tag.
        tag: String,
    },
    /// The digest cannot be one.
    #[error("the image name {name:?} is not valid")]
    Digest {
        /// The whole text.
        name: String,
        /// The cause.
        #[source]
        source: DigestError,
    },
    /// The name is longer than registries take.
    #[error("the image name {0:?} is longer than {NAME_LIMIT} characters")]
    TooLong(String),
}

impl Reference {
    /// `host[:port]` of the registry; `docker.io` when none was said.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository on that host, `library/debian` for example.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` when neither tag nor digest was said.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was said.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a registry's manifest address ends with: the digest, else the tag.
    #[must_use]
    pub fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The same image, pinned.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository under another host and prefix, for mirrors.
    #[must_use]
    pub fn on_host(&self, host: &str, prefix: Option<&str>) -> Self {
        let repository = match prefix.map(|prefix| prefix.trim_matches('/')) {
            Some(prefix) if !prefix.is_empty() => format!("{prefix}/{}", self.repository),
            _ => self.repository.clone(),
        };
        Self {
            host: host.to_owned(),
            repository,
            ..self.clone()
        }
    }

    /// The short form that people write: without `docker.io/` and `library/`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let mut name = String::new();
        if self.host == DEFAULT_HOST {
            let short = self.repository.strip_prefix("library/");
            name.push_str(
                short
                    .filter(|rest| !rest.contains('/'))
                    .unwrap_or(&self.repository),
            );
        } else {
            name.push_str(&self.host);
            name.push('/');
            name.push_str(&self.repository);
        }
        self.push_suffix(&mut name);
        name
    }

    fn push_suffix(&self, name: &mut String) {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    /// The whole form, with host.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = format!("{}/{}", self.host, self.repository);
        self.push_suffix(&mut name);
        formatter.write_str(&name)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed = digest.parse().map_err(|source| ReferenceError::Digest {
                    name: text.to_owned(),
                    source,
                })?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        let (host, path) = split_host(rest);
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag {
                name: text.to_owned(),
                tag: tag.clone(),
            });
        }
        if !is_host(host.unwrap_or(DEFAULT_HOST)) {
            let host = host.unwrap_or_default().to_owned();
            return Err(ReferenceError::Host {
                name: text.to_owned(),
                host,
            });
        }
        if !repository.split('/').all(is_component) {
            let lower = repository.to_lowercase();
            return Err(
                if lower != repository && lower.split('/').all(is_component) {
                    ReferenceError::UpperCase(text.to_owned())
                } else {
                    ReferenceError::Repository(text.to_owned())
                },
            );
        }
        let host = match host {
            None | Some("index.docker.io" | "registry-1.docker.io") => DEFAULT_HOST,
            Some(host) => host,
        };
        let repository = if host == DEFAULT_HOST && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        if host.len() + 1 + repository.len() > NAME_LIMIT {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// The host, where the first part is one, and the rest.
fn split_host(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.to_lowercase() != first =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

/// A domain name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let digits = address.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
                return digits && !address.is_empty() && is_port(port);
            }
            None => return false,
        },
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(label) && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok())
}

fn is_tag(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(['.', '-'])
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(alphanumeric) || !text.ends_with(alphanumeric) {
        return false;
    }
    let mut separator = String::new();
    for c in text.chars() {
        if alphanumeric(c) {
            let fine = matches!(separator.as_str(), "" | "." | "_" | "__")
                || separator.chars().all(|c| c == '-');
            if !fine {
                return false;
            }
            separator.clear();
        } else {
            separator.push(c);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (text, whole, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            (
                "debian:12-slim",
                "docker.io/library/debian:12-slim",
                "debian:12-slim",
            ),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            (
                "index.docker.io/library/x",
                "docker.io/library/x:latest",
                "x:latest",
            ),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            (
                "r.example:5000/a/b:v1",
                "r.example:5000/a/b:v1",
                "r.example:5000/a/b:v1",
            ),
            ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            (
                "a__b/c--d.e",
                "docker.io/a__b/c--d.e:latest",
                "a__b/c--d.e:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), whole);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_alone_takes_no_tag() {
        let reference: Reference = format!("nginx@{DIGEST}").parse().unwrap();
        assert_eq!(
            (reference.tag(), reference.manifest_name()),
            (None, DIGEST.to_owned())
        );
        let reference: Reference = format!("nginx:1@{DIGEST}").parse().unwrap();
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.familiar(), format!("nginx:1@{DIGEST}"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_what_is_wrong() {
        use ReferenceError as E;
        type Check = fn(&E) -> bool;
        let cases: [(&str, Check); 9] = [
            ("", |e| matches!(e, E::Empty)),
            ("Debian", |e| matches!(e, E::UpperCase(_))),
            ("a//b", |e| matches!(e, E::Repository(_))),
            ("a/b c", |e| matches!(e, E::Repository(_))),
            ("a___b", |e| matches!(e, E::Repository(_))),
            ("a:-x", |e| matches!(e, E::Tag { .. })),
            ("a@sha256:12", |e| matches!(e, E::Digest { .. })),
            ("-x.y/a", |e| matches!(e, E::Host { .. })),
            ("x.y:99999/a", |e| matches!(e, E::Host { .. })),
        ];
        for (text, check) in cases {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(check(&error), "{text}: {error:?}");
        }
    }
}
