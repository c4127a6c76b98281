//! The report: what an attempt tells beyond its verdict, as framed lines in the engine's log.
//!
//! A frame is `#report INDEX/COUNT PART`. The parts, joined, are the report's JSON; its SHA-256 stands in the
//! verdict, so that lines which only look like frames change nothing. (Output of a `RUN` always stands behind
//! its step's prefix and cannot look like one.)

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::request::Pins;

/// Most bytes of a part, so that a line stays below what container runtimes split (16 KiB).
const PART_LIMIT: usize = 8 * 1024;

/// What an attempt tells beyond its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildReport {
    /// What was resolved.
    #[serde(default)]
    pub pins: Pins,
    /// The reachable stages, in the order of the Dockerfile.
    #[serde(default)]
    pub stages: Vec<StageReport>,
    /// The failure with its log tail, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Digest of the pushed image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Largest resident set of the engine, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_peak_memory_bytes: Option<u64>,
    /// Largest resident set among the runners' processes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_peak_memory_bytes: Option<u64>,
}

/// One stage of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// Its name, or its index as text.
    pub name: String,
    /// Its index in the Dockerfile, from 0.
    pub index: u32,
    /// How far it came.
    pub state: StageState,
    /// Steps it has.
    pub steps: u32,
    /// Steps that were not executed because their result was cached.
    pub cached_steps: u32,
    /// Seconds since 1970 with fraction cut, when its first step started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<i64>,
    /// Likewise, when its last step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<i64>,
}

/// How far a stage came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageState {
    /// None of its steps has started.
    Pending,
    /// A step of it has started.
    Running,
    /// All its steps ended well.
    Succeeded,
    /// A step of it failed.
    Failed,
    /// It was ended because something else failed.
    Cancelled,
}

/// The report's lines for the log, and the `sha256` hexadecimal digest source: the JSON itself.
#[must_use]
pub fn frames(report: &BuildReport) -> (String, Vec<String>) {
    let json = serde_json::to_string(report).unwrap_or_default();
    let mut parts = Vec::new();
    let mut rest = json.as_str();
    while !rest.is_empty() {
        let mut end = rest.len().min(PART_LIMIT);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    let count = parts.len();
    let lines = parts
        .iter()
        .enumerate()
        .map(|(i, part)| format!("#report {}/{count} {part}", i + 1));
    let lines = lines.collect();
    (json, lines)
}

/// Joins the frames of a log. The caller compares the digest of the JSON with the verdict's.
#[must_use]
pub fn join_frames<'a>(log_lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut json = String::new();
    let mut expected = (1, 0);
    for line in log_lines {
        let Some((position, part)) = line
            .strip_prefix("#report ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let (index, count) = position.split_once('/')?;
        let (index, count) = (index.parse::<usize>().ok()?, count.parse::<usize>().ok()?);
        if index == 1 {
            json.clear();
            expected = (1, count);
        }
        if (index, count) != expected {
            return None;
        }
        json.push_str(part);
        expected.0 += 1;
    }
    (expected.1 > 0 && expected.0 == expected.1 + 1).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_among_other_lines() {
        let failure = Failure {
            log_tail: vec!["é".repeat(9000)],
            ..Failure::new(crate::failure::FailureReason::StepFailed, "x")
        };
        let report = BuildReport {
            failure: Some(failure),
            ..BuildReport::default()
        };
        let (json, lines) = frames(&report);
        assert!(lines.len() > 1);
        let mut log = vec![
            "#1 [internal] load".to_owned(),
            "#7 0.1 #report 1/1 {}".to_owned(),
        ];
        log.extend(lines);
        assert_eq!(join_frames(log.iter().map(String::as_str)), Some(json));
        log.remove(3);
        assert_eq!(join_frames(log.iter().map(String::as_str)), None);
    }
}
