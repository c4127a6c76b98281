//! From errors to [`Failure`]: which reason an error has, and how its chain reads as sentences.

use std::error::Error;
use std::io;

use stagecraft_protocol::failure::FailureReason;
use stagecraft_registry::{ErrorKind, RegistryError};

/// An error and its causes, joined by colons.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}

/// Whether the cause at the end of the chain is a full disk or quota.
#[must_use]
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let code = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        let errno = error
            .downcast_ref::<rustix::io::Errno>()
            .map(|errno| errno.raw_os_error());
        let full = [libc::ENOSPC, libc::EDQUOT];
        if code.or(errno).is_some_and(|code| full.contains(&code)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The reason of a registry's error when reading an image.
#[must_use]
pub fn reading(error: &RegistryError) -> FailureReason {
    match error.kind() {
        ErrorKind::NotFound => FailureReason::BaseImage,
        ErrorKind::Unauthorized => FailureReason::RegistryAuth,
        _ => FailureReason::Registry,
    }
}

/// The reason of a registry's error when pushing.
#[must_use]
pub fn pushing(error: &RegistryError) -> FailureReason {
    match error.kind() {
        ErrorKind::Unauthorized => FailureReason::RegistryAuth,
        _ => FailureReason::Registry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_full_disk_is_found_at_the_end_of_the_chain() {
        assert!(is_disk_full(&Outer(io::Error::from_raw_os_error(
            libc::ENOSPC
        ))));
        assert!(!is_disk_full(&Outer(io::Error::from_raw_os_error(
            libc::EACCES
        ))));
        assert!(chain(&Outer(io::Error::other("why"))).ends_with("cannot write x: why"));
    }
}
