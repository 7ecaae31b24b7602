//! `--userns keep-id`: one user and one group of the image are the caller while a RUN runs. The invariant: on disk the caller's id
//! (0 in the session) is an owner only in directories that one step has, and for as long as it runs; in trees, layers and records
//! the kept ids are stored as all others are. What escaped the way back would be refused when it is read
//! ([`rootfs::OwnershipError::Foreign`]), never published as somebody else's.
//!
//! ```text
//! upper     what the step changes         kept ids -> caller before, caller -> kept ids after
//! points    mount points                  kept ids -> caller before
//! kept      copies of the files of the    made by an overlay of its own, whose upper directory it is: a lower directory for
//!           kept ids that lie below       this step only, so that nothing of it is in a layer
//! ```

use std::path::{Path, PathBuf};

use rootfs::owners::{self, DiskIds, Exchange};
use rootfs::{Root, RootError};
use sandbox::IdMap;

use super::mounted::writable;
use super::{SessionTools, Workshop};
use crate::job::{Job, StepFailure};
use crate::settings::KeepId;
use crate::step::StepKind;

/// The ids of the job's RUN steps that are the caller; a command line names one pair for all.
fn asked(job: &Job) -> Option<KeepId> {
    let mut steps = job.stages.iter().flat_map(|stage| &stage.steps);
    steps.find_map(|planned| match &planned.step.kind {
        StepKind::Run(run) => run.settings.keep_id,
        StepKind::Copy(_) | StepKind::Furnish(_) | StepKind::Workdir => None,
    })
}

/// The id map of the job's steps in a session with so many image ids, and what owners become on disk while a step runs.
pub(crate) fn ids_of_steps(
    job: &Job,
    single_id: bool,
    (uids, gids): (u32, u32),
) -> Result<(IdMap, Option<Exchange>), StepFailure> {
    let fail = |error: sandbox::IdMapError| StepFailure::of_build(&error);
    let kept = asked(job);
    match kept {
        None if single_id => Ok((IdMap::one_id(), None)),
        None => Ok((IdMap::shifted(uids, gids).map_err(fail)?, None)),
        Some(KeepId { uid, gid }) if single_id => Err(StepFailure::saying(format!(
            "make {uid}:{gid} the caller in RUN: without subordinate ids RUN has one id, which is root's and yours already"
        ))
        .hint("leave --userns away, or add subordinate ids; `rbuild doctor` says how")),
        Some(KeepId { uid, gid }) if uid >= uids || gid >= gids => {
            let (last_uid, last_gid) = (uids.saturating_sub(1), gids.saturating_sub(1));
            Err(StepFailure::saying(format!(
                "make {uid}:{gid} the caller in RUN: images have the ids 0:0 to {last_uid}:{last_gid} here"
            ))
            .hint("name others: --userns keep-id:uid=UID,gid=GID"))
        }
        Some(KeepId { uid, gid }) => {
            let from = DiskIds {
                uid: uid + 1,
                gid: gid + 1,
            };
            let to = DiskIds { uid: 0, gid: 0 };
            let map = IdMap::keeping(uids, gids, (uid, gid)).map_err(fail)?;
            Ok((map, Some(Exchange { from, to })))
        }
    }
}

/// Exchanges all owners of a directory that only one step has.
pub(super) fn exchange_all(directory: &Path, exchange: Exchange) -> Result<(), RootError> {
    owners::exchange_all(&Root::open(directory)?, exchange)
}

impl Workshop<'_> {
    /// The files of the kept ids in `lowers`, as the caller's: a directory that goes above them.
    pub(super) fn files_of_caller(
        &self,
        session: &SessionTools<'_>,
        lowers: &[PathBuf],
    ) -> Result<Option<PathBuf>, StepFailure> {
        let fail = |error: RootError| StepFailure::of_build(&error);
        let Some(exchange) = session.kept else {
            return Ok(None);
        };
        let mut paths = Vec::new();
        for lower in lowers {
            let root = Root::open(lower).map_err(fail)?;
            paths.extend(owners::concerned(&root, exchange).map_err(fail)?);
        }
        if paths.is_empty() {
            return Ok(None);
        }
        let home = session
            .work
            .directory("kept")
            .map_err(|error| StepFailure::of_build(&error))?;
        let (upper, work) = (home.join("upper"), home.join("work"));
        for directory in [&upper, &work] {
            std::fs::create_dir(directory).map_err(|error| StepFailure::of_build(&error))?;
        }
        self.imitate_root(lowers.first().map(PathBuf::as_path), &upper)?;
        let merged = Root::from(writable(lowers.to_vec(), upper.clone(), work)?);
        // What an upper layer removed is not there, and what it replaced has an owner of its own.
        for path in &paths {
            owners::exchange(&merged, path, exchange).map_err(fail)?;
        }
        Ok(Some(upper))
    }
}
