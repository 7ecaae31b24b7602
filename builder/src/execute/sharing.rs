//! Results of other machines, and results for them. The invariant: what another machine made is fetched and unpacked when a step
//! needs its files, once; from then on it is as if it had been made here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use image::DiffId;
use rootfs::LayerTimes;

use super::lookup::name_of;
use super::{StageState, StepResult, Workshop, needs_trees};
use crate::cache::{Record, StepLayer};
use crate::graph::StageId;
use crate::job::StepFailure;
use crate::key::{CacheKey, Owners};
use crate::request::CacheMode;
use crate::shared::SharedStep;
use crate::times::Times;

/// Trees that were made of layers of other machines, by the keys of their steps.
#[derive(Default)]
pub(crate) struct Arrived(Mutex<BTreeMap<CacheKey, Tree>>);

struct Tree {
    path: PathBuf,
    /// Whether its root has the owner and mode of what is below it, which no layer says.
    rooted: bool,
}

impl Workshop<'_> {
    /// The name of the record of a stage's step in the store.
    pub(crate) fn stored(&self, stage: StageId, lookup: &CacheKey) -> CacheKey {
        let trees = self
            .job
            .stage(stage)
            .is_some_and(|stage| needs_trees(self.job, stage));
        lookup.stored(match self.job.single_id && trees {
            true => Owners::Noted,
            false => Owners::True,
        })
    }

    /// Brings layers into the store that are known elsewhere.
    pub(crate) fn bring(&self, layers: &[DiffId]) -> Result<(), StepFailure> {
        let missing = layers.iter().filter(|id| !self.store.contains(id.digest()));
        let missing: Vec<DiffId> = missing.copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        (self.supply)(&missing)?;
        missing
            .iter()
            .try_for_each(|id| self.store.hold(id.digest()))
            .map_err(|error| StepFailure::of_build(&error))
    }

    pub(super) fn obtainable(&self, layer: &DiffId) -> bool {
        self.store.contains(layer.digest()) || self.job.shared.has(layer)
    }

    /// Whether a record's tree was removed.
    pub(super) fn lacks_tree(&self, record: &Record) -> bool {
        let session = self.session.as_ref();
        let tree = session.zip(record.tree.as_ref());
        tree.is_some_and(|(session, name)| !session.trees.step(name).exists())
    }

    /// Whether a stage's results leave for other machines.
    pub(super) fn is_shared(&self, stage: StageId) -> bool {
        match self.job.share {
            None => false,
            Some(CacheMode::Min) => self.in_target_chain(stage),
            Some(CacheMode::Max) => true,
        }
    }

    /// Brings all that a mount of the stage needs, several layers at a time.
    pub(super) fn bring_trees(&self, state: &StageState) -> Result<(), StepFailure> {
        let image = state.image.and_then(|index| self.job.images.get(index));
        let mut layers = image.map(|image| image.layers.clone()).unwrap_or_default();
        let elsewhere = |result: &&StepResult| {
            result.fresh_tree.is_none() && result.record.tree.is_none() && !self.has_arrived(result)
        };
        let results = state.results.iter().filter(elsewhere);
        layers.extend(results.filter_map(|result| result.record.of_tree()?.diff_id()));
        self.bring(&layers)
    }

    /// The directory with a step's changes; none where it changed nothing.
    pub(super) fn tree_of(&self, result: &StepResult) -> Result<Option<PathBuf>, StepFailure> {
        if let Some(tree) = &result.fresh_tree {
            return Ok(Some(tree.clone()));
        }
        let session = self.session()?;
        if let Some(name) = &result.record.tree {
            return Ok(Some(session.trees.step(name)));
        }
        let Some(StepLayer::Blob { diff_id, .. }) = result.record.of_tree() else {
            return Ok(None);
        };
        let mut arrived = session
            .arrived
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = arrived.get(&result.key) {
            return Ok(Some(tree.path.clone()));
        }
        self.bring(&[*diff_id])?;
        let fail = |error: rootfs::trees::TreesError| StepFailure::of_build(&error);
        let path = session.work.directory("arrived").map_err(fail)?;
        self.imitate_root(None, &path)?;
        let unpacked = session.trees.unpack_changes(self.store, diff_id, &path);
        unpacked.map_err(fail)?;
        let rooted = false;
        let tree = Tree {
            path: path.clone(),
            rooted,
        };
        arrived.insert(result.key, tree);
        Ok(Some(path))
    }

    /// Gives the root of a tree that arrived what the directory below it has.
    pub(super) fn settle_root(
        &self,
        result: &StepResult,
        below: Option<&Path>,
    ) -> Result<(), StepFailure> {
        let arrived = &self.session()?.arrived;
        let mut arrived = arrived.0.lock().unwrap_or_else(PoisonError::into_inner);
        match arrived.get_mut(&result.key) {
            Some(tree) if !tree.rooted => {
                tree.rooted = true;
                self.imitate_root(below, &tree.path)
            }
            _ => Ok(()),
        }
    }

    /// Whether a tree was made of another machine's layer that may be kept.
    pub(super) fn has_arrived(&self, result: &StepResult) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        let arrived = session
            .arrived
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        arrived.get(&result.key).is_some_and(|tree| tree.rooted)
    }

    /// Makes a tree that arrived the result's own, to be published.
    pub(super) fn adopt_arrived(&self, result: &mut StepResult) -> Result<(), StepFailure> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let mut arrived = session
            .arrived
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(tree) = arrived.remove(&result.key).filter(|tree| tree.rooted) else {
            return Ok(());
        };
        result.record.tree = Some(name_of(&tree.path, &result.key)?);
        result.record.built = Some(self.job.now);
        (result.fresh_tree, result.cached) = (Some(tree.path), false);
        Ok(())
    }

    /// What of other machines is in a stage and has no record here.
    pub(super) fn borrowed(&self, state: &StageState) -> Vec<(CacheKey, Record)> {
        let borrowed = state.results.iter().filter(|result| result.from.is_some());
        let borrowed = borrowed.filter(|result| !self.has_arrived(result));
        borrowed
            .map(|result| {
                (
                    self.stored(result.stage, &result.lookup),
                    result.record.clone(),
                )
            })
            .collect()
    }

    /// Makes the layers of which other machines make trees.
    pub(super) fn make_shareable(
        &self,
        finished: &mut BTreeMap<StageId, StageState>,
    ) -> Result<(), StepFailure> {
        for (id, state) in finished.iter_mut() {
            for result in &mut state.results {
                let own = result.stage == *id || *id == self.job.target;
                let stage = self.job.stage(result.stage);
                let trees = stage.is_some_and(|stage| needs_trees(self.job, stage));
                if own && trees && self.is_shared(result.stage) && result.record.of_tree().is_none()
                {
                    self.make_neutral(result)?;
                }
            }
        }
        Ok(())
    }

    fn make_neutral(&self, result: &mut StepResult) -> Result<(), StepFailure> {
        if self.job.times == Times::Newest {
            let packed = self.pack_one(result)?;
            self.note_layer(result, packed);
            return Ok(());
        }
        let (layer, _) = self.pack_as(result, LayerTimes::Marked)?;
        result.record.neutral = Some(layer);
        result.cached = false;
        Ok(())
    }

    /// What leaves for other machines: the target's chain first, each step once.
    pub(super) fn shared_steps(
        &self,
        finished: &BTreeMap<StageId, StageState>,
    ) -> Vec<(bool, SharedStep)> {
        let mut seen = BTreeSet::new();
        let mut shared = Vec::new();
        let target = finished.get(&self.job.target).into_iter();
        for state in target.chain(finished.values()) {
            for result in &state.results {
                if self.is_shared(result.stage) && seen.insert(result.key) {
                    let of_chain = self.in_target_chain(result.stage);
                    shared.push((of_chain, SharedStep::of(result.lookup, &result.record)));
                }
            }
        }
        shared
    }
}
