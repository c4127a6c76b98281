//! One exchange with a host: limited bodies, and what failures mean.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use reqwest::{Response, StatusCode};

use crate::HostError;
use crate::error::{ServerMessage, TransportCause};
use crate::guard::{RefusedAddress, RefusedRedirect};
use crate::pace::Pace;
use crate::retry::retry_after;

/// How long a host may stay silent.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How long connecting may take.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Bytes of an error's body that are read for its message.
const ERROR_BODY_LIMIT: u64 = 64 * 1024;

/// Sends a request without a long body; the answer's headers must come within [`SILENCE_LIMIT`].
pub(crate) async fn send(
    host: &str,
    request: reqwest::RequestBuilder,
) -> Result<Response, HostError> {
    match tokio::time::timeout(SILENCE_LIMIT, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(transport_error(host, error)),
        Err(_) => Err(HostError::TimedOut {
            host: host.to_owned(),
            after: SILENCE_LIMIT,
        }),
    }
}

/// The body, if it has at most `limit` bytes.
pub(crate) async fn read_limited(
    host: &str,
    mut response: Response,
    limit: u64,
    what: &str,
) -> Result<Bytes, HostError> {
    let too_large = || HostError::TooLarge {
        host: host.to_owned(),
        limit,
        what: what.to_owned(),
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_large());
    }
    let (mut body, mut pace) = (BytesMut::new(), Pace::default());
    loop {
        let chunk = pace.wait(host, response.chunk()).await?;
        let Some(chunk) = chunk.map_err(|error| transport_error(host, error))? else {
            return Ok(body.freeze());
        };
        pace.received(chunk.len());
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

/// What an answer that is no success means. `has_credentials` tells wrong credentials from missing ones.
pub(crate) async fn failure(
    host: &str,
    response: Response,
    what: &str,
    has_credentials: bool,
) -> HostError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // Whatever happens to the body, the status is the message.
    let body = read_limited(host, response, ERROR_BODY_LIMIT, what)
        .await
        .unwrap_or_default();
    status_error(
        host,
        status,
        retry_after,
        what,
        has_credentials,
        ServerMessage::of_body(&body),
    )
}

fn status_error(
    host: &str,
    status: StatusCode,
    retry_after: Option<Duration>,
    what: &str,
    has_credentials: bool,
    message: ServerMessage,
) -> HostError {
    let (host, what) = (host.to_owned(), what.to_owned());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_credentials => {
            HostError::WrongCredentials {
                host,
                what,
                message,
            }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => HostError::NoCredentials {
            host,
            what,
            message,
        },
        StatusCode::NOT_FOUND => HostError::NotFound {
            host,
            what,
            message,
        },
        StatusCode::TOO_MANY_REQUESTS => HostError::RateLimited {
            host,
            retry_after,
            message,
        },
        _ => HostError::Status {
            host,
            status: status.as_u16(),
            retry_after,
            what,
            message,
        },
    }
}

/// What a failure of the OCI client means.
pub(crate) fn oci_error(
    host: &str,
    error: OciDistributionError,
    what: &str,
    has_credentials: bool,
) -> HostError {
    let of_status = |status: StatusCode, message| {
        status_error(host, status, None, what, has_credentials, message)
    };
    match error {
        OciDistributionError::RequestError(error) => transport_error(host, error),
        OciDistributionError::UnauthorizedError { .. } => {
            of_status(StatusCode::UNAUTHORIZED, ServerMessage::default())
        }
        OciDistributionError::ServerError { code, message, .. } => of_status(
            StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY),
            ServerMessage::of_body(message.as_bytes()),
        ),
        // The status is lost here; the envelope's code says as much.
        OciDistributionError::RegistryError { envelope, .. } => {
            let status = match envelope.errors.first().map(|error| &error.code) {
                Some(
                    OciErrorCode::BlobUnknown
                    | OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound,
                ) => StatusCode::NOT_FOUND,
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => StatusCode::UNAUTHORIZED,
                Some(OciErrorCode::Toomanyrequests) => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::BAD_REQUEST,
            };
            of_status(status, ServerMessage::of_envelope(&envelope))
        }
        other => HostError::Protocol {
            host: host.to_owned(),
            what: ServerMessage::of_text(&other.to_string()).text().to_owned(),
        },
    }
}

/// What it means that there is no answer.
pub(crate) fn transport_error(host: &str, error: reqwest::Error) -> HostError {
    let host = host.to_owned();
    if let Some(refused) = find::<RefusedAddress>(&error) {
        return HostError::Address {
            host,
            address: refused.address,
            why: refused.why,
        };
    }
    let is_redirect = find::<RefusedRedirect>(&error).is_some();
    let tls = find::<rustls::Error>(&error).cloned();
    let is_timeout = error.is_timeout();
    // The URL can hold a signature; the host is named anyway.
    let source = TransportCause::new(error.without_url());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            HostError::UnknownIssuer { host, source }
        }
        Some(rustls::Error::InvalidCertificate(_)) => HostError::Certificate { host, source },
        Some(rustls::Error::InvalidMessage(_)) => HostError::NotTls { host, source },
        _ if is_redirect => HostError::Redirect { host, source },
        _ if is_timeout => HostError::TimedOut {
            host,
            after: CONNECT_LIMIT,
        },
        _ => HostError::Unreachable { host, source },
    }
}

/// The first error of a type in a chain. `io::Error` skips what it wraps in `source`, so it is looked into.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| find::<T>(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
