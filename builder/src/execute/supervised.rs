//! RUN where the session has a single id: a supervisor imitates users and owners. The invariant: what it notes is what
//! [`rootfs::noted`] reads, so that trees and layers have the owners that programs asked for.

use std::io;
use std::path::Path;

use rootfs::noted::{self, NotesOf};
use rootfs::{Ownership, Root};
use rustix::fs::Statx;
use sandbox::{FileOwner, IMITATED_IDS, LinkOwners, OwnerNotes, Supervisor, UserSpec};

use super::SessionTools;
use super::mounted::WorkingRoot;
use crate::job::StepFailure;

/// Notes on the inodes of trees.
struct OnInodes;

impl OwnerNotes for OnInodes {
    fn read(&self, file: &Path) -> io::Result<Option<FileOwner>> {
        let owner = NotesOf(file).owner()?;
        Ok(owner.map(|(uid, gid)| FileOwner { uid, gid }))
    }

    fn read_link(&self, directory: &Path, inode: u64) -> io::Result<Option<FileOwner>> {
        let links = NotesOf(directory).links()?;
        Ok(links.get(&inode).map(|(uid, gid)| FileOwner {
            uid: *uid,
            gid: *gid,
        }))
    }

    fn write(&self, file: &Path, owner: FileOwner) -> io::Result<()> {
        NotesOf(file).set_owner((owner.uid, owner.gid))
    }
}

/// Keeps what a step gave to links with its changes.
pub(super) fn keep(root: &WorkingRoot, links: &LinkOwners) -> Result<(), StepFailure> {
    if links.is_empty() {
        return Ok(());
    }
    let given = |status: &Statx| links.of(status).map(|owner| (owner.uid, owner.gid));
    let upper = Root::open(&root.upper).map_err(|error| StepFailure::of_build(&error))?;
    noted::keep_links(&upper, &root.root()?, &given).map_err(|error| StepFailure::of_build(&error))
}

/// The supervisor of a step that begins as `user`, where it needs one.
pub(super) fn supervisor(
    session: &SessionTools<'_>,
    user: &UserSpec,
) -> Result<Option<Supervisor>, StepFailure> {
    if session.trees.ownership() != Ownership::Noted {
        return Ok(None);
    }
    if user.uid >= IMITATED_IDS || user.gid >= IMITATED_IDS {
        let last = IMITATED_IDS - 1;
        return Err(StepFailure::saying(format!(
            "become user {}:{}: there are the ids 0 to {last}",
            user.uid, user.gid
        ))
        .hint("images that run everywhere use no other ids"));
    }
    let started = Supervisor::start(user, OnInodes);
    started
        .map(Some)
        .map_err(|error| StepFailure::of_build(&error))
}
