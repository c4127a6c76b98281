//! Stages and their progress, from the lines that the engine prints. Pure.
//!
//! Invariant: output of a RUN never changes a stage: it parses as output, whatever it says.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use stagecraft_api::v1alpha1::{STATUS_STAGES_LIMIT, StageState, StageStatus};
use stagecraft_protocol::progress::{self, Event, Place};

/// The stages seen so far, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    stages: Vec<StageStatus>,
    /// Stage (by position in `stages`) and whether it is the stage's last step, by vertex.
    steps: BTreeMap<u32, (usize, bool)>,
    /// Stages of the plan, once the engine has told.
    planned: usize,
}

impl Progress {
    /// Takes a line of the log, which starts with its time; whether a stage changed.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        let Some((time, text)) = line.split_once(' ') else {
            return false;
        };
        let (Ok(time), Some((vertex, event))) = (time.parse::<Timestamp>(), progress::parse(text))
        else {
            return false;
        };
        match event {
            Event::Started {
                place:
                    Place::Step {
                        stage,
                        number,
                        total,
                    },
                ..
            } => self.started(vertex, &stage, (number, total), time),
            Event::Started { title, .. } => self.planned(&title),
            Event::Output { .. } => false,
            Event::Cached => self.ended(vertex, time, true),
            Event::Done { .. } => self.ended(vertex, time, false),
            Event::Error { .. } => self.stopped(vertex, time, StageState::Failed),
            Event::Canceled => self.stopped(vertex, time, StageState::Cancelled),
        }
    }

    /// The stages, in the order in which they started.
    pub(crate) fn stages(&self) -> &[StageStatus] {
        &self.stages
    }

    /// How many are done, of those that are planned.
    pub(crate) fn summary(&self) -> Option<String> {
        super::ending::progress(&self.stages, self.planned.max(self.stages.len()))
    }

    fn planned(&mut self, title: &str) -> bool {
        let planned = progress::planned_stages(title);
        self.planned = planned.unwrap_or(self.planned);
        planned.is_some()
    }

    fn started(
        &mut self,
        vertex: u32,
        name: &str,
        (number, total): (u32, u32),
        time: Timestamp,
    ) -> bool {
        // A stage without a name is `stage-INDEX` in the lines, and its index elsewhere.
        let index = name
            .strip_prefix("stage-")
            .and_then(|index| index.parse::<i32>().ok());
        let name = index.map_or_else(|| name.to_owned(), |index| index.to_string());
        let known = self.stages.iter().position(|stage| stage.name == name);
        let position = match known {
            Some(position) => position,
            None if self.stages.len() >= STATUS_STAGES_LIMIT => return false,
            None => {
                self.stages.push(StageStatus {
                    name,
                    index,
                    state: StageState::Running,
                    steps: i32::try_from(total).ok(),
                    cached_steps: Some(0),
                    start_time: Some(Time(time)),
                    ..StageStatus::default()
                });
                self.stages.len() - 1
            }
        };
        self.steps.insert(vertex, (position, number == total));
        known.is_none()
    }

    fn ended(&mut self, vertex: u32, time: Timestamp, cached: bool) -> bool {
        let Some((position, last)) = self.steps.remove(&vertex) else {
            return false;
        };
        let Some(stage) = self.stages.get_mut(position) else {
            return false;
        };
        if cached {
            stage.cached_steps = Some(stage.cached_steps.unwrap_or_default().saturating_add(1));
        }
        if last {
            stage.state = StageState::Succeeded;
            stage.completion_time = Some(Time(time));
        }
        cached || last
    }

    fn stopped(&mut self, vertex: u32, time: Timestamp, state: StageState) -> bool {
        let Some((position, _)) = self.steps.remove(&vertex) else {
            return false;
        };
        let Some(stage) = self.stages.get_mut(position) else {
            return false;
        };
        stage.state = state;
        stage.completion_time = Some(Time(time));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Progress {
        let mut progress = Progress::default();
        for (second, line) in lines.iter().enumerate() {
            progress.line(&format!("2026-01-01T00:00:{second:02}.123456789Z {line}"));
        }
        progress
    }

    fn states(progress: &Progress) -> Vec<(&str, StageState, Option<i32>)> {
        let stages = progress.stages().iter();
        stages
            .map(|stage| (stage.name.as_str(), stage.state, stage.cached_steps))
            .collect()
    }

    #[test]
    fn stages_start_end_and_fail_as_the_lines_say() {
        let progress = after(&[
            "#1 [internal] plan of 5 stages",
            "#1 DONE 0.1s",
            "#2 [build 1/2] COPY . .",
            "#3 [stage-1 1/1] RUN false",
            "#2 CACHED",
            "#4 [build 2/2] RUN make",
            "#4 0.100 cc",
            "#4 DONE 3.0s",
            "#3 ERROR exit code 1",
        ]);
        let expected = [
            ("build", StageState::Succeeded, Some(1)),
            ("1", StageState::Failed, Some(0)),
        ];
        assert_eq!(states(&progress), expected);
        assert_eq!(progress.summary().as_deref(), Some("1/5"));
        let times = &progress.stages()[0];
        assert_eq!(
            times.start_time.as_ref().unwrap().0.to_string(),
            "2026-01-01T00:00:02.123456789Z"
        );
    }

    #[test]
    fn output_of_a_run_that_looks_like_progress_changes_nothing() {
        let progress = after(&[
            "#2 [build 1/1] RUN evil",
            "#2 0.100 #2 DONE 0.1s",
            "#2 0.2 #3 [x 1/1] RUN y",
        ]);
        assert_eq!(states(&progress), [("build", StageState::Running, Some(0))]);
    }
}
