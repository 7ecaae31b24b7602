//! Whom files belong to, as supervised programs see it. The invariant: an owner is noted with the inode that it belongs to, never by
//! name, so that it goes where the inode goes and ends when it ends; notes are written only to the files of the step's own root.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{AtFlags, FileType, Gid, Statx, StatxFlags, Uid};

use super::caller::{errno, kernel, path_of};
use super::credentials::{Credentials, KEEP, known};

/// An owner and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl FileOwner {
    pub(super) const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Where the owners of a step's regular files and directories are noted: on their inodes, in a form that whoever reads the tree
/// later understands too. Paths lead to open files, links are followed.
pub trait OwnerNotes: Send + 'static {
    /// The noted owner; `None` for image root.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, file: &Path) -> io::Result<Option<FileOwner>>;

    /// The noted owner of what has this inode number in a directory and is neither a regular file nor a directory.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_link(&self, directory: &Path, inode: u64) -> io::Result<Option<FileOwner>>;

    /// Notes an owner.
    ///
    /// # Errors
    /// When the file cannot hold it.
    fn write(&self, file: &Path, owner: FileOwner) -> io::Result<()>;
}

/// What tells one inode from all that were or will be: numbers are used again, the time of birth is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inode {
    device: (u32, u32),
    number: u64,
    born: (i64, u32),
}

pub(super) struct Owners {
    notes: Box<dyn OwnerNotes>,
    /// The mount that is the step's root.
    root: u64,
    /// What cannot hold a note: files of other mounts, which end with the step or are not its own, and what is neither a
    /// regular file nor a directory, xattr(7).
    elsewhere: HashMap<Inode, FileOwner>,
    links: LinkOwners,
}

/// The owners that a step gave to what cannot hold notes, in its root: links, mostly. They are to be kept with the snapshot.
#[derive(Clone, Debug, Default)]
pub struct LinkOwners {
    given: HashMap<Inode, FileOwner>,
    /// Whether the step saw any that was noted before.
    seen: bool,
}

impl LinkOwners {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && !self.seen
    }

    /// The owner that was given to the file with this status.
    pub fn of(&self, status: &Statx) -> Option<FileOwner> {
        self.given.get(&inode(status)).copied()
    }
}

impl Owners {
    /// Most owners that are kept in memory.
    const LARGEST: usize = 1 << 18;

    /// For the mount namespace that the calling thread has just entered.
    pub(super) fn new(notes: Box<dyn OwnerNotes>) -> Result<Self, Errno> {
        let root = rustix::fs::statx(rustix::fs::CWD, "/", AtFlags::empty(), StatxFlags::MNT_ID);
        Ok(Self {
            notes,
            root: root.map_err(kernel)?.stx_mnt_id,
            elsewhere: HashMap::new(),
            links: LinkOwners::default(),
        })
    }

    /// What was given by the step.
    pub(super) fn into_links(self) -> LinkOwners {
        self.links
    }

    /// The owner of a file where it is another than what the kernel says.
    pub(super) fn of(&self, file: &OwnedFd) -> Option<FileOwner> {
        if let Ok(Some(owner)) = self.notes.read(&path_of(file)) {
            return Some(owner);
        }
        if self.elsewhere.is_empty() && self.links.given.is_empty() {
            return None;
        }
        let inode = inode(&status(file).ok()?);
        let given = self.links.given.get(&inode);
        given.or_else(|| self.elsewhere.get(&inode)).copied()
    }

    /// The owner that was noted in an earlier step for something without room for a note of its own, in its directory.
    pub(super) fn of_link(
        &mut self,
        file: &OwnedFd,
        directory: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Option<FileOwner> {
        let status = status(file).ok()?;
        if can_hold_note(&status) || status.stx_mnt_id != self.root {
            return None;
        }
        let directory = directory().ok()?;
        let noted = self.notes.read_link(&path_of(&directory), status.stx_ino);
        let owner = noted.ok().flatten();
        self.links.seen |= owner.is_some();
        owner
    }

    /// chown(2) by a process with these credentials.
    pub(super) fn change(
        &mut self,
        file: &OwnedFd,
        old: FileOwner,
        [uid, gid]: [u32; 2],
        by: &Credentials,
    ) -> Result<(), Errno> {
        known(uid).and_then(|()| known(gid))?;
        let or = |new: u32, old: u32| if new == KEEP { old } else { new };
        let new = FileOwner {
            uid: or(uid, old.uid),
            gid: or(gid, old.gid),
        };
        let own = by.users.filesystem == old.uid && new.uid == old.uid;
        if !by.is_privileged() && !(own && (new.gid == old.gid || by.is_in(new.gid))) {
            return Err(Errno::EPERM);
        }
        // The kernel does all else that belongs to the call: set-id bits and capabilities go, the time of change is now, and
        // a file of a lower layer is copied up.
        let real = |id: u32| if id == KEEP { None } else { Some(0) };
        rustix::fs::chownat(
            file,
            "",
            real(uid).map(Uid::from_raw),
            real(gid).map(Gid::from_raw),
            AtFlags::EMPTY_PATH,
        )
        .map_err(kernel)?;
        if new == old {
            Ok(())
        } else {
            self.note(file, new)
        }
    }

    /// Remembers the owner of something in the root that cannot hold a note. What is copied up is another inode from then on, so
    /// that happens first.
    pub(super) fn pin(&mut self, file: &OwnedFd, owner: FileOwner) -> Result<(), Errno> {
        let root = (Some(Uid::ROOT), Some(Gid::ROOT));
        rustix::fs::chownat(file, "", root.0, root.1, AtFlags::EMPTY_PATH).map_err(kernel)?;
        self.note(file, owner)
    }

    /// Notes the owner of a file that exists.
    pub(super) fn note(&mut self, file: &OwnedFd, owner: FileOwner) -> Result<(), Errno> {
        let status = status(file)?;
        let own = status.stx_mnt_id == self.root;
        if own && can_hold_note(&status) {
            return self
                .notes
                .write(&path_of(file), owner)
                .map_err(|error| errno(&error));
        }
        let table = if own {
            &mut self.links.given
        } else {
            &mut self.elsewhere
        };
        if table.len() >= Self::LARGEST {
            return Err(Errno::ENOSPC);
        }
        table.insert(inode(&status), owner);
        Ok(())
    }

    /// Whom something new in a directory belongs to, where that is not image root: inode(7) on set-group-ID directories.
    pub(super) fn of_new(&self, parent: &OwnedFd, by: &Credentials) -> Option<FileOwner> {
        let mut owner = FileOwner {
            uid: by.users.filesystem,
            gid: by.groups.filesystem,
        };
        let inherits =
            || rustix::fs::fstat(parent).is_ok_and(|status| status.st_mode & libc::S_ISGID != 0);
        match self.of(parent) {
            Some(parent_owner) if parent_owner.gid != owner.gid && inherits() => {
                owner.gid = parent_owner.gid
            }
            None if owner.gid != 0 && inherits() => owner.gid = 0,
            _ => {}
        }
        (owner != FileOwner::ROOT).then_some(owner)
    }
}

fn can_hold_note(status: &Statx) -> bool {
    let kind = FileType::from_raw_mode(status.stx_mode.into());
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

fn status(file: &OwnedFd) -> Result<Statx, Errno> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME | StatxFlags::MNT_ID;
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted).map_err(kernel)
}

fn inode(status: &Statx) -> Inode {
    Inode {
        device: (status.stx_dev_major, status.stx_dev_minor),
        number: status.stx_ino,
        born: (status.stx_btime.tv_sec, status.stx_btime.tv_nsec),
    }
}
