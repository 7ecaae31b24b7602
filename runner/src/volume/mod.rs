//! Named volumes: directories of the store that outlive containers.
//!
//! ```text
//! volumes/NAME/lock    held, shared, by every container that has the volume mounted; as old as the volume
//!              fill    held while it is filled
//!              fresh   there until its first use
//!              data    what is mounted; its files belong to ids of the session
//! ```
//!
//! The invariant: a name appears and vanishes whole, and what a volume begins with is in `data` completely or not at all.

mod copy;

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sandbox::{Ground, Session, SessionContext, SessionPlan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mount::NamedVolume;
use crate::name::Name;
use crate::protocol::{receive, send};
use crate::userns::Ids;

/// The name of the entry of [`Volumes::remove`]'s session.
pub const VOLUME_ENTRY: &str = "volume";

/// Why a volume cannot be had, or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumesError {
    /// A file or directory of it.
    #[error("use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it is to begin with.
    #[error("fill the volume {name} with what the image has at {target}")]
    Fill {
        /// Its name.
        name: Name,
        /// Where it is mounted.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// A container has it mounted.
    #[error("remove the volume {0}: a container uses it")]
    InUse(Name),
    /// There is none of that name.
    #[error("find the volume {0}: there is none of that name")]
    Unknown(Name),
    /// There is one already.
    #[error("make the volume {0}: there is one of that name")]
    Exists(Name),
    /// The session that was to remove it.
    #[error("remove a volume in a session")]
    Session(#[source] sandbox::SessionError),
    /// What went wrong in that session.
    #[error("remove the volume {name}: {text}")]
    Remove {
        /// Its name.
        name: Name,
        /// Why.
        text: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> VolumesError + '_ {
    move |source| VolumesError::Io {
        path: path.to_owned(),
        source,
    }
}

/// All volumes of a store.
#[derive(Debug)]
pub struct Volumes(PathBuf);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVolume {
    /// Its name.
    pub name: Name,
    /// What is mounted of it.
    pub data: PathBuf,
    /// When it was made.
    pub created: SystemTime,
    /// Whether a container has it mounted.
    pub used: bool,
}

/// A volume that cannot be removed before this is dropped.
#[derive(Debug)]
pub(crate) struct HeldVolume {
    name: Name,
    home: PathBuf,
    _lock: File,
}

impl Volumes {
    /// Those of the `store`, a directory.
    pub fn of(store: &Path) -> Self {
        Self(store.join("volumes"))
    }

    /// Makes one.
    ///
    /// # Errors
    /// [`VolumesError::Exists`].
    pub fn create(&self, name: &Name) -> Result<(), VolumesError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let private = |path: &Path| {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // No name begins with a dot.
        let new = self.0.join(format!(".new-{}-{count}", std::process::id()));
        let make = || {
            // Of an earlier process with the same number.
            let _ = fs::remove_dir_all(&new);
            private(&new)?;
            fs::DirBuilder::new().mode(0o755).create(new.join("data"))?;
            for file in ["lock", "fill", "fresh"] {
                File::create(new.join(file))?;
            }
            fs::rename(&new, self.home(name))
        };
        match make() {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = fs::remove_dir_all(&new);
                match error.kind() {
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                        Err(VolumesError::Exists(name.clone()))
                    }
                    _ => Err(at(&self.home(name))(error)),
                }
            }
        }
    }

    /// All, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self) -> Result<Vec<FoundVolume>, VolumesError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(at(&self.0))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&self.0))?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.parse().ok()) {
                // One may vanish meanwhile.
                all.extend(self.find(&name));
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The one of that name.
    ///
    /// # Errors
    /// [`VolumesError::Unknown`].
    pub fn find(&self, name: &Name) -> Result<FoundVolume, VolumesError> {
        let home = self.home(name);
        let unknown = |_| VolumesError::Unknown(name.clone());
        let lock = File::open(home.join("lock")).map_err(unknown)?;
        let meta = lock.metadata().map_err(at(&home))?;
        Ok(FoundVolume {
            name: name.clone(),
            data: home.join("data"),
            created: meta.modified().map_err(at(&home))?,
            used: matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        })
    }

    /// Removes one, in a session with the ids that its files may belong to.
    ///
    /// # Errors
    /// [`VolumesError::InUse`], [`VolumesError::Unknown`].
    pub fn remove(&self, name: &Name, plan: &SessionPlan) -> Result<(), VolumesError> {
        if self.find(name)?.used {
            return Err(VolumesError::InUse(name.clone()));
        }
        let failed = |text: String| VolumesError::Remove {
            name: name.clone(),
            text,
        };
        let session = Session::start(VOLUME_ENTRY, plan, Ground::Background);
        let mut session = session.map_err(VolumesError::Session)?;
        let order = Removal {
            all: self.0.clone(),
            name: name.clone(),
        };
        let socket = session.socket();
        let answer = send(socket, &order).and_then(|()| receive::<Option<String>>(socket));
        let _ = session.wait();
        match answer {
            Ok(Some((None, _))) => Ok(()),
            Ok(Some((Some(text), _))) => Err(failed(text)),
            Ok(None) => Err(failed("its session ended".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Takes one for a container; it is made where it is missing.
    pub(crate) fn hold(&self, name: &Name) -> Result<HeldVolume, VolumesError> {
        let home = self.home(name);
        loop {
            match self.create(name) {
                Ok(()) | Err(VolumesError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
            let Ok(lock) = File::open(home.join("lock")) else {
                continue;
            };
            lock.lock_shared().map_err(at(&home))?;
            // Somebody may have removed it before it was locked.
            if is_same(&lock, &home.join("lock")) {
                return Ok(HeldVolume {
                    name: name.clone(),
                    home,
                    _lock: lock,
                });
            }
        }
    }

    fn home(&self, name: &Name) -> PathBuf {
        self.0.join(name.as_str())
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let there = fs::metadata(path).map(identity).ok();
    there.is_some() && there == file.metadata().map(identity).ok()
}

impl HeldVolume {
    /// What is mounted of it.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// At its first use, if nothing is in it: copies what the image, whose `root` this is, has at the volume's place, with its owner.
    /// Where the image has nothing the volume is the `owner`'s.
    pub(crate) fn fill(
        &self,
        root: &OwnedFd,
        volume: &NamedVolume,
        owner: Ids,
    ) -> Result<(), VolumesError> {
        let fresh = self.home.join("fresh");
        if !fresh.exists() {
            return Ok(());
        }
        let _filling = self.lock_for_filling().map_err(at(&self.home))?;
        if !fresh.exists() {
            return Ok(());
        }
        let filled = || {
            if fs::read_dir(self.data())?.next().is_none() {
                self.begin_with(root, volume, owner)?;
            }
            fs::remove_file(&fresh)
        };
        filled().map_err(|source| VolumesError::Fill {
            name: self.name.clone(),
            target: volume.target.clone(),
            source,
        })
    }

    fn lock_for_filling(&self) -> io::Result<File> {
        let file = File::open(self.home.join("fill"))?;
        file.lock()?;
        Ok(file)
    }

    fn begin_with(&self, root: &OwnedFd, volume: &NamedVolume, owner: Ids) -> io::Result<()> {
        let new = self.home.join("new");
        match rootfs::trees::remove_tree(&new) {
            Err(error) if new.exists() => return Err(io::Error::other(error)),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o755).create(&new)?;
        let to = OwnedFd::from(File::open(&new)?);
        match directory_in(root, &volume.target)? {
            Some(from) if volume.copy => copy::tree(&from, &to)?,
            Some(from) => copy::status(&from, &to)?,
            None => copy::own(&to, owner.uid, owner.gid)?,
        }
        // Onto a directory that is empty, rename(2).
        fs::rename(new, self.data())
    }
}

/// The directory of an image, which is never left on the way: links lead inside.
fn directory_in(root: &OwnedFd, path: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        return match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
            // A rename elsewhere raced the resolution of `..`, openat2(2).
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(Errno::NOENT) => Ok(None),
            other => Ok(Some(other?)),
        };
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Removal {
    all: PathBuf,
    name: Name,
}

/// What `sandbox::divert` calls in the session of [`Volumes::remove`].
pub fn volume_entry(context: SessionContext) -> ExitCode {
    let Ok(Some((removal, _))) = receive::<Removal>(&context.socket) else {
        return ExitCode::from(125);
    };
    let failed = remove(&removal).err().map(|error| error.to_string());
    // Who asked may be gone.
    let _ = send(&context.socket, &failed);
    ExitCode::SUCCESS
}

fn remove(removal: &Removal) -> io::Result<()> {
    let home = removal.all.join(removal.name.as_str());
    let lock = File::open(home.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("a container uses it")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let gone = removal
        .all
        .join(format!(".gone-{}", lock.metadata()?.ino()));
    fs::rename(&home, &gone)?;
    rootfs::trees::remove_tree(&gone).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn own() -> Ids {
        Ids {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    fn at(target: &str, copy: bool) -> NamedVolume {
        NamedVolume {
            name: "data".parse().unwrap(),
            target: target.to_owned(),
            read_only: false,
            chown: false,
            copy,
        }
    }

    /// An image's root, as hostile as one can be made without being root.
    fn image() -> (tempfile::TempDir, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("data/below")).unwrap();
        fs::write(place.path().join("secret"), "of the host").unwrap();
        fs::write(root.join("data/file"), "content").unwrap();
        fs::set_permissions(root.join("data/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(root.join("data/file"), root.join("data/below/same")).unwrap();
        fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o1750)).unwrap();
        symlink(place.path().join("secret"), root.join("data/link")).unwrap();
        symlink("../../..", root.join("data/below/up")).unwrap();
        symlink("/../../../../data", root.join("way")).unwrap();
        symlink(place.path(), root.join("out")).unwrap();
        let root = OwnedFd::from(File::open(root).unwrap());
        (place, root)
    }

    #[test]
    fn a_volume_begins_with_what_the_image_has_and_links_stay_links() {
        let (place, root) = image();
        let volumes = Volumes::of(place.path());
        let volume = at("/way", true);
        let held = volumes.hold(&volume.name).unwrap();
        held.fill(&root, &volume, own()).unwrap();
        let data = held.data();
        assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "content");
        let meta = |path: &str| fs::symlink_metadata(data.join(path)).unwrap();
        assert_eq!(meta("file").mode() & 0o7777, 0o640);
        assert_eq!(meta("").mode() & 0o7777, 0o1750);
        assert_eq!(meta("file").ino(), meta("below/same").ino());
        assert!(meta("link").is_symlink() && meta("below/up").is_symlink());
        // Only the first use copies.
        fs::remove_file(data.join("file")).unwrap();
        held.fill(&root, &volume, own()).unwrap();
        assert!(!data.join("file").exists());
    }

    #[test]
    fn links_of_an_image_lead_to_nothing_of_the_host() {
        let (place, root) = image();
        let volumes = Volumes::of(place.path());
        let volume = at("/out", true);
        let held = volumes.hold(&volume.name).unwrap();
        // Inside the image there is no such directory, so the volume is empty and the user's.
        held.fill(&root, &volume, own()).unwrap();
        assert_eq!(fs::read_dir(held.data()).unwrap().count(), 0);
    }

    #[test]
    fn what_somebody_put_there_first_is_left_alone_and_nocopy_copies_nothing() {
        let (place, root) = image();
        let volumes = Volumes::of(place.path());
        let name = at("/data", true).name;
        volumes.create(&name).unwrap();
        assert!(matches!(
            volumes.create(&name),
            Err(VolumesError::Exists(_))
        ));
        let held = volumes.hold(&name).unwrap();
        fs::write(held.data().join("mine"), "").unwrap();
        held.fill(&root, &at("/data", true), own()).unwrap();
        assert_eq!(fs::read_dir(held.data()).unwrap().count(), 1);
        let other = NamedVolume {
            name: "other".parse().unwrap(),
            ..at("/data", false)
        };
        let held = volumes.hold(&other.name).unwrap();
        held.fill(&root, &other, own()).unwrap();
        assert_eq!(fs::read_dir(held.data()).unwrap().count(), 0);
        let mode = fs::metadata(held.data()).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o1750);
        let names: Vec<_> = volumes
            .list()
            .unwrap()
            .into_iter()
            .map(|v| v.name.to_string())
            .collect();
        assert_eq!(names, ["data", "other"]);
    }

    #[test]
    fn one_in_use_is_not_removed_and_one_that_is_removed_is_gone_whole() {
        let (place, _root) = image();
        let volumes = Volumes::of(place.path());
        let name = at("/data", true).name;
        let held = volumes.hold(&name).unwrap();
        assert!(volumes.find(&name).unwrap().used);
        let removal = Removal {
            all: place.path().join("volumes"),
            name: name.clone(),
        };
        assert!(remove(&removal).is_err());
        drop(held);
        assert!(!volumes.find(&name).unwrap().used);
        remove(&removal).unwrap();
        assert!(matches!(volumes.find(&name), Err(VolumesError::Unknown(_))));
        assert_eq!(
            fs::read_dir(place.path().join("volumes")).unwrap().count(),
            0
        );
    }
}
