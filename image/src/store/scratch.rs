//! Files for what does not fit into memory.
//!
//! Invariant: they have no name, so they go with the process that made them, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags};

use super::Store;

/// Where such files are made. The default has no place: everything stays in memory.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Option<Arc<Path>>);

impl Store {
    /// Files on the disk of the store.
    pub fn scratch(&self) -> Scratch {
        Scratch(Some(self.join("tmp").into()))
    }
}

impl Scratch {
    /// Files on the disk of a directory.
    pub fn below(directory: &Path) -> Self {
        Self(Some(directory.into()))
    }

    /// Makes one; `None` where there is no place.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn file(&self) -> Option<io::Result<File>> {
        self.0.as_deref().map(nameless)
    }
}

fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // open(2): EOPNOTSUPP where the file system has none, EISDIR or ENOENT where the kernel knows none.
        Err(_) => {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let (own, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path: PathBuf = directory.join(format!("scratch-{own}-{next}"));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            let file = options.open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}
