//! A client for HTTP hosts that are no registries: those of files and of git repositories.
//!
//! Invariant: link-local addresses, where clouds serve their metadata, are never connected to; whether this machine's
//! own are is the caller's word, which holds for redirections too.

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use crate::error::TransportCause;
use crate::exchange::{CONNECT_LIMIT, failure, send};
use crate::guard::Guard;
use crate::pace::Pace;
use crate::retry::Attempts;
use crate::tls::Roots;
use crate::{DownloadError, HostError, RetryPolicy, SettingsError};

/// Which hosts are spoken to, and whom they must convince.
#[derive(Clone, Debug, Default)]
pub struct HttpSettings {
    /// Refuse hosts that resolve to an address of this machine.
    pub refuse_loopback: bool,
    /// CA certificates (PEM) trusted beside the system's.
    pub ca_certificates_pem: Option<Vec<u8>>,
}

impl HttpSettings {
    pub(crate) fn guard(&self) -> Guard {
        Guard {
            refuse_this_machine: self.refuse_loopback,
            refuse_link_local: true,
        }
    }
}

/// A client of one host.
pub(crate) struct HttpClient {
    pub(crate) http: reqwest::Client,
    /// `host[:port]`, for messages.
    pub(crate) host: String,
    guard: Guard,
}

impl HttpClient {
    /// A client of the host of `url`.
    pub(crate) fn new(settings: &HttpSettings, url: &Url) -> Result<Self, SettingsError> {
        let guard = settings.guard();
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let roots = Roots::new(&host, settings.ca_certificates_pem.as_deref())?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(roots.rustls(&host)?)
            .dns_resolver(guard)
            .redirect(guard.redirect_policy())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("stagecraft/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SettingsError::Client {
                host: host.clone(),
                source: TransportCause::new(error.without_url()),
            })?;
        Ok(Self { http, host, guard })
    }

    /// Judges a URL whose host is an address; names are judged when they are looked up.
    pub(crate) fn check_address(&self, url: &Url) -> Result<(), HostError> {
        self.guard
            .check_url(url)
            .map_err(|refused| HostError::Address {
                host: self.host.clone(),
                address: refused.address,
                why: refused.why,
            })
    }
}

/// User and password for a host.
#[derive(Clone)]
pub struct BasicCredentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for BasicCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("BasicCredentials")
    }
}

/// A question to a host.
#[derive(Clone, Debug)]
pub struct WebRequest<'a> {
    /// `http://` or `https://`, without user and password.
    pub url: &'a str,
    /// Names and values of headers.
    pub headers: &'a [(&'static str, &'a str)],
    /// What is posted; without it the question is a GET.
    pub body: Option<Bytes>,
    /// Who asks.
    pub credentials: Option<&'a BasicCredentials>,
}

/// Asks one host.
pub struct WebClient {
    client: HttpClient,
    retry: RetryPolicy,
}

impl WebClient {
    /// A client of the host of `url`.
    ///
    /// # Errors
    /// When the address is none, or settings are wrong.
    pub fn new(settings: &HttpSettings, url: &str) -> Result<Self, DownloadError> {
        let url = Url::parse(url).map_err(|_| DownloadError::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(DownloadError::Url);
        }
        let client = HttpClient::new(settings, &url)
            .map_err(|error| DownloadError::Settings(Box::new(error)))?;
        let retry = RetryPolicy::default();
        Ok(Self { client, retry })
    }

    /// The answer to a question, once its status is known to be success.
    ///
    /// # Errors
    /// When there is none; what may pass is asked again a few times.
    pub async fn ask(&self, request: &WebRequest<'_>) -> Result<WebAnswer, DownloadError> {
        let url = Url::parse(request.url).map_err(|_| DownloadError::Url)?;
        let in_host = |error| DownloadError::Host(Box::new(error));
        self.client.check_address(&url).map_err(in_host)?;
        let mut attempts = Attempts::new(self.retry);
        loop {
            match self.once(&url, request).await {
                Ok(response) => {
                    let host = self.client.host.clone();
                    return Ok(WebAnswer {
                        response,
                        host,
                        pace: Pace::default(),
                    });
                }
                Err(error) => attempts.pause_after(error).await.map_err(in_host)?,
            }
        }
    }

    async fn once(
        &self,
        url: &Url,
        request: &WebRequest<'_>,
    ) -> Result<reqwest::Response, HostError> {
        let http = &self.client.http;
        let mut builder = match &request.body {
            Some(body) => http.post(url.clone()).body(body.clone()),
            None => http.get(url.clone()),
        };
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some(BasicCredentials { user, password }) = request.credentials {
            builder = builder.basic_auth(user, Some(password));
        }
        let response = send(&self.client.host, builder).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let has_credentials = request.credentials.is_some();
        Err(failure(&self.client.host, response, url.path(), has_credentials).await)
    }
}

/// An answer whose body is still to come.
pub struct WebAnswer {
    response: reqwest::Response,
    host: String,
    pace: Pace,
}

impl WebAnswer {
    /// Where it came from, after redirections.
    #[must_use]
    pub fn url(&self) -> &str {
        self.response.url().as_str()
    }

    /// What the server calls it.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.response.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection is lost, or silent or too slow for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let error = match self.pace.wait(&self.host, self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.pace.received(chunk.as_ref().map_or(0, Bytes::len));
                return Ok(chunk);
            }
            Ok(Err(error)) => HostError::Unreachable {
                host: self.host.clone(),
                source: TransportCause::new(error.without_url()),
            },
            Err(error) => error,
        };
        Err(DownloadError::Host(Box::new(error)))
    }
}

/// A URL without what may stand before an `@` of its host, for messages.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_left_out_of_a_url_and_nothing_else_is() {
        for (url, expected) in [
            ("https://h/x", "https://h/x"),
            ("https://joe:s3cret@h:1/x@y", "https://h:1/x@y"),
            ("https://token@h?a=b@c", "https://h?a=b@c"),
            ("https://a@b@h/", "https://h/"),
            ("git@h:a/b.git", "git@h:a/b.git"),
            ("x", "x"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }
}
