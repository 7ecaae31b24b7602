//! A map in the order of its keys, of which a bounded part is in memory and the rest in a file without a name.
//!
//! Invariant: it says what a `BTreeMap` would, and however much it holds, no more than [`ENTRIES`] entries or about [`BYTES`]
//! bytes of them are in memory, and of the others two or three bytes each. Where there is no place for a file all is in memory.
//!
//! Entries gather in memory; when they are too many they are written as a *run*, sorted and never changed. What is newer wins.

mod run;

use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::{BTreeMap, btree_map};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use image::Scratch;
use thiserror::Error;

use crate::codec::{Decoder, Encoder};
use run::{Cursor, Run};

/// Enough that a build of 20,000 files writes nothing.
const ENTRIES: usize = 24 * 1024;
const BYTES: usize = 6 << 20;

/// A large list could not be kept on the disk.
#[derive(Debug, Error)]
#[error("keep a large list of files on the disk of the store")]
pub struct ScratchError(#[from] io::Error);

/// What such a map holds.
pub(crate) trait Value: Clone {
    fn write(&self, out: &mut Encoder);
    fn read(input: &mut Decoder<'_>) -> Option<Self>;
    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}

pub(crate) struct SortedMap<V> {
    recent: BTreeMap<Vec<u8>, V>,
    weight: usize,
    /// The oldest first.
    runs: Vec<Arc<Run>>,
    /// Where the next run goes.
    file: Option<(Arc<File>, u64)>,
    scratch: Scratch,
}

impl<V: Clone> Clone for SortedMap<V> {
    fn clone(&self) -> Self {
        Self {
            recent: self.recent.clone(),
            weight: self.weight,
            runs: self.runs.clone(),
            // Two that write need two files.
            file: None,
            scratch: self.scratch.clone(),
        }
    }
}

impl<V> Default for SortedMap<V> {
    fn default() -> Self {
        Self::new(&Scratch::default())
    }
}

impl<V> SortedMap<V> {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self {
            recent: BTreeMap::new(),
            weight: 0,
            runs: Vec::new(),
            file: None,
            scratch: scratch.clone(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.runs.is_empty()
    }
}

impl<V: Value> SortedMap<V> {
    pub(crate) fn insert(&mut self, key: &[u8], value: V) -> Result<(), ScratchError> {
        // A node of the tree, the key and what allocating both costs.
        let weight = |value: &V| value.weight() + key.len() + 64;
        self.weight += weight(&value);
        if let Some(old) = self.recent.get_mut(key) {
            self.weight = self.weight.saturating_sub(weight(old));
            *old = value;
            return Ok(());
        }
        self.recent.insert(key.to_vec(), value);
        if self.recent.len() >= ENTRIES || self.weight >= BYTES {
            self.spill()?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<V>, ScratchError> {
        if let Some(value) = self.recent.get(key) {
            return Ok(Some(value.clone()));
        }
        if self.runs.is_empty() {
            return Ok(None);
        }
        let hash = run::hash(key);
        for run in self.runs.iter().rev() {
            if let Some(value) = run.find(key, hash)? {
                return decode(&value).map(Some);
            }
        }
        Ok(None)
    }

    /// Everything, in order.
    pub(crate) fn iter(&self) -> Entries<'_, V> {
        self.from(b"")
    }

    /// Everything from `start` on, in order.
    pub(crate) fn from(&self, start: &[u8]) -> Entries<'_, V> {
        let range = (Bound::Included(start), Bound::Unbounded);
        let mut entries = Entries {
            recent: self.recent.range::<[u8], _>(range),
            cursors: Vec::new(),
            next: BinaryHeap::new(),
            failed: None,
        };
        entries
            .open(&self.runs, start)
            .unwrap_or_else(|error| entries.failed = Some(error));
        entries
    }

    fn spill(&mut self) -> Result<(), ScratchError> {
        let (file, end) = match self.file.take() {
            Some(there) => there,
            None => match self.scratch.file() {
                Some(file) => (Arc::new(file?), 0),
                None => return Ok(()),
            },
        };
        let entries = std::mem::take(&mut self.recent);
        let run = Run::write(&file, end, &entries)?;
        self.weight = 0;
        self.file = Some((file, run.end()));
        self.runs.push(Arc::new(run));
        Ok(())
    }
}

fn decode<V: Value>(bytes: &[u8]) -> Result<V, ScratchError> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
    Ok(V::read(&mut Decoder { rest: bytes }).ok_or_else(damaged)?)
}

/// The entries of a map in order.
pub(crate) struct Entries<'m, V> {
    recent: btree_map::Range<'m, Vec<u8>, V>,
    /// The newest first.
    cursors: Vec<Cursor>,
    /// What comes next of `recent` (0) and each cursor (from 1 on); not used where there are no cursors.
    next: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    failed: Option<ScratchError>,
}

impl<V: Value> Entries<'_, V> {
    fn open(&mut self, runs: &[Arc<Run>], start: &[u8]) -> Result<(), ScratchError> {
        if runs.is_empty() {
            return Ok(());
        }
        for run in runs.iter().rev() {
            let mut cursor = Cursor::new(Arc::clone(run), start)?;
            let key = cursor.advance()?;
            self.cursors.push(cursor);
            if let Some(key) = key {
                self.next.push(Reverse((key, self.cursors.len())));
            }
        }
        if let Some((key, _)) = self.recent.clone().next() {
            self.next.push(Reverse((key.clone(), 0)));
        }
        Ok(())
    }

    /// Takes the next entry, the newest of its key, and passes over the older ones.
    fn merged(&mut self) -> Result<Option<(Vec<u8>, V)>, ScratchError> {
        let Some(Reverse((_, source))) = self.next.peek() else {
            return Ok(None);
        };
        let value = match source.checked_sub(1) {
            None => self.recent.clone().next().map(|(_, value)| value.clone()),
            Some(cursor) => Some(decode(self.cursors[cursor].value())?),
        };
        let key = self.pass()?;
        while let Some(Reverse((other, _))) = self.next.peek()
            && Some(other) == key.as_ref()
        {
            self.pass()?;
        }
        Ok(key.zip(value))
    }

    /// Goes on in the source of the next entry and gives this one's key.
    fn pass(&mut self) -> Result<Option<Vec<u8>>, ScratchError> {
        let Some(mut top) = self.next.peek_mut() else {
            return Ok(None);
        };
        let behind = match top.0.1.checked_sub(1) {
            None => {
                self.recent.next();
                self.recent.clone().next().map(|(key, _)| key.clone())
            }
            Some(cursor) => self.cursors[cursor].advance()?,
        };
        Ok(Some(match behind {
            Some(key) => std::mem::replace(&mut top.0.0, key),
            None => PeekMut::pop(top).0.0,
        }))
    }
}

impl<V: Value> Iterator for Entries<'_, V> {
    type Item = Result<(Vec<u8>, V), ScratchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        if self.cursors.is_empty() {
            let (key, value) = self.recent.next()?;
            return Some(Ok((key.clone(), value.clone())));
        }
        self.merged().transpose()
    }
}

/// A key for an order from the last to the first: what begins with `key` comes before it.
pub(crate) fn reversed(key: &[u8]) -> Vec<u8> {
    key.iter().map(|byte| !byte).chain([0xff]).collect()
}

/// The key of which [`reversed`] was made.
pub(crate) fn unreversed(key: &[u8]) -> Vec<u8> {
    let (_, key) = key.split_last().unwrap_or((&0, key));
    key.iter().map(|byte| !byte).collect()
}

impl Value for () {
    fn write(&self, _: &mut Encoder) {}

    fn read(_: &mut Decoder<'_>) -> Option<Self> {
        Some(())
    }
}

impl Value for Vec<u8> {
    fn write(&self, out: &mut Encoder) {
        out.bytes(self);
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(input.bytes()?.to_vec())
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

impl Value for Option<u64> {
    fn write(&self, out: &mut Encoder) {
        out.number(self.map_or(0, |number| number + 1));
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(input.number()?.checked_sub(1))
    }
}

#[cfg(test)]
mod tests;
