//! Where planned things go: parents that are made, links of the destination that are followed.
//!
//! Invariant: a directory never takes the place of a file, nor a file that of a directory.

use crate::copy::CopyError;
use crate::copy::place::Place;
use crate::copy::plan::Planner;
use crate::copy::planned::{Origin, Planned};
use crate::entry::{Entry, Kind, Time};
use crate::path::TreePath;
use crate::tree::{Follow, Meta, NodeKind, Tree};

impl Planner<'_, '_> {
    /// Where a directory copied to `target` really goes: into a directory, or through a link to one.
    pub(super) fn merge_directory(
        &mut self,
        target: TreePath,
        look: bool,
    ) -> Result<(TreePath, bool), CopyError> {
        let there = if look {
            self.node(&target)?
        } else {
            self.planned_only(&target)?
        };
        match there.map(|meta| meta.kind) {
            None => Ok((target, false)),
            Some(NodeKind::Dir) => Ok((target, true)),
            Some(NodeKind::Symlink) => {
                let real = self.resolve(&target)?;
                if !self.node(&real)?.is_some_and(|meta| meta.is_dir()) {
                    return Err(CopyError::DirectoryOverFile { path: target });
                }
                self.directories(&real)?;
                Ok((real, true))
            }
            Some(_) => Err(CopyError::DirectoryOverFile { path: target }),
        }
    }

    /// Plans an entry that is no directory.
    pub(super) fn leaf(&mut self, entry: Entry, from: Origin, look: bool) -> Result<(), CopyError> {
        let there = if look {
            self.node(&entry.path)?
        } else {
            self.planned_only(&entry.path)?
        };
        if there.as_ref().is_some_and(Meta::is_dir) {
            return Err(CopyError::FileOverDirectory { path: entry.path });
        }
        if there.is_some() {
            // It may have been a link on the way.
            self.parent = None;
        }
        let path = entry.path.clone();
        let planned = Planned::new(entry, from);
        Ok(self.plan.parts.entries.insert(path.as_bytes(), planned)?)
    }

    /// Plans a directory.
    pub(super) fn made(&mut self, entry: Entry) -> Result<(), CopyError> {
        let path = entry.path.clone();
        let planned = Planned::new(entry, Origin::Nowhere);
        Ok(self.plan.parts.entries.insert(path.as_bytes(), planned)?)
    }

    pub(super) fn mode(&self, mode: u32, is_dir: bool) -> u32 {
        self.request
            .chmod
            .map_or(mode, |change| change(mode, is_dir))
    }

    pub(super) fn parents_of(&mut self, path: &TreePath) -> Result<(), CopyError> {
        self.directories(&path.parent())
    }

    /// Plans the canonical directory `path` and its parents: as they are, or 0755.
    pub(super) fn directories(&mut self, path: &TreePath) -> Result<(), CopyError> {
        /// More directories than most archives alternate between.
        const READY: usize = 1024;
        if self.ready.contains(path) {
            return Ok(());
        }
        let mut here = TreePath::root();
        for name in path.components() {
            here = here.child(name);
            let there = self.plan.parts.entries.get(here.as_bytes())?;
            match there.map(|planned| planned.kind) {
                Some(Kind::Dir) => continue,
                Some(_) => return Err(CopyError::DirectoryOverFile { path: here }),
                None => {}
            }
            let there = match self.destination {
                Some(destination) => destination.node(&here)?.map(|meta| (destination, meta)),
                None => None,
            };
            let planned = match there {
                Some((destination, meta)) if meta.is_dir() => {
                    let xattrs = destination.xattrs(&here)?;
                    let entry = Entry {
                        path: here.clone(),
                        kind: Kind::Dir,
                        mode: meta.mode,
                        uid: meta.uid,
                        gid: meta.gid,
                        mtime: meta.mtime,
                        xattrs,
                    };
                    Planned::kept(entry)
                }
                Some(_) => return Err(CopyError::DirectoryOverFile { path: here }),
                None => {
                    let mut entry = Entry::new(here.clone(), Kind::Dir, 0o755);
                    (entry.uid, entry.gid) = self.created_owner();
                    entry.mtime = Time::OF_STEP;
                    Planned::new(entry, Origin::Nowhere)
                }
            };
            self.plan.parts.entries.insert(here.as_bytes(), planned)?;
        }
        if self.ready.len() >= READY {
            self.ready.clear();
        }
        self.ready.insert(path.clone());
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        Place {
            below: self.destination,
            planned: &self.plan.parts.entries,
        }
    }

    pub(super) fn resolve(&self, path: &TreePath) -> Result<TreePath, CopyError> {
        Ok(self.place().resolve(path, Follow::All)?)
    }

    pub(super) fn node(&self, path: &TreePath) -> Result<Option<Meta>, CopyError> {
        Ok(self.place().node(path)?)
    }

    /// What the plan itself has at `path`, for directories that the destination does not have.
    fn planned_only(&self, path: &TreePath) -> Result<Option<Meta>, CopyError> {
        let place = Place {
            below: None,
            planned: &self.plan.parts.entries,
        };
        Ok(place.node(path)?)
    }

    pub(super) fn destination_has(&self, path: &TreePath) -> Result<bool, CopyError> {
        match self.destination {
            Some(destination) => Ok(destination.node(path)?.is_some()),
            None => Ok(false),
        }
    }
}
