//! Metrics in the OpenMetrics text format.
//!
//! Invariant: every label has a closed set of values; no name of an object is one.

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use stagecraft_api::Reason;
use stagecraft_api::v1alpha1::ImageBuildStatus;

use crate::queue::Totals;

/// Bounds of the duration's buckets, in seconds: from a cached rebuild to a very long build.
const DURATION_BUCKETS: [f64; 11] = [
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0,
];

type ByReason = [(&'static str, &'static str); 1];

/// The metrics of this process.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    builds: Family<ByReason, Counter>,
    durations: Family<ByReason, Histogram>,
    attempts: Counter,
    retries: Counter,
    errors: Counter,
    running: Gauge,
    queued: Gauge,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let builds = Family::<ByReason, Counter>::default();
        let durations = Family::<ByReason, Histogram>::new_with_constructor(|| {
            Histogram::new(DURATION_BUCKETS)
        });
        let (attempts, retries, errors) =
            (Counter::default(), Counter::default(), Counter::default());
        let (running, queued, leader) = (Gauge::default(), Gauge::default(), Gauge::default());
        let mut registry = Registry::with_prefix("stagecraft");
        registry.register("builds", "Runs that have ended, by reason", builds.clone());
        registry.register(
            "build_duration_seconds",
            "Time from the start of a run's first attempt to its end, by reason",
            durations.clone(),
        );
        registry.register(
            "attempts",
            "Pods that were started for runs",
            attempts.clone(),
        );
        registry.register(
            "retries",
            "Attempts that followed a failure that may pass",
            retries.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciles that failed and are repeated",
            errors.clone(),
        );
        registry.register(
            "builds_running",
            "Builds with a run that is under way",
            running.clone(),
        );
        registry.register(
            "queue_length",
            "Builds that wait for their turn",
            queued.clone(),
        );
        registry.register(
            "leader",
            "1 while this instance is the leader",
            leader.clone(),
        );
        Self {
            registry: Arc::new(registry),
            builds,
            durations,
            attempts,
            retries,
            errors,
            running,
            queued,
            leader,
        }
    }
}

impl Metrics {
    /// Counts what changed between two statuses of an object.
    pub(crate) fn record(&self, before: &ImageBuildStatus, after: &ImageBuildStatus) {
        let Some(run) = &after.run else {
            return;
        };
        let old = before.run.as_ref().filter(|old| old.number == run.number);
        if old.is_none_or(|old| old.attempt < run.attempt) {
            self.attempts.inc();
        }
        let retries = |count: Option<i32>| u64::from(count.unwrap_or_default().unsigned_abs());
        let more = retries(run.retries).saturating_sub(retries(old.and_then(|old| old.retries)));
        self.retries.inc_by(more);
        let ended_before = old.is_some_and(|old| old.result.is_some());
        if let (Some(result), false) = (run.result, ended_before) {
            self.ended(
                result,
                run.start_time
                    .as_ref()
                    .zip(run.completion_time.as_ref())
                    .map(|(start, end)| (end.0.as_second() - start.0.as_second()).unsigned_abs()),
            );
        }
        // A run that was replaced before it had a result has none to count; it was cancelled.
        let replaced = before.run.as_ref().filter(|old| old.number != run.number);
        if replaced.is_some_and(|old| old.result.is_none()) {
            self.ended(Reason::Cancelled, None);
        }
    }

    fn ended(&self, result: Reason, seconds: Option<u64>) {
        let labels = [("reason", result.as_str())];
        self.builds.get_or_create(&labels).inc();
        if let Some(seconds) = seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
            self.durations
                .get_or_create(&labels)
                .observe(f64::from(seconds));
        }
    }

    /// Counts a reconcile that failed.
    pub(crate) fn error(&self) {
        self.errors.inc();
    }

    /// Whether this instance is the leader.
    pub(crate) fn set_leader(&self, leader: bool) {
        self.leader.set(i64::from(leader));
    }

    /// The text of all metrics; the totals are those of this moment.
    pub(crate) fn render(&self, totals: Totals) -> String {
        self.running.set(i64::from(totals.running));
        self.queued.set(i64::from(totals.queued));
        let mut output = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut output, &self.registry);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(run: &str) -> ImageBuildStatus {
        serde_yaml::from_str(&format!("run: {{trigger: Created, specHash: a, {run}}}")).unwrap()
    }

    #[test]
    fn ends_attempts_and_retries_are_counted_once() {
        let metrics = Metrics::default();
        let first = status("number: 1, attempt: 1, retries: 0, startTime: '2026-01-01T00:00:00Z'");
        let second = status("number: 1, attempt: 2, retries: 1, startTime: '2026-01-01T00:00:00Z'");
        let ended = status(
            "number: 1, attempt: 2, retries: 1, result: StepFailed, startTime: '2026-01-01T00:00:00Z', \
             completionTime: '2026-01-01T00:00:07Z'",
        );
        metrics.record(&ImageBuildStatus::default(), &first);
        metrics.record(&first, &second);
        metrics.record(&second, &ended);
        metrics.record(&ended, &ended);
        let text = metrics.render(Totals {
            running: 3,
            queued: 4,
        });
        for line in [
            "stagecraft_builds_total{reason=\"StepFailed\"} 1",
            "stagecraft_build_duration_seconds_bucket{le=\"10.0\",reason=\"StepFailed\"} 1",
            "stagecraft_attempts_total 2",
            "stagecraft_retries_total 1",
            "stagecraft_builds_running 3",
            "stagecraft_queue_length 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
