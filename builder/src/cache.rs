//! Records of finished steps. The invariant: a record is published after everything that it names is on the disk, so what it
//! promises is there or was removed by a prune, which a lookup notices.
//!
//! `cache/steps/HEX` is named by the key of (parent, typed step) without inputs: whether it exists decides if the inputs of a
//! COPY are worth hashing before it runs. It lists one record for each input digest seen. Its first line is a digest of its own
//! name and of the rest, so that neither rot nor another step's records pass for it (F14).

use std::fs::{self, File};
use std::io::{self, Read as _};

use image::store::{Damage, Examined};
use image::{Area, DiffId, Digest, Store, StoreError};
use rootfs::digests::FileDigests;
use serde::{Deserialize, Serialize};

use crate::key::{self, CacheKey};
use crate::times::Times;

/// How many input digests of one step are remembered.
const RECORDS: usize = 16;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The digest of what was copied; `None` for steps without inputs.
    pub(crate) inputs: Option<Digest>,
    /// The state of the stage that had these inputs when they were last looked at: in that state they need no second look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<CacheKey>,
    /// The name of the tree with the changes, where there is one. Made anew, the same step gives another tree: what was built on
    /// the earlier one keeps it.
    pub(crate) tree: Option<String>,
    /// The layer made of the changes, if one was made.
    pub(crate) layer: Option<StepLayer>,
    /// The step's time, in seconds since 1970: that of the newest thing that it depends on.
    pub(crate) time: i64,
    /// The layer of the tree as it is, with the marks of times that become the epoch, where the other layer has lost them: what
    /// another machine makes the tree of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) neutral: Option<StepLayer>,
    /// Which times the layer has.
    pub(crate) packed: Times,
    /// Whether the tree has the very times of the layer, so that it may stand for it.
    pub(crate) same_times: bool,
    /// Variables that the step gives to the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<(String, String)>,
    /// When the step was done, in seconds since 1970. It is only told; earlier versions did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) built: Option<i64>,
}

/// A layer as a step's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StepLayer {
    /// The step changed nothing.
    Empty,
    /// A blob of the store, with an index of the same name.
    Blob {
        /// Its name.
        diff_id: DiffId,
        /// Its size in bytes.
        size: u64,
    },
}

impl StepLayer {
    pub(crate) fn diff_id(&self) -> Option<DiffId> {
        match self {
            Self::Empty => None,
            Self::Blob { diff_id, .. } => Some(*diff_id),
        }
    }
}

impl Record {
    /// The layer that the tree can be made of.
    pub(crate) fn of_tree(&self) -> Option<&StepLayer> {
        let same = matches!(self.layer, Some(StepLayer::Empty)) || self.packed == Times::Newest;
        self.neutral
            .as_ref()
            .or(self.layer.as_ref().filter(|_| same))
    }
}

/// Keeps results of other machines whose layers are here now.
///
/// # Errors
/// When the store refuses.
pub(crate) fn keep_borrowed(
    store: &Store,
    borrowed: &[(CacheKey, Record)],
) -> Result<(), StoreError> {
    let whole = |record: &Record| match &record.layer {
        Some(StepLayer::Blob { diff_id, .. }) => store.contains(diff_id.digest()),
        Some(StepLayer::Empty) => true,
        None => false,
    };
    let mut whole = borrowed
        .iter()
        .filter(|(_, record)| whole(record))
        .peekable();
    if whole.peek().is_none() {
        return Ok(());
    }
    store.sync()?;
    whole.try_for_each(|(step, record)| Cache::new(store).publish(step, record))
}

/// The records of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache<'s> {
    store: &'s Store,
}

impl<'s> Cache<'s> {
    /// The records below a store's cache directory.
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// The records of a step, newest first. A damaged file counts as none: the step runs again and replaces it.
    pub(crate) fn candidates(&self, step: &CacheKey) -> Vec<Record> {
        let name = name(step);
        fs::read(self.store.subdir(Area::Cache).join(&name))
            .ok()
            .and_then(|text| decode(&name, &text))
            .unwrap_or_default()
    }

    /// All records of all steps. Damaged files count as none.
    pub(crate) fn all(&self) -> Vec<Record> {
        let entries = fs::read_dir(self.store.subdir(Area::Cache).join("steps"));
        let files = entries.into_iter().flatten().flatten();
        let records = files.filter_map(|file| {
            let name = format!("steps/{}", file.file_name().to_string_lossy());
            decode(&name, &fs::read(file.path()).ok()?)
        });
        records.flatten().collect()
    }

    /// Looks at every file of the cache; also those of remembered digests.
    pub(crate) fn examine(&self) -> Examined {
        let mut examined = Examined::default();
        let mut look = |directory: &str, good: &dyn Fn(&str, File) -> io::Result<bool>| {
            let place = self.store.subdir(Area::Cache).join(directory);
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = format!("{directory}/{}", entry.file_name().to_string_lossy());
                // Pruned or replaced meanwhile, or not to be read, which counts as none for every user of it.
                let Ok(good) = File::open(entry.path()).and_then(|file| good(&name, file)) else {
                    continue;
                };
                examined.count += 1;
                if !good {
                    examined.damaged.push(Damage {
                        path: entry.path(),
                        problem: "has not the digest that it says".to_owned(),
                        removable: true,
                    });
                }
            }
        };
        look("steps", &|name, mut file| {
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(decode(name, &text).is_some())
        });
        look("digests", &|_, file| Ok(FileDigests::is_whole(file)));
        examined
    }

    /// Adds a record, in place of one for the same inputs. It is the caller's to have synced the store before.
    ///
    /// Two builds may write the same file: each renames one of its own, and either result is right.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn publish(&self, step: &CacheKey, record: &Record) -> Result<(), StoreError> {
        let mut records = self.candidates(step);
        records.retain(|old| old.inputs != record.inputs);
        records.insert(0, record.clone());
        records.truncate(RECORDS);
        let name = name(step);
        let text = encode(&name, &records);
        self.store.write_derived(Area::Cache, &name, &text)
    }
}

fn encode(name: &str, records: &[Record]) -> Vec<u8> {
    let body = serde_json::to_vec(records).expect("a record is plain data");
    let digest = key::hash(&[name.as_bytes(), &body]);
    [digest.hex().as_bytes(), b"\n", &body].concat()
}

fn decode(name: &str, text: &[u8]) -> Option<Vec<Record>> {
    let (digest, body) = text.split_at_checked(64)?;
    let body = body.strip_prefix(b"\n")?;
    if key::hash(&[name.as_bytes(), body]).hex().as_bytes() != digest {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn name(step: &CacheKey) -> String {
    format!("steps/{}", step.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inputs: &[u8]) -> Record {
        Record {
            inputs: Some(Digest::of(inputs)),
            source: None,
            tree: Some("t".into()),
            layer: None,
            neutral: None,
            time: 7,
            packed: Times::Newest,
            same_times: true,
            env: Vec::new(),
            built: Some(9),
        }
    }

    #[test]
    fn records_of_other_inputs_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let cache = Cache::new(&store);
        let key = CacheKey::of_base(None, 0, Times::Newest);
        assert!(cache.candidates(&key).is_empty());
        cache.publish(&key, &record(b"a")).unwrap();
        cache.publish(&key, &record(b"b")).unwrap();
        cache.publish(&key, &record(b"a")).unwrap();
        assert_eq!(cache.candidates(&key), [record(b"a"), record(b"b")]);
    }

    #[test]
    fn f14_a_damaged_record_is_a_miss_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let cache = Cache::new(&store);
        let key = CacheKey::of_base(None, 0, Times::Newest);
        cache.publish(&key, &record(b"a")).unwrap();
        fs::write(store.subdir(Area::Cache).join(name(&key)), b"[{").unwrap();
        assert!(cache.candidates(&key).is_empty());
        cache.publish(&key, &record(b"b")).unwrap();
        assert_eq!(cache.candidates(&key), [record(b"b")]);
    }

    #[test]
    fn f14_every_flipped_bit_of_a_record_and_another_steps_records_are_misses() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let cache = Cache::new(&store);
        let keys = [1, 2].map(|time| CacheKey::of_base(None, time, Times::Newest));
        let path = |key: &CacheKey| store.subdir(Area::Cache).join(name(key));
        keys.iter()
            .for_each(|key| cache.publish(key, &record(b"a")).unwrap());
        assert_eq!(
            (cache.examine().count, cache.examine().damaged),
            (2, Vec::new())
        );
        let text = fs::read(path(&keys[0])).unwrap();
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            fs::write(path(&keys[0]), flipped).unwrap();
            assert!(cache.candidates(&keys[0]).is_empty(), "{at}");
            assert_eq!(cache.examine().damaged[0].path, path(&keys[0]));
        }
        fs::copy(path(&keys[1]), path(&keys[0])).unwrap();
        assert!(cache.candidates(&keys[0]).is_empty());
        assert_eq!(cache.candidates(&keys[1]), [record(b"a")]);
    }
}
