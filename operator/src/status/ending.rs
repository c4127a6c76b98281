//! What the end of a run leaves in the status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use stagecraft_api::Reason;
use stagecraft_api::v1alpha1::{
    FailureStatus, ImageBuildStatus, ImageStatus, OutputStatus, STATUS_BASE_IMAGES_LIMIT,
    STATUS_LOG_LINE_LIMIT, STATUS_LOG_TAIL_LIMIT, STATUS_MESSAGE_LIMIT, STATUS_STAGES_LIMIT,
    SourceStatus, StageState, StageStatus,
};
use stagecraft_protocol::failure::{Failure, FailureReason};
use stagecraft_protocol::report::{self, BuildReport, StageReport};

use crate::reconcile::observe::Observed;

/// Stages and memory, from the engine's report.
pub(super) fn apply_report(status: &mut ImageBuildStatus, report: Option<&BuildReport>) {
    let Some(report) = report else {
        return;
    };
    status.stages = report
        .stages
        .iter()
        .take(STATUS_STAGES_LIMIT)
        .map(stage)
        .collect();
    status.progress = progress(&status.stages, report.stages.len());
    let peak = report
        .engine_peak_memory_bytes
        .max(report.runner_peak_memory_bytes);
    status.peak_memory_bytes = peak.and_then(|bytes| i64::try_from(bytes).ok());
}

/// How many stages are done, of all there are.
pub(super) fn progress(stages: &[StageStatus], total: usize) -> Option<String> {
    let done = stages
        .iter()
        .filter(|stage| stage.state == StageState::Succeeded);
    (total > 0).then(|| format!("{}/{total}", done.count()))
}

fn stage(report: &StageReport) -> StageStatus {
    let time = |seconds: Option<i64>| {
        seconds
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Time)
    };
    StageStatus {
        name: report.name.clone(),
        index: i32::try_from(report.index).ok(),
        state: match report.state {
            report::StageState::Pending => StageState::Pending,
            report::StageState::Running => StageState::Running,
            report::StageState::Succeeded => StageState::Succeeded,
            report::StageState::Failed => StageState::Failed,
            report::StageState::Cancelled => StageState::Cancelled,
        },
        steps: i32::try_from(report.steps).ok(),
        cached_steps: i32::try_from(report.cached_steps).ok(),
        start_time: time(report.start_time),
        completion_time: time(report.completion_time),
    }
}

/// Outputs, source and base images of a success.
pub(super) fn succeeded(
    status: &mut ImageBuildStatus,
    observed: &Observed,
    digest: &str,
    size_bytes: u64,
) {
    let output = observed
        .build
        .spec
        .outputs
        .first()
        .cloned()
        .unwrap_or_default();
    status.failure = None;
    if observed.report.is_none() {
        // What the last lines of a log that could not be read would have said.
        for stage in &mut status.stages {
            if stage.state == StageState::Running {
                stage.state = StageState::Succeeded;
            }
        }
        status.progress = progress(&status.stages, status.stages.len());
    }
    status.outputs = vec![OutputStatus {
        target: output.target,
        digest: digest.to_owned(),
        size_bytes: i64::try_from(size_bytes).ok(),
        images: output.images,
    }];
    let pins = observed.report.as_ref().map(|report| &report.pins);
    status.source = pins
        .and_then(|pins| pins.source.clone())
        .map(|digest| SourceStatus {
            digest: Some(digest),
        });
    status.base_images = pins.map_or_else(Vec::new, |pins| images(&pins.images).collect());
}

/// Images by reference, as many as a status has room for.
pub(super) fn images(pins: &BTreeMap<String, String>) -> impl Iterator<Item = ImageStatus> {
    pins.iter()
        .take(STATUS_BASE_IMAGES_LIMIT)
        .map(|(image, digest)| ImageStatus {
            image: image.clone(),
            digest: digest.clone(),
        })
}

/// Stages that had not ended when their run did.
pub(super) fn cancel_stages(stages: &mut [StageStatus], now: Timestamp) {
    for stage in stages
        .iter_mut()
        .filter(|stage| stage.state == StageState::Running)
    {
        stage.state = StageState::Cancelled;
        stage.completion_time = Some(Time(now));
    }
}

/// The message of success.
pub(super) fn pushed(outputs: &[OutputStatus]) -> String {
    let sentences = outputs
        .iter()
        .map(|output| format!("pushed {} to {}", output.digest, output.images.join(", ")));
    sentences.collect::<Vec<_>>().join("; ")
}

/// The message of a plan.
pub(super) fn planned(status: &ImageBuildStatus) -> String {
    let shape = status.run.as_ref().and_then(|run| run.planned_shape);
    let chains = shape.unwrap_or_default().runners;
    let runs = match chains {
        0 => "nothing to run".to_owned(),
        1 => "one chain of RUN steps".to_owned(),
        _ => format!("{chains} chains of RUN steps, which can run side by side"),
    };
    match status.stages.len() {
        0 => format!("the plan has {runs}"),
        1 => format!("the plan has one stage and {runs}"),
        stages => format!("the plan has {stages} stages and {runs}"),
    }
}

/// The failure as the status keeps it.
pub(super) fn failure_status(failure: &Failure) -> FailureStatus {
    let number = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    let text = |value: &Option<String>| value.as_deref().map(shortened);
    let tail = failure.log_tail.len().saturating_sub(STATUS_LOG_TAIL_LIMIT);
    FailureStatus {
        reason: reason(failure.reason),
        message: shortened(&failure.message),
        stage: text(&failure.stage),
        instruction: text(&failure.instruction),
        file: text(&failure.file),
        line: number(failure.line),
        column: number(failure.column),
        exit_code: failure.exit_code,
        log_tail: failure
            .log_tail
            .iter()
            .skip(tail)
            .map(|line| cut(line, STATUS_LOG_LINE_LIMIT))
            .collect(),
    }
}

/// A failure of which nothing but the class is known.
pub(super) fn failure_of(reason: Reason) -> FailureStatus {
    FailureStatus {
        reason,
        message: String::new(),
        stage: None,
        instruction: None,
        file: None,
        line: None,
        column: None,
        exit_code: None,
        log_tail: Vec::new(),
    }
}

/// A failure in one line: the place, then what happened.
pub(super) fn sentence(failure: &FailureStatus) -> String {
    let mut place = failure.file.clone().unwrap_or_default();
    for number in [failure.line, failure.column].into_iter().flatten() {
        place.push_str(&format!(":{number}"));
    }
    if place.is_empty() {
        failure.message.clone()
    } else {
        format!("{place}: {}", failure.message)
    }
}

/// The condition's reason for a failure.
pub(crate) fn reason(reason: FailureReason) -> Reason {
    match reason {
        FailureReason::Dockerfile => Reason::Dockerfile,
        FailureReason::Context => Reason::Context,
        FailureReason::BaseImage => Reason::BaseImage,
        FailureReason::RegistryAuth => Reason::RegistryAuth,
        FailureReason::Registry => Reason::Registry,
        FailureReason::StepFailed => Reason::StepFailed,
        FailureReason::OutOfMemory => Reason::OutOfMemory,
        FailureReason::OutOfDisk => Reason::OutOfDisk,
        FailureReason::Timeout => Reason::Timeout,
        FailureReason::Cancelled => Reason::Cancelled,
        FailureReason::Configuration => Reason::Configuration,
        FailureReason::Policy => Reason::Policy,
        FailureReason::Infrastructure => Reason::Infrastructure,
        FailureReason::Isolation => Reason::Isolation,
        FailureReason::Internal => Reason::Internal,
    }
}

/// A text that fits a message.
pub(super) fn shortened(text: &str) -> String {
    cut(text, STATUS_MESSAGE_LIMIT)
}

/// At most this many characters, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use stagecraft_api::reasons::ReasonKind;

    use super::*;

    #[test]
    fn the_builders_reasons_and_the_failures_of_conditions_are_the_same() {
        let of_builder: Vec<&str> = FailureReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        let of_conditions: Vec<&str> = Reason::ALL
            .iter()
            .filter(|reason| reason.kind() == ReasonKind::Failure)
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(of_builder, of_conditions);
        for failure in FailureReason::ALL {
            assert_eq!(reason(failure).as_str(), failure.as_str());
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("éééé", 4), "éééé");
        assert_eq!(cut("ééééé", 4), "ééé…");
    }
}
