//! `.gitmodules`: where the repositories of submodules are.
//!
//! Invariant: a submodule comes from a host by a protocol that its parent could have come by; never from this machine,
//! never by a program.

/// Where a submodule is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submodule {
    /// Its path in the repository.
    pub path: String,
    /// Its repository as written.
    pub url: String,
    /// Whether it is left out: `update = none`.
    pub is_left_out: bool,
}

/// Why a submodule cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmoduleError {
    /// The file is malformed.
    #[error(".gitmodules has a line {0} that cannot be understood")]
    Line(usize),
    /// The repository's address may not be used.
    #[error("the submodule's url {0:?} is refused: it is none of https, http, git and ssh")]
    Url(String),
    /// A relative address that leads above its host.
    #[error("the submodule's url {0:?} leads out of its host")]
    Outside(String),
}

/// Most submodules of a repository.
const SUBMODULES_LIMIT: usize = 10_000;

/// Reads `.gitmodules`. Of a name that is there twice, and of a key, the last one counts.
///
/// # Errors
/// When it is malformed.
pub fn read_submodules(text: &str) -> Result<Vec<Submodule>, SubmoduleError> {
    let mut found: Vec<(String, Submodule)> = Vec::new();
    let mut section: Option<usize> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let malformed = || SubmoduleError::Line(number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let name = section_name(head).ok_or_else(malformed)?;
            section = name.map(|name| {
                let known = found.iter().position(|(known, _)| *known == name);
                known.unwrap_or_else(|| {
                    found.push((name, Submodule::default()));
                    found.len() - 1
                })
            });
            if found.len() > SUBMODULES_LIMIT {
                return Err(malformed());
            }
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let mut written = value.trim().to_owned();
        while written.ends_with('\\') && !written.ends_with("\\\\") {
            written.pop();
            written.push_str(lines.next().ok_or_else(malformed)?.1);
        }
        let value = value_of(&written).ok_or_else(malformed)?;
        let Some((_, submodule)) = section.and_then(|section| found.get_mut(section)) else {
            continue;
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => submodule.path = value.trim_end_matches('/').to_owned(),
            "url" => submodule.url = value,
            "update" => submodule.is_left_out = value == "none",
            _ => {}
        }
    }
    Ok(found.into_iter().map(|(_, submodule)| submodule).collect())
}

/// The name in `submodule "NAME"]`; an inner nothing for other sections.
fn section_name(head: &str) -> Option<Option<String>> {
    let (kind, rest) = match head.split_once('"') {
        Some((kind, rest)) => (kind.trim(), rest),
        None => return head.ends_with(']').then_some(None),
    };
    let mut name = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '\\' => name.push(characters.next()?),
            '"' => break,
            c => name.push(c),
        }
    }
    let is_closed = characters.as_str().trim_start().starts_with(']');
    is_closed.then(|| kind.eq_ignore_ascii_case("submodule").then_some(name))
}

/// A value without quotes, escapes and what follows it as a comment.
fn value_of(written: &str) -> Option<String> {
    let mut value = String::new();
    let mut kept = 0;
    let mut is_quoted = false;
    let mut characters = written.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            '#' | ';' if !is_quoted => break,
            c => value.push(c),
        }
        // Blanks before a comment are no part of the value.
        if is_quoted || !c.is_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    (!is_quoted).then_some(value)
}

/// The address of a submodule, given that of its parent.
///
/// # Errors
/// When it may not be used.
pub fn resolve_url(parent: &str, url: &str) -> Result<String, SubmoduleError> {
    let refused = || SubmoduleError::Url(url.to_owned());
    if url.starts_with("./") || url.starts_with("../") {
        return relative(parent, url);
    }
    let has_program = url.contains("::");
    let is_clean = !url.starts_with('-') && !url.chars().any(|c| c.is_control() || c == ' ');
    if has_program || !is_clean {
        return Err(refused());
    }
    match url.split_once("://") {
        Some(("https" | "http" | "ssh" | "git", rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            let is_host = !host.is_empty() && !host.starts_with('-');
            is_host.then(|| url.to_owned()).ok_or_else(refused)
        }
        Some(_) => Err(refused()),
        None => match url.split_once(':') {
            // `user@host:path`; a path of this machine has no colon before its first slash.
            Some((host, path)) if !host.contains('/') && host.contains('@') && !path.is_empty() => {
                Ok(url.to_owned())
            }
            _ => Err(refused()),
        },
    }
}

fn relative(parent: &str, url: &str) -> Result<String, SubmoduleError> {
    let outside = || SubmoduleError::Outside(url.to_owned());
    let parent = parent.trim_end_matches('/');
    // What stands before the path stays what it is.
    let fixed = match parent.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.find('/').unwrap_or(rest.len());
            scheme.len() + "://".len() + host
        }
        None => parent.find(':').ok_or_else(outside)? + 1,
    };
    let (host, path) = parent.split_at(fixed);
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop().ok_or_else(outside)?,
            part => parts.push(part),
        }
    }
    if parts.is_empty()
        || url
            .chars()
            .any(|c| c.is_control() || matches!(c, '?' | '#'))
    {
        return Err(outside());
    }
    let path = parts.join("/");
    match host.ends_with(':') && !parent.starts_with(&format!("{host}/")) {
        true => Ok(format!("{host}{path}")),
        false => Ok(format!("{host}/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_are_read_with_quotes_comments_and_repetitions() {
        let text = "# comment\n[core]\n\tpath = no\n[submodule \"a \\\"b\\\"\"]\n\tPath = libs/a/ ; where\n\turl = \"https://h/a b#c.git\"\n\
                    [submodule \"c\"]\npath = c\nurl = ../c.git\nupdate = none\n[submodule \"c\"]\nurl = \\\n./d.git\n";
        let found = read_submodules(text).unwrap();
        assert_eq!(
            found,
            [
                Submodule {
                    path: "libs/a".to_owned(),
                    url: "https://h/a b#c.git".to_owned(),
                    is_left_out: false,
                },
                Submodule {
                    path: "c".to_owned(),
                    url: "./d.git".to_owned(),
                    is_left_out: true,
                },
            ]
        );
        assert_eq!(read_submodules("").unwrap(), []);
        for text in [
            "[submodule \"a]\n",
            "[x\n",
            "[submodule \"a\"]\nurl = \"x\n",
            "url = a\\qb\n",
        ] {
            assert!(read_submodules(text).is_err(), "{text}");
        }
    }

    #[test]
    fn relative_addresses_are_those_of_the_parent() {
        for (parent, url, expected) in [
            ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
            ("https://h:1/a/b.git/", "./c", "https://h:1/a/b.git/c"),
            ("https://h/a/b", "../../c", "https://h/c"),
            ("git@h:a/b.git", "../c.git", "git@h:a/c.git"),
            ("git@h:b.git", "../c.git", "git@h:c.git"),
            ("git@h:/a/b.git", "../c.git", "git@h:/a/c.git"),
            ("ssh://git@h/a/b", "../c", "ssh://git@h/a/c"),
        ] {
            assert_eq!(
                resolve_url(parent, url).as_deref(),
                Ok(expected),
                "{parent} {url}"
            );
        }
        for (parent, url) in [
            ("https://h/a", "../../other-host/x"),
            ("https://h/a", "../"),
            ("git@h:a", "../../x"),
            ("https://h/a", "../x?y"),
        ] {
            assert!(resolve_url(parent, url).is_err(), "{parent} {url}");
        }
    }

    /// CVE-2022-39253, CVE-2017-1000117, CVE-2018-17456, CVE-2015-7545: addresses that name this machine's files, a
    /// program, or an option of one.
    #[test]
    fn cve_2018_17456_addresses_that_are_programs_options_or_files_are_refused() {
        for url in [
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "fd::17/x",
            "file:///etc",
            "/srv/git/x.git",
            "srv/git",
            "-u./payload",
            "--upload-pack=x",
            "ssh://-oProxyCommand=x/y",
            "ssh://git@-oProxyCommand=x/y",
            "https://",
            "ftp://h/x",
            "h:path",
            "https://h/a\nb",
            "",
        ] {
            assert!(resolve_url("https://h/a", url).is_err(), "{url}");
        }
        for url in [
            "https://h/x.git",
            "http://h/x",
            "git@h:x.git",
            "ssh://git@h:22/x",
        ] {
            assert_eq!(resolve_url("https://a/b", url).as_deref(), Ok(url));
        }
    }
}
