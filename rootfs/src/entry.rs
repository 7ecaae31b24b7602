//! One entry of a layer, as data.
//!
//! Invariant: a [`Kind::Whiteout`] or [`Kind::Opaque`] never has a `.wh.` name in `path`; the marker exists only in the tar.

use std::collections::BTreeMap;

use crate::ownership::OwnerId;
use crate::path::TreePath;

/// Extended attributes by full name (`user.x`, `security.capability`).
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A moment as files record it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub secs: i64,
    /// Nanoseconds in `0..1_000_000_000`.
    pub nanos: u32,
}

impl Time {
    /// Stands for the time of the step that makes something, until that is known ([`crate::copy::CopyPlan::dated`]).
    pub const OF_STEP: Self = Self {
        secs: i64::MAX,
        nanos: 0,
    };

    /// Nanoseconds that say, in a tree on the disk: this becomes the epoch of whatever layer is made of it. Trees outlive
    /// epochs, so that the next commit need not run their steps again; a layer's seconds have no such mark.
    const MARK: u32 = 555_555_551;

    /// A moment that becomes the epoch in a layer; until then it is seen as `secs`.
    pub const fn marked(secs: i64) -> Self {
        Self {
            secs,
            nanos: Self::MARK,
        }
    }

    /// Whether it becomes the epoch.
    pub const fn is_marked(self) -> bool {
        self.nanos == Self::MARK
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File {
        /// Length in bytes, holes included.
        size: u64,
    },
    /// A directory.
    Dir,
    /// A symbolic link; the target's bytes are never interpreted here.
    Symlink(Vec<u8>),
    /// Another name for a file of the tree.
    Hardlink(TreePath),
    /// A named pipe.
    Fifo,
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// The path of the layers below is gone.
    Whiteout,
    /// What the layers below hold in the directory `path` is gone.
    Opaque,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where; for [`Kind::Opaque`] the directory itself.
    pub path: TreePath,
    /// What.
    pub kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: OwnerId,
    /// Group.
    pub gid: OwnerId,
    /// Time of the last modification.
    pub mtime: Time,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Entry {
    /// An entry of root's without attributes, modified in 1970.
    pub fn new(path: TreePath, kind: Kind, mode: u32) -> Self {
        Self {
            path,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Xattrs::new(),
        }
    }

    /// Length of the content; 0 for everything but a regular file.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }
}
