//! Times of an image: which of a step's inputs is the newest, and the clamp to an epoch.
//!
//! Invariant: only an executed RUN asks the clock, so a build without RUN has the same times everywhere.

use jiff::Timestamp;

/// The rule for times in this build.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Later times are clamped to this many seconds since 1970.
    pub epoch: Option<i64>,
}

impl Times {
    /// A time as it may stand in the image.
    #[must_use]
    pub fn clamp(self, time: Timestamp) -> Timestamp {
        let epoch = self
            .epoch
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        epoch.map_or(time, |epoch| time.min(epoch))
    }

    /// The time of what has none of its own: the epoch, if there is one.
    #[must_use]
    pub fn settle(self, time: Timestamp) -> Timestamp {
        let epoch = self
            .epoch
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        epoch.unwrap_or(time)
    }

    /// The clock's time, clamped: for the end of a RUN.
    #[must_use]
    pub fn now(self) -> Timestamp {
        self.clamp(Timestamp::now())
    }
}

/// A `created` member; what cannot be read counts as 1970.
#[must_use]
pub fn parse(created: Option<&str>) -> Timestamp {
    created
        .and_then(|text| text.parse().ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A file's time.
#[must_use]
pub fn of_file(time: stagecraft_layer::Time) -> Timestamp {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    Timestamp::new(time.seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_times_are_clamped_and_earlier_ones_stay() {
        let times = Times { epoch: Some(100) };
        assert_eq!(
            times
                .clamp(Timestamp::from_second(200).unwrap())
                .as_second(),
            100
        );
        assert_eq!(
            times.clamp(Timestamp::from_second(50).unwrap()).as_second(),
            50
        );
    }

    #[test]
    fn what_has_no_time_gets_the_epoch() {
        let early = Timestamp::from_second(5).unwrap();
        assert_eq!(Times { epoch: Some(9) }.settle(early).as_second(), 9);
        assert_eq!(Times { epoch: None }.settle(early), early);
    }

    #[test]
    fn created_is_read_as_docker_writes_it() {
        assert_eq!(
            parse(Some("2024-05-01T10:00:00.25Z")).as_millisecond(),
            1_714_557_600_250
        );
        assert_eq!(parse(Some("nonsense")), Timestamp::UNIX_EPOCH);
    }
}
