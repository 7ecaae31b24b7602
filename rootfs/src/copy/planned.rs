//! What a plan holds for each destination.
//!
//! Invariant: a path is stored once, as the key of the plan's map, and what can be put together from it is not stored; what is
//! put on the disk comes back as it was.

use std::sync::Arc;

use crate::codec::{Decoder, Encoder};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::ownership::OwnerId;
use crate::path::TreePath;
use crate::sorted::Value;
use crate::tree::{Meta, NodeKind, Tree};

/// One destination.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: OwnerId,
    pub(super) gid: OwnerId,
    pub(super) mtime: Time,
    /// Most have none.
    xattrs: Option<Box<Xattrs>>,
    pub(super) from: Origin,
    /// A directory that exists already and stays as it is.
    pub(super) kept: bool,
}

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Nowhere,
    /// A file of one of the plan's trees.
    Tree(SourceFile),
    Inline(Arc<[u8]>),
    /// A member of `archives[archive]`, counted from 0.
    Member {
        archive: usize,
        ordinal: u64,
    },
}

/// A file of a source tree, as it was when it was planned.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// An index of the plan's sources.
    tree: u32,
    /// What it is copied with, an index of the plan's bases: its path below their source is that of the copy below their target.
    base: u32,
    mode: u32,
    uid: OwnerId,
    gid: OwnerId,
    links: u32,
    size: u64,
    inode: (u64, u64),
    seconds: [i64; 2],
    nanos: [u32; 2],
}

/// Something of a source and where its copy goes.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) source: TreePath,
    pub(super) target: TreePath,
}

impl Base {
    /// One that leads from `source` to `target`, and from what is beside the one to what is beside the other if it can.
    fn of(source: &TreePath, target: &TreePath) -> Self {
        if source.file_name() == target.file_name() {
            return Self {
                source: source.parent(),
                target: target.parent(),
            };
        }
        Self {
            source: source.clone(),
            target: target.clone(),
        }
    }

    fn leads(&self, source: &TreePath, target: &TreePath) -> bool {
        let rest = rest(source.as_bytes(), self.source.as_bytes());
        rest.is_some() && rest == self::rest(target.as_bytes(), self.target.as_bytes())
    }
}

/// What follows `base` in `path`, without a `/` in front.
fn rest<'p>(path: &'p [u8], base: &[u8]) -> Option<&'p [u8]> {
    match path.strip_prefix(base)? {
        [] => Some(b""),
        rest if base.is_empty() => Some(rest),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

impl Planned {
    pub(super) fn new(entry: Entry, from: Origin) -> Box<Self> {
        Box::new(Self {
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: (!entry.xattrs.is_empty()).then(|| Box::new(entry.xattrs)),
            from,
            kept: false,
        })
    }

    /// A directory that exists already and stays as it is.
    pub(super) fn kept(entry: Entry) -> Box<Self> {
        let mut planned = Self::new(entry, Origin::Nowhere);
        planned.kept = true;
        planned
    }

    pub(super) fn xattrs(&self) -> Xattrs {
        self.xattrs.as_deref().cloned().unwrap_or_default()
    }

    /// Length of the content; 0 for everything but a regular file.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }

    /// What will be there, without a number of its own.
    pub(super) fn meta(&self) -> Meta {
        let kind = match self.kind {
            Kind::Dir => NodeKind::Dir,
            Kind::Symlink(_) => NodeKind::Symlink,
            Kind::Fifo => NodeKind::Fifo,
            Kind::Char(device) => NodeKind::Char(device),
            Kind::Block(device) => NodeKind::Block(device),
            Kind::File { .. } | Kind::Hardlink(_) | Kind::Whiteout | Kind::Opaque => NodeKind::File,
        };
        let inode = match &self.from {
            Origin::Tree(file) => file.inode,
            Origin::Nowhere | Origin::Inline(_) | Origin::Member { .. } => (0, 0),
        };
        Meta {
            kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size(),
            mtime: self.mtime,
            ctime: self.mtime,
            inode,
            links: 1,
        }
    }

    /// What a layer would hold at `path`.
    pub(super) fn entry(&self, path: &TreePath) -> Entry {
        Entry {
            path: path.clone(),
            kind: self.kind.clone(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            xattrs: self.xattrs(),
        }
    }
}

impl SourceFile {
    /// The file at `path` of `sources[tree]`, copied to `target`.
    pub(super) fn new(
        tree: usize,
        path: &TreePath,
        target: &TreePath,
        meta: &Meta,
        bases: &mut Vec<Base>,
    ) -> Self {
        /// Below a link of the destination bases come and go with the directories.
        const NEAR: usize = 8;
        let near = bases.iter().rposition(|base| base.leads(path, target));
        let base = near
            .filter(|at| *at + NEAR >= bases.len())
            .unwrap_or_else(|| {
                bases.push(Base::of(path, target));
                bases.len() - 1
            });
        let small = |number: usize| u32::try_from(number).expect("memory holds fewer");
        Self {
            tree: small(tree),
            base: small(base),
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            links: u32::try_from(meta.links).unwrap_or(u32::MAX),
            size: meta.size,
            inode: meta.inode,
            seconds: [meta.mtime.secs, meta.ctime.secs],
            nanos: [meta.mtime.nanos, meta.ctime.nanos],
        }
    }

    /// Its tree, of the plan's sources.
    pub(super) fn tree<'t>(&self, sources: &[&'t dyn Tree]) -> &'t dyn Tree {
        sources[self.tree as usize]
    }

    /// Where it is in its tree; `target` is where its copy will be.
    pub(super) fn path(&self, bases: &[Base], target: &TreePath) -> TreePath {
        let Base { source, target: to } = &bases[self.base as usize];
        match target.below(to) {
            Some(rest) => source.join(&rest),
            None => source.clone(),
        }
    }

    /// What identifies a file with several names; `None` where it has one.
    pub(super) fn shared(&self) -> Option<Vec<u8>> {
        let identity = [self.tree.into(), self.inode.0, self.inode.1].map(u64::to_be_bytes);
        (self.links > 1).then(|| identity.concat())
    }

    pub(super) fn meta(&self) -> Meta {
        let time = |which: usize| Time {
            secs: self.seconds[which],
            nanos: self.nanos[which],
        };
        Meta {
            kind: NodeKind::File,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            size: self.size,
            mtime: time(0),
            ctime: time(1),
            inode: self.inode,
            links: self.links.into(),
        }
    }
}

impl Value for Box<Planned> {
    fn write(&self, out: &mut Encoder) {
        out.described(&self.entry(&TreePath::root()));
        out.number(self.kept.into());
        match &self.from {
            Origin::Nowhere => out.number(0),
            Origin::Tree(file) => {
                out.number(1);
                file.write(out);
            }
            Origin::Inline(content) => {
                out.number(2);
                out.bytes(content);
            }
            Origin::Member { archive, ordinal } => {
                out.number(3);
                out.number(*archive as u64);
                out.number(*ordinal);
            }
        }
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        let entry = input.entry(TreePath::root())?;
        let kept = input.number()? != 0;
        let from = match input.number()? {
            0 => Origin::Nowhere,
            1 => Origin::Tree(SourceFile::read(input)?),
            2 => Origin::Inline(input.bytes()?.into()),
            3 => Origin::Member {
                archive: usize::try_from(input.number()?).ok()?,
                ordinal: input.number()?,
            },
            _ => return None,
        };
        let mut planned = Planned::new(entry, from);
        planned.kept = kept;
        Some(planned)
    }

    fn weight(&self) -> usize {
        let kind = match &self.kind {
            Kind::Symlink(target) => target.len(),
            Kind::Hardlink(target) => target.as_bytes().len(),
            _ => 0,
        };
        let content = match &self.from {
            Origin::Inline(content) => content.len(),
            _ => 0,
        };
        let attributes = self.xattrs.iter().flat_map(|all| all.iter());
        let attributes = attributes.map(|(name, value)| name.len() + value.len() + 96);
        size_of::<Planned>() + kind + content + attributes.sum::<usize>()
    }
}

impl SourceFile {
    fn write(&self, out: &mut Encoder) {
        let small = [
            self.tree,
            self.base,
            self.mode,
            self.uid,
            self.gid,
            self.links,
            self.nanos[0],
            self.nanos[1],
        ];
        small
            .into_iter()
            .for_each(|number| out.number(number.into()));
        let [mtime, ctime] = self.seconds.map(i64::cast_unsigned);
        let large = [self.size, self.inode.0, self.inode.1, mtime, ctime];
        large.into_iter().for_each(|number| out.number(number));
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            tree: input.small()?,
            base: input.small()?,
            mode: input.small()?,
            uid: input.small()?,
            gid: input.small()?,
            links: input.small()?,
            nanos: [input.small()?, input.small()?],
            size: input.number()?,
            inode: (input.number()?, input.number()?),
            seconds: [input.number()?.cast_signed(), input.number()?.cast_signed()],
        })
    }
}

/// A member of an archive and where it goes.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) target: TreePath,
    pub(super) planned: Box<Planned>,
}

impl Value for Member {
    fn write(&self, out: &mut Encoder) {
        out.bytes(self.target.as_bytes());
        self.planned.write(out);
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            target: TreePath::kept(input.bytes()?.to_vec()),
            planned: Value::read(input)?,
        })
    }

    fn weight(&self) -> usize {
        self.target.as_bytes().len() + self.planned.weight()
    }
}
