//! Records of finished steps. The invariant: a record is published after everything that it names is on the disk, so what it
//! promises is there or was removed by a prune, which a lookup notices.
//!
//! `cache/steps/HEX` is named by the key of (parent, typed step) without inputs: whether it exists decides if the inputs of a
//! COPY are worth hashing before it runs. It lists one record for each input digest seen.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use image::{DiffId, Digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::CacheKey;

/// How many input digests of one step are remembered.
const RECORDS: usize = 16;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The digest of what was copied; `None` for steps without inputs.
    pub(crate) inputs: Option<Digest>,
    /// Whether `trees/HEX` holds the changes, HEX being the key of the step with its inputs.
    pub(crate) tree: bool,
    /// The layer made of the changes, if one was made.
    pub(crate) layer: Option<StepLayer>,
    /// When the step ran, in seconds since 1970.
    pub(crate) created: i64,
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

/// Why the cache could not be used.
#[derive(Debug, Error)]
pub(crate) enum CacheError {
    /// A record or its directory could not be written.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The records of one store.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The records below a store's cache directory.
    pub(crate) fn new(cache: &Path) -> Self {
        Self {
            directory: cache.join("steps"),
        }
    }

    /// The records of a step, newest first. A damaged file counts as none: the step runs again and replaces it.
    pub(crate) fn candidates(&self, step: &CacheKey) -> Vec<Record> {
        fs::read(self.directory.join(step.hex()))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Adds a record, in place of one for the same inputs. It is the caller's to have synced the store before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn publish(&self, step: &CacheKey, record: &Record) -> Result<(), CacheError> {
        let path = self.directory.join(step.hex());
        let mut records = self.candidates(step);
        records.retain(|old| old.inputs != record.inputs);
        records.insert(0, record.clone());
        records.truncate(RECORDS);
        let text = serde_json::to_vec(&records).expect("a record is plain data");
        replace(&path, &text).map_err(|source| CacheError::Write { path, source })
    }
}

/// Two builds may write the same record: each renames a file of its own, and either result is right.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let unique = format!(
        ".{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let temporary = directory.join(unique);
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        file.write_all(text)?;
        fs::rename(&temporary, path)
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            write()
        }
        other => other,
    }
    .inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inputs: &[u8]) -> Record {
        Record {
            inputs: Some(Digest::of(inputs)),
            tree: true,
            layer: None,
            created: 7,
        }
    }

    #[test]
    fn records_of_other_inputs_stay() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let key = CacheKey::of_base(None, crate::key::Owners::True);
        assert!(cache.candidates(&key).is_empty());
        cache.publish(&key, &record(b"a")).unwrap();
        cache.publish(&key, &record(b"b")).unwrap();
        cache.publish(&key, &record(b"a")).unwrap();
        assert_eq!(cache.candidates(&key), [record(b"a"), record(b"b")]);
    }

    #[test]
    fn f14_a_damaged_record_is_a_miss_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let key = CacheKey::of_base(None, crate::key::Owners::True);
        cache.publish(&key, &record(b"a")).unwrap();
        fs::write(directory.path().join("steps").join(key.hex()), b"[{").unwrap();
        assert!(cache.candidates(&key).is_empty());
        cache.publish(&key, &record(b"b")).unwrap();
        assert_eq!(cache.candidates(&key), [record(b"b")]);
    }
}
