//! References to git repositories, as ADD and the build context take them: URLs and `user@host:path`, with what
//! `?` and `#` say about revision and directory.
//!
//! Invariant: pure text: nothing is looked up. What BuildKit takes for a repository is one here, with the same
//! fields, and what it refuses is refused.

use crate::git_reference::url::{Url, query};

mod url;

/// Why a text that names a repository cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitReferenceError {
    /// A name of the query that means nothing.
    #[error("the query has {0:?}, which means nothing")]
    UnknownQuery(String),
    /// A name without a value.
    #[error("{0:?} of the query has no value")]
    MissingValue(String),
    /// A name that is there more than once.
    #[error("{0:?} of the query has several values")]
    SeveralValues(String),
    /// A value that is not one of those that there are.
    #[error("{value:?} is no value of {name:?}")]
    BadValue {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// Two places say something different.
    #[error("{what} is both {first:?} and {second:?}")]
    Conflict {
        /// What is said twice.
        what: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
}

/// A reference to a git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitReference {
    /// The repository, without query and fragment.
    pub remote: String,
    /// Its last part, without `.git`.
    pub short_name: String,
    /// Branch, tag or commit; empty for the repository's own default.
    pub revision: String,
    /// The commit that the revision must be, or a prefix of it; empty where it may be any.
    pub checksum: String,
    /// The directory in it, relative; empty for the whole.
    pub directory: String,
    /// Whether it could be a path as well: the old form `github.com/…`.
    pub is_like_a_path: bool,
    /// Whether it goes over the network in the open.
    pub is_unencrypted: bool,
    /// Whether `.git` is kept, where that is said.
    pub keep_git_directory: Option<bool>,
    /// Whether submodules are fetched, where that is said.
    pub submodules: Option<bool>,
    /// Where the files' times come from: `checkout` or `commit`; empty where nothing is said.
    pub times: String,
    /// Whether the commit is fetched as such, without asking what the revision is.
    pub fetch_by_commit: bool,
}

const SCHEMES: [&str; 4] = ["http", "https", "ssh", "git"];

impl GitReference {
    /// Reads a text; `None` when it names no git repository.
    ///
    /// # Errors
    /// When it names one, and its query is wrong.
    pub fn parse(text: &str) -> Result<Option<Self>, GitReferenceError> {
        let Some(found) = Found::read(text) else {
            return Ok(None);
        };
        let (revision, directory) = fragment(&found.fragment);
        let last = found.remote.rsplit('/').next().unwrap_or_default();
        let mut reference = Self {
            short_name: last.strip_suffix(".git").unwrap_or(last).to_owned(),
            remote: found.remote,
            revision,
            directory,
            is_like_a_path: found.is_like_a_path,
            is_unencrypted: found.is_unencrypted,
            ..Self::default()
        };
        reference.take_query(&found.query)?;
        Ok(Some(reference))
    }

    fn take_query(&mut self, pairs: &[(String, String)]) -> Result<(), GitReferenceError> {
        let (mut tag, mut branch) = (String::new(), String::new());
        for (at, (name, value)) in pairs.iter().enumerate() {
            let is_repeated = pairs[..at].iter().any(|(before, _)| before == name);
            if is_repeated {
                return Err(GitReferenceError::SeveralValues(name.clone()));
            }
            let is_switch = matches!(
                name.as_str(),
                "submodules" | "keep-git-dir" | "fetch-by-commit"
            );
            if value.is_empty() && !is_switch {
                return Err(GitReferenceError::MissingValue(name.clone()));
            }
            match name.as_str() {
                "ref" => agree("the revision", &mut self.revision, value)?,
                "subdir" => agree("the directory", &mut self.directory, value)?,
                "tag" => tag.clone_from(value),
                "branch" => branch.clone_from(value),
                "checksum" | "commit" => self.checksum.clone_from(value),
                "keep-git-dir" => self.keep_git_directory = Some(switch(name, value)?),
                "submodules" => self.submodules = Some(switch(name, value)?),
                "fetch-by-commit" => self.fetch_by_commit = switch(name, value)?,
                "mtime" if matches!(value.as_str(), "checkout" | "commit") => {
                    self.times.clone_from(value);
                }
                "mtime" => return Err(bad_value(name, value)),
                _ => return Err(GitReferenceError::UnknownQuery(name.clone())),
            }
        }
        if !tag.is_empty() && !branch.is_empty() {
            return Err(GitReferenceError::Conflict {
                what: "the revision",
                first: tag,
                second: branch,
            });
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            if !name.is_empty() {
                let short = name.strip_prefix(prefix).unwrap_or(&name);
                agree(
                    "the revision",
                    &mut self.revision,
                    &format!("{prefix}{short}"),
                )?;
            }
        }
        Ok(())
    }
}

/// The last part of a URL's path, decoded; nothing where the path has none or the text is no URL.
#[must_use]
pub fn url_file_name(text: &str) -> Option<String> {
    let url = Url::parse(text)?;
    let path = String::from_utf8(url.path).ok()?;
    let name = path.trim_end_matches('/').rsplit('/').next()?;
    (!matches!(name, "" | ".")).then(|| name.to_owned())
}

/// Sets what is not set; what is may not become something else.
fn agree(what: &'static str, set: &mut String, value: &str) -> Result<(), GitReferenceError> {
    if !set.is_empty() && set != value {
        return Err(GitReferenceError::Conflict {
            what,
            first: set.clone(),
            second: value.to_owned(),
        });
    }
    value.clone_into(set);
    Ok(())
}

fn bad_value(name: &str, value: &str) -> GitReferenceError {
    GitReferenceError::BadValue {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// The truth values of Go's `strconv.ParseBool`; a name alone is true.
fn switch(name: &str, value: &str) -> Result<bool, GitReferenceError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(bad_value(name, value)),
    }
}

/// Revision and directory of what stands behind `#`.
fn fragment(fragment: &str) -> (String, String) {
    let (revision, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    (revision.to_owned(), parts.join("/"))
}

/// What a text says, before its query is looked at.
struct Found {
    remote: String,
    fragment: String,
    query: Vec<(String, String)>,
    is_like_a_path: bool,
    is_unencrypted: bool,
}

impl Found {
    fn read(text: &str) -> Option<Self> {
        if text.starts_with("./") || text.starts_with("../") {
            return None;
        }
        if text.starts_with("github.com/") {
            let mut url = Url::parse(text)?;
            "https".clone_into(&mut url.scheme);
            let mut found = Self::from_url(&url);
            found.is_like_a_path = true;
            let bare = found.remote.split_once("://").map(|(_, bare)| bare);
            found.remote = bare.unwrap_or_default().to_owned();
            return Some(found);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let is_scheme = |c: char| c.is_ascii_alphanumeric();
            if !scheme.is_empty() && scheme.chars().all(is_scheme) {
                let scheme = scheme.to_ascii_lowercase();
                let url = Url::parse(text).filter(|_| SCHEMES.contains(&scheme.as_str()))?;
                // Over HTTP only what is called so is a repository.
                let is_web = matches!(url.scheme.as_str(), "http" | "https");
                return (!is_web || url.path.ends_with(b".git")).then(|| Self::from_url(&url));
            }
        }
        Self::from_remote_shell(text)
    }

    fn from_url(url: &Url) -> Self {
        Self {
            remote: url.without_query(),
            fragment: url.fragment.clone(),
            // What of a query cannot be read is passed over.
            query: query(&url.query).0,
            is_like_a_path: false,
            is_unencrypted: matches!(url.scheme.as_str(), "http" | "git"),
        }
    }

    /// `user@host:path`, as the remote shell programs take it.
    fn from_remote_shell(text: &str) -> Option<Self> {
        let is_user = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let (user, rest) = text.split_once('@')?;
        let (host, rest) = rest.split_once(':')?;
        if user.is_empty()
            || host.is_empty()
            || !user.chars().all(is_user)
            || !host.chars().all(is_host)
            || rest.contains('\n')
        {
            return None;
        }
        let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (path, written) = before.split_once('?').unwrap_or((before, ""));
        let (query, is_whole) = query(written);
        is_whole.then(|| Self {
            remote: format!("{user}@{host}:{path}"),
            fragment: fragment.to_owned(),
            query,
            is_like_a_path: false,
            is_unencrypted: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GitReference {
        GitReference::parse(text).unwrap().unwrap()
    }

    #[test]
    fn every_form_of_a_repository_is_read() {
        let reference = parse("https://u:p@host:443/a/b.git#v1:x/../y/");
        assert_eq!(reference.remote, "https://u:p@host:443/a/b.git");
        assert_eq!(
            (reference.short_name.as_str(), reference.revision.as_str()),
            ("b", "v1")
        );
        assert_eq!(reference.directory, "y");
        let reference = parse("git@host:a/b.git?tag=v1&keep-git-dir");
        assert_eq!(reference.remote, "git@host:a/b.git");
        assert_eq!(reference.revision, "refs/tags/v1");
        assert_eq!(reference.keep_git_directory, Some(true));
        assert!(parse("git://host/a").is_unencrypted);
        let reference = parse("github.com/a/b#c");
        assert!(reference.is_like_a_path);
        assert_eq!(reference.remote, "github.com/a/b");
    }

    #[test]
    fn other_texts_are_no_repositories() {
        for text in [
            "",
            "a",
            "./a.git",
            "https://host/a",
            "ftp://host/a.git",
            "git@host",
            "a b@host:c",
            "http://[x/a.git",
            "git@host:a?b=%zz",
        ] {
            assert_eq!(GitReference::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_file_is_the_end_of_its_path_decoded() {
        for (url, expected) in [
            ("https://h/a/b.tgz?x=/c#d/e", Some("b.tgz")),
            ("https://h/a/b/", Some("b")),
            ("https://h/a%20b%2fc", Some("c")),
            ("https://h/..", Some("..")),
            ("https://h", None),
            ("https://h/", None),
            ("https://h/.", None),
            ("https://h/%zz", None),
        ] {
            assert_eq!(url_file_name(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_query_that_contradicts_is_refused() {
        for query in [
            "x=1",
            "ref=",
            "ref=a&ref=b",
            "tag=a&branch=b",
            "ref=a&tag=b",
            "mtime=x",
            "submodules=maybe",
        ] {
            let text = format!("https://host/a.git?{query}");
            assert!(GitReference::parse(&text).is_err(), "{text}");
        }
        assert!(GitReference::parse("https://host/a.git?ref=a#b").is_err());
    }
}
