//! Owner, mode, attributes and times of what is on disk.
//!
//! Invariant: a set-id bit or capability is never there before its owner.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid};

use crate::entry::{Time, Xattrs};
use crate::note::Note;
use crate::noted;
use crate::ownership::Ownership;
use crate::path::TreePath;
use crate::root::{Call, RootError};
use crate::tree::TreeError;
use crate::xattr;

/// Gives a file or directory, by any handle, to an owner of the image, as far as trees of this kind store owners.
///
/// # Errors
/// That the owner cannot be stored, or what the kernel refused.
pub fn own(
    file: &OwnedFd,
    path: &TreePath,
    (uid, gid): (u32, u32),
    ownership: Ownership,
) -> Result<(), TreeError> {
    if let (Some(uid), Some(gid)) = (ownership.to_disk(uid, path)?, ownership.to_disk(gid, path)?) {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH)
            .map_err(RootError::call(Call::Chown, path))?;
    }
    if ownership == Ownership::Noted {
        noted::of_handle(file, |notes| notes.set_owner((uid, gid)))
            .map_err(RootError::io(Call::SetXattr, path))?;
    }
    Ok(())
}

/// Owner first, since chown(2) clears set-id bits and capabilities; then attributes, then the mode.
pub(crate) fn settle(
    file: &OwnedFd,
    path: &TreePath,
    mode: u32,
    owner: (u32, u32),
    xattrs: &Xattrs,
    ownership: Ownership,
    notes: &mut Vec<Note>,
) -> Result<(), TreeError> {
    own(file, path, owner, ownership)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
        .map_err(RootError::call(Call::Chmod, path))?;
    if !xattrs.is_empty() {
        xattr::write(file, path, xattrs, ownership, notes)?;
    }
    Ok(())
}

pub(crate) fn times(mtime: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.secs,
        tv_nsec: mtime.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

pub(crate) fn set_times_of_name(
    parent: impl AsFd,
    path: &TreePath,
    mtime: Time,
) -> Result<(), RootError> {
    let name = path.file_name().unwrap_or(b".");
    rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(RootError::call(Call::SetTimes, path))
}
