//! Times of what a program made: those of the clock become the step's own.
//!
//! Invariant: afterwards no time in the tree comes from the clock that ran while the step did, so the tree is a function of
//! what the step read; times that the program set itself to a moment before the step stay.

use std::os::fd::AsFd;

use crate::entry::Time;
use crate::metadata::set_times_of_name;
use crate::path::TreePath;
use crate::root::{Call, Root, RootError};
use crate::tree::{NodeKind, kind};
use crate::walk;

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
    walk::each(upper, Call::SetTimes, |parent, path, stat| {
        // A whiteout has no time of its own, and its owner may be the caller.
        let whiteout =
            matches!(kind(stat), NodeKind::Char(device) if device.major == 0 && device.minor == 0);
        if mtime(stat) >= since && !whiteout {
            set_times_of_name(parent, path, to)?;
        }
        Ok(())
    })
}

fn mtime(stat: &rustix::fs::Stat) -> Time {
    Time {
        secs: stat.st_mtime,
        nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}
