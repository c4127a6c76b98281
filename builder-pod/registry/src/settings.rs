//! How a client reaches registries.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Credentials;

/// Everything a client is told.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Hosts that are reached in another way than over TLS with the system's roots.
    pub hosts: Vec<HostSettings>,
    /// Who we are, by host and repository.
    pub credentials: Credentials,
    /// Refuse hosts that resolve to an address of this machine: in a pod, a build's own code could answer there.
    pub refuse_loopback: bool,
    /// Blobs that are transferred from or to one host at a time; as many short requests may run besides.
    pub requests_at_a_time: usize,
    /// The `User-Agent` of every request.
    pub user_agent: &'static str,
    /// How failures that may pass are met.
    pub retry: RetryPolicy,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            credentials: Credentials::default(),
            refuse_loopback: false,
            requests_at_a_time: 6,
            user_agent: concat!("stagecraft/", env!("CARGO_PKG_VERSION")),
            retry: RetryPolicy::default(),
        }
    }
}

/// How one registry is reached.
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// `host[:port]` as it stands in references; `docker.io` for Docker Hub.
    pub host: String,
    /// Asked in order, before the host itself, when reading; never written to.
    pub mirrors: Vec<Mirror>,
    /// Speak http to the host. Mirrors say so themselves.
    pub plain_http: bool,
    /// CA certificates (PEM) trusted for the host and its mirrors, beside the system's.
    pub ca_certificates_pem: Option<Vec<u8>>,
}

/// Another place that serves a registry's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Speak http to it.
    pub plain_http: bool,
    /// `host[:port]`.
    pub host: String,
    /// What stands before the repository, without slashes at its ends; may be empty.
    pub prefix: String,
}

/// A mirror's address is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the form of a mirror is [http://|https://]host[:port][/prefix]")]
pub struct MirrorError;

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (plain_http, rest) = match text.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some(("https", rest)) => (false, rest),
            Some(_) => return Err(MirrorError),
            None => (false, text),
        };
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        // A host and a prefix are well-formed if an image below them has a well-formed name.
        let example = if prefix.is_empty() {
            "x".to_owned()
        } else {
            format!("{prefix}/x")
        };
        let name = format!("{host}/{example}");
        match name.parse::<stagecraft_image::Reference>() {
            Ok(reference) if name == reference.name() => Ok(Self {
                plain_http,
                host: host.to_owned(),
                prefix: prefix.to_owned(),
            }),
            // A bare word is a host here, though not in an image's name.
            Ok(_) if !host.contains(['.', ':']) && !host.is_empty() => Ok(Self {
                plain_http,
                host: host.to_owned(),
                prefix: prefix.to_owned(),
            }),
            _ => Err(MirrorError),
        }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain_http { "http" } else { "https" };
        write!(formatter, "{scheme}://{}", self.host)?;
        if self.prefix.is_empty() {
            Ok(())
        } else {
            write!(formatter, "/{}", self.prefix)
        }
    }
}

/// How failures that may pass are met: by trying again, after a pause that doubles, shortened at random so that many
/// builds do not come back at once. A pause the server asks for is taken as it is.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Tries of one request, the first included.
    pub attempts: u32,
    /// The first pause.
    pub first_pause: Duration,
    /// The longest pause of our own.
    pub longest_pause: Duration,
    /// The longest pause that is taken because the server asks for it; beyond, the request fails.
    pub longest_asked_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
            longest_asked_pause: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read() {
        for (text, plain_http, host, prefix) in [
            ("mirror.io", false, "mirror.io", ""),
            ("http://mirror:5000/", true, "mirror:5000", ""),
            ("https://m.io:1/a/b/", false, "m.io:1", "a/b"),
            ("cache/docker", false, "cache", "docker"),
            ("http://[::1]:5000", true, "[::1]:5000", ""),
        ] {
            let mirror: Mirror = text.parse().unwrap();
            let expected = Mirror {
                plain_http,
                host: host.to_owned(),
                prefix: prefix.to_owned(),
            };
            assert_eq!(mirror, expected, "{text}");
            assert_eq!(mirror.to_string().parse::<Mirror>().unwrap(), expected);
        }
    }

    #[test]
    fn malformed_mirrors_are_refused() {
        for text in [
            "",
            "ftp://m.io",
            "http://",
            "m.io/UP",
            "m.io/a//b",
            "u:p@m.io",
            "m.io?x=1",
        ] {
            assert_eq!(text.parse::<Mirror>(), Err(MirrorError), "{text}");
        }
    }
}
