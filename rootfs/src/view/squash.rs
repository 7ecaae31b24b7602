//! Several layers as one.
//!
//! Invariant: the one layer on the same base gives the same tree; what it says depends on the two trees alone, not on how
//! many layers led from one to the other.

use std::io::Write;

use thiserror::Error;

use super::{Node, NodeId, ROOT, View, key};
use crate::entry::{Entry, Kind};
use crate::layer::{LayerWriter, WriteError};
use crate::path::TreePath;
use crate::sorted::{ScratchError, SortedMap};
use crate::tree::{Content, NodeKind, Tree, TreeError};

/// Why layers cannot be made one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SquashError {
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A file's bytes are not to be had.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The layer cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Only a file, a directory, a link, a pipe or a device can be in a layer.
    #[error("squash '{path}': a layer cannot hold it")]
    Kind {
        /// Where it is.
        path: TreePath,
    },
}

impl View {
    /// Writes what this view has and `base`, the view of its lowest layers, has not; and whiteouts of what it lacks.
    ///
    /// # Errors
    /// When a file cannot be read or the layer cannot be written.
    pub fn write_changes<W: Write>(
        &self,
        base: &Self,
        layer: &mut LayerWriter<W>,
    ) -> Result<(), SquashError> {
        let mut names: SortedMap<Vec<u8>> = SortedMap::new(&self.scratch);
        let root = self.node_of(ROOT)?;
        if root.describes_other(&base.node_of(ROOT)?) {
            layer.append(root.entry(TreePath::root(), Kind::Dir))?;
        }
        self.deletions(ROOT, &TreePath::root(), base, Some(ROOT), layer)?;
        let mut open = vec![(TreePath::root(), Some(ROOT), self.children(ROOT))];
        while let Some((directory, below, children)) = open.last_mut() {
            let Some(child) = children.next() else {
                open.pop();
                continue;
            };
            let (name, id) = child?;
            let node = self.node_of(id)?;
            // A directory that no upper layer touched has nothing that is new or gone.
            if node.layer < base.layers {
                continue;
            }
            let path = directory.child(&name);
            if node.meta.is_dir() {
                let below = match below {
                    Some(below) => base.child(*below, &name)?,
                    None => None,
                };
                self.write_node(&path, &node, None, layer)?;
                self.deletions(id, &path, base, below, layer)?;
                open.push((path, below, self.children(id)));
                continue;
            }
            let first = match node.meta.links > 1 {
                true => names.get(&key(id))?,
                false => None,
            };
            if node.meta.links > 1 && first.is_none() {
                names.insert(&key(id), path.as_bytes().to_vec())?;
            }
            let first = first.map(TreePath::kept);
            self.write_node(&path, &node, first.as_ref(), layer)?;
        }
        Ok(())
    }

    /// Writes whiteouts for what is gone from a directory.
    fn deletions<W: Write>(
        &self,
        directory: NodeId,
        path: &TreePath,
        base: &Self,
        below: Option<NodeId>,
        layer: &mut LayerWriter<W>,
    ) -> Result<(), SquashError> {
        let Some(below) = below else {
            return Ok(());
        };
        for before in base.children(below) {
            let (name, _) = before?;
            if self.child(directory, &name)?.is_none() {
                layer.append(Entry::new(path.child(&name), Kind::Whiteout, 0o644))?;
            }
        }
        Ok(())
    }

    fn write_node<W: Write>(
        &self,
        path: &TreePath,
        node: &Node,
        first: Option<&TreePath>,
        layer: &mut LayerWriter<W>,
    ) -> Result<(), SquashError> {
        let kind = match (first, node.meta.kind) {
            (Some(first), _) => Kind::Hardlink(first.clone()),
            (None, NodeKind::Dir) => Kind::Dir,
            (None, NodeKind::Symlink) => Kind::Symlink(node.target.clone()),
            (None, NodeKind::Fifo) => Kind::Fifo,
            (None, NodeKind::Char(device)) => Kind::Char(device),
            (None, NodeKind::Block(device)) => Kind::Block(device),
            (None, NodeKind::Socket) => return Err(SquashError::Kind { path: path.clone() }),
            (None, NodeKind::File) => {
                let kind = Kind::File {
                    size: node.meta.size,
                };
                let entry = node.entry(path.clone(), kind);
                return match self.open(path)?.content {
                    Content::Stream(stream) => Ok(layer.append_stream(entry, stream)?),
                    Content::File(file) => Ok(layer.append_file(entry, file)?),
                };
            }
        };
        let linked = matches!(kind, Kind::Hardlink(_));
        let mut entry = node.entry(path.clone(), kind);
        if linked {
            // They are the file's, which has said them.
            entry.xattrs.clear();
        }
        Ok(layer.append(entry)?)
    }
}

impl Node {
    pub(super) fn entry(&self, path: TreePath, kind: Kind) -> Entry {
        Entry {
            path,
            kind,
            mode: self.meta.mode,
            uid: self.meta.uid,
            gid: self.meta.gid,
            mtime: self.meta.mtime,
            xattrs: self.xattrs.clone(),
        }
    }

    fn describes_other(&self, other: &Self) -> bool {
        let described = |node: &Self| {
            (
                node.meta.mode,
                node.meta.uid,
                node.meta.gid,
                node.meta.mtime,
            )
        };
        described(self) != described(other) || self.xattrs != other.xattrs
    }
}
