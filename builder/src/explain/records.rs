//! What is remembered of newly built steps, for explanations only: one file for each stage of a Containerfile. The invariant: it
//! is derived data, bounded, and read by nothing that decides what is built.

use std::fs;

use image::{Area, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::differences;
use super::inputs::Inputs;
use crate::graph::PlannedStage;
use crate::key::{self, CacheKey};
use crate::step::{PlannedStep, StepKind};

/// How many results of one place in a stage are remembered.
const OF_ONE_PLACE: usize = 8;
/// How long a file may be, in bytes.
const LONGEST: usize = 1 << 20;

/// A step that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its index in the stage.
    index: usize,
    /// Whether it is a RUN, a COPY or a WORKDIR.
    kind: char,
    /// A digest of the instruction as written.
    pub(super) text: String,
    /// The key of its result.
    key: CacheKey,
    /// What it was made of.
    pub(super) inputs: Inputs,
}

impl Entry {
    /// What is remembered of a step.
    pub(crate) fn of(index: usize, planned: &PlannedStep, key: CacheKey, inputs: Inputs) -> Self {
        Self {
            index,
            kind: match planned.step.kind {
                StepKind::Run(_) => 'r',
                StepKind::Copy(_) => 'c',
                StepKind::Workdir => 'w',
            },
            text: text_of(planned),
            key,
            inputs,
        }
    }

    /// The step without what cannot be known before it is done.
    pub(crate) fn without_files(mut self) -> Self {
        self.inputs = self.inputs.without_files();
        self
    }
}

fn text_of(planned: &PlannedStep) -> String {
    key::hash(&[b"text", planned.label.text.as_bytes()]).hex()[..16].to_owned()
}

/// The records of the stages of one Containerfile.
pub(crate) struct Explained<'s> {
    store: &'s Store,
    lineage: &'s str,
}

impl<'s> Explained<'s> {
    /// `lineage` names the Containerfile and its context.
    pub(crate) fn new(store: &'s Store, lineage: &'s str) -> Self {
        Self { store, lineage }
    }

    fn name(&self, stage: &PlannedStage) -> String {
        let platform = stage.config.platform().to_string();
        let parts = [self.lineage, &platform, &stage.name];
        format!("explain/{}", key::hash(&parts.map(str::as_bytes)).hex())
    }

    /// What was built of a stage, newest first. A damaged file counts as none.
    pub(crate) fn entries(&self, stage: &PlannedStage) -> Vec<Entry> {
        fs::read(self.store.subdir(Area::Cache).join(self.name(stage)))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Adds what was just built.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add(&self, stage: &PlannedStage, fresh: Vec<Entry>) -> Result<(), StoreError> {
        let mut entries = fresh;
        for old in self.entries(stage) {
            let place = entries.iter().filter(|entry| entry.index == old.index);
            if entries.iter().all(|entry| entry.key != old.key) && place.count() < OF_ONE_PLACE {
                entries.push(old);
            }
        }
        let text = loop {
            let text = serde_json::to_vec(&entries).expect("an entry is plain data");
            if text.len() <= LONGEST {
                break text;
            }
            entries.truncate(entries.len() / 2);
        };
        self.store
            .write_derived(Area::Cache, &self.name(stage), &text)
    }
}

/// The one that a step is best compared with: of the same text, nearest in place; else the one in its place, if that is one that
/// the stage has no more.
pub(crate) fn nearest<'e>(
    entries: &'e [Entry],
    stage: &PlannedStage,
    new: &Entry,
) -> Option<&'e Entry> {
    let distance = |entry: &&Entry| {
        let moved = entry.index.abs_diff(new.index);
        (moved, differences(entry, new).len())
    };
    let same = entries.iter().filter(|entry| entry.text == new.text);
    same.min_by_key(distance).or_else(|| {
        let texts: Vec<String> = stage.steps.iter().map(text_of).collect();
        let replaced = entries.iter().filter(|entry| {
            entry.index == new.index && entry.kind == new.kind && !texts.contains(&entry.text)
        });
        replaced.min_by_key(distance)
    })
}
