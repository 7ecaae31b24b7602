//! What the cache has for a plan: `--dry-run --explain-cache`. The invariant: nothing is executed, made or removed; a step whose key
//! cannot be known yet is said to be unknown, never guessed.

use std::cell::Cell;
use std::collections::BTreeMap;

use image::DiffId;

use crate::build::{Elsewhere, job_of};
use crate::cache::Cache;
use crate::depot::Depot;
use crate::error::BuildError;
use crate::event::{BuildEvent, StageSummary};
use crate::execute::{Detail, Place, StageState, Workshop, needs_session, needs_trees};
use crate::explain::Verdict;
use crate::graph::{Base, BuildPlan, PlannedStage, StageId};
use crate::host::Host;
use crate::job::StepFailure;
use crate::memos::Memos;
use crate::mounts::RunMount;
use crate::named::NamedFiles;
use crate::planning::Planned;
use crate::request::BuildRequest;
use crate::shared::SharedRecords;
use crate::step::{CopyFrom, StepKind};

/// Tells for every step of a plan whether the cache has it, as [`BuildEvent::CacheExplained`].
///
/// # Errors
/// See [`BuildError`].
pub fn forecast(
    request: &BuildRequest,
    host: &Host<'_>,
    planned: &Planned,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(), BuildError> {
    let depot = Depot::default();
    let elsewhere = Elsewhere {
        shared: SharedRecords::import(host, &request.caches.from, &depot, events),
        depot: &depot,
        events,
    };
    let named = NamedFiles::open(&host.reach(), &request.named_contexts, planned, events)
        .map_err(BuildError::Context)?;
    for target in &planned.targets {
        forecast_one(request, host, (&target.plan, &named), &elsewhere)?;
    }
    Ok(())
}

fn forecast_one(
    request: &BuildRequest,
    host: &Host<'_>,
    (plan, named): (&BuildPlan, &NamedFiles),
    elsewhere: &Elsewhere<'_>,
) -> Result<(), BuildError> {
    let events = elsewhere.events;
    let summary = |stage: &PlannedStage| StageSummary {
        stage: stage.id,
        name: stage.name.clone(),
        steps: stage.steps.len(),
    };
    events(BuildEvent::Planned {
        stages: plan.stages.iter().map(summary).collect(),
    });
    let mut job = job_of(request, host, plan, named);
    job.shared.clone_from(&elsewhere.shared);
    // Nothing leaves.
    job.share = None;
    let supply = |layers: &[DiffId]| {
        let fetched = elsewhere.depot.fetch(host.store, layers, events);
        fetched.map_err(|error| StepFailure::of_build(&error))
    };
    if needs_session(&job) {
        // Without a session nothing could be built; what is cached can be told all the same.
        job.single_id = (host.session)().is_ok_and(|plan| plan.image_ids().0 == 0);
    }
    let workshop = Workshop {
        job: &job,
        store: host.store,
        cache: Cache::new(host.store),
        memos: Memos::new(host.store),
        cancel: host.cancel,
        events,
        forecast: true,
        unpacker: None,
        supply: &supply,
        session: None,
    };
    let mut forecast = Forecast {
        workshop,
        whole: BTreeMap::new(),
        keyed: BTreeMap::new(),
    };
    forecast.tell();
    forecast.workshop.memos.save(false);
    Ok(())
}

struct Forecast<'f> {
    workshop: Workshop<'f>,
    /// Stages of which everything is there.
    whole: BTreeMap<StageId, StageState>,
    /// Stages whose key is known.
    keyed: BTreeMap<StageId, StageState>,
}

impl Forecast<'_> {
    fn tell(&mut self) {
        for stage in &self.workshop.job.stages {
            let base = |id| self.keyed.get(&id).cloned();
            let mut state = StageState::of_base(self.workshop.job, stage, &base).ok();
            let mut whole = match stage.base {
                Base::Stage(id) => self.whole.contains_key(&id),
                Base::Scratch | Base::Image(_) => true,
            };
            for (index, planned) in stage.steps.iter().enumerate() {
                let place = Place {
                    stage,
                    index,
                    planned,
                    finished: &self.whole,
                    spare: &Cell::new(None),
                };
                let (verdict, next) = self.step(&place, state);
                whole &= matches!(verdict, Verdict::Hit { .. });
                self.workshop.tell_verdict(&place, verdict);
                state = next;
            }
            if let Some(state) = state {
                if whole {
                    self.whole.insert(stage.id, state.clone());
                }
                self.keyed.insert(stage.id, state);
            }
        }
    }

    /// What the cache has for a step, and the state after it where that is known.
    fn step(&self, place: &Place<'_>, state: Option<StageState>) -> (Verdict, Option<StageState>) {
        let workshop = &self.workshop;
        let Some(mut state) = state else {
            let why = "what comes before it is not known yet".to_owned();
            return (Verdict::Unknown { why }, None);
        };
        let unbuilt = self.source(place, |id| !self.whole.contains_key(&id));
        // What cannot be read is told below.
        let found = match unbuilt {
            None => workshop.find(place, &state).unwrap_or_default(),
            Some(_) => None,
        };
        if let Some(result) = found {
            let verdict = workshop.hit(&result);
            state.key = result.key;
            state.results.push(result);
            return (verdict, Some(state));
        }
        let fresh = workshop.job.fresh.contains_key(&place.stage.id);
        match unbuilt.or_else(|| self.hidden(place)) {
            Some(stage) => {
                let unknown = || Verdict::Unknown {
                    why: format!("it depends on what is in the stage {stage}"),
                };
                let verdict = match fresh {
                    true => workshop.why_missed(place, &state),
                    false => workshop
                        .why_missed_whatever_it_takes(place, &state)
                        .unwrap_or_else(unknown),
                };
                (verdict, None)
            }
            None => {
                let verdict = workshop.why_missed(place, &state);
                let gathered = workshop.gather(place, Detail::DigestAlone).ok();
                let next = gathered.map(|gathered| {
                    state.key = workshop.key_of(&state, place, gathered.digest.as_ref());
                    state
                });
                (verdict, next)
            }
        }
    }

    /// A stage that a COPY takes files from and that only a session can look into.
    fn hidden(&self, place: &Place<'_>) -> Option<String> {
        let job = self.workshop.job;
        // Of a stage that is mounted only the key is needed.
        let is_copy = matches!(place.planned.step.kind, StepKind::Copy(_));
        let has_trees = |id| job.stage(id).is_some_and(|stage| needs_trees(job, stage));
        self.source(place, |id| is_copy && has_trees(id))
    }

    /// The name of the first such stage that a step takes something from.
    fn source(&self, place: &Place<'_>, such: impl Fn(StageId) -> bool) -> Option<String> {
        let from: Vec<&CopyFrom> = match &place.planned.step.kind {
            StepKind::Copy(copy) => vec![&copy.from],
            StepKind::Run(run) => run.mounts.iter().filter_map(RunMount::from).collect(),
            StepKind::Furnish(furnish) => furnish.sources(),
            StepKind::Workdir => Vec::new(),
        };
        let stages = from.into_iter().filter_map(|from| match from {
            CopyFrom::Stage(id) => Some(*id),
            _ => None,
        });
        let id = stages.into_iter().find(|id| such(*id))?;
        self.workshop.job.stage(id).map(|stage| stage.name.clone())
    }
}
