//! One step: looked up, then done. The invariant: a step without a record for (parent, typed step) is a miss whatever its
//! inputs are, so nothing is read only to be looked up in vain.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use image::Digest;
use sandbox::IdleStep;

use super::gathered::{Detail, Gathered};
use super::{StageState, StepResult, Workshop, needs_trees};
use crate::cache::{Record, StepLayer};
use crate::event::BuildEvent;
use crate::graph::{PlannedStage, StageId};
use crate::job::StepFailure;
use crate::key::CacheKey;
use crate::step::{CopyFrom, CopyStep, PlannedStep, StepKind};

/// Where a step stands.
pub(crate) struct Place<'p> {
    pub(crate) stage: &'p PlannedStage,
    pub(crate) index: usize,
    pub(crate) planned: &'p PlannedStep,
    pub(crate) finished: &'p BTreeMap<StageId, StageState>,
    /// A process for the stage's next RUN, started ahead by the thread that works on the stage.
    pub(crate) spare: &'p Cell<Option<IdleStep>>,
}

impl Place<'_> {
    /// The state of the stage that a COPY takes its sources from.
    fn source(&self) -> Option<CacheKey> {
        match &self.planned.step.kind {
            StepKind::Copy(CopyStep {
                from: CopyFrom::Stage(id),
                ..
            }) => self.finished.get(id).map(|state| state.key),
            _ => None,
        }
    }

    /// Whether the stage has another RUN after this step.
    pub(crate) fn runs_later(&self) -> bool {
        let later = self.stage.steps.iter().skip(self.index + 1);
        later
            .into_iter()
            .any(|planned| matches!(planned.step.kind, StepKind::Run(_)))
    }
}

/// What doing a step gave.
pub(crate) struct Done {
    pub(crate) layer: Option<StepLayer>,
    pub(crate) tree: Option<std::path::PathBuf>,
    /// What was copied or mounted.
    pub(crate) inputs: Gathered,
    /// The time of the newest thing that the step depends on.
    pub(crate) time: i64,
    /// Whether the tree has the times of the layer.
    pub(crate) same_times: bool,
    /// Variables that the image gets, where it has none of the name.
    pub(crate) env: Vec<(String, String)>,
}

impl Workshop<'_> {
    /// Takes a step's result from the cache, or does the step.
    pub(crate) fn step(
        &self,
        place: &Place<'_>,
        state: &StageState,
    ) -> Result<StepResult, StepFailure> {
        let found = self.find(place, state)?;
        self.explain(place, state, found.as_ref());
        if let Some(result) = found {
            let (stage, step, label) = (place.stage.id, place.index, place.planned.label.clone());
            self.tell(BuildEvent::StepCached { stage, step, label });
            return Ok(result);
        }
        let (stage, step) = (place.stage.id, place.index);
        self.tell(BuildEvent::StepStarted {
            stage,
            step,
            label: place.planned.label.clone(),
        });
        let started = Instant::now();
        let done = self.perform(place, state);
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tell(BuildEvent::StepFinished {
            stage,
            step,
            milliseconds,
            success: done.is_ok(),
        });
        let done = self.without_idle_tree(state, done?)?;
        let Gathered { digest, inputs, .. } = done.inputs;
        let key = self.key_of(state, place, digest.as_ref());
        let record = Record {
            inputs: digest,
            source: place.source(),
            tree: done
                .tree
                .as_deref()
                .map(|tree| name_of(tree, &key))
                .transpose()?,
            layer: done.layer,
            neutral: None,
            time: done.time,
            packed: self.job.times,
            same_times: done.same_times,
            env: done.env,
            built: Some(self.job.now),
        };
        let lookup = self.key_of(state, place, None);
        Ok(StepResult {
            stage,
            key,
            lookup,
            record,
            fresh_tree: done.tree,
            from: None,
            cached: false,
            explanation: Some(Arc::new(self.entry(place, state, inputs, key))),
        })
    }

    /// A step that changed nothing leaves an empty layer and no tree: the kernel takes only so many lower directories.
    fn without_idle_tree(&self, state: &StageState, mut done: Done) -> Result<Done, StepFailure> {
        if let (Some(tree), None) = (&done.tree, &done.layer)
            && self.is_idle(state, tree)?
        {
            (done.tree, done.layer, done.same_times) = (None, Some(StepLayer::Empty), true);
        }
        Ok(done)
    }

    /// The cached result of a step, when everything that it names is still there.
    pub(crate) fn find(
        &self,
        place: &Place<'_>,
        state: &StageState,
    ) -> Result<Option<StepResult>, StepFailure> {
        let lookup = self.key_of(state, place, None);
        if self.job.fresh.contains_key(&place.stage.id) {
            return Ok(None);
        }
        let stored = self.stored(place.stage.id, &lookup);
        let of_store = self.cache.candidates(&stored).into_iter();
        let shared = self.job.shared.candidates(&lookup).iter();
        let shared = shared.map(|(cache, record)| (Some(*cache), record.clone()));
        let candidates: Vec<(Option<usize>, Record)> = of_store
            .map(|record| (None, record))
            .chain(shared)
            .collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let source = place.source();
        let Some(inputs) = self.inputs_of(place, source.as_ref(), &candidates)? else {
            return Ok(None);
        };
        let key = self.key_of(state, place, inputs.as_ref());
        let usable = |(_, record): &(Option<usize>, Record)| {
            record.inputs == inputs && self.is_there(place.stage, record).unwrap_or(false)
        };
        let known = candidates
            .into_iter()
            .filter_map(|(from, record)| Some((from, self.with_times_of_job(record)?)));
        let Some((from, mut record)) = known.into_iter().find(usable) else {
            return Ok(None);
        };
        if record.source != source && from.is_none() {
            record.source = source;
            // All that the record names is there already. Failing to remember costs time, not correctness.
            let _ = self.cache.publish(&stored, &record);
        }
        // What was pruned, or found damaged, is made again of what is there where it is needed.
        let obtainable = |layer: &StepLayer| layer.diff_id().is_none_or(|id| self.obtainable(&id));
        record.layer = record.layer.filter(obtainable);
        record.neutral = record.neutral.filter(obtainable);
        if record.of_tree().is_some() && self.lacks_tree(&record) {
            record.tree = None;
        }
        let stage = place.stage.id;
        Ok(Some(StepResult {
            stage,
            key,
            lookup,
            record,
            fresh_tree: None,
            from,
            cached: true,
            explanation: None,
        }))
    }

    /// A record without a layer that has other times than are asked for. The tree, which knows no epoch, stays.
    pub(super) fn with_times_of_job(&self, mut record: Record) -> Option<Record> {
        let packed = matches!(record.layer, Some(StepLayer::Blob { .. }));
        if packed && record.packed != self.job.times {
            record
                .tree
                .as_ref()
                .map(drop)
                .or(record.neutral.as_ref().map(drop))?;
            record.layer = None;
        }
        Some(record)
    }

    /// The key of a step's result. What goes straight into a layer depends on the layer's times.
    pub(crate) fn key_of(
        &self,
        state: &StageState,
        place: &Place<'_>,
        inputs: Option<&Digest>,
    ) -> CacheKey {
        let key = state.key.after(&place.planned.step, inputs);
        if needs_trees(self.job, place.stage) {
            key
        } else {
            key.packed(self.job.times)
        }
    }

    /// The digest of what a step takes beside its parent. Where a record saw the source in the same state, its digest is that
    /// one, and nothing is read. `None`: only a session can look.
    fn inputs_of(
        &self,
        place: &Place<'_>,
        source: Option<&CacheKey>,
        candidates: &[(Option<usize>, Record)],
    ) -> Result<Option<Option<Digest>>, StepFailure> {
        let copy = match &place.planned.step.kind {
            StepKind::Copy(copy) => copy,
            StepKind::Run(run) => {
                let gathered = self.mounted_inputs(place.finished, run, Detail::DigestAlone)?;
                return Ok(Some(gathered.digest));
            }
            StepKind::Furnish(furnish) => {
                let detail = Detail::DigestAlone;
                let gathered = self.furnish_inputs(place.finished, furnish, detail)?;
                return Ok(Some(gathered.digest));
            }
            StepKind::Workdir => return Ok(Some(None)),
        };
        let seen = |record: &&Record| source.is_some() && record.source.as_ref() == source;
        if let Some(record) = candidates.iter().map(|(_, record)| record).find(seen) {
            return Ok(Some(record.inputs));
        }
        if let CopyFrom::Stage(id) = copy.from
            && self.session.is_none()
            && self
                .job
                .stage(id)
                .is_some_and(|stage| needs_trees(self.job, stage))
        {
            return Ok(None);
        }
        let gathered = self.copied_inputs(place.finished, copy, Detail::DigestAlone)?;
        Ok(Some(gathered.digest))
    }

    /// Whether a record's result can be used by what follows. A stage of trees needs the tree; where the whole build may
    /// turn out to be cached, without a session, its layer alone will do.
    fn is_there(&self, stage: &PlannedStage, record: &Record) -> Result<bool, StepFailure> {
        let layer = self.is_layer_there(record.layer.as_ref())?;
        if !needs_trees(self.job, stage) {
            return Ok(layer);
        }
        let of_tree = self.is_layer_there(record.of_tree())?;
        match (&self.session, &record.tree) {
            // A layer that was made without a session, or with other times, is no lower directory.
            (Some(_), None) => Ok(of_tree),
            (Some(session), Some(tree)) => {
                let there = session.trees.reuse_step(self.store, tree);
                Ok(there.map_err(|error| StepFailure::of_build(&error))? || of_tree)
            }
            (None, _) if self.forecast => Ok(layer || of_tree || self.has_tree(record)),
            (None, _) => {
                let leaves = self.in_target_chain(stage.id);
                let shared = self.is_shared(stage.id);
                Ok((layer || !leaves) && (of_tree || !shared))
            }
        }
    }

    /// Whether a layer is in the store, or can be brought there.
    fn is_layer_there(&self, layer: Option<&StepLayer>) -> Result<bool, StepFailure> {
        let diff_id = match layer {
            Some(StepLayer::Blob { diff_id, .. }) => diff_id,
            Some(StepLayer::Empty) => return Ok(true),
            None => return Ok(false),
        };
        let stored = self.store.reuse(diff_id.digest());
        let stored = stored.map_err(|error| StepFailure::of_build(&error))?;
        Ok(stored || self.job.shared.has(diff_id))
    }

    pub(crate) fn in_target_chain(&self, id: StageId) -> bool {
        let mut at = Some(self.job.target);
        while let Some(stage) = at {
            if stage == id {
                return true;
            }
            at = self.job.stage(stage).and_then(|stage| match stage.base {
                crate::graph::Base::Stage(parent) => Some(parent),
                _ => None,
            });
        }
        false
    }

    fn perform(&self, place: &Place<'_>, state: &StageState) -> Result<Done, StepFailure> {
        let trees = needs_trees(self.job, place.stage);
        match &place.planned.step.kind {
            StepKind::Run(run) => self.run_step(place, state, run),
            StepKind::Copy(copy) if trees => self.copy_to_tree(place, state, copy),
            StepKind::Copy(copy) => self.copy_to_layer(place, state, copy),
            StepKind::Furnish(furnish) if trees => self.furnish_in_tree(place, state, furnish),
            StepKind::Furnish(furnish) => self.furnish_in_layer(place, state, furnish),
            StepKind::Workdir if trees => self.workdir_in_tree(place, state),
            StepKind::Workdir => self.workdir_in_layer(place, state),
        }
    }
}

/// The name under which a finished tree is published: no two trees that exist have one inode.
pub(super) fn name_of(tree: &Path, key: &CacheKey) -> Result<String, StepFailure> {
    let inode = std::fs::metadata(tree)
        .map_err(|error| StepFailure::saying(format!("look at the finished step: {error}")))?
        .ino();
    Ok(format!("{}-{inode:x}", key.hex()))
}
