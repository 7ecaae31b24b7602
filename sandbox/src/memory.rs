//! Files in memory that a step sees and no disk does. The invariant: what comes back is a detached mount of one file, which
//! vanishes with its last user; its content was in no other file.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::failure::{During, SetupFailure};

/// What the file is to be.
#[derive(Clone, Copy)]
pub struct MemoryFile<'c> {
    /// Its bytes.
    pub content: &'c [u8],
    /// Its permissions.
    pub mode: u32,
    /// Its owner and group as the caller's namespace counts them; `None` leaves them to the caller.
    pub owner: Option<(u32, u32)>,
}

/// Not derived: the content is nobody's to print.
impl std::fmt::Debug for MemoryFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "MemoryFile({} bytes, {:o})",
            self.content.len(),
            self.mode
        )
    }
}

/// What a program may add to such files before the file system is full, in bytes.
const ROOM: usize = 1 << 20;

/// Files in memory.
#[derive(Debug)]
pub struct MemoryFiles<const N: usize> {
    /// A detached mount of each.
    pub trees: [OwnedFd; N],
    /// The file system that they are on. Whoever closes it waits until no processor looks at it any more (the kernel's
    /// `namespace_unlock`), so that is for when there is nothing else to do.
    pub whole: OwnedFd,
}

/// Makes a file on a tmpfs of its own, for [`MountSource::Tree`](crate::MountSource). `place` is a directory of the calling
/// session; nothing stays in it.
///
/// # Errors
/// What the kernel refused.
pub fn memory_file(place: &Path, file: &MemoryFile<'_>) -> Result<OwnedFd, SetupFailure> {
    let MemoryFiles { trees, .. } = memory_files(place, [("file", *file)])?;
    let [tree] = trees;
    Ok(tree)
}

/// Makes files on one tmpfs, as [`memory_file`] makes one; their names tell them apart and show nowhere.
///
/// # Errors
/// What the kernel refused.
pub fn memory_files<const N: usize>(
    place: &Path,
    files: [(&str, MemoryFile<'_>); N],
) -> Result<MemoryFiles<N>, SetupFailure> {
    let here = || "make a file in memory".to_owned();
    let whole = mount(&files)?;
    for (name, file) in &files {
        write(&whole, name, file)?;
    }
    let names = files.map(|(name, _)| name);
    let trees = match clones(&whole, names) {
        // Before Linux 6.15 only what is attached somewhere can be cloned, open_tree(2).
        Err(rustix::io::Errno::INVAL) => {
            let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            rustix::mount::move_mount(&whole, "", CWD, place, from).during(here)?;
            let trees = clones(&whole, names);
            rustix::mount::unmount(place, UnmountFlags::DETACH).during(here)?;
            trees
        }
        other => other,
    };
    let trees = trees.during(here)?;
    Ok(MemoryFiles { trees, whole })
}

fn mount(files: &[(&str, MemoryFile<'_>)]) -> Result<OwnedFd, SetupFailure> {
    let here = || "make a file in memory".to_owned();
    let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(here)?;
    let content: usize = files
        .iter()
        .map(|(_, file)| file.content.len().next_multiple_of(4096))
        .sum();
    let (size, inodes) = ((content + ROOM).to_string(), (files.len() + 3).to_string());
    for (key, value) in [("mode", "0700"), ("size", &size), ("nr_inodes", &inodes)] {
        rustix::mount::fsconfig_set_string(&fs, key, value).during(here)?;
    }
    rustix::mount::fsconfig_create(&fs).during(here)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during(here)
}

fn write(mount: &OwnedFd, name: &str, file: &MemoryFile<'_>) -> Result<(), SetupFailure> {
    let here = || "make a file in memory".to_owned();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(mount, name, flags, Mode::RUSR | Mode::WUSR).during(here)?;
    let mut fd = std::fs::File::from(fd);
    std::io::Write::write_all(&mut fd, file.content).during(here)?;
    if let Some((uid, gid)) = file.owner {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::fchown(&fd, owner.0, owner.1).during(here)?;
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(file.mode)).during(here)
}

fn clones<const N: usize>(
    mount: &OwnedFd,
    names: [&str; N],
) -> Result<[OwnedFd; N], rustix::io::Errno> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let trees: Vec<OwnedFd> = names
        .iter()
        .map(|name| rustix::mount::open_tree(mount, *name, clone))
        .collect::<Result<_, _>>()?;
    Ok(trees.try_into().expect("there is one for each name"))
}
