//! What can be done of an export while later steps run: layers of the result are compressed, and sent, as soon as they
//! are there.
//!
//! Invariant: nothing is decided here: what goes wrong is tried again, and shows with its place, when the image is
//! exported.
//! Invariant: no manifest is written: a build that fails leaves blobs that nothing names, and registries drop those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use stagecraft_image::Reference;
use stagecraft_layer::LayerId;
use stagecraft_plan::{Base, BuildPlan, StageIndex};
use tokio::task::JoinSet;

use super::{Exporter, push};

/// Exports layers ahead of their image. Dropping it ends what is under way.
pub struct EarlyExport {
    exporter: Arc<Exporter>,
    /// The stages whose layers are in a result, and the images that these will be: a name for each repository.
    wanted: HashMap<StageIndex, Vec<Reference>>,
    tasks: Mutex<JoinSet<()>>,
}

impl EarlyExport {
    /// The layers of a plan's targets, each with the names that its image is pushed to. A name that is none is left
    /// to the export itself.
    #[must_use]
    pub fn new(exporter: Arc<Exporter>, plan: &BuildPlan, pushed_names: &[Vec<String>]) -> Self {
        let mut wanted: HashMap<StageIndex, Vec<Reference>> = HashMap::new();
        for (target, names) in plan.targets().zip(pushed_names) {
            let names = names.iter().filter_map(|name| name.parse().ok());
            let repositories = push::by_repository(names);
            let firsts = repositories.values().filter_map(|names| names.first());
            for stage in with_bases(plan, target) {
                let known = wanted.entry(stage).or_default();
                known.extend(firsts.clone().cloned());
            }
        }
        Self {
            exporter,
            wanted,
            tasks: Mutex::default(),
        }
    }

    /// A step of a stage made a layer.
    pub fn finished(&self, stage: StageIndex, layer: LayerId) {
        let Some(names) = self.wanted.get(&stage).cloned() else {
            return;
        };
        let exporter = Arc::clone(&self.exporter);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            let Ok(blob) = exporter.compressed(layer).await else {
                return;
            };
            for name in &names {
                let _ = push::push_blob(&exporter, name, &blob, &[]).await;
            }
        });
    }
}

/// A stage and those that it begins with.
fn with_bases(plan: &BuildPlan, target: StageIndex) -> impl Iterator<Item = StageIndex> + '_ {
    std::iter::successors(Some(target), |stage| match plan.stage(*stage)?.base {
        Base::Stage(below) => Some(below),
        Base::Scratch | Base::Image(_) | Base::Context(_) => None,
    })
}
