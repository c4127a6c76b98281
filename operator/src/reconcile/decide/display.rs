//! Decisions in words, for logs and golden files.

use std::fmt;

use super::{CancelReason, Claim, Decision, Finish, Retry};

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject { message } => write!(formatter, "Reject: {message}"),
            Self::Queue(wait) => write!(formatter, "Queue {}: {}", wait.reason, wait.message),
            Self::Start(claim) => write!(formatter, "Start {claim}"),
            Self::Track(track) => {
                let step = if track.create {
                    "Track, create the pod"
                } else {
                    "Track"
                };
                match &track.waiting {
                    Some(waiting) => {
                        write!(formatter, "{step}, {}: {}", waiting.reason, waiting.message)
                    }
                    None => formatter.write_str(step),
                }
            }
            Self::Retry(Retry::Later { failure, time }) => {
                write!(
                    formatter,
                    "Retry at {time}, {}: {}",
                    failure.reason, failure.message
                )
            }
            Self::Retry(Retry::Now(claim)) => write!(formatter, "Retry now, {claim}"),
            Self::Finish(finish) => write!(formatter, "Finish {finish}"),
            Self::Cancel { reason, pods, .. } => {
                write!(formatter, "Cancel {}, {reason}", pods.join(", "))
            }
            Self::Idle { expired: false } => formatter.write_str("Idle"),
            Self::Idle { expired: true } => formatter.write_str("Idle, the last pod may go"),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "run {} attempt {} ({:?}) with {} runners",
            self.run, self.attempt, self.trigger, self.runners
        )?;
        if let Some(pins) = &self.pins {
            write!(formatter, " and {} pinned images", pins.images.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Finish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded { digest, .. } => write!(formatter, "Succeeded {digest}"),
            Self::Planned { shape } => write!(formatter, "Planned, {} run chains", shape.runners),
            Self::Failed {
                failure,
                remove_pod,
            } => {
                write!(formatter, "{}: {}", failure.reason, failure.message)?;
                if *remove_pod {
                    formatter.write_str("; the pod goes")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Edited => "the inputs are others now",
            Self::Suspended => "the build was suspended",
            Self::Rejected => "the object cannot be built as it is now",
            Self::TimedOut => "the timeout is over",
        })
    }
}
