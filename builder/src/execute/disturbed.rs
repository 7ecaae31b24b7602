//! What RUN finds otherwise in the second of two builds that are compared (`--check-reproducible`). The invariant: all of it is
//! rbuild's own choice or the machine's, never the Containerfile's: what ENV, ARG or the image's accounts say stays.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rootfs::Root;

use super::{SessionTools, Workshop};
use crate::job::StepFailure;

/// A name that no machine of the first build has.
pub(super) const HOSTNAME: &str = "disturbed";
/// The home of a user whom the image gives none.
pub(super) const HOME: &str = "/nonexistent";
/// A zone of an odd offset, as POSIX writes it, so that the image needs no time zones for it; a language whose letters change
/// case in their own way.
pub(crate) const ENV: [(&str, &str); 3] = [
    ("TZ", "<+1345>-13:45"),
    ("LANG", "tr_TR.UTF-8"),
    ("LC_ALL", "tr_TR.UTF-8"),
];

impl Workshop<'_> {
    /// A lowest directory that has an overlay list its files in another order, where that is wanted.
    pub(super) fn other_order(
        &self,
        session: &SessionTools<'_>,
        merged: &OwnedFd,
    ) -> Result<Option<PathBuf>, StepFailure> {
        if !self.job.disturbed {
            return Ok(None);
        }
        let home = session
            .work
            .directory("order")
            .map_err(|error| StepFailure::of_build(&error))?;
        let tree = home.join("tree");
        std::fs::create_dir(&tree).map_err(|error| StepFailure::of_build(&error))?;
        let merged = merged
            .try_clone()
            .map_err(|error| StepFailure::of_build(&error))?;
        let into = Root::open(&home).map_err(|error| StepFailure::of_build(&error))?;
        rootfs::scatter::scatter(&Root::from(merged), &into)
            .map_err(|error| StepFailure::of_build(&error))?;
        Ok(Some(tree))
    }
}
