//! A sorted part of a map in a file.
//!
//! Invariant: it is written once and never changed; a key is looked for in one block of it, and only where it may be.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::Value;
use crate::codec::{Decoder, Encoder};

/// What is read to find one key.
const BLOCK: usize = 4 << 10;
/// What is written at once.
const PIECE: usize = 256 << 10;

pub(super) struct Run {
    file: Arc<File>,
    /// Of each block the first key, and where in the file it begins.
    blocks: Vec<(Box<[u8]>, u64)>,
    last: Box<[u8]>,
    end: u64,
    filter: Filter,
    /// The block that was looked into last, by its number: neighbours are asked for one after the other.
    recent: Mutex<Option<(usize, Vec<u8>)>>,
}

pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

impl Run {
    /// Writes entries at `start` of a file.
    pub(super) fn write<V: Value>(
        file: &Arc<File>,
        start: u64,
        entries: &BTreeMap<Vec<u8>, V>,
    ) -> io::Result<Self> {
        let mut run = Self {
            file: Arc::clone(file),
            blocks: Vec::new(),
            last: entries
                .last_key_value()
                .map_or_else(Box::default, |(key, _)| key[..].into()),
            end: start,
            filter: Filter::for_keys(entries.len()),
            recent: Mutex::default(),
        };
        let (mut piece, mut value_bytes) = (Encoder::default(), Encoder::default());
        let mut block = None;
        for (key, value) in entries {
            let at = run.end + piece.0.len() as u64;
            if block.is_none_or(|block| at >= block + BLOCK as u64) {
                run.blocks.push((key[..].into(), at));
                block = Some(at);
            }
            run.filter.add(hash(key));
            value_bytes.0.clear();
            value.write(&mut value_bytes);
            piece.bytes(key);
            piece.bytes(&value_bytes.0);
            if piece.0.len() >= PIECE {
                run.put(&mut piece)?;
            }
        }
        run.put(&mut piece)?;
        Ok(run)
    }

    fn put(&mut self, piece: &mut Encoder) -> io::Result<()> {
        self.file.write_all_at(&piece.0, self.end)?;
        self.end += piece.0.len() as u64;
        piece.0.clear();
        Ok(())
    }

    /// Where the file goes on.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the block in which `key` would be.
    fn block_of(&self, key: &[u8]) -> usize {
        let behind = self.blocks.partition_point(|(first, _)| **first <= *key);
        behind.saturating_sub(1)
    }

    fn read_block(&self, number: usize) -> io::Result<Vec<u8>> {
        let start = self.blocks[number].1;
        let end = self
            .blocks
            .get(number + 1)
            .map_or(self.end, |(_, next)| *next);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// The stored value of a key.
    pub(super) fn find(&self, key: &[u8], hash: u64) -> io::Result<Option<Vec<u8>>> {
        let outside =
            *key > *self.last || self.blocks.first().is_none_or(|(first, _)| *key < **first);
        if outside || !self.filter.may_have(hash) {
            return Ok(None);
        }
        let number = self.block_of(key);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.as_ref().is_none_or(|(known, _)| *known != number) {
            *recent = Some((number, self.read_block(number)?));
        }
        let block = recent.as_ref().map_or(&[][..], |(_, block)| block);
        let mut input = Decoder { rest: block };
        while let Some((found, value)) = pair(&mut input)? {
            if found == key {
                return Ok(Some(value.to_vec()));
            }
            if found > key {
                break;
            }
        }
        Ok(None)
    }
}

/// The next key and value of a block.
fn pair<'d>(input: &mut Decoder<'d>) -> io::Result<Option<(&'d [u8], &'d [u8])>> {
    if input.rest.is_empty() {
        return Ok(None);
    }
    let pair = input.bytes().and_then(|key| Some((key, input.bytes()?)));
    pair.map(Some)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reads a run from a key on.
pub(super) struct Cursor {
    run: Arc<Run>,
    /// The block that comes next.
    block: usize,
    bytes: Vec<u8>,
    /// Where in it the current entry is, the next one, and the value of the current one.
    start: usize,
    at: usize,
    value: std::ops::Range<usize>,
}

impl Cursor {
    /// Before the first entry whose key is not below `start`.
    pub(super) fn new(run: Arc<Run>, start: &[u8]) -> io::Result<Self> {
        let block = run.block_of(start);
        let mut cursor = Self {
            run,
            block,
            bytes: Vec::new(),
            start: 0,
            at: 0,
            value: 0..0,
        };
        while let Some(key) = cursor.advance()? {
            if *key >= *start {
                cursor.at = cursor.start;
                break;
            }
        }
        Ok(cursor)
    }

    /// Goes to the next entry and says its key.
    pub(super) fn advance(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.at == self.bytes.len() {
            if self.block == self.run.blocks.len() {
                return Ok(None);
            }
            self.bytes = self.run.read_block(self.block)?;
            self.block += 1;
            self.at = 0;
        }
        self.start = self.at;
        let mut input = Decoder {
            rest: &self.bytes[self.at..],
        };
        let Some((key, value)) = pair(&mut input)? else {
            return Ok(None);
        };
        let (key, length) = (key.to_vec(), value.len());
        self.at = self.bytes.len() - input.rest.len();
        self.value = self.at - length..self.at;
        Ok(Some(key))
    }

    /// The value of the current entry.
    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[self.value.clone()]
    }
}

/// A Bloom filter: most keys that are not there are known not to be.
struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    /// 10 to 20 bits for a key and six places: of 100 foreign keys at most one looks like one's own.
    fn for_keys(keys: usize) -> Self {
        let bits = (keys * 10).next_power_of_two().max(64);
        Self {
            bits: vec![0; bits / 64],
        }
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> {
        let mask = (self.bits.len() as u64 * 64) - 1;
        let step = hash.rotate_left(32) | 1;
        (0..6).map(move |number| {
            let bit = hash.wrapping_add(step.wrapping_mul(number)) & mask;
            (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
        })
    }

    fn add(&mut self, hash: u64) {
        let places: Vec<_> = self.places(hash).collect();
        for (word, bit) in places {
            self.bits[word] |= bit;
        }
    }

    fn may_have(&self, hash: u64) -> bool {
        self.places(hash)
            .all(|(word, bit)| self.bits[word] & bit != 0)
    }
}
