//! Run chains: which stages can share one runner's root, one after the other.

use crate::plan::{Base, StageIndex, StagePlan};

/// Gives every stage its chain and counts them.
///
/// A stage with a `RUN` needs a root. It goes on in the root of the stage it begins with if it is the first to ask
/// for it; every further one needs a root of its own. A stage without `RUN` needs none, but stands between where a
/// later one goes on.
pub(crate) fn assign(stages: &mut [StagePlan]) -> u32 {
    let leads_to_run = leads_to_run(stages);
    let mut chains = 0;
    let mut continued: Vec<StageIndex> = Vec::new();
    for position in 0..stages.len() {
        let inherited = match stages[position].base {
            Base::Stage(base) if !continued.contains(&base) => stages
                .iter()
                .find(|stage| stage.index == base)
                .and_then(|stage| stage.run_chain.map(|chain| (base, chain))),
            _ => None,
        };
        let stage = &mut stages[position];
        stage.run_chain = match inherited {
            Some((base, chain)) if leads_to_run[position] => {
                continued.push(base);
                Some(chain)
            }
            _ if stage.has_run() => {
                chains += 1;
                Some(chains - 1)
            }
            _ => None,
        };
    }
    chains
}

/// Whether each stage, or one that begins with it, has a `RUN`.
fn leads_to_run(stages: &[StagePlan]) -> Vec<bool> {
    let mut leads: Vec<bool> = stages.iter().map(StagePlan::has_run).collect();
    // What begins with a stage stands after it.
    for position in (0..stages.len()).rev() {
        if let (true, Base::Stage(base)) = (leads[position], stages[position].base) {
            let below = stages.iter().position(|stage| stage.index == base);
            if let Some(below) = below {
                leads[below] = true;
            }
        }
    }
    leads
}
