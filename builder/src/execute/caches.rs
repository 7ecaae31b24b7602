//! Cache mounts. The invariant: a cache is a directory of the store that only its user can reach, named by a hash, so that no id
//! is ever a path; it is locked by a file beside the content, which a step never sees; what is mounted of it is a handle that
//! was opened inside it (CVE-2024-9675, CVE-2024-11218).
//!
//! ```text
//! trees/caches/NAME/0/         what is mounted; 1, 2, ... are those of `sharing=private` while 0 is in use
//!                   0.HASH     says that a part of it was filled from its base
//!                   0.lock     shared by users of the directory, exclusive for `locked` and `private`
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::Area;
use rootfs::owners::Exchange;
use rootfs::{Ownership, Root, TreePath};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, Uid, renameat_with};
use rustix::io::Errno;
use sandbox::detached_handle;

use super::kept::exchange_all;
use super::lookup::Place;
use super::mounts::{Mounted, session_owner};
use super::{SessionTools, Workshop};
use crate::event::BuildEvent;
use crate::job::StepFailure;
use crate::key;
use crate::mounts::{Access, CacheMount, CacheSharing, RunMountSource};
use crate::step::RunStep;

/// How often a lock that another build has is tried again. The kernel's own waiting could not be cancelled.
const RETRY: Duration = Duration::from_millis(50);
/// After this long the user is told what the build waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The caches of one step, locked as long as this lives.
#[derive(Default)]
pub(super) struct HeldCaches(BTreeMap<String, Held>);

struct Held {
    directory: PathBuf,
    _lock: File,
}

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

impl Workshop<'_> {
    /// Locks all caches of a step, in the order of their names, so that two steps never wait for each other.
    pub(super) fn hold_caches(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        run: &RunStep,
    ) -> Result<HeldCaches, StepFailure> {
        let mut wanted: BTreeMap<String, (&CacheMount, CacheSharing)> = BTreeMap::new();
        for mount in &run.mounts {
            let RunMountSource::Cache(cache) = &mount.source else {
                continue;
            };
            let name = self.cache_name(session, place, cache)?;
            let entry = wanted.entry(name).or_insert((cache, cache.sharing));
            // One directory has one lock in a step: the strictest that is asked for.
            if entry.1 == CacheSharing::Shared {
                entry.1 = cache.sharing;
            }
        }
        let mut held = HeldCaches::default();
        for (name, (cache, sharing)) in wanted {
            let holding = self.hold_cache(session, &name, cache, sharing)?;
            held.0.insert(name, holding);
        }
        Ok(held)
    }

    /// Mounts of another base are another cache, as in BuildKit.
    fn cache_name(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        cache: &CacheMount,
    ) -> Result<String, StepFailure> {
        let base = match &cache.from {
            Some(from) => self.identity(place.finished, from)?,
            None => String::new(),
        };
        // The caller owns what a step writes as the kept ids, so that no other steps may share it.
        let owners = match (session.trees.ownership(), session.kept) {
            (Ownership::Mapped { .. }, None) => "mapped".to_owned(),
            (Ownership::Mapped { .. }, Some(Exchange { from, .. })) => {
                format!("kept-{}-{}", from.uid, from.gid)
            }
            (Ownership::Noted | Ownership::Squashed | Ownership::Recorded, _) => "noted".to_owned(),
        };
        let digest = key::hash(&[b"cache mount", cache.id.as_bytes(), base.as_bytes()]);
        Ok(format!("{owners}-{}", digest.hex()))
    }

    fn hold_cache(
        &self,
        session: &SessionTools<'_>,
        name: &str,
        cache: &CacheMount,
        sharing: CacheSharing,
    ) -> Result<Held, StepFailure> {
        self.store
            .hold_entry(Area::Trees, &format!("caches/{name}"))
            .map_err(|error| fail(&error))?;
        let home = self.store.subdir(Area::Trees).join("caches").join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&home)
            .map_err(|error| fail(&error))?;
        let (number, lock) = self.lock_cache(&home, &cache.id, sharing)?;
        let directory = home.join(number.to_string());
        if !directory.exists() {
            let fresh = session
                .work
                .directory("cache")
                .map_err(|error| fail(&error))?;
            let access = match cache.from {
                Some(_) => Access {
                    uid: 0,
                    gid: 0,
                    mode: 0o755,
                },
                None => cache.access,
            };
            let handle = File::open(&fresh).map_err(|error| fail(&error))?;
            settle(session, &handle.into(), access)?;
            // A rename that replaced an empty directory would take it away from a build that mounts it already.
            match renameat_with(CWD, &fresh, CWD, &directory, RenameFlags::NOREPLACE) {
                // Of builds that share it, another one was faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(fail(&error)),
            }
        }
        Ok(Held {
            directory,
            _lock: lock,
        })
    }

    /// The number of the directory that may be used, and its lock.
    fn lock_cache(
        &self,
        home: &Path,
        id: &str,
        sharing: CacheSharing,
    ) -> Result<(u32, File), StepFailure> {
        let started = Instant::now();
        let (mut number, mut told) = (0, false);
        loop {
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(home.join(format!("{number}.lock")))
                .map_err(|error| fail(&error))?;
            let tried = match sharing {
                CacheSharing::Shared => lock.try_lock_shared(),
                CacheSharing::Private | CacheSharing::Locked => lock.try_lock(),
            };
            match (tried, sharing) {
                (Ok(()), _) => return Ok((number, lock)),
                (Err(TryLockError::Error(error)), _) => return Err(fail(&error)),
                (Err(TryLockError::WouldBlock), CacheSharing::Private) => number += 1,
                (Err(TryLockError::WouldBlock), _) => {
                    if self.cancel.is_cancelled() {
                        return Err(StepFailure::cancelled());
                    }
                    if !told && started.elapsed() > PATIENCE {
                        told = true;
                        let message =
                            format!("waiting for the cache {id:?}, which another step uses");
                        self.tell(BuildEvent::Notice { message });
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// What a step sees of a cache: a directory in it, filled from its base where it is missing.
    pub(super) fn cache_mount(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        cache: &CacheMount,
        held: &HeldCaches,
    ) -> Result<Mounted, StepFailure> {
        let name = self.cache_name(session, place, cache)?;
        let held = held.0.get(&name).ok_or_else(StepFailure::cancelled)?;
        let root = Root::open(&held.directory).map_err(|error| fail(&error))?;
        let source = TreePath::clamped(&cache.source).map_err(|error| fail(&error))?;
        if let Some(from) = &cache.from {
            // Beside the content, and written last: a copy that was cut short is made again.
            let part = key::hash(&[b"seeded", source.as_bytes()]).hex();
            let seeded = held.directory.with_extension(part);
            if !seeded.exists() {
                self.copy_into(
                    session,
                    place,
                    (from, &cache.source),
                    &held.directory,
                    &source,
                )?;
                if let Some(exchange) = session.kept {
                    exchange_all(&held.directory, exchange).map_err(|error| fail(&error))?;
                }
                fs::write(&seeded, "").map_err(|error| fail(&error))?;
            }
        }
        let handle = open_or_make(session, &root, &source, cache.access)
            .map_err(|failure| named(&failure, &cache.source, &cache.id))?;
        Ok(Mounted::Tree {
            tree: detached_handle(&handle).map_err(|error| fail(&error))?,
            directory: true,
            read_only: cache.read_only,
        })
    }
}

fn named(failure: &StepFailure, source: &str, id: &str) -> StepFailure {
    StepFailure::saying(format!(
        "mount {source} of the cache {id:?}: {}",
        failure.message
    ))
}

/// Links that a step left in a cache lead to places in it, if anywhere.
fn open_or_make(
    session: &SessionTools<'_>,
    root: &Root,
    source: &TreePath,
    access: Access,
) -> Result<OwnedFd, StepFailure> {
    let open = |path: &TreePath| root.open_at(path, OFlags::DIRECTORY | OFlags::RDONLY);
    let mut at = TreePath::root();
    let mut handle = open(&at).map_err(|error| fail(&error))?;
    for name in source.components() {
        at = at.child(name);
        let missing =
            |error: &rootfs::RootError| error.errno() == Some(Errno::NOENT.raw_os_error());
        handle = match open(&at) {
            Err(error) if missing(&error) => match root.make_dir(&at, 0o755) {
                Ok(()) => {
                    let made = open(&at).map_err(|error| fail(&error))?;
                    settle(session, &made, access)?;
                    made
                }
                // Of steps that share the cache, another one was faster; a link to nothing is there all the same.
                Err(error) if error.errno() == Some(Errno::EXIST.raw_os_error()) => {
                    open(&at).map_err(|error| fail(&error))?
                }
                Err(error) => return Err(fail(&error)),
            },
            other => other.map_err(|error| fail(&error))?,
        };
    }
    Ok(handle)
}

fn settle(
    session: &SessionTools<'_>,
    directory: &OwnedFd,
    access: Access,
) -> Result<(), StepFailure> {
    if let Some((uid, gid)) = session_owner(session, access)? {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(directory, "", owner.0, owner.1, AtFlags::EMPTY_PATH)
            .map_err(|error| fail(&error))?;
    }
    rustix::fs::fchmod(directory, Mode::from_raw_mode(access.mode)).map_err(|error| fail(&error))
}
