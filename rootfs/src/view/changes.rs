//! What is otherwise in another stack of layers. The invariant: contents are compared byte by byte unless the indexes alone show
//! that they are, or are not, the same; so what is said to be the same is the same.

use std::collections::BTreeMap;
use std::io::Read;

use super::node::Node;
use super::{NodeId, ROOT, View};
use crate::layer::Stored;
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, Tree as _, TreeError};

/// A path that two trees do not have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// How the first tree has it, and in which layer.
    pub before: Option<(Meta, usize)>,
    /// How the second tree has it, and in which layer.
    pub after: Option<(Meta, usize)>,
    /// What is otherwise, where both have it; at least one.
    pub aspects: Vec<Aspect>,
}

/// A property of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is: a file, a directory, a link, a device.
    Kind,
    /// The bytes of a file.
    Content,
    /// Where a link leads, or the number of a device.
    Target,
    /// Permission bits.
    Mode,
    /// User and group.
    Owner,
    /// Extended attributes other than capabilities.
    Attributes,
    /// File capabilities.
    Capabilities,
    /// The time of the last modification.
    Time,
}

const CAPABILITIES: &[u8] = b"security.capability";

impl View {
    /// The layer that a name is from, the lowest being 0. Of a directory, the last one that put something into it.
    ///
    /// # Errors
    /// When what the view keeps on the disk cannot be read.
    pub fn layer_of(&self, path: &TreePath) -> Result<Option<usize>, TreeError> {
        let found = self.find(path)?;
        found
            .map(|id| self.node_of(id).map(|node| node.layer))
            .transpose()
    }

    /// Calls `visit` with everything below the root, a directory before what is in it, names in the order of their bytes.
    ///
    /// # Errors
    /// When what the view keeps on the disk cannot be read.
    pub fn each(&self, mut visit: impl FnMut(&TreePath, &Meta, usize)) -> Result<(), TreeError> {
        let mut waiting = vec![(TreePath::root(), ROOT)];
        while let Some((path, id)) = waiting.pop() {
            let node = self.node_of(id)?;
            if id != ROOT {
                visit(&path, &node.meta, node.layer);
            }
            let mut children: Vec<_> = self.children(id).collect::<Result<_, _>>()?;
            children.reverse();
            let below = children.into_iter();
            waiting.extend(below.map(|(name, child)| (path.child(&name), child)));
        }
        Ok(())
    }

    /// What `other` has otherwise, in the order of the paths.
    ///
    /// # Errors
    /// When a content that has to be compared cannot be read.
    pub fn changes_to(&self, other: &Self) -> Result<Vec<Change>, TreeError> {
        let mut changes = Vec::new();
        let mut waiting = vec![(TreePath::root(), Some(ROOT), Some(ROOT))];
        while let Some((path, one, two)) = waiting.pop() {
            let before = one.map(|id| self.node_of(id)).transpose()?;
            let after = two.map(|id| other.node_of(id)).transpose()?;
            let aspects = match (&before, &after) {
                (Some(a), Some(b)) => self.aspects(&path, a, other, b)?,
                _ => Vec::new(),
            };
            if before.is_none() || after.is_none() || !aspects.is_empty() {
                let shown = |node: Node| (node.meta, node.layer);
                changes.push(Change {
                    path: path.clone(),
                    before: before.map(shown),
                    after: after.map(shown),
                    aspects,
                });
            }
            let both = Self::names_of_both(self.names_in(one)?, other.names_in(two)?);
            let below = both.into_iter().rev();
            waiting.extend(below.map(|(name, (one, two))| (path.child(&name), one, two)));
        }
        Ok(changes)
    }

    fn names_in(&self, id: Option<NodeId>) -> Result<Vec<(Vec<u8>, NodeId)>, TreeError> {
        id.map_or(Ok(Vec::new()), |id| self.children(id).collect())
    }

    fn names_of_both(
        one: Vec<(Vec<u8>, NodeId)>,
        two: Vec<(Vec<u8>, NodeId)>,
    ) -> BTreeMap<Vec<u8>, (Option<NodeId>, Option<NodeId>)> {
        let mut both: BTreeMap<_, (Option<NodeId>, Option<NodeId>)> = BTreeMap::new();
        for (name, id) in one {
            both.entry(name).or_default().0 = Some(id);
        }
        for (name, id) in two {
            both.entry(name).or_default().1 = Some(id);
        }
        both
    }

    fn aspects(
        &self,
        path: &TreePath,
        a: &Node,
        other: &Self,
        b: &Node,
    ) -> Result<Vec<Aspect>, TreeError> {
        let (left, right) = (&a.meta, &b.meta);
        let mut found = Vec::new();
        let mut note = |differs: bool, aspect| found.extend(differs.then_some(aspect));
        match (left.kind, right.kind) {
            (NodeKind::File, NodeKind::File) => {
                note(!self.same_content(path, a, other, b)?, Aspect::Content);
            }
            (NodeKind::Char(a), NodeKind::Char(b)) | (NodeKind::Block(a), NodeKind::Block(b)) => {
                note(a != b, Aspect::Target);
            }
            (one, two) => note(one != two, Aspect::Kind),
        }
        note(a.target != b.target, Aspect::Target);
        note(left.mode != right.mode, Aspect::Mode);
        note(
            (left.uid, left.gid) != (right.uid, right.gid),
            Aspect::Owner,
        );
        let others = |node: &Node| {
            let mut xattrs = node.xattrs.clone();
            xattrs.remove(CAPABILITIES);
            xattrs
        };
        note(others(a) != others(b), Aspect::Attributes);
        let own = |node: &Node| node.xattrs.get(CAPABILITIES).cloned();
        note(own(a) != own(b), Aspect::Capabilities);
        note(left.mtime.secs != right.mtime.secs, Aspect::Time);
        Ok(found)
    }

    fn same_content(
        &self,
        path: &TreePath,
        a: &Node,
        other: &Self,
        b: &Node,
    ) -> Result<bool, TreeError> {
        if a.meta.size != b.meta.size {
            return Ok(false);
        }
        let whole = |node: &Node| matches!(node.stored, Stored::Whole { .. });
        if whole(a) && whole(b) && a.sum != b.sum {
            return Ok(false);
        }
        let (mut one, mut two) = (self.open(path)?.content, other.open(path)?.content);
        let mut buffers = [vec![0; 128 << 10], vec![0; 128 << 10]];
        loop {
            let [left, right] = &mut buffers;
            let filled = (fill(&mut one, left), fill(&mut two, right));
            let failed = |source| TreeError::Layer {
                path: path.clone(),
                source,
            };
            let (m, n) = (filled.0.map_err(failed)?, filled.1.map_err(failed)?);
            if m != n || left[..m] != right[..n] {
                return Ok(false);
            }
            if m == 0 {
                return Ok(true);
            }
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
