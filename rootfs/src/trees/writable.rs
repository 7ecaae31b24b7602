//! The writable layers of containers. Most containers write nothing into theirs, and making and removing one costs more than
//! mounting it: what is empty in the end is kept for the next container.
//!
//! ```text
//! trees/writable/N/upper    what a container changed
//!                  work/    the kernel's own, overlayfs documentation, "Upper and Lower"
//! ```
//!
//! The invariant: a layer that is handed out is locked by this process alone, and its directories were made for it: of an earlier
//! container nothing is left, no name, owner, mode, attribute or time.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use image::{Area, Store};

use super::{TreesError, at, private, remove_tree, unique};

/// The directories of one container's writable layer. Dropped, what is in them vanishes.
#[derive(Debug)]
pub struct WritableLayer {
    home: PathBuf,
    /// The locked directory itself: it is in use, and the kernel drops the lock with the process.
    _lock: File,
}

impl WritableLayer {
    /// Takes a layer that nobody uses, else makes one. It needs no id but the caller's.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn claim(store: &Store) -> Result<Self, TreesError> {
        let all = directory(store);
        let kept = unused(&all).find(|layer| layer.renew().is_ok());
        kept.map_or_else(|| Self::make(&all), Ok)
    }

    fn make(all: &Path) -> Result<Self, TreesError> {
        private(all)?;
        loop {
            let home = all.join(unique());
            private(&home)?;
            // Another process may have found it before it was locked.
            if let Some(layer) = Self::lock(home) {
                layer.renew().map_err(at("prepare", &layer.home))?;
                return Ok(layer);
            }
        }
    }

    /// `None` where another process uses it, or has just removed it.
    fn lock(home: PathBuf) -> Option<Self> {
        let lock = File::open(&home).ok()?;
        lock.try_lock().ok()?;
        home.exists().then_some(Self { home, _lock: lock })
    }

    /// Makes the directories anew. Only what is empty can be replaced.
    fn renew(&self) -> io::Result<()> {
        absent(fs::remove_dir(self.work().join("work")))?;
        absent(fs::remove_dir(self.upper()))?;
        private_directory(&self.upper())?;
        match private_directory(&self.work()) {
            // The kernel alone ever sees it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => empty(&self.work()),
            other => other,
        }
    }

    /// The layer's own directory.
    pub fn path(&self) -> &Path {
        &self.home
    }

    /// The directory that receives the changes.
    pub fn upper(&self) -> PathBuf {
        self.home.join("upper")
    }

    /// The directory for the kernel's own use.
    pub fn work(&self) -> PathBuf {
        self.home.join("work")
    }

    /// Removes the mark that keeps a volatile overlay from being mounted again (overlayfs documentation, "Volatile mount"): what
    /// was written is never used again. It may be done while the overlay is mounted.
    ///
    /// # Errors
    /// When there is a mark that cannot be removed.
    pub fn unmark(&self) -> io::Result<()> {
        let mark = self.work().join("work/incompat");
        match fs::remove_file(mark.join("volatile/dirty")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        fs::remove_dir(mark.join("volatile"))?;
        fs::remove_dir(mark)
    }

    /// Removes what was written, and then all of the layer; one without anything stays for the next container.
    pub fn clear(&self) {
        let kernels = self.work().join("work");
        let kept = || {
            empty(&self.upper())?;
            self.unmark()?;
            for entry in fs::read_dir(self.work())? {
                if entry?.path() != kernels {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
            }
            empty(&kernels)
        };
        if absent(kept()).is_err() {
            // What cannot be removed now is removed by the next process that looks.
            let _ = remove_tree(&self.home);
        }
    }
}

impl Drop for WritableLayer {
    fn drop(&mut self) {
        self.clear();
    }
}

fn directory(store: &Store) -> PathBuf {
    store.subdir(Area::Trees).join("writable")
}

/// The layers that nobody uses; each is locked until it is dropped.
fn unused(all: &Path) -> impl Iterator<Item = WritableLayer> {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    entries.filter_map(|entry| WritableLayer::lock(entry.path()))
}

/// Removes what containers wrote whose process died.
pub fn clear_unused_writable(store: &Store) {
    unused(&directory(store)).for_each(drop);
}

/// Removes the layers that nobody uses.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_unused_writable(store: &Store) -> Result<(), TreesError> {
    unused(&directory(store)).try_for_each(|layer| remove_tree(&layer.home))
}

fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// An error where there is something in a directory.
fn empty(directory: &Path) -> io::Result<()> {
    match fs::read_dir(directory)?.next() {
        None => Ok(()),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path().join("store")).expect("a store");
        (directory, store)
    }

    fn kept(store: &Store) -> usize {
        fs::read_dir(directory(store)).map_or(0, Iterator::count)
    }

    #[test]
    fn two_never_have_the_same() {
        let (_directory, store) = store();
        let first = WritableLayer::claim(&store).expect("claimed");
        let second = WritableLayer::claim(&store).expect("claimed");
        assert_ne!(first.path(), second.path());
        let home = first.path().to_owned();
        drop(first);
        let third = WritableLayer::claim(&store).expect("claimed");
        assert_eq!(third.path(), home, "nobody uses it any more");
        assert_eq!(kept(&store), 2);
    }

    #[test]
    fn what_is_kept_is_made_anew() {
        let (_directory, store) = store();
        let layer = WritableLayer::claim(&store).expect("claimed");
        fs::create_dir_all(layer.work().join("work/incompat/volatile")).expect("made");
        fs::write(layer.work().join("work/incompat/volatile/dirty"), "").expect("made");
        fs::set_permissions(
            layer.upper(),
            std::os::unix::fs::PermissionsExt::from_mode(0o711),
        )
        .expect("changed");
        drop(layer);
        let again = WritableLayer::claim(&store).expect("claimed");
        let upper = fs::metadata(again.upper()).expect("there");
        assert_eq!(upper.mode() & 0o7777, 0o700);
        assert!(!again.work().join("work").exists());
        assert_eq!(kept(&store), 1);
    }

    #[test]
    fn what_has_anything_in_it_is_never_handed_out_and_goes() {
        let left_behind: [&[&str]; 4] = [
            &["upper/file"],
            &["upper", "work/work/#1"],
            &["upper", "work/index"],
            &["upper", "work/work/incompat/volatile/dirty/odd"],
        ];
        for left in left_behind {
            let (_directory, store) = store();
            let home = directory(&store).join("left");
            for path in left {
                fs::create_dir_all(home.join(path)).expect("made");
            }
            let layer = WritableLayer::claim(&store).expect("claimed");
            assert_ne!(layer.path(), home, "{left:?}");
            clear_unused_writable(&store);
            assert!(!home.exists(), "{left:?}");
            assert!(layer.path().exists());
        }
    }

    #[test]
    fn a_prune_leaves_what_is_in_use() {
        let (_directory, store) = store();
        let used = WritableLayer::claim(&store).expect("claimed");
        drop(WritableLayer::claim(&store).expect("claimed"));
        assert_eq!(kept(&store), 2);
        remove_unused_writable(&store).expect("removed");
        assert!(used.upper().exists());
        assert_eq!(kept(&store), 1);
    }
}
