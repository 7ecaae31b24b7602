//! Several layers as one.
//!
//! Invariant: the one layer on the same base gives the same tree; what it says depends on the two trees alone, not on how
//! many layers led from one to the other.

use std::collections::HashMap;
use std::io::Write;

use thiserror::Error;

use super::{Node, NodeId, ROOT, View};
use crate::entry::{Entry, Kind};
use crate::layer::{LayerWriter, WriteError};
use crate::path::TreePath;
use crate::tree::{Content, NodeKind, Tree, TreeError};

/// Why layers cannot be made one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SquashError {
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
        let mut names: HashMap<NodeId, TreePath> = HashMap::new();
        if self.nodes[ROOT].describes_other(&base.nodes[ROOT]) {
            layer.append(self.nodes[ROOT].entry(TreePath::root(), Kind::Dir))?;
        }
        let mut waiting = self.changed_below(ROOT, &TreePath::root(), base, Some(ROOT), layer)?;
        while let Some((path, id, below)) = waiting.pop() {
            let first = names.get(&id);
            self.write_node(&path, id, first, layer)?;
            if self.nodes[id].meta.is_dir() {
                waiting.extend(self.changed_below(id, &path, base, below, layer)?);
            } else {
                names.entry(id).or_insert(path);
            }
        }
        Ok(())
    }

    /// What changed in a directory, last name first, and whiteouts for what is gone: a directory that no upper layer touched has
    /// nothing of either.
    fn changed_below<W: Write>(
        &self,
        directory: NodeId,
        path: &TreePath,
        base: &Self,
        below: Option<NodeId>,
        layer: &mut LayerWriter<W>,
    ) -> Result<Vec<(TreePath, NodeId, Option<NodeId>)>, SquashError> {
        let children = &self.nodes[directory].children;
        let before = below.map(|id| &base.nodes[id]).map(|node| &node.children);
        for name in before.into_iter().flat_map(|before| before.keys()) {
            if !children.contains_key(name) {
                layer.append(Entry::new(path.child(name), Kind::Whiteout, 0o644))?;
            }
        }
        let changed = children
            .iter()
            .rev()
            .filter(|(_, child)| self.nodes[**child].layer >= base.layers)
            .map(|(name, child)| {
                let below = before.and_then(|before| before.get(name).copied());
                (path.child(name), *child, below)
            });
        Ok(changed.collect())
    }

    fn write_node<W: Write>(
        &self,
        path: &TreePath,
        id: NodeId,
        first: Option<&TreePath>,
        layer: &mut LayerWriter<W>,
    ) -> Result<(), SquashError> {
        let node = &self.nodes[id];
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
    fn entry(&self, path: TreePath, kind: Kind) -> Entry {
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
