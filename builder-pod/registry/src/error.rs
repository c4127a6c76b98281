//! What can go wrong with a registry, and what that means to a caller.
//!
//! Invariant: no message holds a secret, nor a URL as a server gave it (those can carry signed queries).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use stagecraft_image::{Digest, DocumentError, NoPlatform};

/// An operation that failed, with what it was about; the source says why.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// An image's manifest or configuration could not be had.
    #[error("cannot resolve {reference}")]
    Resolve {
        /// The image, in its familiar form.
        reference: String,
        /// Why.
        source: Box<HostError>,
    },
    /// A blob could not be read to its end.
    #[error("cannot read {digest} of {repository}")]
    ReadBlob {
        /// The blob.
        digest: Digest,
        /// `host/repository`.
        repository: String,
        /// Why.
        source: Box<HostError>,
    },
    /// A blob could not be written.
    #[error("cannot push {digest} to {repository}")]
    PushBlob {
        /// The blob.
        digest: Digest,
        /// `host/repository`.
        repository: String,
        /// Why.
        source: Box<HostError>,
    },
    /// A manifest could not be written.
    #[error("cannot push the manifest of {reference}")]
    PushManifest {
        /// The image, in its familiar form.
        reference: String,
        /// Why.
        source: Box<HostError>,
    },
}

/// What a failure means to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The image, blob or platform is not there.
    NotFound,
    /// Credentials are wrong or missing.
    Unauthorized,
    /// No connection, a lost one, or a server that cannot serve.
    Unreachable,
    /// The server's certificate is not trusted.
    UntrustedCertificate,
    /// The registry asks to come back later.
    RateLimited,
    /// Bytes do not have the digest they were asked by.
    DigestMismatch,
    /// More bytes than allowed or announced.
    TooLarge,
    /// The registry does not do what the specification says, or rejects what it was given.
    Protocol,
    /// We refuse to go there.
    Refused,
    /// A file of this machine cannot be read.
    Local,
}

impl RegistryError {
    /// What went wrong with the host.
    #[must_use]
    pub fn host_error(&self) -> &HostError {
        match self {
            Self::Resolve { source, .. }
            | Self::ReadBlob { source, .. }
            | Self::PushBlob { source, .. }
            | Self::PushManifest { source, .. } => source,
        }
    }

    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.host_error().kind()
    }

    /// Whether the same operation may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.host_error().is_transient()
    }
}

/// Why an exchange with one host failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No connection, or it broke before an answer.
    #[error("cannot reach {host}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        source: TransportCause,
    },
    /// Nothing came for too long.
    #[error("{host} has not answered for {} s", after.as_secs())]
    TimedOut {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
    },
    /// Too little came for too long.
    #[error("{host} sends too slowly: {received} bytes in {} s", after.as_secs())]
    TooSlow {
        /// The host.
        host: String,
        /// Bytes that came.
        received: u64,
        /// In how long.
        after: Duration,
    },
    /// The connection broke in the middle of a blob, and resuming did not help.
    #[error("the connection to {host} was lost after {received} of {size} bytes")]
    Interrupted {
        /// The host.
        host: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that should come.
        size: u64,
    },
    /// Nobody we trust signed the certificate.
    #[error("the certificate of {host} is not trusted; give its CA in spec.registries[].caBundle")]
    UnknownIssuer {
        /// The host.
        host: String,
        /// What the verifier says.
        source: TransportCause,
    },
    /// The certificate is expired, for another name, or broken.
    #[error("the certificate of {host} is not valid")]
    Certificate {
        /// The host.
        host: String,
        /// What the verifier says.
        source: TransportCause,
    },
    /// The server does not speak TLS.
    #[error(
        "{host} does not speak TLS; if it is a plain http registry, set spec.registries[].plainHTTP"
    )]
    NotTls {
        /// The host.
        host: String,
        /// What came instead.
        source: TransportCause,
    },
    /// Access needs credentials, and there are none.
    #[error(
        "{host} gives {what} to nobody without credentials, or it does not exist; name a secret with credentials for {host} in spec.registrySecrets{message}"
    )]
    NoCredentials {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The host's own words.
        message: ServerMessage,
    },
    /// The credentials are not enough.
    #[error("the credentials given for {host} do not suffice for {what}{message}")]
    WrongCredentials {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The host's own words.
        message: ServerMessage,
    },
    /// It is not there.
    #[error("{host} does not have {what}{message}")]
    NotFound {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The host's own words.
        message: ServerMessage,
    },
    /// A mirror does not have it, and the registry itself cannot be asked. Somebody has answered, so this is as final
    /// as [`HostError::NotFound`]: where a registry is only reached by its mirror, each misspelt name ends here.
    #[error("its mirror {mirror} does not have {what}")]
    NotInMirror {
        /// The mirror.
        mirror: String,
        /// What was asked for.
        what: String,
        /// Why the registry itself did not answer.
        source: Box<HostError>,
    },
    /// Too many requests.
    #[error("{host} limits requests and asked to come back later{message}")]
    RateLimited {
        /// The host.
        host: String,
        /// When, if it said so.
        retry_after: Option<Duration>,
        /// The host's own words.
        message: ServerMessage,
    },
    /// Another status than expected.
    #[error("{host} answered with status {status} for {what}{message}")]
    Status {
        /// The host.
        host: String,
        /// HTTP status.
        status: u16,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
        /// What was asked for.
        what: String,
        /// The host's own words.
        message: ServerMessage,
    },
    /// The name means this machine or one that must not be talked to.
    #[error("{host} resolves to {address}, which is {why}; that is refused")]
    Address {
        /// The host.
        host: String,
        /// The address.
        address: std::net::IpAddr,
        /// What the address is.
        why: &'static str,
    },
    /// Credentials would travel in the clear.
    #[error("{host} wants credentials sent to {realm} without encryption; that is refused")]
    PlainRealm {
        /// The host.
        host: String,
        /// Host of the token server.
        realm: String,
    },
    /// A redirection that is not followed.
    #[error("{host} redirects to where it is not followed")]
    Redirect {
        /// The host.
        host: String,
        /// Why not.
        source: TransportCause,
    },
    /// The bytes are not the ones asked for.
    #[error("{host} served {found} for {expected}")]
    DigestMismatch {
        /// The host.
        host: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// Too many bytes.
    #[error("{host} has more than {limit} bytes for {what}")]
    TooLarge {
        /// The host.
        host: String,
        /// Bytes allowed or announced.
        limit: u64,
        /// What was asked for.
        what: String,
    },
    /// What came is no manifest, index or configuration.
    #[error("{host} served for {what} what is no image")]
    Document {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// Why not.
        source: DocumentError,
    },
    /// The image is not there for the platform.
    #[error(transparent)]
    Platform(#[from] NoPlatform),
    /// A manifest is well-formed, but no image that can be built upon.
    #[error("{what} cannot be used as an image: {why}")]
    NotAnImage {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
    },
    /// The host broke the protocol.
    #[error("{host} does not follow the registry protocol: {what}")]
    Protocol {
        /// The host.
        host: String,
        /// What it did.
        what: String,
    },
    /// A file to push cannot be read.
    #[error("cannot read {}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file to push is not what its descriptor says.
    #[error("{} bytes are there to push, {expected} are announced", found)]
    LocalSize {
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
}

impl HostError {
    /// What the failure means.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::TooSlow { .. }
            | Self::Interrupted { .. }
            | Self::NotTls { .. }
            | Self::Status { status: 500.., .. } => ErrorKind::Unreachable,
            Self::UnknownIssuer { .. } | Self::Certificate { .. } => {
                ErrorKind::UntrustedCertificate
            }
            Self::NoCredentials { .. } | Self::WrongCredentials { .. } => ErrorKind::Unauthorized,
            Self::NotFound { .. } | Self::NotInMirror { .. } | Self::Platform(_) => {
                ErrorKind::NotFound
            }
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Status { status: 413, .. } | Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Document {
                source: DocumentError::TooLarge(_) | DocumentError::ConfigTooLarge(_),
                ..
            } => ErrorKind::TooLarge,
            Self::Address { .. } | Self::PlainRealm { .. } | Self::Redirect { .. } => {
                ErrorKind::Refused
            }
            Self::DigestMismatch { .. } => ErrorKind::DigestMismatch,
            Self::Status { .. }
            | Self::Document { .. }
            | Self::NotAnImage { .. }
            | Self::Protocol { .. } => ErrorKind::Protocol,
            Self::Local { .. } | Self::LocalSize { .. } => ErrorKind::Local,
        }
    }

    /// Whether the same exchange may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::TooSlow { .. }
            | Self::Interrupted { .. }
            | Self::RateLimited { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// When the host asked to come back.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// The innermost cause of a failed exchange. HTTP libraries wrap it several times, each saying little;
/// only the innermost is shown, all stay in `Debug`.
#[derive(Debug)]
pub struct TransportCause(Box<dyn std::error::Error + Send + Sync>);

impl TransportCause {
    pub(crate) fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for TransportCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut innermost: &(dyn std::error::Error + 'static) = self.0.as_ref();
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        write!(formatter, "{innermost}")
    }
}

impl std::error::Error for TransportCause {}

/// What a registry said beside its status, cut and cleaned for a line of text; empty if it said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerMessage(String);

/// Longest message shown, in characters.
const MESSAGE_LIMIT: usize = 300;

impl ServerMessage {
    /// The message in an answer's body: that of the specification's error envelope, else plain text.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        if let Ok(envelope) = serde_json::from_slice::<oci_client::errors::OciEnvelope>(body) {
            return Self::of_envelope(&envelope);
        }
        let text = String::from_utf8_lossy(body);
        // Pages for browsers say nothing to the reader of a status; other JSON has no known form.
        if text.trim_start().starts_with(['<', '{', '[']) {
            Self::default()
        } else {
            Self::of_text(&text)
        }
    }

    pub(crate) fn of_envelope(envelope: &oci_client::errors::OciEnvelope) -> Self {
        let messages: Vec<&str> = envelope
            .errors
            .iter()
            .map(|error| error.message.as_str())
            .filter(|message| !message.is_empty())
            .collect();
        Self::of_text(&messages.join("; "))
    }

    /// The words alone.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn of_text(text: &str) -> Self {
        let printable = |character: char| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        };
        let line: String = text
            .trim()
            .chars()
            .map(printable)
            .take(MESSAGE_LIMIT)
            .collect();
        Self(line)
    }
}

impl fmt::Display for ServerMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(formatter, " (it says: {})", self.0)
        }
    }
}

/// What is wrong with the settings of a client.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The CA bundle cannot be used.
    #[error("the CA bundle of {host} cannot be used: {why}")]
    Certificates {
        /// The host it is for.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot make a client for {host}")]
    Client {
        /// The host it is for.
        host: String,
        /// Why.
        source: TransportCause,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_server_are_cut_to_a_line() {
        let envelope = br#"{"errors":[{"code":"DENIED","message":"no\naccess"},{"code":"UNKNOWN","message":"x"}]}"#;
        let cases: [(&[u8], &str); 5] = [
            (envelope, " (it says: no access; x)"),
            (b"<html>hello</html>", ""),
            (b" slow down \x1b[31m", " (it says: slow down  [31m)"),
            (b"", ""),
            (br#"{"details":"x"}"#, ""),
        ];
        for (body, expected) in cases {
            assert_eq!(ServerMessage::of_body(body).to_string(), expected);
        }
        let long = "x".repeat(5000);
        assert_eq!(
            ServerMessage::of_body(long.as_bytes()).0.len(),
            MESSAGE_LIMIT
        );
    }

    #[test]
    fn statuses_have_the_kind_and_the_patience_they_deserve() {
        let status = |status| HostError::Status {
            host: "h".into(),
            status,
            retry_after: None,
            what: "x".into(),
            message: ServerMessage::default(),
        };
        for (code, kind, transient) in [
            (400, ErrorKind::Protocol, false),
            (408, ErrorKind::Protocol, true),
            (413, ErrorKind::TooLarge, false),
            (500, ErrorKind::Unreachable, true),
            (501, ErrorKind::Unreachable, false),
            (503, ErrorKind::Unreachable, true),
        ] {
            assert_eq!(
                (status(code).kind(), status(code).is_transient()),
                (kind, transient)
            );
        }
    }
}
