//! What happens: stages in parallel, steps in order, each looked up before it is done. The invariant: a stage starts when all
//! that it needs is finished; results are returned, not written to shared maps; siblings are joined before anything is
//! cleaned up; and what succeeded is published once, after one flush, even when something else failed.

mod agents;
mod binds;
mod caches;
mod chores;
mod completing;
mod copying;
mod disturbed;
mod explained;
mod fetched;
mod furnishing;
mod gathered;
mod injected;
mod kept;
mod layers;
mod limits;
mod lookup;
mod mount_points;
mod mounted;
mod mounts;
mod output;
mod run;
mod schedule;
mod sharing;
mod supervised;
mod views;
mod workdir;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use image::{DiffId, Store};
use rootfs::accounts::{Account, Accounts};
use rootfs::owners::Exchange;
use rootfs::trees::{Trees, WorkArea};
use sandbox::{IdMap, SharedNetwork, StepForge};

use crate::cache::{Cache, Record, StepLayer};
use crate::cancel::Cancel;
use crate::event::BuildEvent;
use crate::explain::Entry;
use crate::graph::{Base, PlannedStage, StageId};
use crate::job::{Executed, Job, StageSteps, StepFailure};
use crate::key::CacheKey;
use crate::memos::Memos;
use crate::ready::Unpacker;
use crate::times::OLDEST;

use chores::Chore;
pub(crate) use chores::Chores;
pub(crate) use disturbed::ENV as DISTURBED_ENV;
pub(crate) use gathered::Detail;
pub(crate) use kept::ids_of_steps;
pub(crate) use layers::{finish, view_of};
pub(crate) use lookup::Place;
pub(crate) use schedule::run_all;
pub(crate) use sharing::Arrived;

/// Everything that the steps of one build share.
pub(crate) struct Workshop<'w> {
    pub(crate) job: &'w Job,
    pub(crate) store: &'w Store,
    pub(crate) cache: Cache<'w>,
    pub(crate) memos: Memos<'w>,
    pub(crate) cancel: &'w Cancel,
    pub(crate) events: &'w (dyn Fn(BuildEvent) + Sync),
    /// Whether it is only looked what would be cached.
    pub(crate) forecast: bool,
    /// Who unpacks the layers that are made without a session, where that is wanted.
    pub(crate) unpacker: Option<&'w Unpacker>,
    /// Brings layers into the store that are known elsewhere.
    pub(crate) supply: &'w (dyn Fn(&[DiffId]) -> Result<(), StepFailure> + Sync),
    /// What only a session has.
    pub(crate) session: Option<SessionTools<'w>>,
}

/// What RUN and real trees need.
pub(crate) struct SessionTools<'w> {
    pub(crate) trees: Trees,
    pub(crate) work: WorkArea,
    /// The ids of the steps.
    pub(crate) ids: IdMap,
    /// What owners become on disk while a RUN runs.
    pub(crate) kept: Option<Exchange>,
    pub(crate) forge: &'w StepForge,
    pub(crate) network: OnceLock<Result<SharedNetwork, StepFailure>>,
    pub(crate) chores: Chores,
    pub(crate) arrived: Arrived,
}

/// The state of a stage's file system: a base and the results of steps on it.
#[derive(Clone, Debug)]
pub(crate) struct StageState {
    pub(crate) key: CacheKey,
    /// The image at the bottom, by its index in the job.
    pub(crate) image: Option<usize>,
    /// The time of what it starts from, in seconds since 1970.
    pub(crate) base_time: i64,
    pub(crate) results: Vec<StepResult>,
}

/// What one step left.
#[derive(Clone, Debug)]
pub(crate) struct StepResult {
    pub(crate) stage: StageId,
    /// The key of the result.
    pub(crate) key: CacheKey,
    /// The key without inputs, by which it is looked up.
    pub(crate) lookup: CacheKey,
    pub(crate) record: Record,
    /// The shared cache that has it, where it is not the store.
    pub(crate) from: Option<usize>,
    /// The directory with the changes, where there is one that is not published yet.
    pub(crate) fresh_tree: Option<std::path::PathBuf>,
    pub(crate) cached: bool,
    /// What is remembered of a step that was just done.
    pub(crate) explanation: Option<Arc<Entry>>,
}

impl StepResult {
    /// Its layer and its time.
    fn made(&self) -> (StepLayer, i64) {
        let layer = self.record.layer.clone().unwrap_or(StepLayer::Empty);
        (layer, self.record.time)
    }
}

impl StageState {
    pub(crate) fn of_base(
        job: &Job,
        stage: &PlannedStage,
        finished: &dyn Fn(StageId) -> Option<Self>,
    ) -> Result<Self, StepFailure> {
        let (chain, image, base_time) = match &stage.base {
            Base::Scratch => (None, None, OLDEST),
            Base::Image(index) => {
                let image = job.images.get(*index);
                let layers = image.map_or(&[][..], |image| &image.layers);
                let created = image.map_or(OLDEST, |image| image.created);
                (image::ChainId::of(layers), Some(*index), created)
            }
            Base::Stage(id) => return finished(*id).ok_or_else(StepFailure::cancelled),
        };
        Ok(Self {
            key: CacheKey::of_base(chain.as_ref(), base_time, job.times),
            image,
            base_time,
            results: Vec::new(),
        })
    }

    /// What the steps of one stage made.
    pub(crate) fn made_by(&self, stage: StageId) -> StageSteps {
        let own = self.results.iter().filter(|result| result.stage == stage);
        StageSteps {
            stage,
            steps: own.map(StepResult::made).collect(),
        }
    }

    /// The time of the newest thing that the state depends on.
    pub(crate) fn time(&self) -> i64 {
        let last = self.results.last();
        last.map_or(self.base_time, |result| result.record.time)
    }
}

/// Whether a stage's files are made as real trees in a session. They are when it or a relative by FROM runs something: its
/// layers are then overlay directories. All other stages go straight into layers.
pub(crate) fn needs_trees(job: &Job, stage: &PlannedStage) -> bool {
    job.tree_stages().contains(&stage.id)
}

/// Whether a build needs a session at all, if nothing of it is cached.
pub(crate) fn needs_session(job: &Job) -> bool {
    !job.tree_stages().is_empty()
}

/// The user in effect: no USER is root.
pub(crate) fn account(accounts: &Accounts, user: &str) -> Result<Account, StepFailure> {
    let user = if user.is_empty() { "0" } else { user };
    accounts
        .resolve_user(user)
        .map_err(|error| StepFailure::of_build(&error))
}

impl Workshop<'_> {
    /// Has something done beside the steps, where there is somebody to do it.
    pub(crate) fn leave(&self, chore: Chore) {
        if let Some(session) = &self.session {
            session.chores.add(chore);
        }
    }

    pub(crate) fn tell(&self, event: BuildEvent) {
        (self.events)(event);
    }

    pub(crate) fn session(&self) -> Result<&SessionTools<'_>, StepFailure> {
        self.session
            .as_ref()
            .ok_or_else(|| StepFailure::saying("run a step outside a session"))
    }

    /// The result of the whole build, if every step of every stage is cached.
    pub(crate) fn all_cached(&self) -> Result<Option<Executed>, StepFailure> {
        let mut finished: BTreeMap<StageId, StageState> = BTreeMap::new();
        let mut found = Vec::new();
        for stage in &self.job.stages {
            let mut state = StageState::of_base(self.job, stage, &|id| finished.get(&id).cloned())?;
            for (index, planned) in stage.steps.iter().enumerate() {
                let place = Place {
                    stage,
                    index,
                    planned,
                    finished: &finished,
                    spare: &std::cell::Cell::new(None),
                };
                let Some(result) = self.find(&place, &state)? else {
                    return Ok(None);
                };
                let verdict = self.hit(&result);
                found.push((stage.id, index, planned.label.clone(), verdict));
                state.key = result.key;
                state.results.push(result);
            }
            finished.insert(stage.id, state);
        }
        for (stage, step, label, verdict) in found {
            if self.job.explain {
                let label = label.clone();
                self.tell(BuildEvent::CacheExplained {
                    stage,
                    step,
                    label,
                    verdict,
                });
            }
            self.tell(BuildEvent::StepCached { stage, step, label });
        }
        let Some(target) = finished.get(&self.job.target) else {
            return Ok(None);
        };
        Ok(Some(Executed {
            shared: self.shared_steps(&finished),
            ..self.executed(target)
        }))
    }

    /// Publishes every fresh result, after one flush of the store.
    pub(crate) fn publish(&self, states: &mut [(StageId, StageState)]) -> Result<(), StepFailure> {
        let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
        let fresh = || {
            let mut results = states.iter().flat_map(|(_, state)| &state.results);
            results.any(|result| !result.cached || self.has_arrived(result))
        };
        if !fresh() || !self.job.publish {
            return Ok(());
        }
        self.store.sync().map_err(|error| fail(&error))?;
        let mut published = std::collections::BTreeSet::new();
        let mut explanations = Vec::new();
        for (id, state) in states {
            for result in &mut state.results {
                self.adopt_arrived(result)?;
                if result.stage == *id {
                    explanations.extend(result.explanation.take().map(|entry| (*id, entry)));
                }
                if let (Some(tree), Some(name), Some(session)) =
                    (result.fresh_tree.take(), &result.record.tree, &self.session)
                    && published.insert(result.key)
                {
                    session
                        .trees
                        .publish_step(self.store, &tree, name)
                        .map_err(|error| fail(&error))?;
                }
                if !std::mem::replace(&mut result.cached, true) {
                    self.cache
                        .publish(&self.stored(result.stage, &result.lookup), &result.record)
                        .map_err(|error| fail(&error))?;
                }
            }
        }
        self.remember(explanations);
        Ok(())
    }

    /// The layers of the target's chain, by stage.
    pub(crate) fn executed(&self, target: &StageState) -> Executed {
        let mut chain: Vec<StageSteps> = Vec::new();
        for result in &target.results {
            let step = result.made();
            match chain.last_mut() {
                Some(last) if last.stage == result.stage => last.steps.push(step),
                _ => chain.push(StageSteps {
                    stage: result.stage,
                    steps: vec![step],
                }),
            }
        }
        Executed {
            base_time: target.base_time,
            env: target
                .results
                .iter()
                .flat_map(|result| result.record.env.clone())
                .collect(),
            chain,
            all: Vec::new(),
            borrowed: self.borrowed(target),
            shared: Vec::new(),
        }
    }
}
