//! What the executor is given and gives back, as data: it may run in the process that planned the build or, when RUN is
//! needed, in a session. The invariant: a job names files of the caller only by the paths of its contexts and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use image::{DiffId, Digest};
use sandbox::{CgroupLimits, Emulator};
use serde::{Deserialize, Serialize};

use crate::cache::{Record, StepLayer};
use crate::completion::ClosureRules;
use crate::context::ContextFiles;
use crate::explain::Cause;
use crate::graph::{Base, PlannedStage, StageId};
use crate::key::CacheKey;
use crate::request::CacheMode;
use crate::settings::RunAccess;
use crate::shared::{SharedRecords, SharedStep};
use crate::step::{Label, StepKind};
use crate::times::Times;

/// A build, planned and resolved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) store: PathBuf,
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) target: StageId,
    /// The layers of each image of the plan, lowest first.
    pub(crate) images: Vec<JobImage>,
    pub(crate) context: Option<ContextFiles>,
    pub(crate) named_contexts: BTreeMap<String, ContextFiles>,
    /// Name and text of the ignore file.
    pub(crate) ignore: Option<(String, String)>,
    /// The stages that take nothing from the cache, and why.
    pub(crate) fresh: BTreeMap<StageId, Cause>,
    /// Whether it is told why steps are cached or not.
    pub(crate) explain: bool,
    /// Names what is built from build to build.
    pub(crate) lineage: String,
    /// Whether every step's changes become a layer, not only those of the target.
    pub(crate) every_layer: bool,
    /// What caches elsewhere have.
    pub(crate) shared: SharedRecords,
    /// Whose results leave for other machines.
    pub(crate) share: Option<CacheMode>,
    /// Whether results are published for other builds.
    pub(crate) publish: bool,
    /// Whether RUN finds otherwise what must not matter to it.
    pub(crate) disturbed: bool,
    /// How many stages run at once; 0 is as many as there are.
    pub(crate) jobs: usize,
    /// Whether the session has one id, so that RUN loses owners.
    pub(crate) single_id: bool,
    pub(crate) network: JobNetwork,
    /// What executes the programs of foreign platforms.
    pub(crate) emulators: Vec<Emulator>,
    pub(crate) no_new_privileges: bool,
    /// Where each RUN has a cgroup with limits.
    pub(crate) cgroups: Option<JobCgroups>,
    /// What RUN gets access to: of the secrets only those that a step names.
    pub(crate) access: RunAccess,
    /// Visible to RUN without being part of a step: the proxy settings of the caller.
    pub(crate) ambient_env: Vec<(String, String)>,
    /// Where the times of files come from.
    pub(crate) times: Times,
    pub(crate) now: i64,
    /// What programs open by themselves.
    pub(crate) closure_rules: ClosureRules,
    /// Found when it is first asked for.
    #[serde(skip)]
    pub(crate) tree_stages: OnceLock<BTreeSet<StageId>>,
}

/// An image as the executor needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobImage {
    pub(crate) name: String,
    /// Its manifest's; steps are keyed by its layers.
    pub(crate) digest: Digest,
    pub(crate) layers: Vec<DiffId>,
    /// When it was made, in seconds since 1970.
    pub(crate) created: i64,
}

impl JobImage {
    /// Its name and its digest.
    pub(crate) fn shown(&self) -> String {
        let name = self.name.split('@').next().unwrap_or_default();
        format!("{name}@{}", self.digest)
    }
}

/// The cgroups of RUN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobCgroups {
    /// The place that was prepared for them.
    pub(crate) place: PathBuf,
    pub(crate) limits: CgroupLimits,
}

/// The network of RUN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum JobNetwork {
    None,
    Host,
    Pasta(PathBuf),
}

impl Job {
    pub(crate) fn stage(&self, id: StageId) -> Option<&PlannedStage> {
        // They are in the order of the file.
        let place = self.stages.binary_search_by_key(&id, |stage| stage.id);
        place.ok().map(|place| &self.stages[place])
    }

    /// The stages that run something, and all their relatives by FROM.
    pub(crate) fn tree_stages(&self) -> &BTreeSet<StageId> {
        self.tree_stages.get_or_init(|| {
            let runs = |stage: &&PlannedStage| {
                let mut steps = stage.steps.iter();
                steps.any(|planned| matches!(planned.step.kind, StepKind::Run(_)))
            };
            // A family is named after the stage that all of it starts from; stages come after those that they start from.
            let mut families: BTreeMap<StageId, StageId> = BTreeMap::new();
            for stage in &self.stages {
                let family = match stage.base {
                    Base::Stage(base) => families.get(&base).copied().unwrap_or(base),
                    Base::Scratch | Base::Image(_) => stage.id,
                };
                families.insert(stage.id, family);
            }
            let running = self.stages.iter().filter(runs);
            let running: BTreeSet<StageId> = running.map(|stage| families[&stage.id]).collect();
            let related = families
                .iter()
                .filter(|(_, family)| running.contains(family));
            related.map(|(stage, _)| *stage).collect()
        })
    }
}

/// What a finished build consists of: the steps of the target and of the stages it is based on, lowest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Executed {
    /// The time of what the chain starts from, in seconds since 1970.
    pub(crate) base_time: i64,
    /// Variables that steps give to the image, where it has none of the name.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) chain: Vec<StageSteps>,
    /// Every stage, where every layer was asked for.
    pub(crate) all: Vec<StageSteps>,
    /// Results of other machines in the chain, by the names that their records get here once their layers are here.
    pub(crate) borrowed: Vec<(CacheKey, Record)>,
    /// What leaves for other machines, with whether it is of the chain.
    pub(crate) shared: Vec<(bool, SharedStep)>,
}

/// The results of one stage of the chain, in the order of its steps, each with its time in seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StageSteps {
    pub(crate) stage: StageId,
    pub(crate) steps: Vec<(StepLayer, i64)>,
}

/// Why a step failed, in a form that crosses from the session to the caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepFailure(Box<FailureDetails>);

/// What is known of a failure.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FailureDetails {
    /// The stage's name.
    pub stage: String,
    /// The instruction; `None` where the failure is not one of an instruction.
    pub label: Option<Label>,
    /// What went wrong, fit for "failed to ...".
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code of RUN, where its program ran.
    pub exit_code: Option<i32>,
    /// The last lines that it printed.
    pub tail: Vec<String>,
    /// Whether the build was cancelled, which is why this step ended.
    pub cancelled: bool,
}

impl From<FailureDetails> for StepFailure {
    fn from(details: FailureDetails) -> Self {
        Self(Box::new(details))
    }
}

impl std::ops::Deref for StepFailure {
    type Target = FailureDetails;
    fn deref(&self) -> &FailureDetails {
        &self.0
    }
}

impl std::ops::DerefMut for StepFailure {
    fn deref_mut(&mut self) -> &mut FailureDetails {
        &mut self.0
    }
}

impl StepFailure {
    /// The failure of no particular instruction.
    pub(crate) fn of_build(error: &dyn std::error::Error) -> Self {
        Self::saying(chain(error))
    }

    /// A failure whose whole story is in its text.
    pub(crate) fn saying(message: impl Into<String>) -> Self {
        Self(Box::new(FailureDetails {
            message: message.into(),
            ..FailureDetails::default()
        }))
    }

    pub(crate) fn cancelled() -> Self {
        let mut failure = Self::saying("finish: the build was cancelled");
        failure.cancelled = true;
        failure
    }

    pub(crate) fn at(mut self, stage: &PlannedStage, label: Option<&Label>) -> Self {
        if self.stage.is_empty() {
            self.stage.clone_from(&stage.name);
        }
        if self.label.is_none() {
            self.label = label.cloned();
        }
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // `transparent` errors repeat their source.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
