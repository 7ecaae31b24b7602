//! Reading single pieces of a file of a tree.
//!
//! Invariant: whatever a file says about itself, no more of it than [`MOST`] bytes is ever in memory, in blocks that are read
//! once; a hole of ten gigabytes costs nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::path::TreePath;
use crate::tree::{Content, Tree, TreeError, pread};

/// Headers, names and versions of a library lie in a handful of these.
const BLOCK: usize = 16 << 10;
/// libLLVM's tables, the largest in Debian, take less than a quarter.
const MOST: usize = 4 << 20;
/// `PATH_MAX`: no name that a loader could use is longer.
const LONGEST_NAME: usize = 4096;

/// Why a piece of a file cannot be had.
#[derive(Debug)]
pub(super) enum WindowError {
    /// It ends before.
    Beyond,
    /// What is asked of one file altogether has a bound.
    TooMuch,
    /// It cannot be read.
    Tree(TreeError),
}

/// A file of a tree, of which pieces are read.
pub(super) struct Window<'t> {
    tree: &'t dyn Tree,
    path: &'t TreePath,
    /// Open files are read directly; layers are asked for each block.
    file: Option<OwnedFd>,
    size: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl<'t> Window<'t> {
    /// Opens the regular file at a canonical path.
    pub(super) fn open(tree: &'t dyn Tree, path: &'t TreePath) -> Result<Self, TreeError> {
        let opened = tree.open(path)?;
        let size = opened.size;
        let file = match opened.content {
            Content::File(file) => Some(file),
            Content::Stream(_) => None,
        };
        Ok(Self {
            tree,
            path,
            file,
            size,
            blocks: BTreeMap::new(),
        })
    }

    /// Length of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The first bytes, fewer when the file is shorter.
    pub(super) fn head(&mut self, length: usize) -> Result<Vec<u8>, WindowError> {
        let there = usize::try_from(self.size).map_or(length, |size| size.min(length));
        self.bytes(0, there)
    }

    /// All of the bytes from `offset` on.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, WindowError> {
        let end = offset.checked_add(length as u64);
        let end = end.filter(|end| *end <= self.size);
        let end = end.ok_or(WindowError::Beyond)?;
        if length > MOST {
            return Err(WindowError::TooMuch);
        }
        let mut found = Vec::with_capacity(length);
        let mut at = offset;
        while at < end {
            let block = self.block(at / BLOCK as u64)?;
            let start = usize::try_from(at % BLOCK as u64).expect("less than a block");
            let until = block.len().min(start + (length - found.len()));
            let piece = block.get(start..until).filter(|piece| !piece.is_empty());
            // Shorter than it was when it was opened.
            let piece = piece.ok_or(WindowError::Beyond)?;
            found.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        Ok(found)
    }

    /// The name at `offset`, without its NUL.
    pub(super) fn name(&mut self, offset: u64) -> Result<Vec<u8>, WindowError> {
        let mut name = Vec::new();
        loop {
            let at = offset
                .checked_add(name.len() as u64)
                .filter(|at| *at < self.size)
                .ok_or(WindowError::Beyond)?;
            let block = self.block(at / BLOCK as u64)?;
            let start = usize::try_from(at % BLOCK as u64).expect("less than a block");
            let rest = block.get(start..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == 0);
            name.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if name.len() > LONGEST_NAME {
                return Err(WindowError::TooMuch);
            }
            if end.is_some() {
                return Ok(name);
            }
            if rest.is_empty() {
                return Err(WindowError::Beyond);
            }
        }
    }

    fn block(&mut self, number: u64) -> Result<&[u8], WindowError> {
        if !self.blocks.contains_key(&number) {
            if self.blocks.len() >= MOST / BLOCK {
                return Err(WindowError::TooMuch);
            }
            let offset = number * BLOCK as u64;
            let read = match &self.file {
                Some(file) => pread(file, offset, BLOCK).map_err(|source| TreeError::Read {
                    path: self.path.clone(),
                    source,
                }),
                None => self.tree.read_at(self.path, offset, BLOCK),
            };
            let block = read.map_err(WindowError::Tree)?;
            self.blocks.insert(number, block);
        }
        Ok(&self.blocks[&number])
    }
}
