//! Going down and up a tree by handles, however deep it is.
//!
//! Invariant: going up is `..` of the handle we hold, accepted only when it is the very directory we came from (S22), and at
//! most [`KEPT`] handles are open (F25: 3,000 levels are legal, 1,024 descriptors are the usual limit).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, Stat};
use rustix::io::Errno;

use crate::names::Names;
use crate::path::TreePath;
use crate::root::{self, Call, DIRECTORY, Root, RootError};

const KEPT: usize = 64;

/// The directories from a starting point down to where a walk is.
pub(crate) struct Descent {
    levels: Vec<Level>,
}

struct Level {
    handle: Option<OwnedFd>,
    identity: (u64, u64),
}

impl Descent {
    pub(crate) fn new(start: OwnedFd) -> rustix::io::Result<Self> {
        let identity = identity(&rustix::fs::fstat(&start)?);
        Ok(Self {
            levels: vec![Level {
                handle: Some(start),
                identity,
            }],
        })
    }

    /// The directory where the walk is.
    pub(crate) fn here(&self) -> BorrowedFd<'_> {
        let level = self.levels.last().expect("a descent always has its start");
        level
            .handle
            .as_ref()
            .expect("the deepest handle is kept")
            .as_fd()
    }

    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Goes into the directory `name`.
    pub(crate) fn down(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let handle = root::open_directory(self.here(), name)?;
        let identity = identity(&rustix::fs::fstat(&handle)?);
        self.levels.push(Level {
            handle: Some(handle),
            identity,
        });
        if let Some(old) = self.levels.len().checked_sub(KEPT + 1) {
            self.levels[old].handle = None;
        }
        Ok(())
    }

    /// Goes back to the parent; `false` at the start. ESTALE when `..` is another directory than before.
    pub(crate) fn up(&mut self) -> rustix::io::Result<bool> {
        if self.levels.len() == 1 {
            return Ok(false);
        }
        let child = self
            .levels
            .pop()
            .and_then(|level| level.handle)
            .expect("the deepest handle is kept");
        let parent = self.levels.last_mut().expect("checked above");
        if parent.handle.is_none() {
            let handle = rustix::fs::openat(&child, "..", DIRECTORY, Mode::empty())?;
            if identity(&rustix::fs::fstat(&handle)?) != parent.identity {
                return Err(Errno::STALE);
            }
            parent.handle = Some(handle);
        }
        Ok(true)
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// The names in `directory`, sorted by their bytes.
pub(crate) fn list(directory: BorrowedFd<'_>) -> rustix::io::Result<Names> {
    let mut names = read(directory)?;
    names.sort();
    Ok(names)
}

/// The names in `directory`, in the order in which the file system has them.
pub(crate) fn read(directory: BorrowedFd<'_>) -> rustix::io::Result<Names> {
    // A second open file description: reading moves the offset, and the caller's handle may be listed again.
    let own = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(&own, buffer.spare_capacity_mut());
    let mut names = Names::default();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Visits all entries below `root`, a directory before what is in it, by the handle of the directory that holds the entry. `call`
/// is what is being done, for errors.
pub(crate) fn each(
    root: &Root,
    call: Call,
    mut visit: impl FnMut(BorrowedFd<'_>, &TreePath, &Stat) -> Result<(), RootError>,
) -> Result<(), RootError> {
    let fail = |path: &TreePath| {
        let path = path.clone();
        move |errno| match errno {
            Errno::STALE => RootError::Swapped { path: path.clone() },
            other => RootError::call(call, &path)(other),
        }
    };
    let mut path = TreePath::root();
    let mut descent = Descent::new(root.try_clone()?.into_fd()).map_err(fail(&path))?;
    let mut waiting = vec![list(descent.here()).map_err(fail(&path))?];
    while let Some(names) = waiting.last_mut() {
        let Some(name) = names.next() else {
            waiting.pop();
            if descent.up().map_err(fail(&path))? {
                path = path.parent();
            }
            continue;
        };
        let here = path.child(&name);
        let stat = rustix::fs::statat(descent.here(), name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(fail(&here))?;
        visit(descent.here(), &here, &stat)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            descent.down(&name).map_err(fail(&here))?;
            waiting.push(list(descent.here()).map_err(fail(&here))?);
            path = here;
        }
    }
    Ok(())
}

/// Removes `name` in `parent` and all below; `shown` is its path for errors.
pub(crate) fn remove_all(parent: OwnedFd, name: &[u8], shown: &TreePath) -> Result<(), RootError> {
    let whole = name == b".";
    if !whole {
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // unlink(2): EISDIR on Linux, EPERM by POSIX; an immutable file is EPERM too and shows when it is opened.
            Err(Errno::ISDIR) => {}
            Err(Errno::PERM) => {
                return Err(RootError::Immutable {
                    call: Call::Remove,
                    path: shown.clone(),
                });
            }
            Err(errno) => return Err(RootError::call(Call::Remove, shown)(errno)),
        }
    }
    let fail = |errno| match errno {
        Errno::STALE => RootError::Swapped {
            path: shown.clone(),
        },
        Errno::PERM => RootError::Immutable {
            call: Call::Remove,
            path: shown.clone(),
        },
        other => RootError::call(Call::Remove, shown)(other),
    };
    let mut descent = Descent::new(parent).map_err(fail)?;
    if whole {
        return empty(&mut descent).map_err(fail);
    }
    enter(&mut descent, name).map_err(fail)?;
    empty(&mut descent).map_err(fail)?;
    descent.up().map_err(fail)?;
    match rustix::fs::unlinkat(descent.here(), name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(fail(errno)),
    }
}

/// A directory of mode 000 is ours to delete all the same (F34).
fn enter(descent: &mut Descent, name: &[u8]) -> rustix::io::Result<()> {
    match descent.down(name) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(descent.here(), name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW)?;
            descent.down(name)
        }
        other => other,
    }
}

/// Empties the directory where `descent` is, and leaves it there.
fn empty(descent: &mut Descent) -> rustix::io::Result<()> {
    let floor = descent.depth();
    let mut waiting: Vec<Vec<Vec<u8>>> = vec![unlink_files(descent.here())?];
    while let Some(directories) = waiting.last_mut() {
        if let Some(name) = directories.last() {
            match enter(descent, name) {
                Ok(()) => {
                    let below = unlink_files(descent.here())?;
                    waiting.push(below);
                }
                // Replaced since it was listed: a link in its place is removed, never followed.
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
                    let _replaced =
                        rustix::fs::unlinkat(descent.here(), name.as_slice(), AtFlags::empty());
                    directories.pop();
                }
                Err(errno) => return Err(errno),
            }
        } else {
            waiting.pop();
            if descent.depth() > floor {
                descent.up()?;
                let directories = waiting.last_mut().expect("one list per level");
                let name = directories.pop().expect("the directory we came from");
                match rustix::fs::unlinkat(descent.here(), name.as_slice(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
    }
    Ok(())
}

/// Unlinks what is no directory and returns the directories; one that cannot be written is made writable first (F34).
fn unlink_files(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    match try_unlink_files(directory) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            try_unlink_files(directory)
        }
        other => other,
    }
}

fn try_unlink_files(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut directories = Vec::new();
    for name in read(directory)? {
        match rustix::fs::unlinkat(directory, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => directories.push(name),
            Err(errno) => return Err(errno),
        }
    }
    Ok(directories)
}
