//! The destination while it is being planned: what is there, and what the plan will have put there.
//!
//! Invariant: asking for a path gives what will be there when everything planned so far is written.

use crate::copy::planned::Planned;
use crate::entry::{Kind, Xattrs};
use crate::names::Names;
use crate::path::TreePath;
use crate::sorted::SortedMap;
use crate::tree::{Meta, OpenFile, Tree, TreeError};

/// The destination below, with the planned entries on top.
pub(super) struct Place<'p> {
    /// `None` for `--link`, which copies into an empty root.
    pub(super) below: Option<&'p dyn Tree>,
    pub(super) planned: &'p SortedMap<Box<Planned>>,
}

impl Tree for Place<'_> {
    fn node(&self, path: &TreePath) -> Result<Option<Meta>, TreeError> {
        if let Some(planned) = self.planned.get(path.as_bytes())? {
            return Ok(Some(planned.meta()));
        }
        match self.below {
            Some(below) => below.node(path),
            None => Ok(None),
        }
    }

    fn read_link(&self, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let planned = self.planned.get(path.as_bytes())?;
        match (planned.map(|planned| planned.kind), self.below) {
            (Some(Kind::Symlink(target)), _) => Ok(target),
            (None, Some(below)) => below.read_link(path),
            _ => Err(TreeError::Missing { path: path.clone() }),
        }
    }

    fn names(&self, path: &TreePath) -> Result<Names, TreeError> {
        Err(TreeError::Missing { path: path.clone() })
    }

    fn xattrs(&self, path: &TreePath) -> Result<Xattrs, TreeError> {
        match (self.planned.get(path.as_bytes())?, self.below) {
            (Some(planned), _) => Ok(planned.xattrs()),
            (None, Some(below)) => below.xattrs(path),
            (None, None) => Err(TreeError::Missing { path: path.clone() }),
        }
    }

    fn open(&self, path: &TreePath) -> Result<OpenFile<'_>, TreeError> {
        Err(TreeError::NotRegular { path: path.clone() })
    }
}
