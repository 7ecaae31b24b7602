//! A layer's unpacked tree beside what the layer's index says. The invariant: it only looks, and every content is read once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use flate2::Crc;

use super::{Node, NodeId, ROOT, View};
use crate::layer::Extent;
use crate::ownership::Ownership;
use crate::path::TreePath;
use crate::tree::{Content, DirTree, Meta, NodeKind, Tree, TreeError};

/// What is not as the layer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// Which property, as the end of a sentence that begins with the path.
    pub what: String,
}

/// So many are enough to know that a tree is no good.
const ENOUGH: usize = 20;

impl View {
    /// What `tree`, the directory of the topmost layer, has otherwise than that layer. Contents are compared by their sums; owners
    /// only where the tree has them. Not compared are extended attributes, fractions of seconds, and the root directory itself.
    pub fn differences(&self, tree: &DirTree) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut waiting = vec![(TreePath::root(), ROOT)];
        while let Some((path, directory)) = waiting.pop() {
            if let Err(error) = self.compare(tree, &path, directory, &mut waiting, &mut found) {
                let what = unreadable(&error);
                found.push(Difference { path, what });
            }
            if found.len() >= ENOUGH {
                found.truncate(ENOUGH);
                break;
            }
        }
        found
    }

    /// Compares what is in one directory; the directories in it wait.
    fn compare(
        &self,
        tree: &DirTree,
        path: &TreePath,
        directory: NodeId,
        waiting: &mut Vec<(TreePath, NodeId)>,
        found: &mut Vec<Difference>,
    ) -> Result<(), TreeError> {
        for child in self.children(directory) {
            let (name, id) = child?;
            let (path, node) = (path.child(&name), self.node_of(id)?);
            if node.layer != self.current() {
                continue;
            }
            let what = match difference(tree, &path, &node) {
                Ok(what) => what.map(str::to_owned),
                Err(error) => Some(unreadable(&error)),
            };
            if node.meta.is_dir() && is_directory(tree, &path) {
                waiting.push((path.clone(), id));
            }
            found.extend(what.map(|what| Difference { path, what }));
        }
        self.surplus(tree, path, directory, found)
    }

    /// What a directory has beyond the layer. Deletions are devices or empty files there.
    fn surplus(
        &self,
        tree: &DirTree,
        path: &TreePath,
        directory: NodeId,
        found: &mut Vec<Difference>,
    ) -> Result<(), TreeError> {
        for name in tree.names(path)? {
            let expected = match self.child(directory, &name)? {
                Some(child) => self.node_of(child)?.layer == self.current(),
                None => false,
            };
            let path = path.child(&name);
            let deletes = |meta: &Meta| match meta.kind {
                NodeKind::Char(_) => true,
                NodeKind::File => meta.size == 0,
                _ => false,
            };
            if !expected && tree.node(&path)?.is_some_and(|meta| !deletes(&meta)) {
                let what = "is not in the layer".to_owned();
                found.push(Difference { path, what });
            }
        }
        Ok(())
    }
}

fn unreadable(error: &TreeError) -> String {
    format!("cannot be read ({error})")
}

fn is_directory(tree: &DirTree, path: &TreePath) -> bool {
    let there = tree.node(path);
    there.is_ok_and(|there| there.is_some_and(|meta| meta.is_dir()))
}

fn difference(
    tree: &DirTree,
    path: &TreePath,
    node: &Node,
) -> Result<Option<&'static str>, TreeError> {
    let expected = &node.meta;
    if let NodeKind::Char(_) | NodeKind::Block(_) = expected.kind {
        // No user namespace can make them.
        return Ok(None);
    }
    let Some(meta) = tree.node(path)? else {
        return Ok(Some("is missing"));
    };
    let has_owners = matches!(
        tree.ownership(),
        Ownership::Mapped { .. } | Ownership::Noted
    );
    let link = expected.kind == NodeKind::Symlink;
    Ok(if meta.kind != expected.kind {
        Some("is something else")
    } else if has_owners && (meta.uid, meta.gid) != (expected.uid, expected.gid) {
        Some("has another owner")
    } else if !link && meta.mode != expected.mode {
        Some("has another mode")
    } else if meta.mtime.secs != expected.mtime.secs {
        Some("has another time")
    } else if link && tree.read_link(path)? != node.target {
        Some("leads elsewhere")
    } else if expected.kind != NodeKind::File {
        None
    } else if meta.size != expected.size {
        Some("has another length")
    } else if has_content(tree, path, node)? {
        None
    } else {
        Some("has another content")
    })
}

fn has_content(tree: &DirTree, path: &TreePath, node: &Node) -> Result<bool, TreeError> {
    let Content::File(file) = tree.open(path)?.content else {
        return Ok(false);
    };
    let extents = node.stored.extents(node.meta.size);
    let sum = sum_of(&File::from(file), &extents).map_err(|source| TreeError::Layer {
        path: path.clone(),
        source,
    })?;
    Ok(extents.is_empty() || sum == node.sum)
}

/// The sum of a file's pieces; see [`Record::sum`](crate::layer::Record::sum).
fn sum_of(file: &File, extents: &[Extent]) -> io::Result<u32> {
    let mut sum = Crc::new();
    let mut buffer = vec![0; 256 * 1024];
    for extent in extents {
        let (mut at, end) = (extent.at, extent.at + extent.len);
        while at < end {
            let wanted = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match file.read_at(&mut buffer[..wanted], at)? {
                0 => return Ok(sum.sum()),
                length => {
                    sum.update(&buffer[..length]);
                    at += length as u64;
                }
            }
        }
    }
    Ok(sum.sum())
}
