//! A stage's files as a mounted overlay. The invariant: lower directories are never written; each step has a fresh upper and
//! work directory, and what a step changed is exactly its upper directory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rootfs::noted::NotesOf;
use rootfs::owners::Exchange;
use rootfs::trees::{UnpackedLayer, remove_tree};
use rootfs::{DirTree, Ownership, Root, Time, Tree as _, TreePath, moments};
use sandbox::{Overlay, Upper};

use super::chores::Chore;
use super::kept::exchange_all;
use super::{SessionTools, StageState, Workshop};
use crate::job::StepFailure;

/// A mounted, writable root and where its changes go.
pub(crate) struct WorkingRoot {
    /// The detached mount.
    pub(crate) mount: OwnedFd,
    /// The upper directory.
    pub(crate) upper: PathBuf,
    /// The time of what is written from now on, by the clock of the store's file system.
    started: Time,
    home: PathBuf,
}

/// Lower directories that only one step has.
pub(crate) struct Around {
    /// Directly below its changes, topmost first.
    pub(crate) above: Vec<PathBuf>,
    /// Below everything else.
    pub(crate) lowest: Option<PathBuf>,
}

impl Around {
    pub(crate) fn is_empty(&self) -> bool {
        self.above.is_empty() && self.lowest.is_none()
    }
}

impl WorkingRoot {
    /// The same root with more lower directories, and its files of kept ids the caller's.
    pub(crate) fn between(
        self,
        workshop: &Workshop<'_>,
        state: &StageState,
        around: Around,
    ) -> Result<Self, StepFailure> {
        let Self {
            mount,
            upper,
            started,
            home,
        } = self;
        // An upper directory belongs to one mount at a time, and a volatile mount marks its work directory as used.
        drop(mount);
        let work = home.join("work-above");
        std::fs::create_dir(&work).map_err(|error| StepFailure::of_build(&error))?;
        if let Some(exchange) = workshop.session()?.kept {
            exchange_all(&upper, exchange).map_err(|error| StepFailure::of_build(&error))?;
        }
        let mut lowers = around.above;
        lowers.extend(workshop.lowers(state)?);
        workshop.complete(&mut lowers, Lowest::Skeleton)?;
        lowers.extend(around.lowest);
        let mount = writable(lowers, upper.clone(), work)?;
        Ok(Self {
            mount,
            upper,
            started,
            home,
        })
    }

    /// The tree as image ids see it.
    pub(crate) fn tree(&self, session: &SessionTools<'_>) -> Result<DirTree, StepFailure> {
        Ok(DirTree::new(self.root()?, session.trees.ownership()))
    }

    /// A handle to its root directory.
    pub(crate) fn root(&self) -> Result<Root, StepFailure> {
        let fd = self
            .mount
            .try_clone()
            .map_err(|error| StepFailure::of_build(&error))?;
        Ok(Root::from(fd))
    }

    /// Ends the use of the mount; returns the directory with the changes.
    pub(crate) fn finish(self, workshop: &Workshop<'_>) -> PathBuf {
        drop(self.mount);
        workshop.leave(Chore::Remove(self.home.join("work")));
        self.upper
    }

    /// Ends the use of the mount; what was changed meanwhile gets the time `at`, and the directory with it is returned.
    pub(crate) fn settle(self, workshop: &Workshop<'_>, at: Time) -> Result<PathBuf, StepFailure> {
        self.settle_from(workshop, at, None)
    }

    /// As [`WorkingRoot::settle`], after a RUN: what is the caller's on disk gets its owner of the image back.
    pub(crate) fn settle_run(
        self,
        workshop: &Workshop<'_>,
        at: Time,
    ) -> Result<PathBuf, StepFailure> {
        let kept = workshop.session()?.kept;
        self.settle_from(workshop, at, kept)
    }

    fn settle_from(
        self,
        workshop: &Workshop<'_>,
        at: Time,
        kept: Option<Exchange>,
    ) -> Result<PathBuf, StepFailure> {
        let (started, home) = (self.started, self.home.clone());
        let upper = self.finish(workshop);
        let back = kept.map_or(Ok(()), |kept| exchange_all(&upper, kept.reversed()));
        let settled = back
            .and_then(|()| Root::open(&upper))
            .and_then(|upper| moments::settle(&upper, started, at));
        settled.map_err(|error| {
            // What stays goes with the work area.
            let _ = remove_tree(&home);
            StepFailure::of_build(&error)
        })?;
        Ok(upper)
    }

    /// Ends the use of the mount and drops the changes.
    pub(crate) fn discard(self) {
        drop(self.mount);
        // What stays goes with the work area.
        let _ = remove_tree(&self.home);
    }
}

/// Which lower directories a root has beside the stage's own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lowest {
    /// None.
    Plain,
    /// The mount points of every container.
    Skeleton,
}

impl Workshop<'_> {
    /// The lower directories of a stage, topmost first.
    pub(crate) fn lowers(&self, state: &StageState) -> Result<Vec<PathBuf>, StepFailure> {
        let session = self.session()?;
        let fail = |error: rootfs::trees::TreesError| StepFailure::of_build(&error);
        let mut lowers: Vec<PathBuf> = Vec::new();
        self.bring_trees(state)?;
        if let Some(image) = state.image.and_then(|index| self.job.images.get(index)) {
            let layers: Vec<UnpackedLayer> = session
                .trees
                .layers(self.store, &image.layers)
                .map_err(fail)?;
            lowers.extend(layers.into_iter().map(|layer| layer.directory));
        }
        for result in &state.results {
            if let Some(tree) = self.tree_of(result)? {
                self.settle_root(result, lowers.last().map(PathBuf::as_path))?;
                lowers.push(tree);
            }
        }
        lowers.reverse();
        Ok(lowers)
    }

    /// Whether an upper directory shows nothing that the stage has not without it. Its own owner, mode and attributes are no part of
    /// a layer, but the steps that follow see them.
    pub(super) fn is_idle(&self, state: &StageState, upper: &Path) -> Result<bool, StepFailure> {
        let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
        let mut names = std::fs::read_dir(upper).map_err(|error| fail(&error))?;
        if names.next().is_some() {
            return Ok(false);
        }
        let own = Root::open(upper).map_err(|error| fail(&error))?;
        if rustix::fs::flistxattr(&own, &mut [0_u8; 0]).map_err(|error| fail(&error))? > 0 {
            return Ok(false);
        }
        let session = self.session()?;
        let tree = DirTree::new(own, session.trees.ownership());
        let root = |tree: &DirTree| {
            let meta = tree.node(&TreePath::root()).map_err(|error| fail(&error))?;
            Ok::<_, StepFailure>(meta.map(|meta| (meta.mode, meta.uid, meta.gid)))
        };
        let before = match self.lowers(state)?.first() {
            Some(below) => {
                let below = Root::open(below).map_err(|error| fail(&error))?;
                root(&DirTree::new(below, session.trees.ownership()))?
            }
            None => Some((0o755, 0, 0)),
        };
        Ok(root(&tree)? == before)
    }

    /// Mounts a stage's files for one step that changes them.
    pub(crate) fn mount(
        &self,
        state: &StageState,
        lowest: Lowest,
    ) -> Result<WorkingRoot, StepFailure> {
        let session = self.session()?;
        let fail = |error: rootfs::trees::TreesError| StepFailure::of_build(&error);
        let home = session.work.directory("step").map_err(fail)?;
        let (upper, work) = (home.join("upper"), home.join("work"));
        for directory in [&upper, &work] {
            std::fs::create_dir(directory).map_err(|error| StepFailure::of_build(&error))?;
        }
        let started = Root::open(&upper)
            .and_then(|upper| moments::start(&upper))
            .map_err(|error| StepFailure::of_build(&error))?;
        let mut lowers = self.lowers(state)?;
        self.imitate_root(lowers.first().map(PathBuf::as_path), &upper)?;
        self.complete(&mut lowers, lowest)?;
        let mount = writable(lowers, upper.clone(), work)?;
        Ok(WorkingRoot {
            mount,
            upper,
            started,
            home,
        })
    }

    /// Adds what a root has below the stage's own directories.
    fn complete(&self, lowers: &mut Vec<PathBuf>, lowest: Lowest) -> Result<(), StepFailure> {
        let session = self.session()?;
        let fail = |error: rootfs::trees::TreesError| StepFailure::of_build(&error);
        if lowest == Lowest::Skeleton {
            lowers.push(session.trees.skeleton(self.store).map_err(fail)?);
        }
        if lowers.is_empty() {
            // An overlay needs a lower directory; an empty one adds nothing.
            lowers.push(session.work.directory("empty").map_err(fail)?);
        }
        Ok(())
    }

    /// Mounts a stage's files for reading.
    pub(crate) fn mount_read_only(&self, state: &StageState) -> Result<DirTree, StepFailure> {
        let session = self.session()?;
        let fail = |error: rootfs::trees::TreesError| StepFailure::of_build(&error);
        let mut lowers = self.lowers(state)?;
        while lowers.len() < 2 {
            // Without an upper directory the kernel wants two lower ones.
            lowers.push(session.work.directory("empty").map_err(fail)?);
        }
        let mount = read_only(lowers)?;
        Ok(DirTree::new(Root::from(mount), session.trees.ownership()))
    }

    /// The root directory of an overlay shows the upper directory's owner and mode: they are those of the layer below.
    pub(super) fn imitate_root(
        &self,
        below: Option<&Path>,
        upper: &Path,
    ) -> Result<(), StepFailure> {
        let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
        let session = self.session()?;
        let mode = match below {
            Some(below) => {
                let stat = rustix::fs::stat(below).map_err(|error| fail(&error))?;
                let owner = (
                    rustix::fs::Uid::from_raw(stat.st_uid),
                    rustix::fs::Gid::from_raw(stat.st_gid),
                );
                rustix::fs::chown(upper, Some(owner.0), Some(owner.1))
                    .map_err(|error| fail(&error))?;
                if session.trees.ownership() == Ownership::Noted {
                    NotesOf(below)
                        .copy_to(NotesOf(upper))
                        .map_err(|error| fail(&error))?;
                }
                stat.st_mode & 0o7777
            }
            None => {
                session
                    .trees
                    .give_to_image_root(upper)
                    .map_err(|error| fail(&error))?;
                0o755
            }
        };
        rustix::fs::chmod(upper, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|error| fail(&error))
    }
}

pub(super) fn read_only(lowers: Vec<PathBuf>) -> Result<OwnedFd, StepFailure> {
    let overlay = Overlay {
        lowers,
        data_only: Vec::new(),
        upper: None,
    };
    overlay
        .mount()
        .map_err(|error| StepFailure::of_build(&error))
}

pub(super) fn writable(
    lowers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
) -> Result<OwnedFd, StepFailure> {
    let overlay = Overlay {
        lowers,
        data_only: Vec::new(),
        upper: Some(Upper { upper, work }),
    };
    overlay
        .mount()
        .map_err(|error| StepFailure::of_build(&error))
}
