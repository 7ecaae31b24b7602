//! Digests of context files, remembered from build to build. The invariant: they only save work, so whatever is wrong with a
//! stored memo, it counts as empty; one is loaded once in a build and stored at its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::{Area, Store};
use rootfs::digests::FileDigests;

use crate::key;

/// The memos of one build, by directory of the host.
pub(crate) struct Memos<'s> {
    store: &'s Store,
    open: Mutex<BTreeMap<PathBuf, Arc<FileDigests>>>,
}

impl<'s> Memos<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self {
            store,
            open: Mutex::default(),
        }
    }

    /// The digests of the files of a directory; what is in none is not worth remembering.
    pub(crate) fn of(&self, directory: Option<&Path>) -> Arc<FileDigests> {
        let Some(directory) = directory else {
            return Arc::default();
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(directory) {
            return Arc::clone(known);
        }
        let path = self.store.subdir(Area::Cache).join(name(directory));
        let digests = std::fs::read(path)
            .map_or_else(|_| FileDigests::new(), |data| FileDigests::decode(&data));
        let digests = Arc::new(digests);
        open.insert(directory.to_owned(), Arc::clone(&digests));
        digests
    }

    /// Stores what was learned. `complete`: the build has asked for all that it needs.
    pub(crate) fn save(&self, complete: bool) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (directory, digests) in &*open {
            if let Some(data) = digests.encode(complete) {
                // Failing to remember costs time, not correctness.
                let _ = self
                    .store
                    .write_derived(Area::Cache, &name(directory), &data);
            }
        }
    }
}

fn name(directory: &Path) -> String {
    let path = directory.as_os_str().as_encoded_bytes();
    format!("digests/{}", key::hash(&[path]).hex())
}
