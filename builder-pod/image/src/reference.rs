//! Names of images, normalised as Docker does (distribution/reference, "Grammar" and its normalisation rules).
//!
//! Invariant: a [`Reference`] always has a host, a repository, and a tag or a digest or both.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Digest, DigestError};

/// The registry of names that do not say one.
const DEFAULT_HOST: &str = "docker.io";
/// What Docker once called its registry; still found in configuration files and names.
const LEGACY_DEFAULT_HOST: &str = "index.docker.io";
/// Where single-word names live on the default registry.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const REPOSITORY_LENGTH_LIMIT: usize = 255;
const TAG_LENGTH_LIMIT: usize = 128;

/// A full name of an image: `host/repository:tag@digest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What is wrong with a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the image name is empty")]
    Empty,
    /// A URL was given.
    #[error("an image name has no scheme: leave `{0}://` out")]
    Scheme(String),
    /// The name could not be told from an image id.
    #[error("`{0}` looks like an image id; an image name cannot be 64 hexadecimal digits")]
    LooksLikeId(String),
    /// The part before the first slash is no host.
    #[error(
        "`{0}` is not a valid registry host; the form is host[:port], IPv6 addresses in brackets"
    )]
    Host(String),
    /// There is a host or a tag, but no repository.
    #[error("the repository name is missing")]
    NoRepository,
    /// The repository has upper-case letters.
    #[error("the repository name `{0}` must be lower-case")]
    Uppercase(String),
    /// Two slashes follow each other, or one stands at an end.
    #[error("the repository name `{0}` has an empty part between slashes")]
    EmptyComponent(String),
    /// One part of the repository has characters or separators where they may not be.
    #[error(
        "`{0}` is not valid in a repository name: lower-case letters and digits, separated by one `.`, one or two `_`, or dashes"
    )]
    Component(String),
    /// The repository is too long.
    #[error("the repository name has {0} characters, more than {REPOSITORY_LENGTH_LIMIT}")]
    TooLong(usize),
    /// The tag has characters that tags cannot have, or is too long or empty.
    #[error(
        "`{0}` is not a valid tag: up to {TAG_LENGTH_LIMIT} letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag(String),
    /// What follows the `@` is no digest.
    #[error("the digest after `@` is not valid")]
    Digest(#[source] DigestError),
}

impl Reference {
    /// `host[:port]`; `docker.io` for Docker Hub.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository without host: `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `host/repository`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// The tag; `latest` when neither tag nor digest was given, none when only a digest was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn identifier(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }

    /// The same image pinned to `digest`; a tag stays for readers.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository, without a tag.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            tag: None,
            ..self.clone()
        }
    }

    /// The shortest form that means the same: `debian:12` for `docker.io/library/debian:12`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let name = if self.host == DEFAULT_HOST {
            match self.repository.strip_prefix(OFFICIAL) {
                Some(short) if !short.contains('/') => short.to_owned(),
                _ => self.repository.clone(),
            }
        } else {
            self.name()
        };
        name + &self.suffix()
    }

    fn suffix(&self) -> String {
        let mut text = String::new();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}{}",
            self.host,
            self.repository,
            self.suffix()
        )
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceError::Scheme(scheme.to_owned()));
        }
        if text.len() == 64 && Digest::from_hex(text).is_ok() {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (host, path) = split_host(rest);
        // A colon in the path can only start the tag: the host's port is split off already.
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (path, None),
        };
        check_host(host)?;
        check_repository(path)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let repository = if host == DEFAULT_HOST && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        if repository.len() > REPOSITORY_LENGTH_LIMIT {
            return Err(ReferenceError::TooLong(repository.len()));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag,
            digest,
        })
    }
}

/// Docker's rule: the first part is a host if it is `localhost`, has a dot or colon, or has an upper-case letter
/// (which a repository cannot have).
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((LEGACY_DEFAULT_HOST, path)) => (DEFAULT_HOST, path),
        Some((first, path))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, path)
        }
        _ => (DEFAULT_HOST, name),
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let invalid = || ReferenceError::Host(host.to_owned());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
            let address_is_valid = !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if !address_is_valid {
                return Err(invalid());
            }
            match port {
                "" => (None, None),
                port => (None, Some(port.strip_prefix(':').ok_or_else(invalid)?)),
            }
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let name_is_valid = name.is_none_or(|name| name.split('.').all(is_host_component));
    let port_is_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if name_is_valid && port_is_valid {
        Ok(())
    } else {
        Err(invalid())
    }
}

fn is_host_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn check_repository(path: &str) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::NoRepository);
    }
    if path.chars().any(char::is_uppercase) {
        return Err(ReferenceError::Uppercase(path.to_owned()));
    }
    for component in path.split('/') {
        if component.is_empty() {
            return Err(ReferenceError::EmptyComponent(path.to_owned()));
        }
        if !is_repository_component(component) {
            return Err(ReferenceError::Component(component.to_owned()));
        }
    }
    Ok(())
}

/// Runs of `[a-z0-9]` joined by separators: one `.`, one or two `_`, or any number of `-`.
fn is_repository_component(component: &str) -> bool {
    let is_letter = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if !component.starts_with(is_letter) || !component.ends_with(is_letter) {
        return false;
    }
    component.split(is_letter).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_valid = tag.len() <= TAG_LENGTH_LIMIT
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    if is_valid {
        Ok(())
    } else {
        Err(ReferenceError::Tag(tag.to_owned()))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
