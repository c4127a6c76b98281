//! Events: what happened to a build, as `kubectl describe` shows it.
//!
//! Invariant: an event tells a change of the status; the same status twice tells nothing.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use stagecraft_api::reasons::ReasonKind;
use stagecraft_api::v1alpha1::{ImageBuild, ImageBuildStatus};
use stagecraft_api::{ConditionType, Reason};

/// Bytes of an event's note; the apiserver refuses more.
const NOTE_LIMIT: usize = 1000;

/// Publishes events.
pub(crate) struct Announcer {
    recorder: Recorder,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announcement {
    warning: bool,
    reason: Reason,
    action: &'static str,
    note: String,
}

impl Announcer {
    /// An announcer that speaks as this instance of the operator.
    pub(crate) fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: "stagecraft-operator".to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Tells what changed between two statuses; whether there was anything to tell. An event that cannot be published
    /// is lost: the status says the same.
    pub(crate) async fn announce(
        &self,
        build: &ImageBuild,
        before: &ImageBuildStatus,
        after: &ImageBuildStatus,
    ) -> bool {
        let Some(announcement) = announcement(before, after) else {
            return false;
        };
        let event = Event {
            type_: if announcement.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: announcement.reason.as_str().to_owned(),
            note: Some(announcement.note),
            action: announcement.action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &build.object_ref(&())).await {
            tracing::warn!(%error, "cannot publish an event");
        }
        true
    }
}

/// What there is to tell.
fn announcement(before: &ImageBuildStatus, after: &ImageBuildStatus) -> Option<Announcement> {
    let ready = |status: &ImageBuildStatus| {
        let name = ConditionType::Ready.as_str();
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == name)
            .cloned()
    };
    let attempt =
        |status: &ImageBuildStatus| status.run.as_ref().map(|run| (run.number, run.attempt));
    let condition = ready(after)?;
    let same = ready(before).is_some_and(|old| old.reason == condition.reason)
        && attempt(before) == attempt(after);
    if same {
        return None;
    }
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == condition.reason)?;
    let run = after.run.as_ref();
    let note = match (reason, run) {
        (Reason::Building, Some(run)) => {
            format!(
                "run {}, attempt {}: {}",
                run.number, run.attempt, condition.message
            )
        }
        _ => condition.message,
    };
    Some(Announcement {
        warning: reason.kind() == ReasonKind::Failure || reason == Reason::BackingOff,
        reason,
        action: match reason.kind() {
            ReasonKind::Good | ReasonKind::Failure => "Finish",
            ReasonKind::Progress => "Build",
        },
        note: shortened(note),
    })
}

/// At most [`NOTE_LIMIT`] bytes, cut between characters.
fn shortened(mut note: String) -> String {
    if note.len() > NOTE_LIMIT {
        let mut end = NOTE_LIMIT - '…'.len_utf8();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(reason: &str, attempt: i32) -> ImageBuildStatus {
        serde_yaml::from_str(&format!(
            "conditions:\n- {{type: Ready, status: 'False', reason: {reason}, message: words, \
             lastTransitionTime: '2026-01-01T00:00:00Z'}}\n\
             run: {{number: 1, attempt: {attempt}, trigger: Created, specHash: a}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_change_is_told_once_and_a_failure_is_a_warning() {
        let building = status("Building", 1);
        assert_eq!(announcement(&building, &building), None);
        let started = announcement(&ImageBuildStatus::default(), &building).unwrap();
        assert_eq!(started.note, "run 1, attempt 1: words");
        assert!(!started.warning);
        assert!(announcement(&building, &status("Building", 2)).is_some());
        let failed = announcement(&building, &status("StepFailed", 1)).unwrap();
        assert!(failed.warning && failed.reason == Reason::StepFailed);
    }

    #[test]
    fn a_long_note_is_cut_to_what_the_apiserver_takes() {
        let note = shortened("é".repeat(900));
        assert!(note.len() <= NOTE_LIMIT && note.ends_with('…'));
    }
}
