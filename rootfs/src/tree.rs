//! Looking at a tree, wherever it is: a directory on disk or a stack of layers.
//!
//! Invariant: paths given to a [`Tree`] are canonical (no link on the way); [`Tree::resolve`] makes them so, with links
//! followed inside the tree only. Where a directory was swapped for a link meanwhile, the later call fails.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Stat};
use thiserror::Error;

use crate::entry::{Device, Time, Xattrs};
use crate::metadata::{settle, times};
use crate::names::Names;
use crate::noted;
use crate::ownership::{OwnerId, Ownership, OwnershipError};
use crate::path::{PathError, TreePath};
use crate::root::{self, Call, Root, RootError};
use crate::sorted::ScratchError;
use crate::{walk, xattr};

/// Why a tree could not be looked at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The kernel said no.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An owner that is not the image's.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A link's target that is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// More links than any sensible tree has.
    #[error("resolve '{path}': too many levels of symbolic links")]
    Loop {
        /// What was resolved.
        path: TreePath,
    },
    /// Something in front of a `/` is no directory.
    #[error("resolve '{path}': '{component}' is not a directory")]
    NotDirectory {
        /// What was resolved.
        path: TreePath,
        /// The component.
        component: TreePath,
    },
    /// There is nothing.
    #[error("find '{path}'")]
    Missing {
        /// Where nothing is.
        path: TreePath,
    },
    /// Content was asked of something that has none.
    #[error("open '{path}': it is not a regular file")]
    NotRegular {
        /// What it is.
        path: TreePath,
    },
    /// A file's bytes could not be read.
    #[error("read '{path}'")]
    Read {
        /// Which file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// The layer's bytes could not be read.
    #[error("read '{path}' from its layer")]
    Layer {
        /// Which file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
}

/// What something in a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
}

/// What a tree knows about one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the image means it.
    pub uid: OwnerId,
    /// Group, as the image means it.
    pub gid: OwnerId,
    /// Length of a file.
    pub size: u64,
    /// Time of the last modification.
    pub mtime: Time,
    /// Time of the last change of anything; 0 where there is none (layers).
    pub ctime: Time,
    /// Device and inode number.
    pub inode: (u64, u64),
    /// How many names it has; above 1, names with the same `inode` are hard links.
    pub links: u64,
}

impl Meta {
    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == NodeKind::Dir
    }
}

/// The bytes of a file.
pub enum Content<'t> {
    /// An open file.
    File(OwnedFd),
    /// A stream out of a layer.
    Stream(Box<dyn Read + 't>),
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => Ok(rustix::io::read(file, buffer)?),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

/// The bytes of a file from `offset` on, `length` of them unless it ends before.
pub(crate) fn pread(file: &OwnedFd, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::pread(file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A file that was opened, as it is now.
pub struct OpenFile<'t> {
    /// Its bytes.
    pub content: Content<'t>,
    /// Its length.
    pub size: u64,
    /// Its extended attributes.
    pub xattrs: Xattrs,
}

/// Whether the last name of a path is followed when it is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All links are followed.
    All,
    /// The last name stays as it is.
    Parents,
}

/// As `MAXSYMLINKS` of path_resolution(7).
const MAX_LINKS: u32 = 40;

/// A tree that can be looked at.
pub trait Tree: Sync {
    /// What is at the canonical path; `None` when there is nothing.
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError>;
    /// The target of the link at the canonical path.
    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError>;
    /// The names in the directory at the canonical path, sorted by their bytes.
    fn names(&self, path: &TreePath) -> Result<Names, TreeError>;
    /// The extended attributes of the file or directory at the canonical path.
    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError>;
    /// Opens the regular file at the canonical path.
    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError>;

    /// The names in the directory at the canonical path, sorted by their bytes, with what they are: for directories of which it is
    /// known that they are not large.
    fn read_dir(&self, path: &TreePath) -> Result<Vec<(Vec<u8>, Meta)>, TreeError> {
        let mut found = Vec::new();
        for name in self.names(path)? {
            // Else it is gone since it was listed.
            if let Some(meta) = self.node(&path.child(&name))? {
                found.push((name, meta));
            }
        }
        Ok(found)
    }

    /// The bytes of the regular file at the canonical path from `offset` on, `length` of them unless it ends before.
    fn read_at(&self, path: &TreePath, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let read = match self.open(path)?.content {
            Content::File(file) => pread(&file, offset, length),
            Content::Stream(mut stream) => {
                let mut bytes = Vec::new();
                io::copy(&mut stream.by_ref().take(offset), &mut io::sink())
                    .and_then(|_| stream.take(length as u64).read_to_end(&mut bytes))
                    .map(|_| bytes)
            }
        };
        read.map_err(|source| TreeError::Read {
            path: path.clone(),
            source,
        })
    }

    /// The canonical path of `path`: links are followed as if the tree were `/`. What does not exist stays as it is named.
    fn resolve(&self, path: &TreePath, follow: Follow) -> Result<TreePath, TreeError> {
        let mut waiting: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut here = TreePath::root();
        let mut links = 0;
        let mut exists = true;
        while let Some(name) = waiting.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    here = here.parent();
                    exists = true;
                    continue;
                }
                _ => {}
            }
            let next = here.child(&name);
            let node = if exists { self.node(&next)? } else { None };
            match node.as_ref().map(|meta| meta.kind) {
                Some(NodeKind::Symlink) if follow == Follow::All || !waiting.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(TreeError::Loop { path: path.clone() });
                    }
                    let target = self.read_link(&next)?;
                    if target.starts_with(b"/") {
                        here = TreePath::root();
                    }
                    waiting.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                    continue;
                }
                Some(NodeKind::Dir) => {}
                Some(_)
                    if waiting
                        .iter()
                        .any(|name| !matches!(name.as_slice(), b"" | b".")) =>
                {
                    return Err(TreeError::NotDirectory {
                        path: path.clone(),
                        component: next,
                    });
                }
                Some(_) => {}
                None => exists = false,
            }
            here = next;
        }
        Ok(here)
    }

    /// What `path` leads to, links followed; `None` when there is nothing.
    fn lookup(&self, path: &TreePath) -> Result<Option<(TreePath, Meta)>, TreeError> {
        let canonical = self.resolve(path, Follow::All)?;
        Ok(self.node(&canonical)?.map(|meta| (canonical, meta)))
    }
}

/// All regular files of a tree, by path.
///
/// # Errors
/// When a directory cannot be listed.
pub fn regular_files(tree: &dyn Tree) -> Result<Vec<(TreePath, Meta)>, TreeError> {
    let mut files: Vec<(TreePath, Meta)> = Vec::new();
    let mut waiting = vec![TreePath::root()];
    while let Some(directory) = waiting.pop() {
        for (name, meta) in tree.read_dir(&directory)? {
            let path = directory.child(&name);
            match meta.kind {
                NodeKind::Dir => waiting.push(path),
                NodeKind::File => files.push((path, meta)),
                _ => {}
            }
        }
    }
    files.sort_by(|one, two| one.0.cmp(&two.0));
    Ok(files)
}

/// A directory on disk as a tree.
pub struct DirTree {
    root: Root,
    ownership: Ownership,
    /// The directories that were used last, the last one first: a tree is mostly read in order, at times by two threads.
    recent: Mutex<[Option<(TreePath, OwnedFd)>; 2]>,
}

impl DirTree {
    /// Looks at `root`, whose owners are stored as `ownership` says. It keeps a handle of the directory used last, so make a
    /// new one after something else has changed the tree.
    pub fn new(root: Root, ownership: Ownership) -> Self {
        Self {
            root,
            ownership,
            recent: Mutex::default(),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// How its owners are stored.
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// Gives another directory the owner, mode, attributes and time of the directory at the canonical `path`. Attributes that
    /// it cannot have are left out.
    pub fn copy_attributes(&self, path: &TreePath, onto: &OwnedFd) -> Result<(), TreeError> {
        let Some(meta) = self.node(path)? else {
            return Ok(());
        };
        let (xattrs, mut notes) = (self.xattrs(path)?, Vec::new());
        let owner = (meta.uid, meta.gid);
        settle(
            onto,
            path,
            meta.mode,
            owner,
            &xattrs,
            self.ownership,
            &mut notes,
        )?;
        rustix::fs::futimens(onto, &times(meta.mtime))
            .map_err(RootError::call(Call::SetTimes, path))?;
        Ok(())
    }

    /// Calls `act` with the directory `parent`.
    fn within<T>(&self, parent: &[u8], act: impl FnOnce(&OwnedFd) -> T) -> Result<T, RootError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for known in 0..recent.len() {
            if let Some((path, directory)) = &recent[known]
                && path.as_bytes() == parent
            {
                let result = act(directory);
                recent.swap(0, known);
                return Ok(result);
            }
        }
        let path = TreePath::clamped(parent).expect("part of a path");
        let directory = self.root.canonical_directory(&path)?;
        let result = act(&directory);
        recent.rotate_right(1);
        recent[0] = Some((path, directory));
        Ok(result)
    }

    /// Calls `act` with the directory that holds `path`, and its name there.
    fn beside<T>(
        &self,
        path: &TreePath,
        act: impl FnOnce(&OwnedFd, &[u8]) -> T,
    ) -> Result<T, RootError> {
        let (parent, name) = path.split().unwrap_or((b"", b"."));
        self.within(parent, |directory| act(directory, name))
    }

    /// Whom something in `directory` belongs to.
    fn owner(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        path: impl Fn() -> TreePath,
    ) -> Result<(u32, u32), TreeError> {
        match self.ownership {
            Ownership::Squashed | Ownership::Recorded => Ok((0, 0)),
            Ownership::Noted => Ok(noted::owner_in(directory, name, stat)
                .map_err(|source| RootError::io(Call::ReadXattr, &path())(source))?),
            mapped @ Ownership::Mapped { .. } => {
                // The root itself may be a mount point that the session made before any owner was given to it.
                let own_root = stat.st_uid == 0 && path().is_root();
                let id = |disk| match (own_root, disk) {
                    (true, 0) => Ok(0),
                    _ => mapped.from_disk(disk, &path()),
                };
                Ok((id(stat.st_uid)?, id(stat.st_gid)?))
            }
        }
    }

    fn meta(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        stat: &Stat,
        path: impl Fn() -> TreePath,
    ) -> Result<Meta, TreeError> {
        let (uid, gid) = self.owner(directory, name, stat, path)?;
        Ok(Meta {
            kind: kind(stat),
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            inode: (stat.st_dev, stat.st_ino),
            links: stat.st_nlink,
        })
    }
}

fn time(secs: i64, nanos: u64) -> Time {
    Time {
        secs,
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

/// What a status says something is.
pub(crate) fn kind(stat: &Stat) -> NodeKind {
    let device = || Device {
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Fifo => NodeKind::Fifo,
        FileType::CharacterDevice => NodeKind::Char(device()),
        FileType::BlockDevice => NodeKind::Block(device()),
        FileType::Socket => NodeKind::Socket,
        _ => NodeKind::File,
    }
}

impl Tree for DirTree {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        let found = self.beside(path, |directory, name| {
            match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.meta(directory, name, &stat, || path.clone()).map(Some),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
                Err(errno) => Err(RootError::call(Call::Stat, path)(errno).into()),
            }
        });
        match found {
            Err(error) if error.is_absent() => Ok(None),
            other => other?,
        }
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let target = self.beside(path, |directory, name| root::read_link(directory, name))?;
        Ok(target.map_err(RootError::call(Call::ReadLink, path))?)
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        let names = self.within(path.as_bytes(), |directory| walk::list(directory.as_fd()))?;
        Ok(names.map_err(RootError::call(Call::List, path))?)
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        let opened = self.beside(path, |directory, name| {
            root::open_regular(directory.as_fd(), name)
        })?;
        let file = opened.map_err(RootError::call(Call::Open, path))?;
        Ok(xattr::to_image(
            xattr::read_raw(&file, path)?,
            path,
            self.ownership,
        )?)
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        let opened = self.beside(path, |directory, name| {
            root::open_regular(directory.as_fd(), name)
        })?;
        let file = match opened {
            Ok(file) => file,
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                return Err(TreeError::NotRegular { path: path.clone() });
            }
            Err(errno) => return Err(RootError::call(Call::Open, path)(errno).into()),
        };
        let stat = root::regular(&file, path)?;
        let xattrs = xattr::to_image(xattr::read_raw(&file, path)?, path, self.ownership)?;
        Ok(OpenFile {
            content: Content::File(file),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            xattrs,
        })
    }
}
