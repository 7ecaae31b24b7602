//! What a running rbuild uses, so that no other deletes it.
//!
//! A lease is a file that its process keeps locked; the kernel drops the lock with the process, however it dies. What is
//! in use is a line in that file. Lines are added under the shared `gc.lock` and only then is the thing looked for; what is
//! deleted is decided and deleted under the exclusive one. So nothing can vanish between "it is there" and "it is held".
//!
//! Invariant: a lease file that can be locked belongs to nobody.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::error::At;
use super::{Area, Store, StoreError, make_private};
use crate::digest::Digest;

/// The open lease of one [`Store`].
#[derive(Debug)]
pub(super) struct Lease {
    file: File,
    path: PathBuf,
    /// Made with the first thing in it: most leases need none.
    tmp: PathBuf,
    held: BTreeSet<String>,
    unfinished: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Best effort: what stays is swept when the store is opened next, as long as its lease says that it is there.
        match fs::remove_dir_all(&self.tmp) {
            Err(error) if error.kind() != ErrorKind::NotFound => {}
            _ => {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}

impl Store {
    /// Keeps a blob from being pruned for as long as this store is open.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn hold(&self, digest: &Digest) -> Result<(), StoreError> {
        self.hold_line(digest.to_string())
    }

    /// Keeps an entry of another crate's directory from being removed under [`Store::exclusive`].
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn hold_entry(&self, area: Area, name: &str) -> Result<(), StoreError> {
        self.hold_line(entry_line(area, name))
    }

    fn hold_line(&self, line: String) -> Result<(), StoreError> {
        let _gc = self.lock_gc(File::lock_shared)?;
        self.with_lease(|lease| {
            if lease.held.contains(&line) {
                return Ok(());
            }
            lease
                .file
                .write_all(format!("{line}\n").as_bytes())
                .at("write", &lease.path)?;
            lease.held.insert(line);
            Ok(())
        })
    }

    /// A new file name for something unfinished.
    pub(super) fn tmp_path(&self) -> Result<PathBuf, StoreError> {
        let have = self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_some();
        // Made under the lock: a new lease that is not locked yet must not look like a dead one.
        let _gc = if have {
            None
        } else {
            Some(self.lock_gc(File::lock_shared)?)
        };
        self.with_lease(|lease| {
            if lease.unfinished == 0 {
                make_private(&lease.tmp)?;
            }
            lease.unfinished += 1;
            Ok(lease.tmp.join(lease.unfinished.to_string()))
        })
    }

    fn with_lease<T>(
        &self,
        act: impl FnOnce(&mut Lease) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lease = self
            .lease
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *lease {
            Some(lease) => act(lease),
            none => act(none.insert(self.new_lease()?)),
        }
    }

    fn new_lease(&self) -> Result<Lease, StoreError> {
        for n in 0_u32.. {
            let name = format!("{}-{n}", std::process::id());
            let path = self.join("leases").join(&name);
            let file = match OpenOptions::new()
                .read(true)
                .append(true)
                .create_new(true)
                .open(&path)
            {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.at("create", &path)?,
            };
            file.lock().at("lock", &path)?;
            return Ok(Lease {
                file,
                path,
                tmp: self.join("tmp").join(&name),
                held: BTreeSet::new(),
                unfinished: 0,
            });
        }
        unreachable!("one process does not open four billion stores")
    }

    /// Takes `gc.lock`; it is free again when the file is dropped.
    pub(super) fn lock_gc(
        &self,
        lock: fn(&File) -> std::io::Result<()>,
    ) -> Result<File, StoreError> {
        let path = self.join("gc.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        lock(&file).at("lock", &path)?;
        Ok(file)
    }

    /// Removes what dead processes left, unless somebody is busy right now: then the next one will.
    pub(super) fn sweep_dead(&self) {
        let path = self.join("gc.lock");
        let Ok(names) = fs::read_dir(self.join("leases")) else {
            return;
        };
        if names.flatten().next().is_none() {
            return;
        }
        let Ok(gc) = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
        else {
            return;
        };
        if gc.try_lock().is_ok() {
            // An error here means that the rest stays for next time.
            let _ = self.living_leases();
        }
    }

    /// What living processes hold; leases of dead ones are removed. Only under the exclusive `gc.lock`.
    pub(super) fn living_leases(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut held = BTreeSet::new();
        let leases = self.join("leases");
        for entry in fs::read_dir(&leases).at("list", &leases)? {
            let path = entry.at("list", &leases)?.path();
            let file = match OpenOptions::new().read(true).write(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.at("open", &path)?,
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    (&file).read_to_string(&mut text).at("read", &path)?;
                    held.extend(text.lines().map(str::to_owned));
                }
                Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
                Ok(()) => self.remove_dead(&path)?,
            }
        }
        Ok(held)
    }

    fn remove_dead(&self, lease: &Path) -> Result<(), StoreError> {
        let tmp = self.join("tmp").join(lease.file_name().unwrap_or_default());
        let gone = |result: std::io::Result<()>| match result {
            // Its owner may be removing it at the same moment.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        gone(fs::remove_dir_all(&tmp)).at("remove", &tmp)?;
        gone(fs::remove_file(lease)).at("remove", lease)
    }
}

pub(super) fn entry_line(area: Area, name: &str) -> String {
    // Escaped, so that a name with a line break cannot pretend to be two.
    format!("{}/{}", area.name(), name.escape_debug())
}
