//! Remembered digests as they are stored: sorted records of one length, and their own digest at the end.
//!
//! Invariant: nothing of a file is believed before its digest; of a memo of any length a bounded part is in memory.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use image::{Digest, Hasher};

use crate::tree::Meta;

const MAGIC: &[u8; 16] = b"rbuild-digests3\n";
/// Key and digest as they are stored.
const RECORD: usize = 16 + 32;
const DIGEST: u64 = 32;
/// A memo of so many records is kept in memory; of a longer one what is asked for is read.
const IN_MEMORY: u64 = 64 << 10;
/// About how many records are read to find one.
const BUCKET: u64 = 32;

/// What identifies a file's content, as half a SHA-256: a context may have hundreds of thousands of files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub(super) [u8; 16]);

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
        let (half, _) = digest.as_bytes().split_at(16);
        Self(half.try_into().expect("the length is split at"))
    }

    fn start(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("a key is longer"))
    }
}

/// A stored memo.
#[derive(Default)]
pub(super) struct Memo {
    records: Records,
    /// Of each bucket of keys that begin alike, the number of its first record; and the number of all.
    buckets: Vec<u32>,
}

enum Records {
    Here(Vec<u8>),
    There(File),
}

impl Default for Records {
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl Memo {
    /// `None` where it is none.
    pub(super) fn load(mut file: File) -> Option<Self> {
        let whole = file.metadata().ok()?.len();
        let length = whole.checked_sub(MAGIC.len() as u64 + DIGEST)?;
        let count = length / RECORD as u64;
        if length % RECORD as u64 != 0 || u32::try_from(count).is_err() {
            return None;
        }
        let mut input = BufReader::with_capacity(128 << 10, &file);
        let mut hasher = Hasher::new();
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).ok()?;
        hasher.update(&magic);
        let mut kept = Vec::new();
        let mut buckets = Buckets::for_records(count);
        for _ in 0..count {
            let mut record = [0; RECORD];
            input.read_exact(&mut record).ok()?;
            hasher.update(&record);
            buckets.add(&key_of(&record));
            if count <= IN_MEMORY {
                kept.extend_from_slice(&record);
            }
        }
        let mut digest = [0; DIGEST as usize];
        input.read_exact(&mut digest).ok()?;
        if &magic != MAGIC || *hasher.finish().as_bytes() != digest {
            return None;
        }
        file.seek(SeekFrom::Start(0)).ok()?;
        Some(Self {
            records: if count <= IN_MEMORY {
                Records::Here(kept)
            } else {
                Records::There(file)
            },
            buckets: buckets.finish(),
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.last().copied().unwrap_or(0).into()
    }

    /// The number of a key's record, and its digest.
    pub(super) fn find(&self, key: &Key) -> io::Result<Option<(u64, [u8; 32])>> {
        let Some(buckets) = self.buckets.len().checked_sub(1) else {
            return Ok(None);
        };
        let bucket = bucket_of(key, buckets);
        let (from, until) = (self.buckets[bucket], self.buckets[bucket + 1]);
        let bytes = self.bytes(from.into(), until.into())?;
        let records = bytes.as_ref().chunks_exact(RECORD);
        let found = (u64::from(from)..)
            .zip(records)
            .find(|(_, record)| record[..16] == key.0);
        Ok(found.map(|(number, record)| (number, digest_of(record))))
    }

    /// One record by its number.
    pub(super) fn record(&self, number: u64) -> io::Result<(Key, [u8; 32])> {
        let bytes = self.bytes(number, number + 1)?;
        Ok((key_of(bytes.as_ref()), digest_of(bytes.as_ref())))
    }

    fn bytes(&self, from: u64, until: u64) -> io::Result<std::borrow::Cow<'_, [u8]>> {
        let place = |number: u64| usize::try_from(number).map_or(usize::MAX, |n| n * RECORD);
        match &self.records {
            Records::Here(all) => Ok(all[place(from)..place(until)].into()),
            Records::There(file) => {
                let mut bytes = vec![0; place(until - from)];
                file.read_exact_at(&mut bytes, MAGIC.len() as u64 + from * RECORD as u64)?;
                Ok(bytes.into())
            }
        }
    }
}

fn key_of(record: &[u8]) -> Key {
    Key(*record.first_chunk().expect("a record begins with its key"))
}

fn digest_of(record: &[u8]) -> [u8; 32] {
    *record.last_chunk().expect("a record ends with its digest")
}

/// Which of so many buckets, a power of two, a key is in.
fn bucket_of(key: &Key, buckets: usize) -> usize {
    let bits = buckets.ilog2();
    let bucket = key.start().checked_shr(64 - bits).unwrap_or(0);
    usize::try_from(bucket).unwrap_or(0)
}

struct Buckets {
    /// How many records each has.
    counts: Vec<u32>,
}

impl Buckets {
    fn for_records(count: u64) -> Self {
        let buckets = (count / BUCKET).next_power_of_two();
        Self {
            counts: vec![0; usize::try_from(buckets).unwrap_or(1)],
        }
    }

    fn add(&mut self, key: &Key) {
        let bucket = bucket_of(key, self.counts.len());
        self.counts[bucket] += 1;
    }

    fn finish(self) -> Vec<u32> {
        let mut before = 0;
        let mut starts = vec![0];
        for count in self.counts {
            before += count;
            starts.push(before);
        }
        starts
    }
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
