//! What is copied beside what was asked for, because it is needed: from the same source, to the place that it has there.
//!
//! Invariant: nothing that the image or the plan has is replaced, and everything that is added keeps mode, owner and link target.
//! Where the image has a real directory and the source a link to one, both are the same place.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;

use crate::copy::plan::{Planner, link_names};
use crate::copy::planned::{Origin, Planned, SourceFile};
use crate::copy::{CopyError, CopyPlan, CopyRequest, Rules};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::names::Names;
use crate::path::TreePath;
use crate::sorted::ScratchError;
use crate::tree::{Content, Follow, Meta, NodeKind, OpenFile, Tree, TreeError};

/// Says what else is needed: of the image as it would be with all of the source below it, and of what is copied into it.
pub type Complete<'c> = dyn FnMut(&dyn Tree, &[TreePath]) -> Result<Vec<TreePath>, CopyError> + 'c;

/// As [`plan`](super::plan), with what `complete` says is needed of the source. `image` is what the destination is, also for
/// `--link`.
///
/// # Errors
/// As `plan`, and those of `complete`.
pub fn plan_completed<'t>(
    request: &CopyRequest<'t>,
    source: &'t dyn Tree,
    (destination, image): (Option<&dyn Tree>, &dyn Tree),
    rules: &Rules<'_>,
    complete: &mut Complete<'_>,
) -> Result<CopyPlan<'t>, CopyError> {
    let mut planner = Planner::new(request, source, destination, rules);
    planner.run()?;
    let copied = planner.plan.copied()?;
    let layered = Layered {
        plan: &planner.plan,
        image,
        source,
    };
    let mut wanted = complete(&layered, &copied)?;
    wanted.sort();
    let added = added(&layered, wanted)?;
    for (path, from, meta) in added {
        planner.add(image, path, from, meta)?;
    }
    let mut plan = planner.plan;
    link_names(&mut plan.parts)?;
    Ok(plan)
}

/// Paths of the result that only the source has, with their places there; directories come before what is in them.
fn added(
    layered: &Layered<'_>,
    wanted: Vec<TreePath>,
) -> Result<Vec<(TreePath, TreePath, Meta)>, CopyError> {
    let mut added: BTreeMap<TreePath, (TreePath, Meta)> = BTreeMap::new();
    for path in wanted {
        let mut here = path;
        while !here.is_root() && !added.contains_key(&here) && !layered.has(&here)? {
            let Some(from) = layered.below(&here)? else {
                break;
            };
            let Some(meta) = layered.source.node(&from)? else {
                break;
            };
            let parent = here.parent();
            added.insert(here, (from, meta));
            here = parent;
        }
    }
    let flat = added.into_iter();
    Ok(flat
        .map(|(path, (from, meta))| (path, from, meta))
        .collect())
}

impl CopyPlan<'_> {
    /// The files and links that are copied, in order.
    fn copied(&self) -> Result<Vec<TreePath>, ScratchError> {
        let mut copied = Vec::new();
        for planned in self.planned() {
            let (path, planned) = planned?;
            if matches!(planned.kind, Kind::File { .. } | Kind::Symlink(_)) && !planned.kept {
                copied.push(path);
            }
        }
        Ok(copied)
    }

    fn planned_at(&self, path: &TreePath) -> Result<Option<Box<Planned>>, ScratchError> {
        self.parts.entries.get(path.as_bytes())
    }
}

impl Planner<'_, '_> {
    fn add(
        &mut self,
        image: &dyn Tree,
        path: TreePath,
        from: TreePath,
        meta: Meta,
    ) -> Result<(), CopyError> {
        let (kind, origin, xattrs) = match meta.kind {
            NodeKind::Dir => (Kind::Dir, Origin::Nowhere, self.source().xattrs(&from)?),
            NodeKind::Symlink => {
                let target = self.source().read_link(&from)?;
                (Kind::Symlink(target), Origin::Nowhere, Xattrs::default())
            }
            NodeKind::File => {
                let bases = &mut self.plan.parts.bases;
                let file = SourceFile::new(0, &from, &path, &meta, bases);
                let kind = Kind::File { size: meta.size };
                (kind, Origin::Tree(file), Xattrs::default())
            }
            // Nothing that a program needs to start.
            _ => return Ok(()),
        };
        self.kept_parents(image, &path)?;
        let mode = match kind {
            Kind::Symlink(_) => 0o777,
            _ => meta.mode,
        };
        let mtime = match kind {
            Kind::Dir => Time::OF_STEP,
            _ => (self.request.date)(meta.mtime),
        };
        let entry = Entry {
            path: path.clone(),
            kind,
            mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime,
            xattrs,
        };
        let planned = Planned::new(entry, origin);
        Ok(self.plan.parts.entries.insert(path.as_bytes(), planned)?)
    }

    /// The directories above that the image has already.
    fn kept_parents(&mut self, image: &dyn Tree, path: &TreePath) -> Result<(), CopyError> {
        let mut here = path.parent();
        while !here.is_root() && self.plan.planned_at(&here)?.is_none() {
            if let Some(meta) = image.node(&here)? {
                let entry = Entry {
                    path: here.clone(),
                    kind: Kind::Dir,
                    mode: meta.mode,
                    uid: meta.uid,
                    gid: meta.gid,
                    mtime: meta.mtime,
                    xattrs: image.xattrs(&here)?,
                };
                let planned = Planned::kept(entry);
                let entries = &mut self.plan.parts.entries;
                entries.insert(here.as_bytes(), planned)?;
            }
            here = here.parent();
        }
        Ok(())
    }
}

/// What a COPY puts into an image, the image, and below both all of the source.
struct Layered<'a> {
    plan: &'a CopyPlan<'a>,
    image: &'a dyn Tree,
    source: &'a dyn Tree,
}

/// Where in the three something is.
enum At {
    Planned(Box<Planned>),
    Image,
    Source(TreePath),
}

impl Layered<'_> {
    fn has(&self, path: &TreePath) -> Result<bool, TreeError> {
        Ok(self.plan.planned_at(path)?.is_some() || self.image.node(path)?.is_some())
    }

    /// Where the source has what is not in the image: the directories above it may be links there.
    fn below(&self, path: &TreePath) -> Result<Option<TreePath>, TreeError> {
        let absent = |error: &TreeError| match error {
            TreeError::NotDirectory { .. } | TreeError::Loop { .. } => true,
            TreeError::Root(error) => error.is_absent(),
            _ => false,
        };
        match self.source.resolve(path, Follow::Parents) {
            Ok(real) => Ok(Some(real)),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn find(&self, path: &TreePath) -> Result<Option<At>, TreeError> {
        if let Some(planned) = self.plan.planned_at(path)? {
            return Ok(Some(At::Planned(planned)));
        }
        if self.image.node(path)?.is_some() {
            return Ok(Some(At::Image));
        }
        // A file in the image hides a directory of the source.
        let parent = path.parent();
        if !path.is_root() && self.has(&parent)? && !self.is_dir_above(&parent)? {
            return Ok(None);
        }
        let Some(real) = self.below(path)? else {
            return Ok(None);
        };
        let there = self.source.node(&real)?.is_some();
        Ok(there.then_some(At::Source(real)))
    }

    fn is_dir_above(&self, path: &TreePath) -> Result<bool, TreeError> {
        if let Some(planned) = self.plan.planned_at(path)? {
            return Ok(planned.kind == Kind::Dir);
        }
        Ok(self.image.node(path)?.is_some_and(|meta| meta.is_dir()))
    }

    fn at(&self, path: &TreePath) -> Result<At, TreeError> {
        let missing = || TreeError::Missing { path: path.clone() };
        self.find(path)?.ok_or_else(missing)
    }
}

/// The same numbers may mean different files in different trees.
fn told_apart(mut meta: Meta, tree: u64) -> Meta {
    meta.inode.0 = meta.inode.0.wrapping_mul(4).wrapping_add(tree);
    meta
}

impl Tree for Layered<'_> {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        Ok(match self.find(path)? {
            None => None,
            Some(At::Planned(planned)) => {
                let meta = planned.meta();
                Some(told_apart(meta, 1))
            }
            Some(At::Image) => self.image.node(path)?.map(|meta| told_apart(meta, 2)),
            Some(At::Source(real)) => self.source.node(&real)?.map(|meta| told_apart(meta, 3)),
        })
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        match self.at(path)? {
            At::Planned(planned) => match &planned.kind {
                Kind::Symlink(target) => Ok(target.clone()),
                _ => Err(TreeError::Missing { path: path.clone() }),
            },
            At::Image => self.image.read_link(path),
            At::Source(real) => self.source.read_link(&real),
        }
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        let covered =
            matches!(self.find(path)?, Some(At::Planned(planned)) if planned.kind != Kind::Dir);
        if let Some(real) = self.below(path)?.filter(|_| !covered)
            && self.source.node(&real)?.is_some_and(|meta| meta.is_dir())
        {
            names.extend(self.source.names(&real)?);
        }
        if self.image.node(path)?.is_some_and(|meta| meta.is_dir()) {
            names.extend(self.image.names(path)?);
        }
        for planned in self.plan.parts.entries.from(path.as_bytes()) {
            let own = TreePath::kept(planned?.0);
            if !own.as_bytes().starts_with(path.as_bytes()) {
                break;
            }
            if own != *path && own.parent() == *path {
                names.insert(own.file_name().unwrap_or_default().to_vec());
            }
        }
        Ok(names.iter().map(Vec::as_slice).collect())
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        match self.at(path)? {
            At::Planned(planned) => Ok(planned.xattrs()),
            At::Image => self.image.xattrs(path),
            At::Source(real) => self.source.xattrs(&real),
        }
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        match self.at(path)? {
            At::Planned(planned) => match &planned.from {
                Origin::Tree(file) => {
                    let (tree, from) = self.plan.source_of(file, path);
                    tree.open(&from)
                }
                Origin::Inline(content) => Ok(OpenFile {
                    content: Content::Stream(Box::new(Cursor::new(Arc::clone(content)))),
                    size: content.len() as u64,
                    xattrs: Xattrs::default(),
                }),
                _ => Err(TreeError::NotRegular { path: path.clone() }),
            },
            At::Image => self.image.open(path),
            At::Source(real) => self.source.open(&real),
        }
    }

    fn read_at(&self, path: &TreePath, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        match self.at(path)? {
            At::Planned(planned) => match &planned.from {
                Origin::Tree(file) => {
                    let (tree, from) = self.plan.source_of(file, path);
                    tree.read_at(&from, offset, length)
                }
                Origin::Inline(content) => {
                    let start = usize::try_from(offset)
                        .unwrap_or(usize::MAX)
                        .min(content.len());
                    let end = start.saturating_add(length).min(content.len());
                    Ok(content[start..end].to_vec())
                }
                _ => Err(TreeError::NotRegular { path: path.clone() }),
            },
            At::Image => self.image.read_at(path, offset, length),
            At::Source(real) => self.source.read_at(&real, offset, length),
        }
    }
}
