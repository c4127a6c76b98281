//! How far every stage came, for the report.

use std::sync::{Mutex, PoisonError};

use stagecraft_plan::BuildPlan;
use stagecraft_protocol::report::{StageReport, StageState};

/// One row a stage, in the order of the plan.
#[derive(Default)]
pub(super) struct Board {
    rows: Mutex<Vec<StageReport>>,
}

impl Board {
    pub(super) fn new(plan: &BuildPlan) -> Self {
        let row = |stage: &stagecraft_plan::StagePlan| StageReport {
            name: stage.label(),
            index: u32::try_from(stage.index.0).unwrap_or(u32::MAX),
            state: StageState::Pending,
            steps: u32::try_from(stage.steps.len()).unwrap_or(u32::MAX),
            cached_steps: 0,
            start_time: None,
            completion_time: None,
        };
        Self {
            rows: Mutex::new(plan.stages.iter().map(row).collect()),
        }
    }

    pub(super) fn started(&self, position: usize) {
        self.change(position, |row| {
            row.state = StageState::Running;
            row.start_time = Some(jiff::Timestamp::now().as_second());
        });
    }

    pub(super) fn ended(&self, position: usize, state: StageState) {
        self.change(position, |row| {
            row.state = state;
            row.completion_time = Some(jiff::Timestamp::now().as_second());
        });
    }

    /// Something failed: what has not ended is cancelled.
    pub(super) fn cancel_rest(&self) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows.iter_mut() {
            if matches!(row.state, StageState::Running | StageState::Pending) {
                row.state = StageState::Cancelled;
            }
        }
    }

    pub(super) fn reports(&self) -> Vec<StageReport> {
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, position: usize, change: impl FnOnce(&mut StageReport)) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(position) {
            change(row);
        }
    }
}
