//! Planning a COPY or ADD.
//!
//! Invariant: every destination in the plan has all its parents in the plan, and no destination goes through a link.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use image::Stop;

use crate::copy::archive::{self, Format};
use crate::copy::place::Place;
use crate::copy::planned::{Origin, Planned, SourceFile};
use crate::copy::select::{Selected, literal, select};
use crate::copy::{CopyError, CopyPlan, CopyRequest, CopySource, Owner, Rules, Verdict};
use crate::entry::{Entry, Kind, Time};
use crate::note::Note;
use crate::path::TreePath;
use crate::tree::{Follow, Meta, NodeKind, Tree};

/// Decides what `request` copies from `source` into `destination`; without a destination (`--link`) into an empty root.
pub fn plan<'t>(
    request: &CopyRequest<'t>,
    source: &'t dyn Tree,
    destination: Option<&dyn Tree>,
    rules: &Rules<'_>,
) -> Result<CopyPlan<'t>, CopyError> {
    let plan = CopyPlan {
        sources: vec![source],
        entries: BTreeMap::new(),
        directories: Vec::new(),
        archives: Vec::new(),
        notes: Vec::new(),
        stop: Stop::default(),
    };
    let mut planner = Planner {
        request,
        destination,
        rules,
        at: 0,
        plan,
    };
    planner.run()?;
    let mut plan = planner.plan;
    link_names(&mut plan.entries);
    Ok(plan)
}

pub(super) struct Planner<'p, 't> {
    pub(super) request: &'p CopyRequest<'t>,
    destination: Option<&'p dyn Tree>,
    rules: &'p Rules<'p>,
    /// The tree that is being copied from, an index of the plan's sources.
    pub(super) at: usize,
    pub(super) plan: CopyPlan<'t>,
}

/// A directory of the source that is being copied.
struct Frame {
    source: TreePath,
    /// Its path for `--exclude`.
    below: TreePath,
    target: TreePath,
    names: std::vec::IntoIter<(Vec<u8>, Meta)>,
    /// Not planned yet: an excluded directory is made only for something kept in it.
    pending: Option<Entry>,
    /// Whether the destination has the target, so that looking there makes sense.
    exists: bool,
}

/// A named source of a tree.
struct Chosen {
    tree: usize,
    source: Selected,
    unpack: bool,
}

impl<'t> Planner<'_, 't> {
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
                    let selected = select(path, self.source(), self.rules, self.request.parents)?;
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

    fn run(&mut self) -> Result<(), CopyError> {
        let chosen = self.choose()?;
        let text = self.request.destination;
        let named = TreePath::clamped(text)?;
        let target = self.resolve(&named)?;
        let there = self.node(&target)?;
        let is_dir = there.as_ref().is_some_and(Meta::is_dir);
        let slash = text.ends_with('/') || text.ends_with("/.") || text == "." || named.is_root();
        if there.is_some() && !is_dir && (slash || self.request.parents) {
            return Err(CopyError::DirectoryOverFile { path: target });
        }
        if (self.request.sources.len() > 1 || chosen.len() > 1)
            && !slash
            && !is_dir
            && !self.request.parents
        {
            return Err(CopyError::ManySources { path: target });
        }
        let directory = slash || is_dir || self.request.parents;
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
        if slash && !self.plan.entries.is_empty() {
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
        let Selected {
            named,
            real,
            meta,
            pivot,
        } = source;
        if self.request.parents && self.at == 0 {
            return self.with_parents(&named, &real, &meta, pivot, target);
        }
        match meta.kind {
            NodeKind::Dir => {
                self.directories(target)?;
                self.contents(real, target.clone())
            }
            NodeKind::File if unpack => match archive::detect(self.source(), &real)? {
                Format::NotAnArchive => self.file(&named, real, meta, target, directory),
                format => {
                    self.directories(target)?;
                    self.archive(&real, format, target)
                }
            },
            _ => self.file(&named, real, meta, target, directory),
        }
    }

    fn file(
        &mut self,
        named: &TreePath,
        real: TreePath,
        meta: Meta,
        target: &TreePath,
        directory: bool,
    ) -> Result<(), CopyError> {
        let name = named.file_name().unwrap_or_default();
        if (self.rules.exclude)(&TreePath::root().child(name), false) != Verdict::Keep {
            return Ok(());
        }
        let path = self.file_target(target, directory, name);
        self.parents_of(&path)?;
        if !matches!(meta.kind, NodeKind::File | NodeKind::Fifo) {
            return Err(CopyError::Unsupported { path: real });
        }
        self.copied(path, real, &meta, true)
    }

    /// `--parents`: the path after the pivot is made again below the target, with the metadata that it has in the source.
    fn with_parents(
        &mut self,
        named: &TreePath,
        real: &TreePath,
        meta: &Meta,
        pivot: usize,
        target: &TreePath,
    ) -> Result<(), CopyError> {
        self.directories(target)?;
        let mut from = TreePath::root();
        let mut to = target.clone();
        let components: Vec<&[u8]> = named.components().collect();
        for (at, name) in components.iter().enumerate() {
            from = from.child(name);
            let last = at + 1 == components.len();
            if at < pivot || (last && !meta.is_dir()) {
                continue;
            }
            let Some((directory, meta)) = self.source().lookup(&from)? else {
                continue;
            };
            to = self.merge_directory(to.child(name), true)?.0;
            let mut entry = self.described(to.clone(), Kind::Dir, &meta, Some(&directory))?;
            if !self.request.dated_parents {
                entry.mtime = Time::OF_STEP;
            }
            self.made(entry);
        }
        if meta.is_dir() {
            self.contents(real.clone(), to)
        } else {
            self.file(named, real.clone(), meta.clone(), &to, true)
        }
    }

    /// Copies what is in `source` into the planned directory `target`.
    fn contents(&mut self, source: TreePath, target: TreePath) -> Result<(), CopyError> {
        let exists = self.destination_has(&target)?;
        let names = self.source().read_dir(&source)?.into_iter();
        let mut stack = vec![Frame {
            source,
            below: TreePath::root(),
            target,
            names,
            pending: None,
            exists,
        }];
        while let Some(frame) = stack.last_mut() {
            let Some((name, meta)) = frame.names.next() else {
                stack.pop();
                continue;
            };
            let (source, below, target) = (
                frame.source.child(&name),
                frame.below.child(&name),
                frame.target.child(&name),
            );
            let exists = frame.exists;
            let verdict = self.verdict(&source, &below, meta.is_dir());
            if verdict == Verdict::Skip || (verdict == Verdict::SkipButDescend && !meta.is_dir()) {
                continue;
            }
            if verdict == Verdict::Keep {
                self.make_pending(&mut stack);
            }
            if !meta.is_dir() {
                self.copied(target, source, &meta, exists)?;
                continue;
            }
            let (target, exists) = self.merge_directory(target, exists)?;
            let mut pending =
                Some(self.described(target.clone(), Kind::Dir, &meta, Some(&source))?);
            if let (Verdict::Keep, Some(entry)) =
                (verdict, pending.take_if(|_| verdict == Verdict::Keep))
            {
                self.made(entry);
            }
            let names = self.source().read_dir(&source)?.into_iter();
            stack.push(Frame {
                source,
                below,
                target,
                names,
                pending,
                exists,
            });
        }
        Ok(())
    }

    /// Plans a directory.
    pub(super) fn made(&mut self, entry: Entry) {
        let path = entry.path.clone();
        let planned = Planned::new(entry, Origin::Nowhere);
        self.plan.entries.insert(path, planned);
    }

    fn make_pending(&mut self, stack: &mut [Frame]) {
        for frame in stack {
            if let Some(entry) = frame.pending.take() {
                self.made(entry);
            }
        }
    }

    fn verdict(&self, source: &TreePath, below: &TreePath, is_dir: bool) -> Verdict {
        let ignore = if self.at == 0 {
            self.rules.ignore
        } else {
            &keep
        };
        match (ignore(source, is_dir), (self.rules.exclude)(below, is_dir)) {
            (Verdict::Skip, _) | (_, Verdict::Skip) => Verdict::Skip,
            (Verdict::Keep, Verdict::Keep) => Verdict::Keep,
            _ => Verdict::SkipButDescend,
        }
    }

    /// Where a directory copied to `target` really goes: into a directory, or through a link to one.
    pub(super) fn merge_directory(
        &mut self,
        target: TreePath,
        look: bool,
    ) -> Result<(TreePath, bool), CopyError> {
        let there = if look {
            self.node(&target)?
        } else {
            self.planned_only(&target)
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

    /// Plans one thing of the source that is no directory.
    fn copied(
        &mut self,
        target: TreePath,
        source: TreePath,
        meta: &Meta,
        look: bool,
    ) -> Result<(), CopyError> {
        let kind = match meta.kind {
            NodeKind::File => Kind::File { size: meta.size },
            NodeKind::Symlink => Kind::Symlink(self.source().read_link(&source)?),
            NodeKind::Fifo => Kind::Fifo,
            NodeKind::Socket => {
                self.plan.notes.push(Note::Socket { path: source });
                return Ok(());
            }
            // The host's devices have no business in an image.
            NodeKind::Char(_) | NodeKind::Block(_) if self.request.owner == Owner::Root => {
                self.plan.notes.push(Note::Device { path: source });
                return Ok(());
            }
            NodeKind::Char(device) => Kind::Char(device),
            NodeKind::Block(device) => Kind::Block(device),
            NodeKind::Dir => return Err(CopyError::FileOverDirectory { path: target }),
        };
        let entry = self.described(target, kind, meta, None)?;
        let from = match meta.kind {
            NodeKind::File => {
                let directories = &mut self.plan.directories;
                let file = SourceFile::new(self.at, &source, &entry.path, meta, directories);
                Origin::Tree(file)
            }
            _ => Origin::Nowhere,
        };
        self.leaf(entry, from, look)
    }

    /// Plans an entry that is no directory.
    pub(super) fn leaf(&mut self, entry: Entry, from: Origin, look: bool) -> Result<(), CopyError> {
        let there = if look {
            self.node(&entry.path)?
        } else {
            self.planned_only(&entry.path)
        };
        if there.is_some_and(|meta| meta.is_dir()) {
            return Err(CopyError::FileOverDirectory { path: entry.path });
        }
        let path = entry.path.clone();
        self.plan.entries.insert(path, Planned::new(entry, from));
        Ok(())
    }

    /// An entry with the metadata of the source and what the flags make of it.
    fn described(
        &self,
        path: TreePath,
        kind: Kind,
        meta: &Meta,
        directory: Option<&TreePath>,
    ) -> Result<Entry, CopyError> {
        let (uid, gid) = match self.request.owner {
            Owner::Given { uid, gid } => (uid, gid),
            Owner::Root => (0, 0),
            Owner::Kept => (meta.uid, meta.gid),
        };
        let mode = match kind {
            Kind::Symlink(_) => 0o777,
            _ => self.mode(meta.mode, meta.is_dir()),
        };
        let xattrs = match directory {
            Some(source) => self.source().xattrs(source)?,
            None => Default::default(),
        };
        Ok(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime: if self.at == 0 {
                (self.request.date)(meta.mtime)
            } else {
                meta.mtime
            },
            xattrs,
        })
    }

    pub(super) fn mode(&self, mode: u32, is_dir: bool) -> u32 {
        self.request
            .chmod
            .map_or(mode, |change| change(mode, is_dir))
    }

    fn created_owner(&self) -> (u32, u32) {
        match self.request.owner {
            Owner::Given { uid, gid } => (uid, gid),
            Owner::Root | Owner::Kept => (0, 0),
        }
    }

    pub(super) fn parents_of(&mut self, path: &TreePath) -> Result<(), CopyError> {
        self.directories(&path.parent())
    }

    /// Plans the canonical directory `path` and its parents: as they are, or 0755.
    pub(super) fn directories(&mut self, path: &TreePath) -> Result<(), CopyError> {
        let mut here = TreePath::root();
        for name in path.components() {
            here = here.child(name);
            match self.plan.entries.get(&here).map(|planned| &planned.kind) {
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
            self.plan.entries.insert(here.clone(), planned);
        }
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        Place {
            below: self.destination,
            planned: &self.plan.entries,
        }
    }

    pub(super) fn resolve(&self, path: &TreePath) -> Result<TreePath, CopyError> {
        Ok(self.place().resolve(path, Follow::All)?)
    }

    pub(super) fn node(&self, path: &TreePath) -> Result<Option<Meta>, CopyError> {
        Ok(self.place().node(path)?)
    }

    /// What the plan itself has at `path`, for directories that the destination does not have.
    fn planned_only(&self, path: &TreePath) -> Option<Meta> {
        Place {
            below: None,
            planned: &self.plan.entries,
        }
        .node(path)
        .ok()
        .flatten()
    }

    fn destination_has(&self, path: &TreePath) -> Result<bool, CopyError> {
        match self.destination {
            Some(destination) => Ok(destination.node(path)?.is_some()),
            None => Ok(false),
        }
    }
}

/// The ignore file of trees that have none.
fn keep(_: &TreePath, _: bool) -> Verdict {
    Verdict::Keep
}

/// Names of one source file become hard links to the first of them.
fn link_names(entries: &mut BTreeMap<TreePath, Box<Planned>>) {
    let mut first: HashMap<(u32, (u64, u64)), TreePath> = HashMap::new();
    for (path, planned) in entries {
        let Origin::Tree(file) = &planned.from else {
            continue;
        };
        let Some(shared) = file.shared() else {
            continue;
        };
        match first.get(&shared) {
            Some(earlier) => {
                planned.kind = Kind::Hardlink(earlier.clone());
                planned.from = Origin::Nowhere;
            }
            None => {
                first.insert(shared, path.clone());
            }
        }
    }
}
