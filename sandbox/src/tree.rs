//! Detached copies of the session's mounts. The invariant: what is handed to a step is a mount of its own, so that nothing
//! the step does to it reaches the session's; a handle of one mount namespace cannot be mounted in another, a detached tree can.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::OpenTreeFlags;

use crate::failure::{During, SetupFailure};

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
