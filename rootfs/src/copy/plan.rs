//! Planning a COPY or ADD.
//!
//! Invariant: every destination in the plan has all its parents in the plan, and no destination goes through a link.

use std::collections::HashSet;
use std::sync::Arc;

use crate::copy::archive::{self, Format};
use crate::copy::planned::Origin;
use crate::copy::select::{Selected, literal, select};
use crate::copy::{
    CopyError, CopyPlan, CopyRequest, CopySource, DetachedPlan, Owner, Parents, Rules, Verdict,
};
use crate::entry::{Entry, Kind, Time};
use crate::path::TreePath;
use crate::sorted::{ScratchError, SortedMap};
use crate::tree::{Meta, NodeKind, Tree};

/// Decides what `request` copies from `source` into `destination`; without a destination (`--link`) into an empty root.
pub fn plan<'t>(
    request: &CopyRequest<'t>,
    source: &'t dyn Tree,
    destination: Option<&dyn Tree>,
    rules: &Rules<'_>,
) -> Result<CopyPlan<'t>, CopyError> {
    let mut planner = Planner::new(request, source, destination, rules);
    planner.run()?;
    let mut plan = planner.plan;
    link_names(&mut plan.parts)?;
    Ok(plan)
}

pub(super) struct Planner<'p, 't> {
    pub(super) request: &'p CopyRequest<'t>,
    pub(super) destination: Option<&'p dyn Tree>,
    pub(super) rules: &'p Rules<'p>,
    /// The tree that is being copied from, an index of the plan's sources.
    pub(super) at: usize,
    pub(super) plan: CopyPlan<'t>,
    /// Directories that are in the plan: no file takes their place.
    pub(super) ready: HashSet<TreePath>,
    /// The directory of an archive's last member: as it was named, and where that is.
    pub(super) parent: Option<(TreePath, TreePath)>,
}

/// A named source of a tree.
struct Chosen {
    tree: usize,
    source: Selected,
    unpack: bool,
}

impl<'p, 't> Planner<'p, 't> {
    pub(super) fn new(
        request: &'p CopyRequest<'t>,
        source: &'t dyn Tree,
        destination: Option<&'p dyn Tree>,
        rules: &'p Rules<'p>,
    ) -> Self {
        Self {
            request,
            destination,
            rules,
            at: 0,
            plan: CopyPlan::new(source, &request.scratch),
            ready: HashSet::new(),
            parent: None,
        }
    }

    /// The tree that is being copied from.
    pub(super) fn source(&self) -> &'t dyn Tree {
        self.plan.sources[self.at]
    }

    /// What the sources name.
    fn choose(&mut self) -> Result<Vec<Chosen>, CopyError> {
        let mut chosen = Vec::new();
        for source in self.request.sources {
            let (tree, selected, unpack) = match source {
                CopySource::Inline { .. } => continue,
                CopySource::Path(path) => {
                    let deep = self.request.parents == Parents::Kept;
                    let selected = select(path, self.source(), self.rules, deep)?;
                    (0, selected, self.request.unpack)
                }
                CopySource::Other { tree, path, unpack } => {
                    self.plan.sources.push(*tree);
                    let selected = vec![literal(path, *tree)?];
                    (self.plan.sources.len() - 1, selected, *unpack)
                }
            };
            chosen.extend(selected.into_iter().map(|source| Chosen {
                tree,
                source,
                unpack,
            }));
        }
        Ok(chosen)
    }

    pub(super) fn run(&mut self) -> Result<(), CopyError> {
        let chosen = self.choose()?;
        let text = self.request.destination;
        let named = TreePath::clamped(text)?;
        let target = self.resolve(&named)?;
        let there = self.node(&target)?;
        let is_dir = there.as_ref().is_some_and(Meta::is_dir);
        let slash = text.ends_with('/') || text.ends_with("/.") || text == "." || named.is_root();
        let into = slash || self.request.parents != Parents::Dropped;
        if there.is_some() && !is_dir && into {
            return Err(CopyError::DirectoryOverFile { path: target });
        }
        let directory = into || is_dir;
        if (self.request.sources.len() > 1 || chosen.len() > 1) && !directory {
            return Err(CopyError::ManySources { path: target });
        }
        for Chosen {
            tree,
            source,
            unpack,
        } in chosen
        {
            self.at = tree;
            self.selected(source, unpack, &target, directory)?;
        }
        self.inline_files(&target, directory)?;
        if slash && !self.plan.parts.entries.is_empty() {
            self.directories(&target)?;
        }
        Ok(())
    }

    fn inline_files(&mut self, target: &TreePath, directory: bool) -> Result<(), CopyError> {
        for source in self.request.sources {
            let CopySource::Inline { name, content } = source else {
                continue;
            };
            let mut entry = Entry::new(
                self.file_target(target, directory, name.as_bytes()),
                Kind::File {
                    size: content.len() as u64,
                },
                0o644,
            );
            (entry.uid, entry.gid) = self.created_owner();
            entry.mtime = Time::OF_STEP;
            entry.mode = self.mode(entry.mode, false);
            self.parents_of(&entry.path.clone())?;
            self.leaf(entry, Origin::Inline(Arc::from(*content)), true)?;
        }
        Ok(())
    }

    fn file_target(&self, target: &TreePath, directory: bool, name: &[u8]) -> TreePath {
        if directory {
            target.child(name)
        } else {
            target.clone()
        }
    }

    fn selected(
        &mut self,
        source: Selected,
        unpack: bool,
        target: &TreePath,
        directory: bool,
    ) -> Result<(), CopyError> {
        if self.request.parents != Parents::Dropped && self.at == 0 {
            return self.with_parents(source, target);
        }
        let Selected {
            named, real, meta, ..
        } = source;
        if meta.is_dir() {
            self.directories(target)?;
            return self.contents(real, TreePath::root(), target.clone());
        }
        if unpack && meta.kind == NodeKind::File {
            let format = archive::detect(self.source(), &real)?;
            if format != Format::NotAnArchive {
                self.see(&meta);
                self.directories(target)?;
                return self.archive(&real, format, target);
            }
        }
        let name = named.file_name().unwrap_or_default();
        let path = self.file_target(target, directory, name);
        self.file(&TreePath::root().child(name), real, &meta, path)
    }

    /// Plans a source that is no directory; `below` is its path for `--exclude`.
    fn file(
        &mut self,
        below: &TreePath,
        real: TreePath,
        meta: &Meta,
        path: TreePath,
    ) -> Result<(), CopyError> {
        if (self.rules.exclude)(below, false) != Verdict::Keep {
            return Ok(());
        }
        self.parents_of(&path)?;
        if !matches!(meta.kind, NodeKind::File | NodeKind::Fifo) {
            return Err(CopyError::Unsupported { path: real });
        }
        self.copied(path, real, meta, true)
    }

    /// The path after the pivot is made again below the target, with the metadata that it has in the source.
    fn with_parents(&mut self, source: Selected, target: &TreePath) -> Result<(), CopyError> {
        let kept = self.request.parents == Parents::Kept;
        let components: Vec<&[u8]> = source.named.components().collect();
        let is_dir = source.meta.is_dir();
        // From where `--exclude` counts.
        let start = match (kept, is_dir) {
            (true, _) => source.pivot,
            (false, true) => components.len(),
            (false, false) => components.len().saturating_sub(1),
        };
        let relative = components.iter().skip(start);
        let below = relative.fold(TreePath::root(), |path, name| path.child(name));
        if kept && (self.rules.exclude)(&below, is_dir) == Verdict::Skip {
            return Ok(());
        }
        self.directories(target)?;
        let (mut from, mut to) = (TreePath::root(), target.clone());
        for (at, name) in components.iter().enumerate() {
            from = from.child(name);
            if at < source.pivot {
                continue;
            }
            if at + 1 == components.len() && !is_dir {
                return self.file(&below, source.real, &source.meta, to.child(name));
            }
            let Some((directory, meta)) = self.source().lookup(&from)? else {
                continue;
            };
            to = self.merge_directory(to.child(name), true)?.0;
            let mut entry = self.described(to.clone(), Kind::Dir, &meta, Some(&directory))?;
            if !kept {
                entry.mtime = Time::OF_STEP;
            }
            self.made(entry)?;
        }
        self.contents(source.real, below, to)
    }

    pub(super) fn created_owner(&self) -> (u32, u32) {
        match self.request.owner {
            Owner::Given { uid, gid } => (uid, gid),
            Owner::Root | Owner::Kept => (0, 0),
        }
    }
}

/// Names of one source file become hard links to the first of them. What is said of all entries is found on the way.
pub(super) fn link_names(plan: &mut DetachedPlan) -> Result<(), ScratchError> {
    let mut first: SortedMap<Vec<u8>> = SortedMap::new(&plan.scratch);
    let mut links = SortedMap::new(&plan.scratch);
    for planned in plan.entries.iter() {
        let (path, mut planned) = planned?;
        if !planned.kept && planned.mtime != Time::OF_STEP {
            plan.newest = plan.newest.max(Some(planned.mtime.secs));
        }
        plan.has_links |= matches!(planned.kind, Kind::Hardlink(_));
        let Origin::Tree(file) = &planned.from else {
            continue;
        };
        let Some(shared) = file.shared() else {
            continue;
        };
        match first.get(&shared)? {
            Some(earlier) => {
                planned.kind = Kind::Hardlink(TreePath::kept(earlier));
                planned.from = Origin::Nowhere;
                links.insert(&path, planned)?;
            }
            None => first.insert(&shared, path)?,
        }
    }
    plan.has_links |= !links.is_empty();
    for link in links.iter() {
        let (path, planned) = link?;
        plan.entries.insert(&path, planned)?;
    }
    Ok(())
}
