//! When to try again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::settings::RetryPolicy;
use crate::{HostError, error};

/// Counts the tries of one exchange.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failed: 0 }
    }

    /// There was progress: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Pauses before another try; gives the error back when there shall be none.
    pub(crate) async fn pause_after(&mut self, error: HostError) -> Result<(), HostError> {
        match self.pause(&error) {
            Some(pause) => {
                tracing::debug!(error = %describe(&error), ?pause, "trying again");
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    fn pause(&mut self, error: &HostError) -> Option<Duration> {
        self.failed += 1;
        if !error.is_transient() || self.failed >= self.policy.attempts {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return (asked <= self.policy.longest_asked_pause).then_some(asked);
        }
        let doubled = self
            .policy
            .first_pause
            .saturating_mul(1 << (self.failed - 1).min(16));
        let longest = doubled.min(self.policy.longest_pause);
        Some(longest.mul_f64(0.5 + random_fraction() / 2.0))
    }
}

/// An error and why, for the log.
pub(crate) fn describe(error: &error::HostError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// From 0 to 1; the randomness of hash keys is plenty for spreading retries.
fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

/// `Retry-After` in seconds. The other form, a date, would need the server's clock and is not used by registries.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServerMessage;

    fn limited(retry_after: Option<u64>) -> HostError {
        HostError::RateLimited {
            host: "h".into(),
            retry_after: retry_after.map(Duration::from_secs),
            message: ServerMessage::default(),
        }
    }

    #[test]
    fn pauses_double_within_their_jitter_until_the_attempts_are_used_up() {
        let policy = RetryPolicy {
            attempts: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(3),
            ..RetryPolicy::default()
        };
        let mut attempts = Attempts::new(policy);
        for longest in [1, 2, 3] {
            let pause = attempts.pause(&limited(None)).unwrap();
            let longest = Duration::from_secs(longest);
            assert!(
                pause >= longest / 2 && pause <= longest,
                "{pause:?} of {longest:?}"
            );
        }
        assert_eq!(attempts.pause(&limited(None)), None);
        attempts.reset();
        assert!(attempts.pause(&limited(None)).is_some());
    }

    #[test]
    fn a_pause_that_is_asked_for_is_taken_unless_it_is_too_long() {
        let mut attempts = Attempts::new(RetryPolicy::default());
        assert_eq!(
            attempts.pause(&limited(Some(7))),
            Some(Duration::from_secs(7))
        );
        assert_eq!(attempts.pause(&limited(Some(3600))), None);
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        let mut attempts = Attempts::new(RetryPolicy::default());
        let error = HostError::Protocol {
            host: "h".into(),
            what: "x".into(),
        };
        assert_eq!(attempts.pause(&error), None);
    }
}
