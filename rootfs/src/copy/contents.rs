//! Planning what is in a copied directory.
//!
//! Invariant: an excluded directory is planned only when something in it is kept.

use crate::copy::plan::Planner;
use crate::copy::planned::{Base, Origin, SourceFile};
use crate::copy::{CopyError, Owner, Verdict};
use crate::entry::{Entry, Kind};
use crate::names::Names;
use crate::note::Note;
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind};

/// A directory of the source that is being copied.
struct Frame {
    source: TreePath,
    /// Its path for `--exclude`.
    below: TreePath,
    target: TreePath,
    names: Names,
    /// Not planned yet: an excluded directory is made only for something kept in it.
    pending: Option<Entry>,
    /// Whether the destination has the target, so that looking there makes sense.
    exists: bool,
}

impl Planner<'_, '_> {
    /// Copies what is in `source` into the planned directory `target`.
    /// `below` is its path for `--exclude`.
    pub(super) fn contents(
        &mut self,
        source: TreePath,
        below: TreePath,
        target: TreePath,
    ) -> Result<(), CopyError> {
        let exists = self.destination_has(&target)?;
        let names = self.source().names(&source)?;
        self.plan.parts.bases.push(Base {
            source: source.clone(),
            target: target.clone(),
        });
        let mut stack = vec![Frame {
            source,
            below,
            target,
            names,
            pending: None,
            exists,
        }];
        while let Some(frame) = stack.last_mut() {
            let Some(name) = frame.names.next() else {
                stack.pop();
                continue;
            };
            let Some(meta) = self.source().node(&frame.source.child(&name))? else {
                // Gone since it was listed.
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
                self.make_pending(&mut stack)?;
            }
            if !meta.is_dir() {
                self.copied(target, source, &meta, exists)?;
                continue;
            }
            let (target, exists) = self.merge_directory(target, exists)?;
            let entry = self.described(target.clone(), Kind::Dir, &meta, Some(&source))?;
            let mut pending = None;
            self.see(&meta);
            if verdict == Verdict::Keep {
                self.made(entry)?;
            } else {
                pending = Some(entry);
            }
            let names = self.source().names(&source)?;
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

    fn make_pending(&mut self, stack: &mut [Frame]) -> Result<(), CopyError> {
        for frame in stack {
            if let Some(entry) = frame.pending.take() {
                self.made(entry)?;
            }
        }
        Ok(())
    }

    /// Notes what the source had.
    pub(super) fn see(&mut self, meta: &Meta) {
        if self.at == 0 {
            self.plan.parts.seen.add(meta);
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

    /// Plans one thing of the source that is no directory.
    pub(super) fn copied(
        &mut self,
        target: TreePath,
        source: TreePath,
        meta: &Meta,
        look: bool,
    ) -> Result<(), CopyError> {
        self.see(meta);
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
                let bases = &mut self.plan.parts.bases;
                let file = SourceFile::new(self.at, &source, &entry.path, meta, bases);
                Origin::Tree(file)
            }
            _ => Origin::Nowhere,
        };
        self.leaf(entry, from, look)
    }

    /// An entry with the metadata of the source and what the flags make of it.
    pub(super) fn described(
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
}

/// The ignore file of trees that have none.
fn keep(_: &TreePath, _: bool) -> Verdict {
    Verdict::Keep
}
