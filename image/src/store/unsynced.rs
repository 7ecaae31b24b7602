//! Trees that got their names before they were on the disk. The invariant: a note is taken away only after a sync that began when
//! the tree was complete, and only from that very tree.
//!
//! `trees/KIND/NAME/unsynced` is such a note, of those kinds whose directories have no files of an image directly in them. It is made
//! before the tree gets its name; who made the tree decides what it says.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags};

use super::{Area, Store, StoreError};

/// The name of the note in a tree's directory.
pub const UNSYNCED: &str = "unsynced";

/// The kinds.
const KINDS: [&str; 2] = ["layers", "reowned"];

/// So many trees are noted in one sync: their directories are open meanwhile.
const AT_ONCE: usize = 128;

/// The directories of trees that are complete and have a note.
pub(super) struct Unsynced(Vec<OwnedFd>);

impl Unsynced {
    /// Looks for notes. A directory that cannot be read keeps its own, which costs time later.
    pub(super) fn find(trees: &Path) -> Self {
        let kinds = KINDS
            .iter()
            .filter_map(|kind| fs::read_dir(trees.join(kind)).ok());
        let named = kinds.flat_map(|entries| entries.flatten());
        let noted = named.filter(|tree| tree.path().join(UNSYNCED).is_file());
        let open = |path: &Path| {
            let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
            let mut options = File::options();
            options.read(true).custom_flags(flags).open(path)
        };
        let handles = noted.filter_map(|tree| open(&tree.path()).ok());
        Self(handles.take(AT_ONCE).map(OwnedFd::from).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the notes away, by handle: a tree that got the same name since keeps its own.
    pub(super) fn are_on_the_disk(self) {
        for tree in self.0 {
            // A note that stays, or comes back after a power cut, costs time.
            let _ = rustix::fs::unlinkat(&tree, UNSYNCED, AtFlags::empty());
        }
    }
}

impl Store {
    /// Brings trees to the disk that got their names before they were there, so that they are good after a power cut too. Does
    /// nothing where there are none.
    ///
    /// # Errors
    /// As [`Store::sync`].
    pub fn settle_trees(&self) -> Result<(), StoreError> {
        if Unsynced::find(&self.subdir(Area::Trees)).is_empty() {
            return Ok(());
        }
        self.sync()
    }
}
