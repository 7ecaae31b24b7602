//! RUN where the session has a single id: a supervisor imitates users and owners. The invariant: what it notes is what
//! [`rootfs::noted`] reads, so that trees and layers have the owners that programs asked for.

use std::io;
use std::path::Path;

use rootfs::Ownership;
use rootfs::noted::NotesOf;
use sandbox::{FileOwner, OwnerNotes, Supervisor, UserSpec};

use super::SessionTools;
use crate::job::StepFailure;

/// Notes on the inodes of trees.
struct OnInodes;

impl OwnerNotes for OnInodes {
    fn read(&self, file: &Path) -> io::Result<Option<FileOwner>> {
        let owner = NotesOf(file).owner()?;
        Ok(owner.map(|(uid, gid)| FileOwner { uid, gid }))
    }

    fn write(&self, file: &Path, owner: FileOwner) -> io::Result<()> {
        NotesOf(file).set_owner((owner.uid, owner.gid))
    }
}

/// The supervisor of a step that begins as `user`, where it needs one.
pub(super) fn supervisor(
    session: &SessionTools<'_>,
    user: &UserSpec,
) -> Result<Option<Supervisor>, StepFailure> {
    if session.trees.ownership() != Ownership::Noted {
        return Ok(None);
    }
    let started = Supervisor::start(user, OnInodes);
    started
        .map(Some)
        .map_err(|error| StepFailure::of_build(&error))
}
