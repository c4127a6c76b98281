//! The queue: first come, first served, within a limit for the whole cluster. Pure.
//!
//! Invariant: who waits and who runs is read from the objects alone, so that a restart loses nobody's place.

mod claims;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use stagecraft_api::Reason;
use stagecraft_api::v1alpha1::ImageBuild;

pub(crate) use claims::{Claims, Directory};

/// The other builds, as one build sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueView {
    /// Builds with a run that is under way.
    pub(crate) running: u32,
    /// Builds that wait and go first.
    pub(crate) ahead: u32,
}

impl QueueView {
    /// Whether there is room for one more.
    pub(crate) fn admits(self, limit: u32) -> bool {
        self.running.saturating_add(self.ahead) < limit
    }
}

/// How busy the whole cluster is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Builds with a run that is under way.
    pub(crate) running: u32,
    /// Builds that wait for their turn.
    pub(crate) queued: u32,
}

/// What one build sees of all builds. `claimed` says whether this process has given a build a run that its cached
/// object may not show yet.
pub(crate) fn view<'a>(
    me: &ImageBuild,
    all: impl Iterator<Item = &'a ImageBuild>,
    claimed: impl Fn(&ImageBuild) -> bool,
) -> QueueView {
    let my_place = place(me);
    let mut view = QueueView::default();
    for other in all.filter(|other| other.uid() != me.uid()) {
        if is_running(other) || claimed(other) {
            view.running += 1;
        } else if is_waiting(other) && precedes(&place(other), &my_place) {
            view.ahead += 1;
        }
    }
    view
}

/// Counts all builds.
pub(crate) fn totals<'a>(all: impl Iterator<Item = &'a ImageBuild>) -> Totals {
    let mut totals = Totals::default();
    for build in all {
        totals.running += u32::from(is_running(build));
        totals.queued += u32::from(is_waiting(build));
    }
    totals
}

/// The position as people are shown it: exact up to 10, then rounded up to tens, so that it changes seldom.
pub(crate) fn coarse_position(ahead: u32) -> i32 {
    let position = ahead.saturating_add(1);
    let coarse = if position <= 10 {
        position
    } else {
        position.div_ceil(10).saturating_mul(10)
    };
    i32::try_from(coarse).unwrap_or(i32::MAX)
}

fn is_running(build: &ImageBuild) -> bool {
    let run = build.status.as_ref().and_then(|status| status.run.as_ref());
    build.metadata.deletion_timestamp.is_none() && run.is_some_and(|run| run.result.is_none())
}

fn is_waiting(build: &ImageBuild) -> bool {
    let queue = build
        .status
        .as_ref()
        .and_then(|status| status.queue.as_ref());
    build.metadata.deletion_timestamp.is_none()
        && queue.is_some_and(|queue| queue.reason == Reason::Queued)
}

/// Since when a build waits (a new one: not yet), and what decides between equals.
fn place(build: &ImageBuild) -> (Option<Timestamp>, Option<Timestamp>, String) {
    let queue = build
        .status
        .as_ref()
        .and_then(|status| status.queue.as_ref());
    let since = queue
        .filter(|queue| queue.reason == Reason::Queued)
        .and_then(|queue| queue.since.as_ref());
    (
        since.map(|time| time.0),
        build
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
        build.uid().unwrap_or_default(),
    )
}

fn precedes(
    one: &(Option<Timestamp>, Option<Timestamp>, String),
    other: &(Option<Timestamp>, Option<Timestamp>, String),
) -> bool {
    match (&one.0, &other.0) {
        (Some(_), None) => true,
        (None, Some(_)) => false,
        _ => one < other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(uid: &str, status: &str) -> ImageBuild {
        let yaml = format!(
            "apiVersion: stagecraft.dev/v1alpha1\nkind: ImageBuild\nmetadata: {{name: {uid}, uid: {uid}}}\n\
             spec: {{outputs: [{{}}]}}\nstatus: {status}\n"
        );
        serde_yaml::from_str(&yaml).unwrap()
    }

    fn waiting(uid: &str, minute: u32) -> ImageBuild {
        build(
            uid,
            &format!("{{queue: {{reason: Queued, since: '2026-01-01T00:{minute:02}:00Z'}}}}"),
        )
    }

    #[test]
    fn older_builds_and_running_ones_go_first() {
        let running = "{run: {number: 1, attempt: 1, trigger: Created, specHash: a}}";
        let ended =
            "{run: {number: 1, attempt: 1, trigger: Created, specHash: a, result: Succeeded}}";
        let all = [
            build("running", running),
            build("ended", ended),
            build(
                "suspended",
                "{queue: {reason: Suspended, since: '2026-01-01T00:00:00Z'}}",
            ),
            waiting("first", 1),
            waiting("second", 2),
            waiting("third", 3),
        ];
        let seen = |me: &ImageBuild| view(me, all.iter(), |_| false);
        assert_eq!(
            seen(&waiting("second", 2)),
            QueueView {
                running: 1,
                ahead: 1
            }
        );
        assert_eq!(
            seen(&build("new", "{}")),
            QueueView {
                running: 1,
                ahead: 3
            }
        );
        assert!(seen(&waiting("first", 1)).admits(2));
        assert!(!seen(&waiting("second", 2)).admits(2));
        assert_eq!(
            totals(all.iter()),
            Totals {
                running: 1,
                queued: 3
            }
        );
    }

    #[test]
    fn a_build_that_was_just_given_a_run_counts_as_running() {
        let all = [waiting("first", 1), waiting("second", 2)];
        let claimed = |build: &ImageBuild| build.uid().as_deref() == Some("first");
        let view = view(&all[1], all.iter(), claimed);
        assert_eq!(
            view,
            QueueView {
                running: 1,
                ahead: 0
            }
        );
    }

    #[test]
    fn positions_are_coarse_beyond_ten() {
        let cases = [(0, 1), (9, 10), (10, 20), (19, 20), (20, 30)];
        for (ahead, expected) in cases {
            assert_eq!(coarse_position(ahead), expected, "{ahead}");
        }
    }
}
