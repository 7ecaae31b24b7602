//! A directory that resolution can never leave.
//!
//! Invariant: every path goes through `openat2(2)` with `RESOLVE_IN_ROOT` (or the stricter `RESOLVE_BENEATH`) and
//! `RESOLVE_NO_MAGICLINKS`, and what is then changed is a name in the handle that came back, never a path again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use thiserror::Error;

use crate::path::TreePath;
use crate::walk;

/// `PATH_MAX` is 4096 with its NUL; longer paths are walked in pieces (F25).
const CHUNK: usize = 4000;

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Call {
    Open,
    List,
    Stat,
    ReadLink,
    Read,
    Write,
    MakeDir,
    MakeSymlink,
    Create,
    Link,
    MakeNode,
    Remove,
    Chown,
    Chmod,
    SetTimes,
    ReadXattr,
    SetXattr,
}

impl std::fmt::Display for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Stat => "stat",
            Self::ReadLink => "read the link",
            Self::Read => "read",
            Self::Write => "write",
            Self::MakeDir => "make the directory",
            Self::MakeSymlink => "make the symbolic link",
            Self::Create => "create",
            Self::Link => "make the hard link",
            Self::MakeNode => "make the node",
            Self::Remove => "remove",
            Self::Chown => "change the owner of",
            Self::Chmod => "change the mode of",
            Self::SetTimes => "set the times of",
            Self::ReadXattr => "read the extended attributes of",
            Self::SetXattr => "set an extended attribute of",
        })
    }
}

/// A call on an entry of a tree that failed. Paths are inside the tree: a host path is never shown (S35).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootError {
    /// The kernel said no.
    #[error("{call} '{path}'")]
    Call {
        /// What was asked.
        call: Call,
        /// Of which entry.
        path: TreePath,
        /// The kernel's answer.
        source: io::Error,
    },
    /// ext4 answers ENOSPC to a value that no block can hold, with the disk nearly empty (F29).
    #[error(
        "set extended attribute '{name}' of '{path}': {size} bytes are more than the file system can store"
    )]
    XattrTooLarge {
        /// The entry.
        path: TreePath,
        /// The attribute.
        name: String,
        /// Length of its value.
        size: usize,
    },
    /// The immutable flag is set.
    #[error("{call} '{path}': it is immutable or append-only (chattr -i -a)")]
    Immutable {
        /// What was asked.
        call: Call,
        /// Of which entry.
        path: TreePath,
    },
    /// Content was asked of something that has none; a fifo or device is never opened (F33).
    #[error("open '{path}': it is not a regular file")]
    NotRegular {
        /// The entry.
        path: TreePath,
    },
    /// A directory was moved while it was walked (S22).
    #[error("walk '{path}': a directory was replaced while it was in use")]
    Swapped {
        /// The entry.
        path: TreePath,
    },
}

impl RootError {
    pub(crate) fn call(call: Call, path: &TreePath) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.clone();
        move |errno| Self::Call {
            call,
            path,
            source: errno.into(),
        }
    }

    pub(crate) fn io(call: Call, path: &TreePath) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.clone();
        move |source| Self::Call { call, path, source }
    }

    /// The kernel's error number, when this is a failed call.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether there is nothing of that name.
    pub fn is_absent(&self) -> bool {
        use rustix::io::Errno;
        self.errno().is_some_and(|code| {
            code == Errno::NOENT.raw_os_error() || code == Errno::NOTDIR.raw_os_error()
        })
    }
}

/// A directory tree by its handle.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(directory: OwnedFd) -> Self {
        Self(directory)
    }
}

pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Root {
    /// Opens a directory that the caller vouches for (its own scratch space, a context named on the command line).
    pub fn open(directory: &Path) -> Result<Self, RootError> {
        rustix::fs::open(directory, DIRECTORY, Mode::empty())
            .map(Self)
            .map_err(RootError::call(Call::Open, &TreePath::root()))
    }

    /// The handle itself.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// A second handle of the same directory.
    pub fn try_clone(&self) -> Result<Self, RootError> {
        self.directory(&TreePath::root()).map(Self)
    }

    /// Opens `path` with `flags`; links inside are followed as if this were `/`.
    pub fn open_at(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, RootError> {
        self.resolve(path, flags, ResolveFlags::IN_ROOT)
    }

    /// Opens the directory `path`; links inside are followed as if this were `/`.
    pub fn directory(&self, path: &TreePath) -> Result<OwnedFd, RootError> {
        self.open_at(path, DIRECTORY)
    }

    /// Opens the directory `path`, which must not go through any link: for paths that were resolved before.
    pub fn canonical_directory(&self, path: &TreePath) -> Result<OwnedFd, RootError> {
        self.resolve(
            path,
            DIRECTORY,
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
    }

    /// The handle of the directory that holds `path`, and the name in it.
    pub fn parent<'p>(&self, path: &'p TreePath) -> Result<(OwnedFd, &'p [u8]), RootError> {
        match path.file_name() {
            Some(name) => Ok((self.directory(&path.parent())?, name)),
            None => Ok((self.directory(path)?, b".")),
        }
    }

    fn resolve(
        &self,
        path: &TreePath,
        flags: OFlags,
        how: ResolveFlags,
    ) -> Result<OwnedFd, RootError> {
        let how = how | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let fail = |errno| RootError::call(Call::Open, path)(errno);
        let mut rest = path.as_bytes();
        let mut above: Option<OwnedFd> = None;
        while rest.len() > CHUNK {
            let cut = rest[..CHUNK]
                .iter()
                .rposition(|byte| *byte == b'/')
                .ok_or_else(|| fail(rustix::io::Errno::NAMETOOLONG))?;
            above = Some(
                open_how(
                    above.as_ref().map_or(self.as_fd(), AsFd::as_fd),
                    &rest[..cut],
                    DIRECTORY,
                    chunk_how(how, above.is_some()),
                )
                .map_err(fail)?,
            );
            rest = &rest[cut + 1..];
        }
        let name = if rest.is_empty() { b"." } else { rest };
        open_how(
            above.as_ref().map_or(self.as_fd(), AsFd::as_fd),
            name,
            flags,
            chunk_how(how, above.is_some()),
        )
        .map_err(fail)
    }

    /// The status of `path` itself; links in its parents are followed inside the root, the last name is not.
    pub fn stat(&self, path: &TreePath) -> Result<Stat, RootError> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootError::call(Call::Stat, path))
    }

    /// Opens the regular file `path` for reading, links followed inside the root; never blocks on a fifo.
    pub fn open_file(&self, path: &TreePath) -> Result<OwnedFd, RootError> {
        let probe = self.open_at(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&probe).map_err(RootError::call(Call::Stat, path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(RootError::NotRegular { path: path.clone() });
        }
        let file = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        regular(&file, path).map(|_| file)
    }

    /// The target of the symbolic link `path`.
    pub fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, RootError> {
        let (parent, name) = self.parent(path)?;
        read_link(&parent, name).map_err(RootError::call(Call::ReadLink, path))
    }

    /// Makes the directory `path` with exactly `mode`.
    pub fn make_dir(&self, path: &TreePath, mode: u32) -> Result<(), RootError> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))
            .map_err(RootError::call(Call::MakeDir, path))?;
        let made =
            open_directory(parent.as_fd(), name).map_err(RootError::call(Call::Open, path))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))
            .map_err(RootError::call(Call::Chmod, path))
    }

    /// Makes the symbolic link `path`.
    pub fn make_symlink(&self, target: &[u8], path: &TreePath) -> Result<(), RootError> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, &parent, name)
            .map_err(RootError::call(Call::MakeSymlink, path))
    }

    /// Creates the file `path`, which must not exist, readable by its owner only.
    pub fn create_file(&self, path: &TreePath) -> Result<OwnedFd, RootError> {
        let (parent, name) = self.parent(path)?;
        create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))
    }

    /// Gives the file `existing` (not followed when it is a link) the second name `path`.
    pub fn link(&self, existing: &TreePath, path: &TreePath) -> Result<(), RootError> {
        let (from, old) = self.parent(existing)?;
        let (to, new) = self.parent(path)?;
        rustix::fs::linkat(&from, old, &to, new, AtFlags::empty())
            .map_err(RootError::call(Call::Link, path))
    }

    /// Removes `path`, which is anything but a directory.
    pub fn remove_file(&self, path: &TreePath) -> Result<(), RootError> {
        let (parent, name) = self.parent(path)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())
            .map_err(RootError::call(Call::Remove, path))
    }

    /// Removes `path` and everything in it, by handles; what is already gone is no error. The root keeps existing, empty.
    pub fn remove_all(&self, path: &TreePath) -> Result<(), RootError> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.is_absent() => return Ok(()),
            other => other?,
        };
        walk::remove_all(parent, name, path)
    }
}

/// After the first piece of a long path no link may follow: an absolute one would start at that piece, not at the root.
fn chunk_how(how: ResolveFlags, below: bool) -> ResolveFlags {
    if below {
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
    } else {
        how
    }
}

fn open_how(
    directory: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    loop {
        // openat2(2): EAGAIN when a rename raced with the resolution of `..`; the answer is to ask again.
        match rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens the directory `name` in `directory`; a symbolic link is ENOTDIR.
pub(crate) fn open_directory(
    directory: BorrowedFd<'_>,
    name: &[u8],
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Creates the file `name`, which must not exist.
pub(crate) fn create_file(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
}

/// Opens `name` for reading when it is a regular file: no link, no waiting for a fifo's writer, no device's side effect
/// beyond its open, which the kernel refuses in a user namespace anyway.
pub(crate) fn open_regular(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// The target of the link `name`.
pub(crate) fn read_link(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    rustix::fs::readlinkat(directory, name, Vec::with_capacity(256))
        .map(std::ffi::CString::into_bytes)
}

/// The status of an open file that must be regular.
pub(crate) fn regular(file: &OwnedFd, path: &TreePath) -> Result<Stat, RootError> {
    let stat = rustix::fs::fstat(file).map_err(RootError::call(Call::Stat, path))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok(stat)
    } else {
        Err(RootError::NotRegular { path: path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::scoped(text).expect("valid")
    }

    #[test]
    fn links_are_followed_inside_the_root_only() {
        let base = tempfile::tempdir().expect("made");
        std::fs::create_dir_all(base.path().join("root/etc")).expect("made");
        std::fs::write(base.path().join("root/etc/f"), "inside").expect("written");
        std::fs::write(base.path().join("f"), "outside").expect("written");
        symlink("/etc", base.path().join("root/absolute")).expect("made");
        symlink("../../../etc", base.path().join("root/dotted")).expect("made");
        symlink("/proc/self/root", base.path().join("root/magic")).expect("made");
        let root = Root::open(&base.path().join("root")).expect("opened");
        for name in ["absolute/f", "dotted/f", "etc/f"] {
            let mut file = std::fs::File::from(root.open_file(&path(name)).expect(name));
            assert_eq!(io::read_to_string(&mut file).expect("read"), "inside");
        }
        assert!(root.directory(&path("magic")).is_err());
        assert!(
            root.canonical_directory(&path("absolute")).is_err(),
            "a resolved path has no link"
        );
    }

    #[test]
    fn what_is_made_is_made_beneath_links_of_the_root() {
        let base = tempfile::tempdir().expect("made");
        let root = Root::open(base.path()).expect("opened");
        root.make_dir(&path("d"), 0o2751).expect("made");
        root.make_symlink(b"/d", &path("l")).expect("made");
        root.create_file(&path("l/f")).expect("created");
        root.link(&path("l/f"), &path("g")).expect("linked");
        assert_eq!(
            root.stat(&path("d")).expect("there").st_mode & 0o7777,
            0o2751
        );
        assert_eq!(root.stat(&path("d/f")).expect("there").st_nlink, 2);
        assert_eq!(root.read_link(&path("l")).expect("a link"), b"/d");
        assert!(
            root.create_file(&path("g")).is_err(),
            "never over something"
        );
        root.remove_file(&path("g")).expect("removed");
        root.remove_all(&path("l")).expect("removed");
        assert!(
            root.stat(&path("d/f")).is_ok(),
            "the link went, not what it names"
        );
        root.remove_all(&path("d")).expect("removed");
        root.remove_all(&path("d")).expect("gone already");
    }
}
