//! Explanations of hits and misses, and what is remembered for those of later builds. The invariant: nothing here decides whether a
//! step is done; without `--explain-cache` only what was just built is noted, once.

use std::sync::Arc;

use image::Area;

use super::gathered::{Detail, Gathered};
use super::lookup::Place;
use super::{StageState, StepResult, Workshop, needs_trees};
use crate::cache::{Record, StepLayer};
use crate::event::BuildEvent;
use crate::explain::{
    self, Cause, Entry, Explained, Inputs, Reason, Verdict, forget_oldest, nearest,
};
use crate::graph::{Base, PlannedStage, StageId};
use crate::job::StepFailure;
use crate::key::CacheKey;
use crate::step::{CopyFrom, StepKind};
use crate::times::Times;

impl Workshop<'_> {
    /// Tells what the cache had for a step, where that is asked for.
    pub(super) fn explain(
        &self,
        place: &Place<'_>,
        state: &StageState,
        found: Option<&StepResult>,
    ) {
        if self.job.explain {
            let verdict = match found {
                Some(result) => self.hit(result),
                None => self.why_missed(place, state),
            };
            self.tell_verdict(place, verdict);
        }
    }

    /// What is told of a result.
    pub(crate) fn hit(&self, result: &StepResult) -> Verdict {
        Verdict::Hit {
            key: result.key.to_string(),
            built: result.record.built,
            from: result
                .from
                .map(|cache| self.job.shared.name(cache).to_owned()),
        }
    }

    pub(crate) fn tell_verdict(&self, place: &Place<'_>, verdict: Verdict) {
        self.tell(BuildEvent::CacheExplained {
            stage: place.stage.id,
            step: place.index,
            label: place.planned.label.clone(),
            verdict,
        });
    }

    /// Why a step that was looked up is not there.
    pub(crate) fn why_missed(&self, place: &Place<'_>, state: &StageState) -> Verdict {
        if let Some(cause) = self.job.fresh.get(&place.stage.id) {
            return miss(vec![Reason::of(*cause)]);
        }
        let gathered = match self.gather(place, Detail::Named) {
            Ok(gathered) => gathered,
            // The step itself fails for the same reason, and says it.
            Err(failure) => {
                let why = failure.message.clone();
                return Verdict::Unknown { why };
            }
        };
        let lookup = self.key_of(state, place, None);
        let candidates = self.cache.candidates(&self.stored(place.stage.id, &lookup));
        let same = |record: &&Record| record.inputs == gathered.digest;
        if let Some(record) = candidates.iter().find(same) {
            return miss(vec![Reason::of(self.why_unusable(place, record))]);
        }
        let key = self.key_of(state, place, gathered.digest.as_ref());
        let entry = self.entry(place, state, gathered.inputs, key);
        miss(self.compared(place, entry, Detail::Named))
    }

    /// As far as it is known when what the step takes from a stage cannot be looked at.
    pub(crate) fn why_missed_whatever_it_takes(
        &self,
        place: &Place<'_>,
        state: &StageState,
    ) -> Option<Verdict> {
        let key = self.key_of(state, place, None);
        let stored = self.stored(place.stage.id, &key);
        if !self.cache.candidates(&stored).is_empty() {
            return None;
        }
        let entry = self.entry(place, state, Inputs::default(), key);
        Some(miss(self.compared(place, entry, Detail::DigestAlone)))
    }

    fn compared(&self, place: &Place<'_>, entry: Entry, detail: Detail) -> Vec<Reason> {
        let mut known = Explained::new(self.store, &self.job.lineage).entries(place.stage);
        if detail == Detail::DigestAlone {
            known = known.into_iter().map(Entry::without_files).collect();
        }
        let Some(old) = nearest(&known, place.stage, &entry) else {
            return vec![Reason::of(Cause::NeverBuilt)];
        };
        let mut reasons = explain::differences(old, &entry);
        if reasons.iter().any(|reason| reason.cause == Cause::Parent) {
            // What was first, or is first now, has another step or the base image there.
            reasons.retain(|reason| reason.cause != Cause::Base);
        }
        for reason in &mut reasons {
            if reason.cause == Cause::Parent {
                reason.name = reason.new.take().unwrap_or_default();
                reason.old = None;
            }
        }
        if reasons.is_empty() {
            reasons.push(Reason::of(Cause::Gone));
        }
        explain::bounded(reasons)
    }

    /// What is the matter with a record that fits.
    fn why_unusable(&self, place: &Place<'_>, record: &Record) -> Cause {
        let there = |layer: &StepLayer| match layer {
            StepLayer::Empty => true,
            StepLayer::Blob { diff_id, .. } => self.store.contains(diff_id.digest()),
        };
        if self.with_times_of_job(record.clone()).is_none() {
            return Cause::Times;
        }
        let layer = record.layer.as_ref().is_some_and(there);
        if layer && record.tree.is_none() && needs_trees(self.job, place.stage) {
            return Cause::LayerOnly;
        }
        Cause::Gone
    }

    /// Everything that a step takes beside its parent.
    pub(crate) fn gather(
        &self,
        place: &Place<'_>,
        detail: Detail,
    ) -> Result<Gathered, StepFailure> {
        match &place.planned.step.kind {
            StepKind::Copy(copy) => self.copied_inputs(place.finished, copy, detail),
            StepKind::Run(run) => self.mounted_inputs(place.finished, run, detail),
            StepKind::Furnish(furnish) => self.furnish_inputs(place.finished, furnish, detail),
            StepKind::Workdir => Ok(Gathered::default()),
        }
    }

    /// What is remembered of a step: its own words, where it starts from, and what it takes.
    pub(super) fn entry(
        &self,
        place: &Place<'_>,
        state: &StageState,
        gathered: Inputs,
        key: CacheKey,
    ) -> Entry {
        let mut inputs = Inputs::of(&place.planned.step);
        let (times, trees) = (self.job.times, needs_trees(self.job, place.stage));
        // A tree only knows that there is an epoch.
        let of_layer = (times.epoch(), matches!(times, Times::Exactly(_)));
        let packed = times.epoch().filter(|_| !trees).map(|_| of_layer);
        inputs.add(Cause::Times, "", &(times.epoch().is_some(), packed));
        inputs.add(Cause::Owners, "", &(self.job.single_id && trees));
        match self.parent(place.stage, place.index) {
            Parent::Scratch => {}
            Parent::Image(index) => {
                if let Some(image) = self.job.images.get(index) {
                    let value = (&image.layers, image.created);
                    inputs.add_shown(Cause::Base, "", &value, image.shown());
                }
            }
            Parent::Step(shown) => inputs.add_shown(Cause::Parent, "", &state.key, shown),
        }
        inputs.extend(gathered);
        Entry::of(place.index, place.planned, key, inputs)
    }

    fn parent(&self, stage: &PlannedStage, index: usize) -> Parent {
        if let Some(before) = index.checked_sub(1) {
            let label = stage.steps.get(before).map(|step| step.label.text.as_str());
            let first = label
                .and_then(|text| text.lines().next())
                .unwrap_or_default();
            let place = format!("{} {index}/{}", shown_name(stage), stage.steps.len());
            return Parent::Step(format!("[{place}] {first}"));
        }
        match stage.base {
            Base::Scratch => Parent::Scratch,
            Base::Image(image) => Parent::Image(image),
            Base::Stage(id) => match self.job.stage(id) {
                Some(below) => self.parent(below, below.steps.len()),
                None => Parent::Scratch,
            },
        }
    }

    /// How the source of files is called; the build context is called nothing.
    pub(super) fn name_of_source(&self, from: &CopyFrom) -> String {
        match from {
            CopyFrom::Context => String::new(),
            CopyFrom::NamedContext(name) => name.clone(),
            CopyFrom::Stage(id) => self.job.stage(*id).map_or(String::new(), shown_name),
            CopyFrom::Image(index) => {
                let image = self.job.images.get(*index);
                image.map_or(String::new(), |image| image.name.clone())
            }
        }
    }

    /// Remembers what was newly built. That an explanation lacks something later is no reason to fail.
    pub(super) fn remember(&self, fresh: Vec<(StageId, Arc<Entry>)>) {
        let explained = Explained::new(self.store, &self.job.lineage);
        for stage in &self.job.stages {
            let own = fresh.iter().filter(|(id, _)| *id == stage.id);
            let entries: Vec<Entry> = own.map(|(_, entry)| Entry::clone(entry)).collect();
            if !entries.is_empty() {
                let _ = explained.add(stage, entries);
            }
        }
        if !fresh.is_empty() {
            forget_oldest(self.store);
        }
    }

    /// Whether a record's tree is there, as far as can be told without a session.
    pub(crate) fn has_tree(&self, record: &Record) -> bool {
        let tag = if self.job.single_id {
            "noted"
        } else {
            "mapped"
        };
        let steps = self.store.subdir(Area::Trees).join("steps");
        let tree = record.tree.as_ref();
        tree.is_some_and(|name| steps.join(format!("{tag}-{name}")).exists())
    }
}

/// What a step starts from.
enum Parent {
    Scratch,
    Image(usize),
    /// As it is shown.
    Step(String),
}

/// As progress shows it: a stage without a name is called by its number.
fn shown_name(stage: &PlannedStage) -> String {
    match stage.name.parse::<usize>() {
        Ok(number) => format!("stage-{number}"),
        Err(_) => stage.name.clone(),
    }
}

fn miss(reasons: Vec<Reason>) -> Verdict {
    Verdict::Miss { reasons }
}
