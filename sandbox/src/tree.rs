//! Detached copies of the session's mounts. The invariant: what is handed to a step is a mount of its own, so that nothing
//! the step does to it reaches the session's; a handle of one mount namespace cannot be mounted in another, a detached tree can.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::failure::{During, SetupFailure};
use crate::target::TargetRoot;

/// A detached tree of what `path` leads to, with everything that is mounted below it, for
/// [`MountSource::Tree`](crate::MountSource). The path is the caller's own; symbolic links in it are followed.
///
/// # Errors
/// What the kernel refused, with the path.
pub fn detached_tree(path: &Path) -> Result<OwnedFd, SetupFailure> {
    // Mounts that came from a more privileged namespace are locked together: only all of them can be cloned.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags)
        .during(|| format!("open the tree {}", path.display()))
}

/// A detached tree of what a handle refers to.
///
/// # Errors
/// What the kernel refused.
pub fn detached_handle(handle: impl AsFd) -> Result<OwnedFd, SetupFailure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(handle, "", flags).during(|| "clone a tree".into())
}

/// A detached tree of what `path` leads to in a detached mount, links followed inside it only, and whether it is a directory;
/// `None` where there is nothing. `place` is an empty directory of the calling session; nothing stays attached to it.
///
/// # Errors
/// What the kernel refused.
pub fn subtree(
    mount: OwnedFd,
    path: &str,
    place: &Path,
) -> Result<Option<(OwnedFd, bool)>, SetupFailure> {
    if path.trim_matches('/').is_empty() {
        return Ok(Some((mount, true)));
    }
    // Before Linux 6.15 only what is attached somewhere can be cloned, open_tree(2).
    let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", CWD, place, from)
        .during(|| format!("attach a tree to {}", place.display()))?;
    let found = part(place, path);
    rustix::mount::unmount(place, UnmountFlags::DETACH)
        .during(|| format!("detach a tree from {}", place.display()))?;
    found
}

fn part(place: &Path, path: &str) -> Result<Option<(OwnedFd, bool)>, SetupFailure> {
    let here = || format!("open {path}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(place, flags, Mode::empty()).during(here)?;
    let Some(handle) = TargetRoot::new(root).existing(path).during(here)? else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&handle).during(here)?;
    let directory = FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(Some((detached_handle(&handle)?, directory)))
}
