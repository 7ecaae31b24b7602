//! A stack of layers as one tree, from their indexes alone.
//!
//! Invariant: applying layers here and unpacking them give the same tree; [`unpack`](crate::unpack) asks this type where an
//! entry belongs and then does the same on disk. Hard links are one node with several names.

mod changes;
mod squash;
mod verify;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;

use flate2::Crc;
use thiserror::Error;

use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::layer::{Extent, LayerIndex, Record, Stored};
use crate::path::{PathError, TreePath};
use crate::tree::{Content, Follow, Meta, NodeKind, OpenFile, Tree, TreeError};

/// Where the bytes of layers are read from.
pub trait LayerContents: Send + Sync {
    /// A stream of the `len` bytes at `offset` of the uncompressed tar of layer `layer` (0 is the lowest).
    fn open(&self, layer: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>>;

    /// Told when bytes of that layer are not those of which its index was made: it must not be served again.
    fn reject(&self, _layer: usize) {}
}

/// An entry that fits nowhere.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Its parents cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] TreeError),
    /// A hard link to nothing, or to a directory.
    #[error("apply the hard link '{path}': '{target}' is not a file of the image")]
    LinkTarget {
        /// The link.
        path: TreePath,
        /// What it names.
        target: TreePath,
    },
}

pub use changes::{Aspect, Change};
pub use squash::SquashError;
pub use verify::Difference;

type NodeId = usize;
const ROOT: NodeId = 0;

#[derive(Clone)]
struct Node {
    meta: Meta,
    target: Vec<u8>,
    xattrs: Xattrs,
    /// The layer that the node is from, or that last put something into this directory.
    layer: usize,
    /// The layer that holds the content.
    content_layer: usize,
    stored: Stored,
    /// Of the stored pieces.
    sum: u32,
    children: BTreeMap<Vec<u8>, NodeId>,
}

/// A stack of layers.
#[derive(Clone)]
pub struct View {
    nodes: Vec<Node>,
    layers: usize,
    contents: Option<Arc<dyn LayerContents>>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("View")
            .field("layers", &self.layers)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

impl View {
    /// The empty tree: a root directory, 0755, of root.
    pub fn new() -> Self {
        let root = Node::implied(0);
        Self {
            nodes: vec![root],
            layers: 0,
            contents: None,
        }
    }

    /// Puts a whole stack together, lowest layer first.
    pub fn of<'i>(layers: impl IntoIterator<Item = &'i LayerIndex>) -> Result<Self, ApplyError> {
        let mut view = Self::new();
        layers.into_iter().try_for_each(|index| view.push(index))?;
        Ok(view)
    }

    /// The same view, able to open files.
    #[must_use]
    pub fn with_contents(mut self, contents: Arc<dyn LayerContents>) -> Self {
        self.contents = Some(contents);
        self
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Puts one more layer on top.
    pub fn push(&mut self, index: &LayerIndex) -> Result<(), ApplyError> {
        self.begin_layer();
        index
            .records
            .iter()
            .try_for_each(|record| self.apply(record).map(drop))
    }

    pub(crate) fn begin_layer(&mut self) {
        self.layers += 1;
    }

    fn current(&self) -> usize {
        self.layers.saturating_sub(1)
    }

    /// Applies one entry of the topmost layer and says where it went; `None` when it changes nothing.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<Option<Applied>, ApplyError> {
        let entry = &record.entry;
        if let Kind::Whiteout | Kind::Opaque = entry.kind {
            return self.delete(entry);
        }
        if entry.path.is_root() {
            self.describe(ROOT, entry);
            return Ok(Some(Applied {
                path: TreePath::root(),
                link: None,
            }));
        }
        let parent = self.resolve(&entry.path.parent(), Follow::All)?;
        let link = match &entry.kind {
            Kind::Hardlink(target) => Some(self.link_target(&entry.path, target)?),
            _ => None,
        };
        let directory = self.make_dirs(&parent)?;
        let name = entry.path.file_name().expect("the root was handled");
        let layer = self.current();
        let node = match (&link, self.nodes[directory].children.get(name)) {
            (Some((_, target)), _) if self.nodes[*target].layer == layer => {
                self.nodes[*target].meta.links += 1;
                *target
            }
            // A link to a file of a lower layer is a copy of it in this one (F30).
            (Some((_, target)), _) => {
                let copy = Node {
                    layer,
                    ..self.nodes[*target].clone()
                };
                let copy = self.add(copy);
                self.nodes[copy].meta.links = 1;
                copy
            }
            (None, Some(existing))
                if entry.kind == Kind::Dir && self.nodes[*existing].meta.is_dir() =>
            {
                *existing
            }
            _ => self.add(Node::of(record, layer)),
        };
        if entry.kind == Kind::Dir {
            self.describe(node, entry);
        }
        if let Some(replaced) = self.nodes[directory].children.insert(name.to_vec(), node)
            && replaced != node
        {
            self.nodes[replaced].meta.links = self.nodes[replaced].meta.links.saturating_sub(1);
        }
        Ok(Some(Applied {
            path: parent.child(name),
            link: link.map(|(path, _)| path),
        }))
    }

    fn link_target(
        &self,
        path: &TreePath,
        target: &TreePath,
    ) -> Result<(TreePath, NodeId), ApplyError> {
        let wrong = || ApplyError::LinkTarget {
            path: path.clone(),
            target: target.clone(),
        };
        let canonical = self.resolve(target, Follow::Parents)?;
        let node = self
            .find(&canonical)
            .filter(|node| !self.nodes[*node].meta.is_dir())
            .ok_or_else(wrong)?;
        Ok((canonical, node))
    }

    fn delete(&mut self, entry: &Entry) -> Result<Option<Applied>, ApplyError> {
        let base = if entry.kind == Kind::Opaque {
            entry.path.clone()
        } else {
            entry.path.parent()
        };
        let parent = self.resolve(&base, Follow::All)?;
        let Some(directory) = self
            .find(&parent)
            .filter(|node| self.nodes[*node].meta.is_dir())
        else {
            return Ok(None);
        };
        if entry.kind == Kind::Opaque {
            self.touch(&parent);
            self.prune(directory);
            return Ok(Some(Applied {
                path: parent,
                link: None,
            }));
        }
        let Some(name) = entry.path.file_name() else {
            return Ok(None);
        };
        if self.nodes[directory].children.remove(name).is_none() {
            return Ok(None);
        }
        self.touch(&parent);
        Ok(Some(Applied {
            path: parent.child(name),
            link: None,
        }))
    }

    /// Removes from `directory` what is not of the current layer.
    fn prune(&mut self, directory: NodeId) {
        let current = self.current();
        let mut waiting = vec![directory];
        while let Some(directory) = waiting.pop() {
            let mut children = std::mem::take(&mut self.nodes[directory].children);
            children.retain(|_, child| self.nodes[*child].layer == current);
            waiting.extend(
                children
                    .values()
                    .filter(|child| self.nodes[**child].meta.is_dir()),
            );
            self.nodes[directory].children = children;
        }
    }

    /// The directories down to `path` get something from the current layer.
    fn touch(&mut self, path: &TreePath) {
        let layer = self.current();
        let mut node = ROOT;
        for name in path.components() {
            match self.nodes[node].children.get(name) {
                Some(child) => node = *child,
                None => return,
            }
            self.nodes[node].layer = layer;
        }
    }

    /// Makes what is missing of the canonical `path`.
    fn make_dirs(&mut self, path: &TreePath) -> Result<NodeId, TreeError> {
        let layer = self.current();
        let mut node = ROOT;
        for name in path.components() {
            let child = self.nodes[node].children.get(name).copied();
            node = match child {
                Some(child) if self.nodes[child].meta.is_dir() => child,
                Some(_) => {
                    let component = TreePath::clamped(name)?;
                    return Err(TreeError::NotDirectory {
                        path: path.clone(),
                        component,
                    });
                }
                None => {
                    let made = self.add(Node::implied(layer));
                    self.nodes[node].children.insert(name.to_vec(), made);
                    made
                }
            };
            self.nodes[node].layer = layer;
        }
        Ok(node)
    }

    fn add(&mut self, mut node: Node) -> NodeId {
        node.meta.inode = (0, self.nodes.len() as u64);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn describe(&mut self, node: NodeId, entry: &Entry) {
        let layer = self.current();
        let node = &mut self.nodes[node];
        node.layer = layer;
        node.xattrs = entry.xattrs.clone();
        node.meta = Meta {
            inode: node.meta.inode,
            ..meta(entry)
        };
    }

    fn find(&self, path: &TreePath) -> Option<NodeId> {
        path.components().try_fold(ROOT, |node, name| {
            self.nodes[node].children.get(name).copied()
        })
    }

    fn get(&self, path: &TreePath) -> Result<&Node, TreeError> {
        self.find(path)
            .map(|node| &self.nodes[node])
            .ok_or_else(|| TreeError::Missing { path: path.clone() })
    }
}

/// Where an entry went.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Its canonical path.
    pub(crate) path: TreePath,
    /// For a hard link, the canonical path of the file.
    pub(crate) link: Option<TreePath>,
}

impl Node {
    fn implied(layer: usize) -> Self {
        let entry = Entry::new(TreePath::root(), Kind::Dir, 0o755);
        Self {
            meta: meta(&entry),
            target: Vec::new(),
            xattrs: Xattrs::new(),
            layer,
            content_layer: layer,
            stored: Stored::Nothing,
            sum: 0,
            children: BTreeMap::new(),
        }
    }

    fn of(record: &Record, layer: usize) -> Self {
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
            children: BTreeMap::new(),
        }
    }
}

fn meta(entry: &Entry) -> Meta {
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

impl Tree for View {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        Ok(self.find(path).map(|node| self.nodes[node].meta.clone()))
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        self.get(path).map(|node| node.target.clone())
    }

    fn read_dir(&self, path: &TreePath) -> Result<Vec<(Vec<u8>, Meta)>, TreeError> {
        let node = self.get(path)?;
        if !node.meta.is_dir() {
            return Err(TreeError::NotDirectory {
                path: path.clone(),
                component: path.clone(),
            });
        }
        Ok(node
            .children
            .iter()
            .map(|(name, child)| (name.clone(), self.nodes[*child].meta.clone()))
            .collect())
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        self.get(path).map(|node| node.xattrs.clone())
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        let node = self.get(path)?;
        if node.meta.kind != NodeKind::File {
            return Err(TreeError::NotRegular { path: path.clone() });
        }
        let extents = node.stored.extents(node.meta.size);
        let stream: Box<dyn Read + '_> = match &self.contents {
            _ if extents.is_empty() => Box::new(io::repeat(0).take(node.meta.size)),
            Some(contents) => Box::new(Pieces {
                contents: contents.as_ref(),
                layer: node.content_layer,
                extents: extents.into(),
                at: 0,
                size: node.meta.size,
                open: None,
                sum: Crc::new(),
                expected: node.sum,
            }),
            None => return Err(not_at_hand(path)),
        };
        Ok(OpenFile {
            content: Content::Stream(stream),
            size: node.meta.size,
            xattrs: node.xattrs.clone(),
        })
    }

    fn read_at(&self, path: &TreePath, offset: u64, length: usize) -> Result<Vec<u8>, TreeError> {
        let node = self.get(path)?;
        if node.meta.kind != NodeKind::File {
            return Err(TreeError::NotRegular { path: path.clone() });
        }
        let end = node.meta.size.min(offset.saturating_add(length as u64));
        // At most `length`.
        let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(length);
        let mut bytes = vec![0; place(end)];
        for extent in node.stored.extents(node.meta.size) {
            let (from, until) = (extent.at.max(offset), (extent.at + extent.len).min(end));
            if from >= until {
                continue;
            }
            let contents = self.contents.as_ref().ok_or_else(|| not_at_hand(path))?;
            let stored = extent.stored_at + (from - extent.at);
            contents
                .open(node.content_layer, stored, until - from)
                .and_then(|mut stream| stream.read_exact(&mut bytes[place(from)..place(until)]))
                .map_err(|source| TreeError::Layer {
                    path: path.clone(),
                    source,
                })?;
        }
        Ok(bytes)
    }
}

fn not_at_hand(path: &TreePath) -> TreeError {
    TreeError::Layer {
        path: path.clone(),
        source: io::Error::new(
            io::ErrorKind::NotFound,
            "the bytes of the layers are not at hand",
        ),
    }
}

/// A file's stored pieces with zeros between them. At its end it is an error if they are not what they were (F14).
struct Pieces<'v> {
    contents: &'v dyn LayerContents,
    layer: usize,
    extents: VecDeque<Extent>,
    at: u64,
    size: u64,
    open: Option<Box<dyn Read + 'v>>,
    sum: Crc,
    expected: u32,
}

impl Pieces<'_> {
    fn rotten(&self) -> io::Error {
        self.contents.reject(self.layer);
        io::Error::new(
            io::ErrorKind::InvalidData,
            "its layer in the store is damaged; it will be fetched or made again",
        )
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (until, hole) = match self.extents.front() {
            Some(extent) if self.at >= extent.at => (extent.at + extent.len, false),
            Some(extent) => (extent.at, true),
            None => (self.size, true),
        };
        let wanted = usize::try_from(until - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let length = if hole {
            buffer[..wanted].fill(0);
            wanted
        } else {
            let extent = self.extents[0];
            let stream = match &mut self.open {
                Some(stream) => stream,
                none => none.insert(self.contents.open(
                    self.layer,
                    extent.stored_at,
                    extent.len,
                )?),
            };
            let length = stream.read(&mut buffer[..wanted])?;
            self.sum.update(&buffer[..length]);
            length
        };
        self.at += length as u64;
        if length == 0 || (self.at == self.size && self.sum.sum() != self.expected) {
            return Err(self.rotten());
        }
        if !hole && self.at == until {
            self.extents.pop_front();
            self.open = None;
        }
        Ok(length)
    }
}

impl From<PathError> for ApplyError {
    fn from(error: PathError) -> Self {
        Self::Resolve(error.into())
    }
}
