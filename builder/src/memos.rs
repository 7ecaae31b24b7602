//! Digests of context files, remembered from build to build. The invariant: they only save work, so whatever is wrong with a
//! stored memo, it counts as empty; one is loaded once in a build and stored at its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
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
        let stored = File::open(path).ok();
        let digests = Arc::new(FileDigests::load(stored, &self.store.scratch()));
        open.insert(directory.to_owned(), Arc::clone(&digests));
        digests
    }

    /// Stores what was learned. `complete`: the build has asked for all that it needs.
    pub(crate) fn save(&self, complete: bool) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (directory, digests) in &*open {
            if digests.has_news() {
                let mut write = |out: &mut dyn Write| digests.store(complete, out);
                let name = name(directory);
                // Failing to remember costs time, not correctness.
                let _ = self
                    .store
                    .write_derived_with(Area::Cache, &name, &mut write);
            }
        }
    }
}

fn name(directory: &Path) -> String {
    let path = directory.as_os_str().as_encoded_bytes();
    format!("digests/{}", key::hash(&[path]).hex())
}
