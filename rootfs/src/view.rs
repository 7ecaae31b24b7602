//! A stack of layers as one tree, from their indexes alone.
//!
//! Invariant: applying layers here and unpacking them give the same tree; [`unpack`](crate::unpack) asks this type where an
//! entry belongs and then does the same on disk. Hard links are one node with several names.

mod changes;
mod node;
mod pieces;
mod squash;
mod verify;

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use image::Scratch;
use thiserror::Error;

use crate::entry::{Entry, Kind, Xattrs};
use crate::layer::{LayerIndex, Record};
use crate::names::Names;
use crate::path::{PathError, TreePath};
use crate::sorted::SortedMap;
use crate::tree::{Content, Follow, Meta, NodeKind, OpenFile, Tree, TreeError};

/// Where the bytes of layers are read from.
pub trait LayerContents: Send + Sync {
    /// A stream of the `len` bytes at `offset` of the uncompressed tar of layer `layer` (0 is the lowest).
    fn open(&self, layer: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>>;

    /// Told when bytes of that layer are not those of which its index was made: it must not be served again. Returns what the
    /// user is to know.
    fn reject(&self, _layer: usize) -> &'static str {
        "it is not what it was when it was read first"
    }
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

use node::{Node, meta};
use pieces::Pieces;

type NodeId = u64;
const ROOT: NodeId = 0;

/// A stack of layers.
pub struct View {
    /// By number.
    nodes: SortedMap<Node>,
    /// By the number of the directory and the name in it; none where the name is gone.
    names: SortedMap<Option<NodeId>>,
    /// How many nodes there were ever.
    count: u64,
    layers: usize,
    contents: Option<Arc<dyn LayerContents>>,
    /// The directory that the last entry went to: as it was named, and where that is.
    into: Option<(TreePath, TreePath, NodeId)>,
    /// A directory that something was looked for in.
    seen: Mutex<Option<(TreePath, NodeId)>>,
    scratch: Scratch,
}

impl Clone for View {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            names: self.names.clone(),
            contents: self.contents.clone(),
            into: None,
            seen: Mutex::default(),
            scratch: self.scratch.clone(),
            ..*self
        }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("View")
            .field("layers", &self.layers)
            .field("nodes", &self.count)
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
        Self::in_scratch(&Scratch::default())
    }

    /// The empty tree, which has a place on the disk for what does not fit into memory.
    #[must_use]
    pub fn in_scratch(scratch: &Scratch) -> Self {
        let mut nodes = SortedMap::new(scratch);
        let root = nodes.insert(&key(ROOT), Node::implied(0));
        root.expect("one node fits into memory");
        Self {
            nodes,
            names: SortedMap::new(scratch),
            count: 1,
            layers: 0,
            contents: None,
            into: None,
            seen: Mutex::default(),
            scratch: scratch.clone(),
        }
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
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
        self.into = None;
    }

    fn current(&self) -> usize {
        self.layers.saturating_sub(1)
    }

    fn node_of(&self, id: NodeId) -> Result<Node, TreeError> {
        let node = self.nodes.get(&key(id))?;
        Ok(node.expect("a number is given with its node"))
    }

    fn put(&mut self, id: NodeId, node: Node) -> Result<(), TreeError> {
        Ok(self.nodes.insert(&key(id), node)?)
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>, TreeError> {
        Ok(self.names.get(&[&key(directory), name].concat())?.flatten())
    }

    fn set_child(
        &mut self,
        directory: NodeId,
        name: &[u8],
        child: Option<NodeId>,
    ) -> Result<(), TreeError> {
        Ok(self
            .names
            .insert(&[&key(directory), name].concat(), child)?)
    }

    /// The names in a directory, in order.
    fn children(
        &self,
        directory: NodeId,
    ) -> impl Iterator<Item = Result<(Vec<u8>, NodeId), TreeError>> {
        let of_directory = key(directory);
        let all = self
            .names
            .from(&of_directory)
            .map(move |entry| match entry {
                Ok((name, _)) if !name.starts_with(&of_directory) => None,
                Ok((name, child)) => Some(Ok(
                    child.map(|child| (name[of_directory.len()..].to_vec(), child))
                )),
                Err(error) => Some(Err(TreeError::from(error))),
            });
        all.map_while(|entry| entry).filter_map(Result::transpose)
    }

    /// Forgets where directories are: some name leads elsewhere now.
    fn forget(&mut self) {
        self.into = None;
        *self.seen.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Applies one entry of the topmost layer and says where it went; `None` when it changes nothing.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<Option<Applied>, ApplyError> {
        let entry = &record.entry;
        if let Kind::Whiteout | Kind::Opaque = entry.kind {
            self.forget();
            return self.delete(entry);
        }
        let Some(name) = entry.path.file_name() else {
            self.describe(ROOT, entry)?;
            return Ok(Some(Applied {
                path: TreePath::root(),
                link: None,
            }));
        };
        let (parent, directory) = self.directory_for(entry)?;
        let link = match &entry.kind {
            Kind::Hardlink(target) => Some(self.link_target(&entry.path, target)?),
            _ => None,
        };
        let existing = self.child(directory, name)?;
        let node = self.node_for(record, existing, link.as_ref().map(|(_, target)| *target))?;
        if existing != Some(node) {
            self.set_child(directory, name, Some(node))?;
            if let Some(replaced) = existing {
                self.forget();
                let mut old = self.node_of(replaced)?;
                old.meta.links = old.meta.links.saturating_sub(1);
                self.put(replaced, old)?;
            }
        }
        Ok(Some(Applied {
            path: parent.child(name),
            link: link.map(|(path, _)| path),
        }))
    }

    /// Where an entry's directory is; it is made where it is not there.
    fn directory_for(&mut self, entry: &Entry) -> Result<(TreePath, NodeId), ApplyError> {
        let named = entry.path.parent();
        if let Some((last, path, id)) = &self.into
            && *last == named
        {
            return Ok((path.clone(), *id));
        }
        let path = self.resolve(&named, Follow::All)?;
        if let Kind::Hardlink(target) = &entry.kind {
            // Nothing is made for a link to nothing.
            self.link_target(&entry.path, target)?;
        }
        let id = self.make_dirs(&path)?;
        self.into = Some((named, path.clone(), id));
        Ok((path, id))
    }

    /// The node that an entry's name is to lead to.
    fn node_for(
        &mut self,
        record: &Record,
        existing: Option<NodeId>,
        target: Option<NodeId>,
    ) -> Result<NodeId, TreeError> {
        let layer = self.current();
        if let Some(target) = target {
            let mut node = self.node_of(target)?;
            if node.layer == layer {
                node.meta.links += 1;
                self.put(target, node)?;
                return Ok(target);
            }
            // A link to a file of a lower layer is a copy of it in this one (F30).
            (node.layer, node.meta.links) = (layer, 1);
            return self.add(node);
        }
        let entry = &record.entry;
        if entry.kind == Kind::Dir
            && let Some(existing) = existing
            && self.node_of(existing)?.meta.is_dir()
        {
            self.describe(existing, entry)?;
            return Ok(existing);
        }
        self.add(Node::of(record, layer))
    }

    fn link_target(
        &self,
        path: &TreePath,
        target: &TreePath,
    ) -> Result<(TreePath, NodeId), ApplyError> {
        let canonical = self.resolve(target, Follow::Parents)?;
        match self.find(&canonical)? {
            Some(node) if !self.node_of(node)?.meta.is_dir() => Ok((canonical, node)),
            _ => Err(ApplyError::LinkTarget {
                path: path.clone(),
                target: target.clone(),
            }),
        }
    }

    fn delete(&mut self, entry: &Entry) -> Result<Option<Applied>, ApplyError> {
        let base = if entry.kind == Kind::Opaque {
            entry.path.clone()
        } else {
            entry.path.parent()
        };
        let parent = self.resolve(&base, Follow::All)?;
        let Some(directory) = self.find(&parent)? else {
            return Ok(None);
        };
        if !self.node_of(directory)?.meta.is_dir() {
            return Ok(None);
        }
        if entry.kind == Kind::Opaque {
            self.touch(&parent)?;
            self.prune(directory)?;
            return Ok(Some(Applied {
                path: parent,
                link: None,
            }));
        }
        let Some(name) = entry.path.file_name() else {
            return Ok(None);
        };
        if self.child(directory, name)?.is_none() {
            return Ok(None);
        }
        self.set_child(directory, name, None)?;
        self.forget();
        self.touch(&parent)?;
        Ok(Some(Applied {
            path: parent.child(name),
            link: None,
        }))
    }

    /// Removes from `directory` what is not of the current layer.
    fn prune(&mut self, directory: NodeId) -> Result<(), TreeError> {
        let current = self.current();
        let mut waiting = vec![directory];
        while let Some(directory) = waiting.pop() {
            let children: Vec<_> = self.children(directory).collect::<Result<_, _>>()?;
            for (name, child) in children {
                let node = self.node_of(child)?;
                if node.layer != current {
                    self.set_child(directory, &name, None)?;
                } else if node.meta.is_dir() {
                    waiting.push(child);
                }
            }
        }
        self.forget();
        Ok(())
    }

    /// The directories down to `path` get something from the current layer.
    fn touch(&mut self, path: &TreePath) -> Result<(), TreeError> {
        let mut id = ROOT;
        for name in path.components() {
            match self.child(id, name)? {
                Some(child) => id = child,
                None => return Ok(()),
            }
            let node = self.node_of(id)?;
            self.is_of_layer(id, node)?;
        }
        Ok(())
    }

    fn is_of_layer(&mut self, id: NodeId, mut node: Node) -> Result<(), TreeError> {
        let layer = self.current();
        if node.layer == layer {
            return Ok(());
        }
        node.layer = layer;
        self.put(id, node)
    }

    /// Makes what is missing of the canonical `path`.
    fn make_dirs(&mut self, path: &TreePath) -> Result<NodeId, TreeError> {
        let layer = self.current();
        let mut id = ROOT;
        for name in path.components() {
            id = match self.child(id, name)? {
                None => {
                    let made = self.add(Node::implied(layer))?;
                    self.set_child(id, name, Some(made))?;
                    made
                }
                Some(child) => {
                    let node = self.node_of(child)?;
                    if !node.meta.is_dir() {
                        return Err(TreeError::NotDirectory {
                            path: path.clone(),
                            component: TreePath::clamped(name)?,
                        });
                    }
                    self.is_of_layer(child, node)?;
                    child
                }
            };
        }
        Ok(id)
    }

    fn add(&mut self, mut node: Node) -> Result<NodeId, TreeError> {
        let id = self.count;
        node.meta.inode = (0, id);
        self.count += 1;
        self.put(id, node)?;
        Ok(id)
    }

    fn describe(&mut self, id: NodeId, entry: &Entry) -> Result<(), TreeError> {
        let mut node = self.node_of(id)?;
        node.layer = self.current();
        node.xattrs = entry.xattrs.clone();
        node.meta = Meta {
            inode: node.meta.inode,
            ..meta(entry)
        };
        self.put(id, node)
    }

    fn find(&self, path: &TreePath) -> Result<Option<NodeId>, TreeError> {
        let Some((parent, name)) = path.split() else {
            return Ok(Some(ROOT));
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((directory, id)) = &*seen
            && directory.as_bytes() == parent
        {
            return self.child(*id, name);
        }
        let parent = path.parent();
        let mut id = ROOT;
        for name in parent.components() {
            match self.child(id, name)? {
                Some(child) => id = child,
                None => return Ok(None),
            }
        }
        *seen = Some((parent, id));
        self.child(id, name)
    }

    fn get(&self, path: &TreePath) -> Result<Node, TreeError> {
        match self.find(path)? {
            Some(id) => self.node_of(id),
            None => Err(TreeError::Missing { path: path.clone() }),
        }
    }
}

fn key(id: NodeId) -> [u8; 8] {
    id.to_be_bytes()
}

/// Where an entry went.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Its canonical path.
    pub(crate) path: TreePath,
    /// For a hard link, the canonical path of the file.
    pub(crate) link: Option<TreePath>,
}

impl Tree for View {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        match self.find(path)? {
            Some(id) => Ok(Some(self.node_of(id)?.meta)),
            None => Ok(None),
        }
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        self.get(path).map(|node| node.target)
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        let id = self.find(path)?.filter(|id| {
            let node = self.node_of(*id);
            node.is_ok_and(|node| node.meta.is_dir())
        });
        let Some(id) = id else {
            self.get(path)?;
            return Err(TreeError::NotDirectory {
                path: path.clone(),
                component: path.clone(),
            });
        };
        let mut names = Names::default();
        for child in self.children(id) {
            names.push(&child?.0);
        }
        Ok(names)
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        self.get(path).map(|node| node.xattrs)
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        let node = self.get(path)?;
        if node.meta.kind != NodeKind::File {
            return Err(TreeError::NotRegular { path: path.clone() });
        }
        let extents = node.stored.extents(node.meta.size);
        let stream: Box<dyn Read + '_> = match &self.contents {
            _ if extents.is_empty() => Box::new(io::repeat(0).take(node.meta.size)),
            Some(contents) => Box::new(Pieces::of(&node, extents, contents.as_ref())),
            None => return Err(not_at_hand(path)),
        };
        Ok(OpenFile {
            content: Content::Stream(stream),
            size: node.meta.size,
            xattrs: node.xattrs,
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

impl From<PathError> for ApplyError {
    fn from(error: PathError) -> Self {
        Self::Resolve(error.into())
    }
}
