//! Remembered digests as they are stored: sorted records of one length, and their own digest at the end.
//!
//! Invariant: nothing of a file is believed before its digest; of a memo of any length a bounded part is in memory.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use image::{Digest, Hasher};

use crate::tree::Meta;

const MAGIC: &[u8; 16] = b"rbuild-digests4\n";
const KEY: usize = 8 + 16;
/// Key and digest as they are stored.
const RECORD: usize = KEY + 32;
const DIGEST: u64 = 32;
/// A memo of so many records is kept in memory; of a longer one what is asked for is read.
const IN_MEMORY: u64 = 48 << 10;
/// How many records are read at once.
const BLOCK: u64 = 128;
/// How many such pieces are kept: a walk asks for neighbours, and a directory's files may have been made at different times.
const KEPT: usize = 8;

/// What identifies a file's content: its inode number, since files that are asked for together often have been made together, and
/// half a SHA-256 of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) [u8; KEY]);

impl Key {
    pub(super) fn of(meta: &Meta) -> Self {
        let words = [
            meta.inode.0,
            meta.inode.1,
            meta.size,
            meta.mtime.secs.cast_unsigned(),
            meta.mtime.nanos.into(),
            meta.ctime.secs.cast_unsigned(),
            meta.ctime.nanos.into(),
        ];
        let digest = Digest::of(words.map(u64::to_le_bytes).as_flattened());
        let mut key = [0; KEY];
        key[..8].copy_from_slice(&meta.inode.1.to_be_bytes());
        key[8..].copy_from_slice(&digest.as_bytes()[..16]);
        Self(key)
    }
}

/// A stored memo.
pub(super) enum Memo {
    Here(Vec<u8>),
    There(Blocks),
}

impl Default for Memo {
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl Memo {
    /// `None` where it is none.
    pub(super) fn load(file: File) -> Option<Self> {
        let whole = file.metadata().ok()?.len();
        let length = whole.checked_sub(MAGIC.len() as u64 + DIGEST)?;
        let count = length / RECORD as u64;
        if length % RECORD as u64 != 0 {
            return None;
        }
        let mut input = BufReader::with_capacity(128 << 10, &file);
        let mut hasher = Hasher::new();
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).ok()?;
        hasher.update(&magic);
        let (mut kept, mut firsts) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut record = [0; RECORD];
            input.read_exact(&mut record).ok()?;
            hasher.update(&record);
            if count <= IN_MEMORY {
                kept.extend_from_slice(&record);
            } else if number % BLOCK == 0 {
                firsts.push(key_of(&record));
            }
        }
        let mut digest = [0; DIGEST as usize];
        input.read_exact(&mut digest).ok()?;
        if &magic != MAGIC || *hasher.finish().as_bytes() != digest {
            return None;
        }
        Some(match count <= IN_MEMORY {
            true => Self::Here(kept),
            false => Self::There(Blocks {
                file,
                firsts,
                count,
                recent: Mutex::default(),
            }),
        })
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Here(records) => (records.len() / RECORD) as u64,
            Self::There(blocks) => blocks.count,
        }
    }

    /// The number of a key's record, and its digest.
    pub(super) fn find(&self, key: &Key) -> io::Result<Option<(u64, [u8; 32])>> {
        match self {
            Self::Here(records) => Ok(search(records, key)),
            Self::There(blocks) => {
                let behind = blocks.firsts.partition_point(|first| first <= key);
                let Some(block) = behind.checked_sub(1) else {
                    return Ok(None);
                };
                let found = blocks.read(block, |records| search(records, key))?;
                Ok(found.map(|(number, digest)| (block as u64 * BLOCK + number, digest)))
            }
        }
    }

    /// One record by its number.
    pub(super) fn record(&self, number: u64) -> io::Result<(Key, [u8; 32])> {
        let place = |number: u64| usize::try_from(number).map_err(io::Error::other);
        let of = |records: &[u8], number: usize| {
            let record = &records[number * RECORD..][..RECORD];
            (key_of(record), digest_of(record))
        };
        match self {
            Self::Here(records) => Ok(of(records, place(number)?)),
            Self::There(blocks) => {
                let within = place(number % BLOCK)?;
                blocks.read(place(number / BLOCK)?, |records| of(records, within))
            }
        }
    }
}

/// A key among sorted records: its number and its digest.
fn search(records: &[u8], key: &Key) -> Option<(u64, [u8; 32])> {
    let (mut from, mut until) = (0, records.len() / RECORD);
    while from < until {
        let middle = from.midpoint(until);
        let record = &records[middle * RECORD..][..RECORD];
        match key_of(record).cmp(key) {
            Ordering::Less => from = middle + 1,
            Ordering::Equal => return Some((middle as u64, digest_of(record))),
            Ordering::Greater => until = middle,
        }
    }
    None
}

/// Records that are read when they are asked for.
pub(super) struct Blocks {
    file: File,
    /// The first key of each block.
    firsts: Vec<Key>,
    count: u64,
    /// What was read last, the last one first.
    recent: Mutex<VecDeque<(usize, Vec<u8>)>>,
}

impl Blocks {
    fn read<T>(&self, block: usize, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = recent.iter().position(|(known, _)| *known == block) {
            recent.swap(0, place);
            return Ok(look(&recent[0].1));
        }
        let first = block as u64 * BLOCK;
        let length = (self.count - first).min(BLOCK) * RECORD as u64;
        let mut records = match recent.len() < KEPT {
            true => Vec::new(),
            false => recent.pop_back().unwrap_or_default().1,
        };
        records.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        let start = MAGIC.len() as u64 + first * RECORD as u64;
        self.file.read_exact_at(&mut records, start)?;
        recent.push_front((block, records));
        Ok(look(&recent[0].1))
    }
}

fn key_of(record: &[u8]) -> Key {
    Key(*record.first_chunk().expect("a record begins with its key"))
}

fn digest_of(record: &[u8]) -> [u8; 32] {
    *record.last_chunk().expect("a record ends with its digest")
}

/// Writes what [`Memo`] reads; keys come in order.
pub(super) struct Writer<'o> {
    out: &'o mut dyn Write,
    hasher: Hasher,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> io::Result<Self> {
        let mut writer = Self {
            out,
            hasher: Hasher::new(),
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    pub(super) fn add(&mut self, key: &[u8], digest: &[u8; 32]) -> io::Result<()> {
        self.put(key)?;
        self.put(digest)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        let digest = self.hasher.finish();
        self.out.write_all(digest.as_bytes())
    }
}

/// Numbers that something was said of.
#[derive(Default)]
pub(super) struct Marks {
    words: Vec<u64>,
    count: u64,
}

impl Marks {
    /// Of the numbers below `count`, none.
    pub(super) fn of(count: u64) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        Self {
            words: vec![0; words],
            count: 0,
        }
    }

    fn place(number: u64) -> (usize, u64) {
        (
            usize::try_from(number / 64).unwrap_or(usize::MAX),
            1 << (number % 64),
        )
    }

    pub(super) fn mark(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.words.get_mut(word)
            && *word & bit == 0
        {
            *word |= bit;
            self.count += 1;
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some inodes have had several contents.
    fn key(number: u64) -> Key {
        let mut key = [7; KEY];
        key[..8].copy_from_slice(&(number / 3).to_be_bytes());
        key[16..].copy_from_slice(&number.to_be_bytes());
        Key(key)
    }

    fn memo(count: u64) -> Memo {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).expect("memory");
        for number in 0..count {
            // Every other number is none.
            let digest = [u8::try_from(number % 251).expect("small"); 32];
            writer.add(&key(2 * number).0, &digest).expect("memory");
        }
        writer.finish().expect("memory");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        std::io::Seek::rewind(&mut file).expect("a file");
        Memo::load(file).expect("a memo")
    }

    #[test]
    fn a_memo_in_memory_and_one_on_the_disk_know_the_same() {
        for count in [0, 1, BLOCK, IN_MEMORY, IN_MEMORY + 1] {
            let memo = memo(count);
            assert_eq!(memo.count(), count);
            assert_eq!(matches!(memo, Memo::There(_)), count > IN_MEMORY);
            // Near and far ones in turn.
            for number in (0..count).flat_map(|number| [number, number * 7919 % count]) {
                let (at, digest) = memo.find(&key(2 * number)).expect("read").expect("known");
                assert_eq!((at, u64::from(digest[0])), (number, number % 251));
                assert!(memo.find(&key(2 * number + 1)).expect("read").is_none());
                let (known, _) = memo.record(number).expect("read");
                assert!(known == key(2 * number));
            }
        }
    }
}
