//! From a Dockerfile and a request to a plan, asking for images on the way.
//!
//! Every call of [`Planner::step`] reads the whole Dockerfile again with the images known by then: that is cheap, and
//! a `COPY --from` with a variable may name an image or stage that nobody could foresee.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stagecraft_dockerfile::{Code, Diagnostic, Dockerfile, support};
use stagecraft_image::{Digest, ImageConfig, Platform};

use crate::chains;
use crate::digest::digest;
use crate::environment::Environment;
use crate::graph::{BaseName, StageGraph};
use crate::image::{ImageId, ImagePurpose, ImageRequest};
use crate::images::Images;
use crate::inputs::{GlobalArguments, PlanInputs};
use crate::plan::{
    Base, BuildPlan, Dependency, Edge, EdgeReason, SkippedStage, StageIndex, StagePlan,
};
use crate::stage::{Session, StageReader, StageState};

/// Makes a [`BuildPlan`].
#[derive(Debug)]
pub struct Planner<'a> {
    dockerfile: &'a Dockerfile,
    inputs: PlanInputs,
    images: Images,
    is_whole: bool,
}

/// How far planning came.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// These images must be resolved and given to [`Planner::provide`] first.
    Images(Vec<ImageRequest>),
    /// The plan.
    Ready(Box<BuildPlan>),
}

/// What is done about an image that is not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It is asked for.
    Known,
    /// It is taken for an empty one.
    Guessed,
}

/// What a stage begins with: its place in the plan, and what it inherits once that is known.
struct Beginning {
    base: Base,
    inherited: Option<StageState>,
}

impl<'a> Planner<'a> {
    /// A planner of a Dockerfile that was parsed without errors.
    #[must_use]
    pub fn new(dockerfile: &'a Dockerfile, inputs: PlanInputs) -> Self {
        Self {
            dockerfile,
            inputs,
            images: Images::default(),
            is_whole: false,
        }
    }

    /// Plans also what cannot be carried out yet, which is then listed in [`BuildPlan::refused`] instead of being an
    /// error: a plan to look at.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// Says what an image was resolved to: the digest of its manifest for the platform asked for, and its
    /// configuration.
    pub fn provide(&mut self, id: ImageId, digest: Digest, config: ImageConfig) {
        self.images.resolve(id, digest, config);
    }

    /// Plans as far as the known images allow.
    ///
    /// # Errors
    /// What is wrong in the reachable stages, with what is doubtful, in the order of the file.
    pub fn step(&mut self) -> Result<Progress, Vec<Diagnostic>> {
        self.attempt(Certainty::Known)
    }

    /// What of a file that cannot be planned was understood: its stages as far as their `FROM` is right. What comes
    /// from an image that is not resolved is left out, and the image has no digest. The plan's digest means nothing;
    /// nothing may be executed. There is none without a target.
    pub fn understood(&mut self) -> Option<BuildPlan> {
        match self.attempt(Certainty::Guessed) {
            Ok(Progress::Ready(plan)) => Some(*plan),
            Ok(Progress::Images(_)) | Err(_) => None,
        }
    }

    fn attempt(&mut self, certainty: Certainty) -> Result<Progress, Vec<Diagnostic>> {
        let is_guess = certainty == Certainty::Guessed;
        let Self {
            dockerfile,
            inputs,
            images,
            is_whole,
        } = self;
        let file: Arc<str> = inputs.file.as_str().into();
        let mut diagnostics = Vec::new();
        let arguments = GlobalArguments::new(dockerfile, inputs, &mut diagnostics);
        let mut graph = StageGraph::new(dockerfile, &arguments);
        read_triggers(&mut graph, images, inputs);
        let Some(wanted) = Wanted::of(&graph, inputs, &mut diagnostics) else {
            return Err(sorted(diagnostics));
        };
        let mut seeds = wanted.stages();
        loop {
            let mut findings = diagnostics.clone();
            let reachable = graph.reachable(&seeds, &mut findings);
            refuse_unsupported(&graph, &reachable, &mut findings);
            let mut session = Session {
                file: Arc::clone(&file),
                dockerfile,
                inputs,
                arguments: &arguments,
                graph: &graph,
                images,
                diagnostics: findings,
                found: BTreeSet::new(),
                certainty,
                contexts: Vec::new(),
            };
            let stages = read_stages(&mut session, &reachable);
            let Session {
                diagnostics: mut findings,
                found,
                contexts,
                ..
            } = session;
            let mut refused = Vec::new();
            if *is_whole {
                refused = take_refused(&mut findings);
            }
            if !is_guess {
                stop_at_errors(&findings)?;
            }
            if !found.is_subset(&reachable) {
                seeds.extend(found);
                continue;
            }
            let open = images.open();
            if !open.is_empty() && !is_guess {
                return Ok(Progress::Images(open));
            }
            findings.extend(arguments.unused(dockerfile, inputs));
            let mut plan = BuildPlan {
                digest: Digest::of([]),
                file: inputs.file.clone(),
                target: wanted.target,
                further_targets: wanted.further_targets.clone(),
                tests: wanted.tests.clone(),
                skipped: skipped(&graph, &reachable, &stages),
                stages,
                images: images.planned(),
                contexts,
                run_chains: 0,
                source_date_epoch: arguments.epoch,
                warnings: sorted(findings),
                refused: sorted(refused),
            };
            finish(&mut plan, inputs);
            return Ok(Progress::Ready(Box::new(plan)));
        }
    }
}

/// The stages that are asked for.
struct Wanted {
    target: StageIndex,
    further_targets: Vec<StageIndex>,
    tests: Vec<StageIndex>,
}

impl Wanted {
    /// Looks each up; nothing where one does not exist, which is reported then.
    fn of(
        graph: &StageGraph<'_>,
        inputs: &PlanInputs,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let mut find = |name: Option<&str>| match graph.target(name) {
            Ok(found) => Some(StageIndex(found)),
            Err(wrong) => {
                diagnostics.push(*wrong);
                None
            }
        };
        let target = find(inputs.target.as_deref());
        let further: Vec<_> = inputs
            .further_targets
            .iter()
            .map(|one| find(Some(one)))
            .collect();
        let tests: Vec<_> = inputs.tests.iter().map(|one| find(Some(one))).collect();
        Some(Self {
            target: target?,
            further_targets: further.into_iter().collect::<Option<_>>()?,
            tests: tests.into_iter().collect::<Option<_>>()?,
        })
    }

    fn stages(&self) -> BTreeSet<usize> {
        let all = self.further_targets.iter().chain(&self.tests);
        all.chain([&self.target]).map(|stage| stage.0).collect()
    }
}

/// What only the whole plan knows: chains, the targets' platform and labels, the digest.
fn finish(plan: &mut BuildPlan, inputs: &PlanInputs) {
    plan.run_chains = chains::assign(&mut plan.stages);
    let targets: Vec<StageIndex> = plan.targets().collect();
    let stages = plan.stages.iter_mut();
    for stage in stages.filter(|stage| targets.contains(&stage.index)) {
        let config = &mut stage.config;
        let wanted = inputs.platform.normalised();
        let own = config.platform();
        let is_other = (&own.os, &own.architecture) != (&wanted.os, &wanted.architecture);
        config.os = wanted.os;
        config.architecture = wanted.architecture;
        config.variant = if wanted.variant.is_some() || is_other {
            wanted.variant
        } else {
            own.variant
        };
        if wanted.os_version.is_some() || is_other {
            config.os_version = wanted.os_version;
        }
        config.config.labels.extend(inputs.labels.clone());
    }
    plan.digest = digest(plan);
}

/// Reads the stages whose bases are known; asks for the images of the others.
fn read_stages(session: &mut Session<'_>, reachable: &BTreeSet<usize>) -> Vec<StagePlan> {
    let mut states: BTreeMap<usize, StageState> = BTreeMap::new();
    let mut stages = Vec::new();
    for &index in reachable {
        let Some(beginning) = beginning(session, index, &states) else {
            continue;
        };
        let Some(inherited) = beginning.inherited else {
            session.want_literal_sources(index);
            continue;
        };
        let from = &session.dockerfile.stages[index].from;
        let place = session.place(from.span);
        let on = match beginning.base {
            Base::Scratch => None,
            Base::Image(image) => Some(Dependency::Image(image)),
            Base::Stage(stage) => Some(Dependency::Stage(stage)),
            Base::Context(context) => Some(Dependency::Context(context)),
        };
        let mut needs: Vec<Edge> = Vec::new();
        needs.extend(on.map(|on| Edge {
            on,
            reason: EdgeReason::From,
            place: place.clone(),
        }));
        let is_numbered = matches!(beginning.base, Base::Image(_));
        let platform = inherited.platform.clone();
        let state = match session.graph.heads[index].is_replaced {
            true => inherited.taken_over(),
            false => inherited.begin(),
        };
        let (state, steps, copies, total) = StageReader::read(session, index, state, is_numbered);
        needs.extend(copies);
        stages.push(StagePlan {
            index: StageIndex(index),
            name: session.graph.heads[index].name.clone(),
            place,
            text: from.text.clone(),
            base: beginning.base,
            platform,
            total,
            steps,
            config: state.config.clone(),
            needs,
            run_chain: None,
        });
        states.insert(index, state);
    }
    stages
}

/// What a stage begins with; nothing where its `FROM` is wrong, which was reported then.
fn beginning(
    session: &mut Session<'_>,
    index: usize,
    states: &BTreeMap<usize, StageState>,
) -> Option<Beginning> {
    let head = &session.graph.heads[index];
    let target = session.inputs.platform.clone();
    let platform = head.platform.clone().unwrap_or_else(|| target.clone());
    let from = &session.dockerfile.stages[index].from;
    let place = (from.image.span, from.text.as_str());
    let empty = |platform: Platform| {
        let mut config = ImageConfig::scratch(&platform);
        // What stands for a stage has no configuration of its own.
        if !head.is_replaced {
            config.config.working_dir = "/".to_owned();
        }
        Some(first_state(config, platform))
    };
    let id = match head.base.as_ref()? {
        BaseName::Scratch => {
            return Some(Beginning {
                base: Base::Scratch,
                inherited: empty(target),
            });
        }
        BaseName::Stage(stage) => {
            return Some(Beginning {
                base: Base::Stage(StageIndex(*stage)),
                inherited: states.get(stage).cloned(),
            });
        }
        BaseName::Files(files) => {
            return Some(Beginning {
                base: Base::Context(session.context(files, index, place)),
                inherited: empty(platform),
            });
        }
        BaseName::Layout(image) => {
            session.layout(image, &platform, ImagePurpose::Base, index, place)
        }
        BaseName::Image(image) => {
            session.image(image, &platform, ImagePurpose::Base, index, place)?
        }
    };
    let config = session
        .images
        .resolved(id)
        .map(|(_, config)| config.clone());
    let config = match session.certainty {
        Certainty::Known => config,
        Certainty::Guessed => config.or_else(|| Some(ImageConfig::scratch(&platform))),
    };
    let inherited = config.map(|config| {
        let own = config.platform();
        let has_own = !own.os.is_empty() && !own.architecture.is_empty();
        let platform = if head.is_replaced && has_own {
            own
        } else {
            platform
        };
        first_state(config, platform)
    });
    Some(Beginning {
        base: Base::Image(id),
        inherited,
    })
}

fn first_state(config: ImageConfig, platform: Platform) -> StageState {
    StageState {
        config,
        environment: Environment::default(),
        arguments: Vec::new(),
        platform,
    }
}

/// The triggers of the base images that are resolved.
fn read_triggers(graph: &mut StageGraph<'_>, images: &Images, inputs: &PlanInputs) {
    for index in 0..graph.heads.len() {
        let head = &graph.heads[index];
        let Some(reference) = head.base.as_ref().and_then(BaseName::reference) else {
            continue;
        };
        let platform = head.platform.as_ref().unwrap_or(&inputs.platform);
        if let Some(config) = images.config(&reference, platform) {
            graph.set_triggers(index, &config.config.on_build);
        }
    }
}

/// Refuses what is not carried out yet, in the stages that matter.
fn refuse_unsupported(
    graph: &StageGraph<'_>,
    reachable: &BTreeSet<usize>,
    findings: &mut Vec<Diagnostic>,
) {
    for &index in reachable {
        for mut refused in graph.instructions(index).flat_map(support::check) {
            refused.stage = Some(graph.label(index));
            findings.push(refused);
        }
    }
}

/// Takes out what only says that something is not carried out yet.
fn take_refused(findings: &mut Vec<Diagnostic>) -> Vec<Diagnostic> {
    let is_refusal = |one: &mut Diagnostic| one.code == Code::NotSupported;
    findings.extract_if(.., is_refusal).collect()
}

fn skipped(
    graph: &StageGraph<'_>,
    reachable: &BTreeSet<usize>,
    planned: &[StagePlan],
) -> Vec<SkippedStage> {
    let is_planned = |index| planned.iter().any(|stage| stage.index == StageIndex(index));
    (0..graph.heads.len())
        .filter(|index| !is_planned(*index))
        .map(|index| SkippedStage {
            index: StageIndex(index),
            name: graph.heads[index].name.clone(),
            reason: match reachable.contains(&index) {
                true => "what it begins with is not understood".to_owned(),
                false => graph.why_skipped(index),
            },
        })
        .collect()
}

fn stop_at_errors(findings: &[Diagnostic]) -> Result<(), Vec<Diagnostic>> {
    if findings.iter().any(Diagnostic::is_error) {
        return Err(sorted(findings.to_vec()));
    }
    Ok(())
}

fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    diagnostics
}
