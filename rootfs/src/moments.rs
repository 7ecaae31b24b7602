//! Times of what a program made: those of the clock become the step's own.
//!
//! Invariant: afterwards no time in the tree comes from the clock that ran while the step did, so the tree is a function of
//! what the step read; times that the program set itself to a moment before the step stay.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::entry::Time;
use crate::metadata::set_times_of_name;
use crate::path::TreePath;
use crate::root::{Call, Root, RootError};
use crate::tree::{NodeKind, kind};
use crate::walk::{self, Descent, Name};

/// The time that a file has when it is written in `root` now, by the clock of its file system: that of the directory, which
/// must have been made just before.
///
/// # Errors
/// When the directory cannot be looked at.
pub fn start(root: &Root) -> Result<Time, RootError> {
    let shown = TreePath::root();
    let stat = rustix::fs::fstat(root.as_fd()).map_err(RootError::call(Call::Stat, &shown))?;
    Ok(mtime(&stat))
}

/// Gives everything in `upper` that was modified at `since` or later the time `to`. The root itself stays as it is.
///
/// # Errors
/// When the tree cannot be read or a time cannot be set.
pub fn settle(upper: &Root, since: Time, to: Time) -> Result<(), RootError> {
    let fail = |path: &TreePath| {
        let path = path.clone();
        move |errno| match errno {
            Errno::STALE => RootError::Swapped { path: path.clone() },
            other => RootError::call(Call::SetTimes, &path)(other),
        }
    };
    let mut path = TreePath::root();
    let mut descent = Descent::new(upper.try_clone()?.into_fd()).map_err(fail(&path))?;
    let mut waiting: Vec<std::vec::IntoIter<Name>> =
        vec![walk::list(descent.here()).map_err(fail(&path))?.into_iter()];
    while let Some(names) = waiting.last_mut() {
        let Some(Name { name, kind: listed }) = names.next() else {
            waiting.pop();
            if descent.up().map_err(fail(&path))? {
                path = path.parent();
            }
            continue;
        };
        let here = path.child(&name);
        let stat = rustix::fs::statat(descent.here(), name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(fail(&here))?;
        // A whiteout has no time of its own, and its owner may be the caller.
        let whiteout =
            matches!(kind(&stat), NodeKind::Char(device) if device.major == 0 && device.minor == 0);
        if mtime(&stat) >= since && !whiteout {
            set_times_of_name(descent.here(), &here, to)?;
        }
        if listed == FileType::Directory || kind(&stat) == NodeKind::Dir {
            descent.down(&name).map_err(fail(&here))?;
            waiting.push(walk::list(descent.here()).map_err(fail(&here))?.into_iter());
            path = here;
        }
    }
    Ok(())
}

fn mtime(stat: &rustix::fs::Stat) -> Time {
    Time {
        secs: stat.st_mtime,
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}
