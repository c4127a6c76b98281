//! The verdict: the engine's termination message, the only thing that decides how an attempt ended.
//!
//! Invariant: its JSON is at most [`VERDICT_LIMIT`] bytes. The kubelet cuts the termination messages of a
//! pod to 12,288 bytes divided by its number of containers.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::request::Mode;

/// Most bytes of a verdict's JSON.
pub const VERDICT_LIMIT: usize = 1024;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// [`crate::PROTOCOL_VERSION`] of the writer.
    pub protocol_version: u32,
    /// The end itself.
    pub outcome: Outcome,
    /// `sha256:…` of the report's JSON that was printed to the log; absent when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_digest: Option<String>,
}

/// The ends there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The image was pushed to every destination.
    #[serde(rename_all = "camelCase")]
    Succeeded {
        /// Manifest digest of the image.
        digest: String,
        /// Bytes of all its blobs as stored.
        size_bytes: u64,
        /// What the same plan would need another time.
        shape: Shape,
    },
    /// `mode: Plan` ended without an error.
    #[serde(rename_all = "camelCase")]
    Planned {
        /// What executing it would need.
        shape: Shape,
    },
    /// The pod has too few runners; the next attempt gets this shape.
    #[serde(rename_all = "camelCase")]
    NeedsRunners {
        /// What executing it needs.
        shape: Shape,
    },
    /// It failed. The log tail is in the report only.
    Failed(Failure),
}

/// What an attempt's pod must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Run chains of the plan: as many runners can work at a time.
    pub runners: u32,
}

/// Exit code of an engine that ends with [`Outcome::NeedsRunners`].
pub const NEEDS_RUNNERS_EXIT_CODE: u8 = 40;

impl Verdict {
    /// The verdict of this outcome, written by this version.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            protocol_version: crate::PROTOCOL_VERSION,
            outcome,
            report_digest: None,
        }
    }

    /// JSON of at most [`VERDICT_LIMIT`] bytes: message and instruction are shortened until it fits.
    #[must_use]
    pub fn to_termination_message(&self) -> String {
        let mut verdict = self.clone();
        if let Outcome::Failed(failure) = &mut verdict.outcome {
            failure.log_tail.clear();
        }
        for limit in [usize::MAX, 600, 400, 250, 120, 60, 20] {
            if let Outcome::Failed(failure) = &mut verdict.outcome {
                shorten(&mut failure.message, limit);
                let texts = [
                    &mut failure.instruction,
                    &mut failure.stage,
                    &mut failure.file,
                ];
                for text in texts.into_iter().flatten() {
                    shorten(text, limit / 2);
                }
            }
            let json = serde_json::to_string(&verdict).unwrap_or_default();
            if json.len() <= VERDICT_LIMIT {
                return json;
            }
        }
        String::new()
    }

    /// Reads a termination message.
    ///
    /// # Errors
    /// When it is not the JSON of a verdict.
    pub fn from_termination_message(message: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(message)
    }
}

/// Cuts to at most `limit` bytes on a character boundary, with an ellipsis.
fn shorten(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
}

/// What the exit code of an engine that said nothing else is taken from.
#[must_use]
pub fn exit_code(outcome: &Outcome, mode: Mode) -> u8 {
    match outcome {
        Outcome::Failed(failure) => failure.reason.exit_code(),
        Outcome::NeedsRunners { .. } if mode == Mode::Build => NEEDS_RUNNERS_EXIT_CODE,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureReason;

    #[test]
    fn a_long_failure_fits_the_limit_and_keeps_its_place() {
        let mut failure = Failure::new(FailureReason::StepFailed, "\"é\\".repeat(900));
        failure.instruction = Some("RUN \n".repeat(400));
        failure.line = Some(7);
        failure.exit_code = Some(3);
        failure.log_tail = vec!["x".repeat(5000)];
        let text = Verdict::new(Outcome::Failed(failure)).to_termination_message();
        assert!(text.len() <= VERDICT_LIMIT, "{} bytes", text.len());
        let read = Verdict::from_termination_message(&text).unwrap();
        let Outcome::Failed(read) = read.outcome else {
            panic!("not a failure: {text}")
        };
        assert_eq!((read.line, read.exit_code), (Some(7), Some(3)));
        assert!(read.message.ends_with('…') && read.log_tail.is_empty());
    }
}
