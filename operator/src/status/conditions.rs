//! The three conditions, all from one notion of the situation.
//!
//! Invariant: `Reconciling` and `Stalled` are never both there, and neither is beside a true `Ready`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use stagecraft_api::v1alpha1::{ImageBuildStatus, STATUS_MESSAGE_LIMIT};
use stagecraft_api::{ConditionType, Reason};

use super::ending::cut;

/// How things stand.
pub(super) struct Situation {
    state: State,
    reason: Reason,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Progress,
    Failed,
}

impl Situation {
    /// It has what was asked for.
    pub(super) fn ready(reason: Reason, message: String) -> Self {
        Self::new(State::Ready, reason, message)
    }

    /// Something goes on, or is waited for.
    pub(super) fn progress(reason: Reason, message: String) -> Self {
        Self::new(State::Progress, reason, message)
    }

    /// It failed, and only a change helps.
    pub(super) fn failed(reason: Reason, message: String) -> Self {
        Self::new(State::Failed, reason, message)
    }

    fn new(state: State, reason: Reason, message: String) -> Self {
        Self {
            state,
            reason,
            message: cut(&message, STATUS_MESSAGE_LIMIT),
        }
    }

    /// The status of a condition; `None` where it is absent.
    fn status_of(&self, condition: ConditionType) -> Option<&'static str> {
        match (condition, self.state) {
            (ConditionType::Ready, State::Ready)
            | (ConditionType::Reconciling, State::Progress)
            | (ConditionType::Stalled, State::Failed) => Some("True"),
            (ConditionType::Ready, _) => Some("False"),
            (ConditionType::Reconciling | ConditionType::Stalled, _) => None,
        }
    }
}

/// Writes the conditions. A transition time moves with the condition's status only.
pub(super) fn set(status: &mut ImageBuildStatus, situation: &Situation, now: Timestamp) {
    let before = std::mem::take(&mut status.conditions);
    for condition in ConditionType::ALL {
        let Some(value) = situation.status_of(condition) else {
            continue;
        };
        let same = before
            .iter()
            .find(|old| old.type_ == condition.as_str() && old.status == value);
        status.conditions.push(Condition {
            type_: condition.as_str().to_owned(),
            status: value.to_owned(),
            reason: situation.reason.as_str().to_owned(),
            message: situation.message.clone(),
            observed_generation: status.observed_generation,
            last_transition_time: same.map_or(Time(now), |old| old.last_transition_time.clone()),
        });
    }
}
