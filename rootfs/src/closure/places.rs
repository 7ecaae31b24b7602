//! From the paths that loaders and kernels use to files of a tree, with every link on the way.
//!
//! Invariant: paths are resolved as path_resolution(7) says, with `..` after links and not before, and never leave the tree;
//! what was resolved once is remembered, since all libraries lie in a few directories.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, Tree, TreeError};

/// As `MAXSYMLINKS` of path_resolution(7).
const MAX_LINKS: u32 = 40;
/// `PATH_MAX`, with its NUL.
const LONGEST: usize = 4095;
const LONGEST_NAME: usize = 255;

/// A symbolic link that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) path: TreePath,
    pub(super) target: Vec<u8>,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its canonical path.
    pub(super) path: TreePath,
    pub(super) meta: Meta,
    /// In the order in which they were followed.
    pub(super) links: Vec<Link>,
}

/// Why a path leads to nothing.
#[derive(Debug)]
pub(super) enum Absent {
    /// ENOENT or ENOTDIR.
    Missing,
    /// ELOOP.
    Loop,
    /// It cannot be looked at.
    Tree(TreeError),
}

impl Absent {
    fn of(error: TreeError) -> Self {
        match error {
            TreeError::Root(error) if error.is_absent() => Self::Missing,
            TreeError::Missing { .. } | TreeError::NotDirectory { .. } => Self::Missing,
            other => Self::Tree(other),
        }
    }
}

#[derive(Debug)]
struct Directory {
    path: TreePath,
    links: Vec<Link>,
}

/// The paths of a tree.
pub(super) struct Places<'t> {
    pub(super) tree: &'t dyn Tree,
    /// By the bytes in front of the last `/`; `None` where there is no directory.
    directories: RefCell<HashMap<Vec<u8>, Option<Rc<Directory>>>>,
}

impl<'t> Places<'t> {
    pub(super) fn new(tree: &'t dyn Tree) -> Self {
        Self {
            tree,
            directories: RefCell::default(),
        }
    }

    /// What an absolute path leads to.
    pub(super) fn find(&self, raw: &[u8]) -> Result<Place, Absent> {
        let mut links_left = MAX_LINKS;
        self.walk(raw, &mut links_left)
    }

    /// Whether an absolute path leads to a directory.
    pub(super) fn is_directory(&self, raw: &[u8]) -> bool {
        let mut links_left = MAX_LINKS;
        let raw = raw.strip_suffix(b"/").unwrap_or(raw);
        self.directory(raw, &mut links_left).is_ok()
    }

    fn walk(&self, raw: &[u8], links_left: &mut u32) -> Result<Place, Absent> {
        let mut here = raw.to_vec();
        let mut links = Vec::new();
        loop {
            if here.len() > LONGEST {
                return Err(Absent::Missing);
            }
            let slash = here.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let name = here.get(slash + 1..).unwrap_or_default();
            let directory = self.directory(&here[..slash], links_left)?;
            links.extend(directory.links.iter().cloned());
            let path = match name {
                b"" | b"." => directory.path.clone(),
                b".." => directory.path.parent(),
                name if name.len() > LONGEST_NAME => return Err(Absent::Missing),
                name => directory.path.child(name),
            };
            let meta = self.tree.node(&path).map_err(Absent::of)?;
            let meta = meta.ok_or(Absent::Missing)?;
            if meta.kind != NodeKind::Symlink {
                return Ok(Place { path, meta, links });
            }
            *links_left = links_left.checked_sub(1).ok_or(Absent::Loop)?;
            let target = self.tree.read_link(&path).map_err(Absent::of)?;
            here = match target.starts_with(b"/") {
                true => target.clone(),
                false => [b"/", directory.path.as_bytes(), b"/", &target].concat(),
            };
            links.push(Link { path, target });
        }
    }

    /// The directory in front of a last `/`. From the top down, so that only links make this call itself.
    fn directory(&self, raw: &[u8], links_left: &mut u32) -> Result<Rc<Directory>, Absent> {
        if let Some(known) = self.known(raw) {
            return known;
        }
        let slashes = raw.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (slash, _) in slashes {
            self.make_known(&raw[..slash], links_left)?;
        }
        self.make_known(raw, links_left)
    }

    fn known(&self, raw: &[u8]) -> Option<Result<Rc<Directory>, Absent>> {
        let directories = self.directories.borrow();
        let known = directories.get(raw)?;
        Some(known.clone().ok_or(Absent::Missing))
    }

    fn make_known(&self, raw: &[u8], links_left: &mut u32) -> Result<Rc<Directory>, Absent> {
        if let Some(known) = self.known(raw) {
            return known;
        }
        let found = if raw.iter().all(|byte| *byte == b'/') {
            Ok(Rc::new(Directory {
                path: TreePath::root(),
                links: Vec::new(),
            }))
        } else {
            match self.walk(raw, links_left) {
                Ok(place) if place.meta.is_dir() => Ok(Rc::new(Directory {
                    path: place.path,
                    links: place.links,
                })),
                Ok(_) => Err(Absent::Missing),
                Err(error) => Err(error),
            }
        };
        let remembered = match &found {
            Ok(directory) => Some(Rc::clone(directory)),
            Err(Absent::Missing) => None,
            // A loop is one of the whole path, and what cannot be looked at may be seen later.
            Err(_) => return found,
        };
        let mut directories = self.directories.borrow_mut();
        directories.insert(raw.to_vec(), remembered);
        found
    }
}
