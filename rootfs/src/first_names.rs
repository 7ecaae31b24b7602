//! Where files that have several names were met first.
//!
//! Invariant: however many they are, a bounded part is in memory.

use image::Scratch;

use crate::path::TreePath;
use crate::sorted::{ScratchError, SortedMap};

/// The first name of each of many files, which are known by device and inode number.
pub struct FirstNames(SortedMap<Vec<u8>>);

impl FirstNames {
    /// Of no file yet; what does not fit into memory goes to `scratch`.
    pub fn in_scratch(scratch: &Scratch) -> Self {
        Self(SortedMap::new(scratch))
    }

    /// The name of a file that was met.
    ///
    /// # Errors
    /// When it cannot be read from the disk.
    pub fn get(&self, inode: (u64, u64)) -> Result<Option<TreePath>, ScratchError> {
        Ok(self.0.get(&key(inode))?.map(TreePath::kept))
    }

    /// Remembers a name.
    ///
    /// # Errors
    /// When it cannot be written to the disk.
    pub fn put(&mut self, inode: (u64, u64), name: &TreePath) -> Result<(), ScratchError> {
        self.0.insert(&key(inode), name.as_bytes().to_vec())
    }
}

fn key((device, number): (u64, u64)) -> Vec<u8> {
    [device, number].map(u64::to_be_bytes).concat()
}
