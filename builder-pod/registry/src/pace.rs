//! How slowly a host may send: a body that trickles is an error, and no wait without end.
//!
//! Invariant: only the time counts in which the host is waited for, not that in which what it sent is used.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::HostError;
use crate::exchange::SILENCE_LIMIT;

/// Bytes that come in every [`SILENCE_LIMIT`] of waiting at least: a thousandth of a slow line's.
pub(crate) const LEAST: u64 = 64 * 1024;

/// Watches one body.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Bytes that came in this stretch of waiting.
    received: u64,
    waited: Duration,
}

impl Pace {
    /// Waits for the next piece of a body.
    ///
    /// # Errors
    /// [`HostError::TimedOut`] where nothing came for [`SILENCE_LIMIT`], [`HostError::TooSlow`] where less than
    /// [`LEAST`] did.
    pub(crate) async fn wait<T>(
        &mut self,
        host: &str,
        piece: impl Future<Output = T>,
    ) -> Result<T, HostError> {
        let mut piece = pin!(piece);
        loop {
            let began = Instant::now();
            let left = SILENCE_LIMIT.saturating_sub(self.waited);
            let came = timeout(left, piece.as_mut()).await;
            self.waited += began.elapsed();
            if let Ok(piece) = came {
                return Ok(piece);
            }
            let host = host.to_owned();
            let after = SILENCE_LIMIT;
            match std::mem::take(self).received {
                0 => return Err(HostError::TimedOut { host, after }),
                received if received < LEAST => {
                    return Err(HostError::TooSlow {
                        host,
                        received,
                        after,
                    });
                }
                _ => {}
            }
        }
    }

    /// Counts a piece that came.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a body whose pieces, of so many bytes, come after so many seconds each.
    async fn read(pieces: impl IntoIterator<Item = (usize, u64)>) -> Result<u64, HostError> {
        let (mut pace, mut all) = (Pace::default(), 0);
        for (bytes, seconds) in pieces {
            let piece = tokio::time::sleep(Duration::from_secs(seconds));
            pace.wait("h", piece).await?;
            pace.received(bytes);
            all += bytes as u64;
        }
        Ok(all)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_after_one_stretch_however_often_something_comes() {
        let began = Instant::now();
        let trickle = std::iter::repeat((1, 5));
        let error = read(trickle).await.unwrap_err();
        assert_eq!(error.to_string(), "h sends too slowly: 12 bytes in 60 s");
        assert_eq!(began.elapsed(), SILENCE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_from_slowness() {
        let error = read([(1_000_000, 1), (1, 121)]).await.unwrap_err();
        assert!(matches!(error, HostError::TimedOut { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_and_a_slow_reader_may_take_their_time() {
        let slow_line = std::iter::repeat_n((8_000, 6), 100);
        assert_eq!(read(slow_line).await.unwrap(), 800_000);
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.wait("h", std::future::ready(())).await.unwrap();
            pace.received(1);
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    }
}
