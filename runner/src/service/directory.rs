//! The containers that run in the background: a directory each, named after the container.
//!
//! ```text
//! containers/.lock          held for a moment by who makes or removes one
//!            NAME/lock      held by its supervisor for as long as it lives
//!                 control   where its supervisor listens
//!                 record.json  log  log.1
//! ```
//!
//! The invariant: a container lives exactly as long as its lock is held. No process is looked up by a number, and what belongs to no
//! living supervisor is removed whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use thiserror::Error;

use super::client::Connection;
use super::log::LogReader;
use super::record::Record;
use crate::name::Name;

/// Why a container in the background cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContainersError {
    /// A file or directory of it.
    #[error("use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could do something there.
    #[error("use {0}: it is not a directory of yours that is closed to others")]
    NotOwn(PathBuf),
    /// Another container has the name.
    #[error("name a container {name}: that is the name of the container {id}")]
    InUse {
        /// The name.
        name: Name,
        /// The other one's id.
        id: String,
    },
    /// Neither a name nor the beginning of an id.
    #[error("find the container {0}: none of that name or id runs")]
    Unknown(String),
    /// The beginning of more than one id.
    #[error("find the container {0}: there are several whose ids begin so")]
    Ambiguous(String),
    /// Its supervisor is gone.
    #[error("reach the container {name}: its supervisor was killed, and the container with it")]
    Dead {
        /// Its name.
        name: Name,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ContainersError + '_ {
    move |source| ContainersError::Io {
        path: path.to_owned(),
        source,
    }
}

/// All of them.
#[derive(Debug)]
pub struct Containers(PathBuf);

/// One of them.
#[derive(Clone, Debug)]
pub struct Container {
    home: PathBuf,
    /// What is known of it.
    pub record: Record,
    /// Whether its supervisor lives.
    pub lives: bool,
}

/// The side of the supervisor. Dropped, the container's directory is removed.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    all: PathBuf,
    pub(crate) listener: UnixListener,
    /// The kernel drops it with the process.
    _lock: File,
}

impl Containers {
    /// Those below a directory, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or others than the caller could write there.
    pub fn open(directory: &Path) -> Result<Self, ContainersError> {
        let make = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        make.map_err(at(directory))?;
        let meta = fs::symlink_metadata(directory).map_err(at(directory))?;
        let own = meta.uid() == rustix::process::geteuid().as_raw();
        if !meta.is_dir() || !own || meta.mode() & 0o022 != 0 {
            return Err(ContainersError::NotOwn(directory.to_owned()));
        }
        Ok(Self(directory.to_owned()))
    }

    /// Takes a name, and notes what is known of its container.
    ///
    /// # Errors
    /// [`ContainersError::InUse`].
    pub fn claim(&self, record: &Record) -> Result<Home, ContainersError> {
        let _all = lock_all(&self.0)?;
        let path = self.0.join(record.name.as_str());
        if path.exists() {
            if let Some(id) = living(&path)? {
                let name = record.name.clone();
                return Err(ContainersError::InUse { name, id });
            }
            fs::remove_dir_all(&path).map_err(at(&path))?;
        }
        let make = fs::DirBuilder::new().mode(0o700).create(&path);
        make.map_err(at(&path))?;
        let lock = File::create(path.join("lock")).map_err(at(&path))?;
        lock.lock().map_err(at(&path))?;
        record.write(&path).map_err(at(&path))?;
        let listener = listen(&path).map_err(at(&path))?;
        Ok(Home {
            path,
            all: self.0.clone(),
            listener,
            _lock: lock,
        })
    }

    /// All, by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Container>, ContainersError> {
        let mut all = Vec::new();
        for home in self.homes()? {
            // One that is being made, or is just gone.
            let Ok(record) = Record::read(&home) else {
                continue;
            };
            let lives = living(&home)?.is_some();
            all.push(Container {
                home,
                record,
                lives,
            });
        }
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(all)
    }

    /// The one of that name, or whose id begins so.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, text: &str) -> Result<Container, ContainersError> {
        let all = self.list()?;
        if let Some(place) = all.iter().position(|one| one.record.name.as_str() == text) {
            return Ok(all.into_iter().nth(place).expect("it was just found"));
        }
        let begins = |one: &Container| !text.is_empty() && one.record.id.starts_with(text);
        let mut found = all.into_iter().filter(begins);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(ContainersError::Unknown(text.to_owned())),
            (Some(_), Some(_)) => Err(ContainersError::Ambiguous(text.to_owned())),
        }
    }

    /// Removes those whose supervisor was killed, and returns what was known of them.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn sweep(&self) -> Result<Vec<Record>, ContainersError> {
        let _all = lock_all(&self.0)?;
        let mut swept = Vec::new();
        for home in self.homes()? {
            if living(&home)?.is_none() {
                swept.extend(Record::read(&home));
                fs::remove_dir_all(&home).map_err(at(&home))?;
            }
        }
        Ok(swept)
    }

    fn homes(&self) -> Result<Vec<PathBuf>, ContainersError> {
        let entries = fs::read_dir(&self.0).map_err(at(&self.0))?;
        let entries: Result<Vec<_>, _> = entries.collect();
        let paths = entries.map_err(at(&self.0))?.into_iter();
        Ok(paths
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect())
    }
}

fn lock_all(all: &Path) -> Result<File, ContainersError> {
    let path = all.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(at(&path))?;
    file.lock().map_err(at(&path))?;
    Ok(file)
}

/// The id of a container whose supervisor lives.
fn living(home: &Path) -> Result<Option<String>, ContainersError> {
    let lock = match File::open(home.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(home)(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(
            Record::read(home).map_or_else(|_| String::new(), |record| record.id),
        )),
        Err(TryLockError::Error(error)) => Err(at(home)(error)),
    }
}

/// The name of a socket is at most 108 bytes, unix(7), and that of its directory may be longer.
fn socket_path(home: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, home, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    Ok((directory, path.into()))
}

fn listen(home: &Path) -> io::Result<UnixListener> {
    let (_directory, path) = socket_path(home)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Container {
    /// Speaks to its supervisor.
    ///
    /// # Errors
    /// [`ContainersError::Dead`].
    pub fn connect(&self) -> Result<Connection, ContainersError> {
        let connect = || {
            let (_directory, path) = socket_path(&self.home)?;
            UnixStream::connect(path)
        };
        match connect() {
            Ok(socket) => Ok(Connection::new(socket)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                let name = self.record.name.clone();
                Err(ContainersError::Dead { name })
            }
            Err(error) => Err(at(&self.home)(error)),
        }
    }

    /// Its log from the beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<LogReader, ContainersError> {
        LogReader::open(&self.home).map_err(at(&self.home))
    }

    /// Its log from now on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log_from_now_on(&self) -> Result<LogReader, ContainersError> {
        LogReader::from_now_on(&self.home).map_err(at(&self.home))
    }
}

impl Home {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What stays is removed by who looks next: nobody holds the lock any more.
        let _all = lock_all(&self.all);
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::record::State;

    fn record(name: &str, id: &str) -> Record {
        Record {
            id: id.to_owned(),
            name: name.parse().unwrap(),
            image: "image".to_owned(),
            command: Vec::new(),
            created: 1,
            started: 1,
            state: State::Created,
            restarts: 0,
            exit_code: None,
            ports: Vec::new(),
            restart: "no".parse().unwrap(),
            supervisor: 1,
            store: "/s".into(),
        }
    }

    #[test]
    fn a_name_belongs_to_one_container_until_its_end() {
        let place = tempfile::tempdir().unwrap();
        let all = Containers::open(&place.path().join("a/b")).unwrap();
        let home = all.claim(&record("web", "1234")).unwrap();
        let refused = all.claim(&record("web", "5678")).unwrap_err();
        assert!(refused.to_string().contains("1234"), "{refused}");
        assert!(all.sweep().unwrap().is_empty());
        assert!(all.find("web").unwrap().lives);
        drop(home);
        assert!(all.find("web").is_err());
        all.claim(&record("web", "5678")).unwrap();
    }

    #[test]
    fn names_come_before_ids_and_ids_may_be_short_but_clear() {
        let place = tempfile::tempdir().unwrap();
        let all = Containers::open(place.path()).unwrap();
        let _homes = [
            all.claim(&record("one", "aa11")).unwrap(),
            all.claim(&record("aa", "bb22")).unwrap(),
            all.claim(&record("three", "aa33")).unwrap(),
        ];
        let found = |text: &str| all.find(text).map(|one| one.record.name.to_string());
        assert_eq!(found("aa").unwrap(), "aa");
        assert_eq!(found("aa1").unwrap(), "one");
        assert!(matches!(found("a"), Err(ContainersError::Ambiguous(_))));
        assert!(matches!(found(""), Err(ContainersError::Unknown(_))));
        assert!(matches!(found("x"), Err(ContainersError::Unknown(_))));
    }

    #[test]
    fn what_has_no_supervisor_is_said_to_be_dead_and_is_swept() {
        let place = tempfile::tempdir().unwrap();
        let all = Containers::open(place.path()).unwrap();
        let home = all.claim(&record("web", "1234")).unwrap();
        // As after SIGKILL: the lock is gone, and nothing was removed.
        let copy = place.path().join("copy");
        fs::rename(home.path(), &copy).unwrap();
        drop(home);
        fs::rename(&copy, place.path().join("web")).unwrap();
        let found = all.find("web").unwrap();
        assert!(!found.lives);
        assert!(matches!(found.connect(), Err(ContainersError::Dead { .. })));
        assert_eq!(all.sweep().unwrap(), [record("web", "1234")]);
        assert!(all.list().unwrap().is_empty());
    }

    #[test]
    fn a_directory_where_others_may_write_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&open, mode).unwrap();
        assert!(matches!(
            Containers::open(&open),
            Err(ContainersError::NotOwn(_))
        ));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        assert!(matches!(
            Containers::open(&link),
            Err(ContainersError::NotOwn(_))
        ));
    }
}
