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
/// How many files there may be, and how long together.
const FILES: usize = 500;
const TOGETHER: u64 = 32 << 20;

/// A step that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its index in the stage.
    index: usize,
    /// Whether it is a RUN, a COPY, a WORKDIR or something beyond instructions.
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
                StepKind::Furnish(_) => 'f',
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

/// Forgets the stages that were built longest ago, where there are very many.
pub(crate) fn forget_oldest(store: &Store) {
    let files = fs::read_dir(store.subdir(Area::Cache).join("explain"));
    let mut files: Vec<_> = files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| {
            let metadata = file.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), file.path()))
        })
        .collect();
    files.sort_unstable_by(|left, right| right.cmp(left));
    let mut together = 0;
    for (number, (_, length, path)) in files.iter().enumerate() {
        together += length;
        if number >= FILES || together > TOGETHER {
            // Another build may have removed it.
            let _ = fs::remove_file(path);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Base, StageId};
    use crate::step::{Label, RunNetwork, RunStep, Step};
    use crate::times::Times;

    fn run(command: &str, value: &str) -> PlannedStep {
        PlannedStep {
            step: Step {
                kind: StepKind::Run(RunStep {
                    argv: vec!["sh".into(), "-c".into(), command.into()],
                    script: None,
                    network: RunNetwork::Default,
                    args: Vec::new(),
                    mounts: Vec::new(),
                    secret_env: Vec::new(),
                    settings: crate::settings::RunSettings::default(),
                }),
                env: vec![("A".into(), value.into())],
                user: String::new(),
                workdir: "/".into(),
            },
            label: Label {
                text: format!("RUN {command}"),
                span: None,
            },
        }
    }

    fn stage(steps: Vec<PlannedStep>) -> PlannedStage {
        PlannedStage {
            id: StageId(0),
            name: "0".into(),
            base: Base::Scratch,
            after: Vec::new(),
            steps,
            config: image::ImageConfig::default(),
            history: Vec::new(),
            user_label: None,
            from_label: Label {
                text: "FROM scratch".into(),
                span: None,
            },
        }
    }

    fn entry(index: usize, planned: &PlannedStep) -> Entry {
        let base = CacheKey::of_base(None, 0, Times::Newest);
        let key = base.after(&planned.step, None);
        Entry::of(index, planned, key, Inputs::of(&planned.step))
    }

    #[test]
    fn the_nearest_is_of_the_same_text_else_what_was_in_its_place_and_is_no_more() {
        let [make, test] = [run("make", "1"), run("test", "1")];
        let known = [entry(0, &make), entry(1, &test)];
        // Something was put before them.
        let moved = stage(vec![run("new", "1"), make.clone(), test.clone()]);
        let found = |index: usize| nearest(&known, &moved, &entry(index, &moved.steps[index]));
        assert_eq!(found(0), None);
        assert_eq!(found(1), Some(&known[0]));
        assert_eq!(found(2), Some(&known[1]));
        let edited = stage(vec![make, run("test --all", "1")]);
        let new = entry(1, &edited.steps[1]);
        assert_eq!(nearest(&known, &edited, &new), Some(&known[1]));
        // Of several of one text, the one with the fewest differences.
        let known = [entry(0, &run("test", "2")), entry(0, &test)];
        let same = nearest(&known, &edited, &entry(0, &test));
        assert_eq!(same, Some(&known[1]));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_damage_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let explained = Explained::new(&store, "here");
        let stage = stage(vec![run("make", "1")]);
        for number in 0..20 {
            let one = run("make", &number.to_string());
            explained.add(&stage, vec![entry(0, &one)]).unwrap();
        }
        let kept = explained.entries(&stage);
        assert_eq!(kept.len(), OF_ONE_PLACE);
        assert_eq!(kept[0], entry(0, &run("make", "19")));
        let elsewhere = Explained::new(&store, "elsewhere");
        assert!(elsewhere.entries(&stage).is_empty());
        // A step with very many variables.
        let mut large = run("make", "1");
        large.step.env = (0..8000)
            .map(|n| (format!("V{n}"), n.to_string()))
            .collect();
        let many = (0..4).map(|index| entry(index, &large)).collect();
        explained.add(&stage, many).unwrap();
        let path = store.subdir(Area::Cache).join(explained.name(&stage));
        assert!(fs::metadata(&path).unwrap().len() <= LONGEST as u64);
        fs::write(&path, "[{").unwrap();
        assert!(explained.entries(&stage).is_empty());
    }

    #[test]
    fn of_very_many_stages_those_that_were_built_last_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let place = store.subdir(Area::Cache).join("explain");
        fs::create_dir_all(&place).unwrap();
        let write = |name: &str, length: u64, age: u64| {
            let file = fs::File::create(place.join(name)).unwrap();
            file.set_len(length).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age);
            file.set_modified(time).unwrap();
        };
        let left = || fs::read_dir(&place).unwrap().count();
        (0..FILES).for_each(|number| write(&format!("{number}"), 10, 10));
        forget_oldest(&store);
        assert_eq!(left(), FILES, "as many as there may be");
        write("old", 10, 11);
        forget_oldest(&store);
        assert!(left() == FILES && !place.join("old").exists());
        write("large", TOGETHER, 1);
        forget_oldest(&store);
        assert!(left() == 1 && place.join("large").exists());
    }
}
