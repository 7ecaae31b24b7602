//! The local store: one private directory that any number of rbuilds may use at the same time.
//!
//! ```text
//! format                 the layout's version
//! gc.lock                shared: noting what is in use; exclusive: deleting
//! blobs/sha256/HEX       manifests, configurations and layers as uncompressed tars (named by diff id)
//! images/HEX             one record for each image or index, named by its manifest's digest
//! attached/HEX           for an image, the artifacts that go with it
//! refs/HEX               one record for each name: the manifest's digest and the name
//! leases/PID-N           what a running rbuild uses; locked for as long as it lives
//! locks/HEX              held while that blob is being fetched, so that it is fetched once
//! tmp/PID-N/             unfinished blobs of that rbuild; beside it files without names (`scratch.rs`)
//! trees/ cache/ index/   for other crates
//! ```
//!
//! A pulled image is its manifest and configuration verbatim, and its layers by diff id. Nothing needs to remember which
//! compressed blob held which tar: the n-th layer of the manifest is the n-th diff id of the configuration.
//!
//! Invariant: whatever has a name is whole. Blobs get theirs by rename after hashing, and records (images, names) are
//! written only when everything before them is on the disk.

mod attached;
mod blob;
mod check;
mod error;
mod indexes;
mod lease;
mod prune;
mod records;
mod scratch;
mod unsynced;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

pub use blob::{BlobWriter, Claim, UnhashedBlob, VerifiedBlob};
pub use check::{Damage, Examined};
pub use error::{StoreError, StoreErrorKind};
pub use indexes::StoredIndex;
pub use prune::{Dangling, Pruned, Sweep};
pub use records::StoredImage;
pub use scratch::Scratch;
pub use unsynced::UNSYNCED;

use crate::stop::Stop;
use error::At;
use lease::Lease;
use unsynced::Unsynced;

/// The version of the layout described above.
const FORMAT: &str = "rbuild store 1\n";

/// A directory of the store that another crate fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Unpacked layers and finished steps.
    Trees,
    /// Step cache records and cache mounts.
    Cache,
    /// Layer indexes.
    Index,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trees, Self::Cache, Self::Index];

    /// The directory's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trees => "trees",
            Self::Cache => "cache",
            Self::Index => "index",
        }
    }
}

/// An open store. Cheap to open; everything that it has put or held is in use until it is dropped or its process dies.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    lease: Mutex<Option<Lease>>,
    /// Whether something was put or reused since the last [`Store::sync`].
    unsynced: AtomicBool,
    stop: Stop,
}

impl Store {
    /// Opens a store, and makes it where there is none.
    ///
    /// # Errors
    /// When the directory is not private, belongs to someone else, or has an unknown format.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = path.into();
        make_private(&root)?;
        check_private(&root)?;
        let store = Self {
            root,
            lease: Mutex::new(None),
            unsynced: AtomicBool::new(false),
            stop: Stop::default(),
        };
        if store.read_format()? {
            store.sweep_dead();
        } else {
            store.initialise()?;
        }
        Ok(store)
    }

    /// The store's directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The switch that ends every transfer of blobs into and out of this open store.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// A directory for other crates, private to the user.
    pub fn subdir(&self, area: Area) -> PathBuf {
        self.root.join(area.name())
    }

    /// Brings everything that was put so far to the disk, whoever wrote it into the store's file system.
    ///
    /// Images and names do this by themselves; cache records over [`Store::subdir`] need it before they are published.
    ///
    /// # Errors
    /// When the kernel reports that something could not be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        // Cleared first: what is put during the sync counts for the next one.
        self.unsynced.store(false, Ordering::SeqCst);
        let trees = Unsynced::find(&self.subdir(Area::Trees));
        let result = File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(&root)?));
        match &result {
            Ok(()) => trees.are_on_the_disk(),
            Err(_) => self.unsynced.store(true, Ordering::SeqCst),
        }
        result.at("bring to the disk", &self.root)
    }

    /// Syncs if there is anything that a record must not precede.
    fn settle(&self) -> Result<(), StoreError> {
        if self.unsynced.load(Ordering::SeqCst) {
            self.sync()
        } else {
            Ok(())
        }
    }

    fn mark_unsynced(&self) {
        self.unsynced.store(true, Ordering::SeqCst);
    }

    fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Whether the store has a format yet.
    fn read_format(&self) -> Result<bool, StoreError> {
        let path = self.join("format");
        match fs::read_to_string(&path) {
            Ok(text) if text == FORMAT => Ok(true),
            Ok(text) => Err(StoreErrorKind::UnknownFormat {
                path,
                found: text.trim().chars().take(60).collect(),
            }
            .into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("read", &path),
        }
    }

    /// Idempotent, so that two processes may do it at the same time; the format comes last.
    fn initialise(&self) -> Result<(), StoreError> {
        let foreign = fs::read_dir(&self.root)
            .at("list", &self.root)?
            .flatten()
            .any(|entry| {
                let known = [
                    "gc.lock", "blobs", "images", "refs", "leases", "locks", "tmp", "format",
                    "trees", "cache", "index", "attached",
                ];
                !known.iter().any(|name| entry.file_name() == *name)
            });
        if foreign {
            return Err(StoreErrorKind::NotAStore {
                path: self.root.clone(),
            }
            .into());
        }
        for name in [
            "blobs/sha256",
            "images",
            "refs",
            "leases",
            "locks",
            "tmp",
            "trees",
            "cache",
            "index",
        ] {
            make_private(&self.join(name))?;
        }
        self.write_record("format", FORMAT.as_bytes())
    }
}

fn make_private(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("create directory", path)
}

/// Other users must not reach setuid files of unpacked images (CVE-2021-41091).
fn check_private(path: &Path) -> Result<(), StoreError> {
    // A session may get its ids at any moment, and then both change.
    let (metadata, owner) = loop {
        let owner = rustix::process::geteuid();
        let metadata = fs::metadata(path).at("look at", path)?;
        if rustix::process::geteuid() == owner {
            break (metadata, owner.as_raw());
        }
    };
    if metadata.uid() != owner {
        return Err(StoreErrorKind::ForeignOwner {
            path: path.into(),
            owner: metadata.uid(),
            user: owner,
        }
        .into());
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreErrorKind::NotPrivate {
            path: path.into(),
            mode,
        }
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
