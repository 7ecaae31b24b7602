//! Where unfinished trees are. The invariant: an area that can be locked belongs to nobody, and what is in it is nothing yet.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use image::{Area, Store};

use super::{TreesError, at, private, remove_tree, unique};

/// A directory of the store in which a living process makes trees; it vanishes with what is left in it.
#[derive(Debug)]
pub struct WorkArea {
    home: PathBuf,
    /// The locked directory itself: it is in use, and the kernel drops the lock with the process.
    _lock: File,
}

impl WorkArea {
    /// Makes an area, and removes those whose process died.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(store: &Store) -> Result<Self, TreesError> {
        let all = store.subdir(Area::Trees).join("work");
        private(&all)?;
        let area = loop {
            let home = all.join(unique());
            private(&home)?;
            if let Some(lock) = locked(&home)? {
                break Self { home, _lock: lock };
            }
        };
        sweep(&all);
        Ok(area)
    }

    /// The area's own directory.
    pub fn path(&self) -> &Path {
        &self.home
    }

    /// Makes a new directory in the area, open to no one else.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf, TreesError> {
        let path = self.home.join(format!("{name}-{}", unique()));
        private(&path)?;
        Ok(path)
    }
}

impl Drop for WorkArea {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next process that makes an area.
        let _ = remove_tree(&self.home);
    }
}

/// Locks an area that was just made; `None` when another process swept it away before it was locked.
fn locked(home: &Path) -> Result<Option<File>, TreesError> {
    let lock = match File::open(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at("open", home))?,
    };
    // Waits for a process that is about to remove it.
    lock.lock().map_err(at("lock", home))?;
    Ok(home.exists().then_some(lock))
}

/// Removes areas that nobody has locked.
fn sweep(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            // What cannot be removed is tried again by the next process.
            let _ = remove_tree(&path);
        }
    }
}
