//! Which addresses are not connected to.
//!
//! Invariant: names are judged by the addresses they resolve to, at the moment of connecting; addresses in place of
//! names are judged before connecting, also in redirects.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};

use crate::HostError;
use crate::error::TransportCause;

/// Redirects that are followed at most.
const REDIRECT_LIMIT: usize = 10;

/// Which addresses are refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Guard {
    /// Addresses of this machine: loopback, and whatever its interfaces have.
    pub(crate) refuse_this_machine: bool,
    /// Link-local addresses, where clouds serve their metadata.
    pub(crate) refuse_link_local: bool,
}

/// An address that is refused. It stands at the end of an HTTP client's error chain.
#[derive(Clone, Debug, thiserror::Error)]
#[error("address {address} is {why}; that is refused")]
pub(crate) struct RefusedAddress {
    pub(crate) address: IpAddr,
    pub(crate) why: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedRedirect {
    #[error("more than {REDIRECT_LIMIT} redirections")]
    TooMany,
    #[error("from https to {0}")]
    Downgrade(String),
    #[error("to a {0} address")]
    Scheme(String),
}

impl Guard {
    /// Whether an address may be connected to.
    pub(crate) fn check(self, address: IpAddr) -> Result<(), RefusedAddress> {
        let address = address.to_canonical();
        let refused = |why| Err(RefusedAddress { address, why });
        if self.refuse_this_machine && is_of_this_machine(address) {
            return refused("an address of this machine");
        }
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            // Beside fe80::/10, the one address of EC2's metadata in IPv6.
            IpAddr::V6(address) => {
                address.is_unicast_link_local()
                    || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
            }
        };
        if self.refuse_link_local && is_link_local {
            return refused("a link-local address");
        }
        Ok(())
    }

    /// Judges a URL whose host is an address; names are left to the resolver.
    pub(crate) fn check_url(self, url: &Url) -> Result<(), RefusedAddress> {
        let host = url.host_str().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(address) => self.check(address),
            Err(_) => Ok(()),
        }
    }

    /// Judges a host by looking its name up. For connections that are made by others, who look it up again: they
    /// are safe from names that happen to mean this machine, not from a name server that changes its answers.
    pub(crate) async fn check_host(self, host: &str) -> Result<(), HostError> {
        if !self.refuse_this_machine && !self.refuse_link_local {
            return Ok(());
        }
        let url =
            Url::parse(&format!("http://{host}/")).map_err(|source| HostError::Unreachable {
                host: host.to_owned(),
                source: TransportCause::new(source),
            })?;
        let checked = match url.host_str() {
            Some(name) if !name.starts_with('[') => lookup(name, self).await.map(|_| ()),
            _ => self.check_url(&url).map_err(LookupError::Refused),
        };
        checked.map_err(|error| match error {
            LookupError::Refused(refused) => HostError::Address {
                host: host.to_owned(),
                address: refused.address,
                why: refused.why,
            },
            LookupError::Failed(source) => HostError::Unreachable {
                host: host.to_owned(),
                source: TransportCause::new(source),
            },
        })
    }

    /// Follows few redirections, none to a refused address, and none from https to http.
    pub(crate) fn redirect_policy(self) -> Policy {
        Policy::custom(move |attempt: Attempt<'_>| {
            if attempt.previous().len() > REDIRECT_LIMIT {
                return attempt.error(RefusedRedirect::TooMany);
            }
            let scheme = attempt.url().scheme().to_owned();
            if !matches!(scheme.as_str(), "http" | "https") {
                return attempt.error(RefusedRedirect::Scheme(scheme));
            }
            let was_https = attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
            if was_https && scheme != "https" {
                return attempt.error(RefusedRedirect::Downgrade(scheme));
            }
            match self.check_url(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        })
    }
}

/// A machine can bind a socket to its own addresses only; nothing is sent.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Refused(RefusedAddress),
    #[error(transparent)]
    Failed(io::Error),
}

/// All addresses of a name; one that is refused refuses the name.
async fn lookup(name: &str, guard: Guard) -> Result<Vec<SocketAddr>, LookupError> {
    let found = tokio::net::lookup_host((name, 0))
        .await
        .map_err(LookupError::Failed)?;
    let found: Vec<SocketAddr> = found.collect();
    for address in &found {
        guard.check(address.ip()).map_err(LookupError::Refused)?;
    }
    Ok(found)
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            match lookup(name.as_str(), guard).await {
                Ok(found) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(LookupError::Refused(refused)) => Err(refused.into()),
                Err(LookupError::Failed(error)) => Err(error.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged() {
        let machine = Guard {
            refuse_this_machine: true,
            refuse_link_local: false,
        };
        let link_local = Guard {
            refuse_this_machine: false,
            refuse_link_local: true,
        };
        let cases = [
            (machine, "127.0.0.1", false),
            (machine, "127.9.9.9", false),
            (machine, "0.0.0.0", false),
            (machine, "::1", false),
            (machine, "::", false),
            (machine, "::ffff:127.0.0.1", false),
            (machine, "192.0.2.1", true),
            (machine, "2001:db8::1", true),
            (link_local, "169.254.169.254", false),
            (link_local, "::ffff:169.254.169.254", false),
            (link_local, "fe80::1", false),
            (link_local, "fd00:ec2::254", false),
            (link_local, "127.0.0.1", true),
            (Guard::default(), "127.0.0.1", true),
        ];
        for (guard, address, allowed) in cases {
            assert_eq!(
                guard.check(address.parse().unwrap()).is_ok(),
                allowed,
                "{address}"
            );
        }
        for url in ["http://127.0.0.1:5000/", "http://[::1]/", "http://0x7f.1/"] {
            assert!(machine.check_url(&url.parse().unwrap()).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn names_are_judged_by_what_they_resolve_to() {
        let machine = Guard {
            refuse_this_machine: true,
            refuse_link_local: false,
        };
        for host in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            let error = machine.check_host(host).await.unwrap_err();
            assert!(matches!(error, HostError::Address { .. }), "{error:?}");
            assert!(
                error.to_string().contains("an address of this machine"),
                "{error}"
            );
        }
    }
}
