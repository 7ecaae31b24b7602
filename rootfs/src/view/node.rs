//! What a view knows of one file, whatever its names are.
//!
//! Invariant: what is written is read again as it was, the number of its layer and of its names included.

use crate::codec::{Decoder, Encoder};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::layer::{Record, Stored, decode_stored, encode_stored};
use crate::path::TreePath;
use crate::sorted::Value;
use crate::tree::{Meta, NodeKind};

#[derive(Clone)]
pub(super) struct Node {
    pub(super) meta: Meta,
    pub(super) target: Vec<u8>,
    pub(super) xattrs: Xattrs,
    /// The layer that the node is from, or that last put something into this directory.
    pub(super) layer: usize,
    /// The layer that holds the content.
    pub(super) content_layer: usize,
    pub(super) stored: Stored,
    /// Of the stored pieces.
    pub(super) sum: u32,
}

impl Node {
    pub(super) fn implied(layer: usize) -> Self {
        let entry = Entry::new(TreePath::root(), Kind::Dir, 0o755);
        Self {
            meta: meta(&entry),
            target: Vec::new(),
            xattrs: Xattrs::new(),
            layer,
            content_layer: layer,
            stored: Stored::Nothing,
            sum: 0,
        }
    }

    pub(super) fn of(record: &Record, layer: usize) -> Self {
        let target = match &record.entry.kind {
            Kind::Symlink(target) => target.clone(),
            _ => Vec::new(),
        };
        let xattrs = record.entry.xattrs.clone();
        Self {
            meta: meta(&record.entry),
            target,
            xattrs,
            layer,
            content_layer: layer,
            stored: record.stored.clone(),
            sum: record.sum,
        }
    }
}

pub(super) fn meta(entry: &Entry) -> Meta {
    let kind = match entry.kind {
        Kind::Dir => NodeKind::Dir,
        Kind::Symlink(_) => NodeKind::Symlink,
        Kind::Fifo => NodeKind::Fifo,
        Kind::Char(device) => NodeKind::Char(device),
        Kind::Block(device) => NodeKind::Block(device),
        Kind::File { .. } | Kind::Hardlink(_) | Kind::Whiteout | Kind::Opaque => NodeKind::File,
    };
    Meta {
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size(),
        mtime: entry.mtime,
        ctime: Time::default(),
        inode: (0, 0),
        links: 1,
    }
}

impl Value for Node {
    fn write(&self, out: &mut Encoder) {
        let kind = match self.meta.kind {
            NodeKind::Dir => Kind::Dir,
            NodeKind::Symlink => Kind::Symlink(self.target.clone()),
            NodeKind::Fifo => Kind::Fifo,
            NodeKind::Char(device) => Kind::Char(device),
            NodeKind::Block(device) => Kind::Block(device),
            // No layer has a socket.
            NodeKind::File | NodeKind::Socket => Kind::File {
                size: self.meta.size,
            },
        };
        out.described(&self.entry(TreePath::root(), kind));
        for number in [self.meta.inode.1, self.meta.links] {
            out.number(number);
        }
        for layer in [self.layer, self.content_layer] {
            out.number(layer as u64);
        }
        encode_stored(out, &self.stored);
        out.number(self.sum.into());
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        let entry = input.entry(TreePath::root())?;
        let (inode, links) = (input.number()?, input.number()?);
        let mut layer = || usize::try_from(input.number()?).ok();
        let (layer, content_layer) = (layer()?, layer()?);
        Some(Self {
            meta: Meta {
                inode: (0, inode),
                links,
                ..meta(&entry)
            },
            layer,
            content_layer,
            stored: decode_stored(input)?,
            sum: input.small()?,
            target: match entry.kind {
                Kind::Symlink(target) => target,
                _ => Vec::new(),
            },
            xattrs: entry.xattrs,
        })
    }

    fn weight(&self) -> usize {
        let attributes = self
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len() + 96);
        let pieces = match &self.stored {
            Stored::Sparse(extents) => size_of_val(&extents[..]),
            _ => 0,
        };
        size_of::<Self>() + self.target.len() + attributes.sum::<usize>() + pieces
    }
}
