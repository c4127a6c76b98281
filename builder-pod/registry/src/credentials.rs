//! Credentials in the form of Docker's `config.json` and Kubernetes' `kubernetes.io/dockerconfigjson`.
//!
//! Invariant: secrets are never shown: `Debug` hides them, errors name the key of an entry only.
//! Keys match as the kubelet matches them (kubernetes.io, "images", "interpretation of config.json"): by host, with
//! `*` within one part of it, and by path prefix; the longest path wins.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

/// Credentials of several files; the first file with a match decides.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    files: Vec<Vec<Entry>>,
}

/// How to show who we are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// User and password.
    Password { user: String, password: String },
    /// A refresh token, to be changed for access tokens.
    IdentityToken(String),
    /// An access token to be used as it is.
    AccessToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Password { .. } => "Password(hidden)",
            Self::IdentityToken(_) => "IdentityToken(hidden)",
            Self::AccessToken(_) => "AccessToken(hidden)",
        })
    }
}

#[derive(Clone, Debug)]
struct Entry {
    host: String,
    /// Without slashes at its ends.
    path: String,
    credential: Credential,
}

/// What is wrong with a file of credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It is no JSON of the right form. The parser's own words could quote a secret and are left out.
    #[error(
        "malformed at line {line}, column {column}; the form is that of a Docker config.json with `auths`"
    )]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// `auth` is not base64 of `user:password`.
    #[error("`auth` of `{0}` is not base64 of user:password")]
    Auth(String),
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Option<DockerAuth>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Credentials {
    /// Reads a `config.json` or the value of `.dockerconfigjson`. Entries without any secret, as Docker leaves them
    /// where a credential helper keeps it, are skipped: there are no helpers here.
    ///
    /// # Errors
    /// [`CredentialsError`] when it is malformed.
    pub fn from_docker_config(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let config: DockerConfig =
            serde_json::from_slice(bytes).map_err(|error| CredentialsError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        let mut entries = Vec::new();
        for (key, auth) in config.auths {
            if let Some(credential) = credential(&key, auth.unwrap_or_default())? {
                let (host, path) = split_key(&key);
                entries.push(Entry {
                    host,
                    path,
                    credential,
                });
            }
        }
        Ok(Self {
            files: vec![entries],
        })
    }

    /// Adds credentials that are asked after these.
    pub fn extend(&mut self, later: Self) {
        self.files.extend(later.files);
    }

    /// The credential for `repository` (without host) on `host[:port]`.
    pub(crate) fn find(&self, host: &str, repository: &str) -> Option<&Credential> {
        let host = canonical_host(host);
        self.files.iter().find_map(|entries| {
            let matching = entries
                .iter()
                .filter(|entry| host_matches(&entry.host, &host))
                .filter(|entry| is_path_prefix(&entry.path, repository));
            // The longest path first; a host without wildcards before one with.
            let best = matching.max_by_key(|entry| (entry.path.len(), !entry.host.contains('*')));
            best.map(|entry| &entry.credential)
        })
    }
}

fn credential(key: &str, auth: DockerAuth) -> Result<Option<Credential>, CredentialsError> {
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    if let Some(token) = given(auth.identitytoken) {
        return Ok(Some(Credential::IdentityToken(token)));
    }
    if let Some(token) = given(auth.registrytoken) {
        return Ok(Some(Credential::AccessToken(token)));
    }
    if let (Some(user), Some(password)) = (given(auth.username), given(auth.password)) {
        return Ok(Some(Credential::Password { user, password }));
    }
    let Some(encoded) = given(auth.auth) else {
        return Ok(None);
    };
    let malformed = || CredentialsError::Auth(key.to_owned());
    let encoded = encoded.trim();
    let decoded = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded));
    let decoded = String::from_utf8(decoded.map_err(|_| malformed())?).map_err(|_| malformed())?;
    // Some tools end the password with zero bytes or a line break.
    let decoded = decoded.trim_end_matches(['\0', '\n', '\r']);
    let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
    // Azure and Google write an identity token as the password of this user.
    if user == "00000000-0000-0000-0000-000000000000" || user == "<token>" {
        return Ok(Some(Credential::IdentityToken(password.to_owned())));
    }
    Ok(Some(Credential::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    }))
}

/// Host and path of a key: `https://index.docker.io/v1/` is a host only.
fn split_key(key: &str) -> (String, String) {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_matches('/');
    let path = match path.split_once('/') {
        Some(("v1" | "v2", rest)) => rest,
        None if matches!(path, "v1" | "v2") => "",
        _ => path,
    };
    (canonical_host(host), path.to_owned())
}

/// One name for Docker Hub's several; lower-case.
fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            "docker.io".to_owned()
        }
        _ => host,
    }
}

/// Hosts match part by part, so that `*.io` is no `a.b.io`; ports must be equal.
fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let split = |text: &str| match text.split_once(':') {
        Some((name, port)) => (name.to_owned(), port.to_owned()),
        None => (text.to_owned(), String::new()),
    };
    let ((pattern, pattern_port), (name, port)) = (split(pattern), split(host));
    let (patterns, names): (Vec<&str>, Vec<&str>) =
        (pattern.split('.').collect(), name.split('.').collect());
    pattern_port == port
        && patterns.len() == names.len()
        && patterns
            .iter()
            .zip(names)
            .all(|(pattern, name)| part_matches(pattern, name))
}

/// `*` stands for any characters.
fn part_matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter(|at| text.is_char_boundary(*at))
        .any(|at| part_matches(rest, &text[at..]))
}

fn is_path_prefix(prefix: &str, repository: &str) -> bool {
    match repository.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(keys: &[&str]) -> Credentials {
        let auths: serde_json::Map<String, serde_json::Value> = keys
            .iter()
            .map(|key| {
                (
                    (*key).to_owned(),
                    serde_json::json!({"username": key, "password": "p"}),
                )
            })
            .collect();
        let json = serde_json::json!({ "auths": auths }).to_string();
        Credentials::from_docker_config(json.as_bytes()).unwrap()
    }

    /// The key of the entry that is found.
    fn found<'a>(credentials: &'a Credentials, host: &str, repository: &str) -> Option<&'a str> {
        match credentials.find(host, repository)? {
            Credential::Password { user, .. } => Some(user),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_match_as_the_kubelet_matches_them() {
        let keys = [
            "https://index.docker.io/v1/",
            "ghcr.io",
            "ghcr.io/org",
            "ghcr.io/org/app",
            "*.dkr.ecr.*.amazonaws.com",
            "*.example.com:5000",
            "registry.example.com:5000",
            "http://plain:80/v2/team",
        ];
        let credentials = config(&keys);
        let cases = [
            ("docker.io", "library/debian", Some(keys[0])),
            ("registry-1.docker.io", "a/b", Some(keys[0])),
            ("ghcr.io", "other/app", Some("ghcr.io")),
            ("ghcr.io", "org/x", Some("ghcr.io/org")),
            ("ghcr.io", "org/app", Some("ghcr.io/org/app")),
            ("ghcr.io", "org/app/x", Some("ghcr.io/org/app")),
            ("ghcr.io", "org/apple", Some("ghcr.io/org")),
            ("ghcr.io", "organisation/x", Some("ghcr.io")),
            ("ghcr.io:443", "org/x", None),
            ("123.dkr.ecr.eu-west-1.amazonaws.com", "x", Some(keys[4])),
            ("dkr.ecr.eu-west-1.amazonaws.com", "x", None),
            ("a.example.com:5000", "x", Some("*.example.com:5000")),
            ("a.b.example.com:5000", "x", None),
            ("a.example.com", "x", None),
            (
                "registry.example.com:5000",
                "x",
                Some("registry.example.com:5000"),
            ),
            ("plain:80", "team/x", Some(keys[7])),
            ("plain:80", "x", None),
            ("quay.io", "x", None),
        ];
        for (host, repository, expected) in cases {
            assert_eq!(
                found(&credentials, host, repository),
                expected,
                "{host}/{repository}"
            );
        }
    }

    #[test]
    fn the_first_file_with_a_match_decides() {
        let mut credentials = config(&["ghcr.io"]);
        credentials.extend(config(&["ghcr.io/org", "quay.io"]));
        assert_eq!(found(&credentials, "ghcr.io", "org/x"), Some("ghcr.io"));
        assert_eq!(found(&credentials, "quay.io", "x"), Some("quay.io"));
    }

    #[test]
    fn every_form_of_a_secret_is_read_and_none_is_shown() {
        let secret = |json: &str| {
            let config = format!(r#"{{"auths":{{"h.io":{json}}}, "credsStore": "x"}}"#);
            let credentials = Credentials::from_docker_config(config.as_bytes()).unwrap();
            let shown = format!("{credentials:?}");
            assert!(
                !shown.contains("s3cret") && !shown.contains("joe"),
                "{shown}"
            );
            credentials.find("h.io", "x").cloned()
        };
        let password = |password: &str| {
            Some(Credential::Password {
                user: "joe".into(),
                password: password.into(),
            })
        };
        let encoded = |text: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(text));
        assert_eq!(
            secret(r#"{"username":"joe","password":"s3cret"}"#),
            password("s3cret")
        );
        assert_eq!(secret(&encoded("joe:s3cret")), password("s3cret"));
        assert_eq!(secret(&encoded("joe:s3:cret\n")), password("s3:cret"));
        assert_eq!(
            secret(r#"{"auth":"eA==","identitytoken":"s3cret"}"#),
            Some(Credential::IdentityToken("s3cret".into()))
        );
        assert_eq!(
            secret(&encoded("<token>:s3cret")),
            Some(Credential::IdentityToken("s3cret".into()))
        );
        assert_eq!(
            secret(r#"{"registrytoken":"s3cret"}"#),
            Some(Credential::AccessToken("s3cret".into()))
        );
        assert_eq!(secret("{}"), None);
        assert_eq!(secret("null"), None);
        assert_eq!(secret(r#"{"username":"joe"}"#), None);
    }

    #[test]
    fn malformed_files_are_refused_without_showing_them() {
        let json = Credentials::from_docker_config(br#"{"auths":{"h":"s3cret"}}"#).unwrap_err();
        assert!(!json.to_string().contains("s3cret"), "{json}");
        assert!(
            json.to_string().starts_with("malformed at line 1, column"),
            "{json}"
        );
        for auth in ["!", "c2VjcmV0"] {
            let config = format!(r#"{{"auths":{{"h.io":{{"auth":"{auth}"}}}}}}"#);
            let error = Credentials::from_docker_config(config.as_bytes()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "`auth` of `h.io` is not base64 of user:password"
            );
        }
        assert!(
            Credentials::from_docker_config(b"{}")
                .unwrap()
                .find("h.io", "x")
                .is_none()
        );
    }
}
