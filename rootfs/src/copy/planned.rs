//! What a plan holds for each destination.
//!
//! Invariant: a path is stored once, as the key of the plan's map, and what can be put together from it is not stored: plans of
//! hundreds of thousands of files have to fit into memory.

use std::sync::Arc;

use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::ownership::OwnerId;
use crate::path::TreePath;
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
    /// The directory that holds it, an index of the plan's directories.
    directory: u32,
    /// Its name there, where it is another than that of the copy.
    name: Option<Box<[u8]>>,
    mode: u32,
    uid: OwnerId,
    gid: OwnerId,
    links: u32,
    size: u64,
    inode: (u64, u64),
    seconds: [i64; 2],
    nanos: [u32; 2],
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
        directories: &mut Vec<TreePath>,
    ) -> Self {
        let (parent, name) = path.split().unwrap_or((b"", b""));
        // Files come directory by directory.
        if directories
            .last()
            .is_none_or(|last| last.as_bytes() != parent)
        {
            directories.push(path.parent());
        }
        let small = |number: usize| u32::try_from(number).expect("memory holds fewer");
        Self {
            tree: small(tree),
            directory: small(directories.len() - 1),
            name: (target.file_name() != Some(name)).then(|| name.into()),
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
    pub(super) fn path(&self, directories: &[TreePath], target: &TreePath) -> TreePath {
        let directory = &directories[self.directory as usize];
        match self.name.as_deref().or(target.file_name()) {
            None | Some(b"") => directory.clone(),
            Some(name) => directory.child(name),
        }
    }

    /// What identifies a file with several names; `None` where it has one.
    pub(super) fn shared(&self) -> Option<(u32, (u64, u64))> {
        (self.links > 1).then_some((self.tree, self.inode))
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
