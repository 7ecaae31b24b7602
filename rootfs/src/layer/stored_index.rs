//! The stored form of an index: length-prefixed binary, since a base of 20,000 entries is loaded by every build that starts from
//! it. Its own digest is its end.
//!
//! Invariant: an index of any length is written and read piece by piece; nothing of a file is believed before its digest.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use image::{DiffId, Digest, Hasher, Scratch};

use crate::codec::{Decoder, Encoder};
use crate::entry::Kind;
use crate::layer::LayerReader;
use crate::layer::index::{Extent, IndexError, LayerIndex, Record, Stored};
use crate::sorted::{ScratchError, Value};
use crate::spool::Spool;

const MAGIC: &[u8; 16] = b"rbuild-layer-2\n\0";
const DIGEST: u64 = 32;

/// An index in its stored form.
#[derive(Debug)]
pub struct StoredIndex {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// How many entries there are.
    pub count: u64,
    size: u64,
    records: Spool,
}

impl StoredIndex {
    /// Writes what [`IndexReader`] reads.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut hashed = Hashing {
            out,
            hasher: Hasher::new(),
        };
        hashed.write_all(&self.head())?;
        self.records.copy_to(&mut hashed)?;
        let digest = hashed.hasher.finish();
        out.write_all(digest.as_bytes())
    }

    /// The same in memory.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = self.write_to(&mut bytes);
        written.expect("a file of this process can be read");
        bytes
    }

    /// The index itself.
    pub fn decode(&self) -> LayerIndex {
        LayerIndex::decode(&self.bytes()).expect("it was encoded by this program")
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Encoder(MAGIC.to_vec());
        head.bytes(self.diff_id.to_string().as_bytes());
        head.number(self.size);
        head.number(self.count);
        head.0
    }
}

struct Hashing<'o> {
    out: &'o mut dyn Write,
    hasher: Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A stored index that grows with its layer.
#[derive(Default)]
pub(crate) struct GrowingIndex {
    count: u64,
    records: Spool,
    record: Encoder,
}

impl GrowingIndex {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self {
            records: Spool::new(scratch),
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, record: &Record) -> Result<(), ScratchError> {
        self.count += 1;
        self.record.0.clear();
        encode(&mut self.record, record);
        self.records.add(&self.record.0)
    }

    pub(crate) fn finish(self, diff_id: DiffId, size: u64) -> StoredIndex {
        StoredIndex {
            diff_id,
            count: self.count,
            size,
            records: self.records,
        }
    }
}

/// The index of a layer that is being read. The sum of a content is known only when it was read, so the last record waits.
#[derive(Default)]
pub struct ReadIndex {
    growing: GrowingIndex,
    last: Option<Record>,
}

impl ReadIndex {
    /// Of nothing yet; what does not fit into memory goes to `scratch`.
    pub fn new(scratch: &Scratch) -> Self {
        Self {
            growing: GrowingIndex::new(scratch),
            last: None,
        }
    }

    /// Adds the record that `reader` has just given.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn add<R: Read>(
        &mut self,
        record: Record,
        reader: &LayerReader<R>,
    ) -> Result<(), ScratchError> {
        self.settle(reader.sum_before())?;
        self.last = Some(record);
        Ok(())
    }

    /// The index, when `reader` is at its end.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn finish<R: Read>(
        mut self,
        reader: &LayerReader<R>,
        diff_id: DiffId,
        size: u64,
    ) -> Result<StoredIndex, ScratchError> {
        self.settle(reader.sum_before())?;
        Ok(self.growing.finish(diff_id, size))
    }

    fn settle(&mut self, sum: u32) -> Result<(), ScratchError> {
        let Some(mut record) = self.last.take() else {
            return Ok(());
        };
        // What stands below the name of a deletion belongs to nothing.
        if record.stored != Stored::Nothing {
            record.sum = sum;
        }
        self.growing.push(&record)
    }
}

/// The records of a stored index, one after the other.
pub struct IndexReader<'i> {
    input: Box<dyn Read + 'i>,
    /// Bytes of records that are not in `piece` yet.
    left: u64,
    piece: Vec<u8>,
    at: usize,
    records: u64,
    whole: u64,
    diff_id: DiffId,
    size: u64,
}

impl IndexReader<'static> {
    /// Reads a file once for its digest, and goes back to its start.
    ///
    /// # Errors
    /// When it is no index or damaged.
    pub fn open(mut file: File) -> Result<Self, IndexError> {
        let whole = file.metadata()?.len();
        let mut start = [0; MAGIC.len()];
        file.read_exact(&mut start)
            .map_err(|_| IndexError::Version)?;
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = Hasher::new();
        io::copy(&mut (&file).take(whole.saturating_sub(DIGEST)), &mut hasher)?;
        let mut digest = [0; DIGEST as usize];
        let has_digest = file.read_exact(&mut digest).is_ok();
        file.seek(SeekFrom::Start(0))?;
        let good = has_digest && *hasher.finish().as_bytes() == digest;
        Self::checked(Box::new(file), &start, whole, good)
    }
}

impl<'i> IndexReader<'i> {
    pub(super) fn of_bytes(data: &'i [u8]) -> Result<Self, IndexError> {
        let start = data.first_chunk().ok_or(IndexError::Version)?;
        let parts = data.split_last_chunk::<{ DIGEST as usize }>();
        let good = parts.is_some_and(|(body, digest)| Digest::of(body).as_bytes() == digest);
        Self::checked(Box::new(data), start, data.len() as u64, good)
    }

    fn checked(
        input: Box<dyn Read + 'i>,
        start: &[u8; MAGIC.len()],
        whole: u64,
        good: bool,
    ) -> Result<Self, IndexError> {
        if start != MAGIC {
            return Err(IndexError::Version);
        }
        let left = whole.saturating_sub(DIGEST);
        if !good {
            return Err(IndexError::Damaged { offset: left });
        }
        let mut reader = Self {
            input,
            left,
            piece: Vec::new(),
            at: 0,
            records: 0,
            whole: left,
            diff_id: DiffId::new(Digest::of(b"")),
            size: 0,
        };
        reader.decode(|input| input.array::<{ MAGIC.len() }>())?;
        let (diff_id, size, records) = reader.decode(head)?;
        (reader.diff_id, reader.size, reader.records) = (diff_id, size, records);
        Ok(reader)
    }

    /// Digest of the uncompressed tar.
    pub fn diff_id(&self) -> DiffId {
        self.diff_id
    }

    /// Length of the uncompressed tar.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next record.
    ///
    /// # Errors
    /// When it is none.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results goes on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Record>, IndexError> {
        if self.records == 0 {
            let ended = self.at == self.piece.len() && self.left == 0;
            return if ended { Ok(None) } else { Err(self.damaged()) };
        }
        self.records -= 1;
        self.decode(record).map(Some)
    }

    fn damaged(&self) -> IndexError {
        let unread = self.left + (self.piece.len() - self.at) as u64;
        IndexError::Damaged {
            offset: self.whole - unread,
        }
    }

    /// Decodes something that may need more than what is in memory.
    fn decode<T>(&mut self, part: impl Fn(&mut Decoder<'_>) -> Option<T>) -> Result<T, IndexError> {
        loop {
            let mut input = Decoder {
                rest: &self.piece[self.at..],
            };
            if let Some(part) = part(&mut input) {
                self.at = self.piece.len() - input.rest.len();
                return Ok(part);
            }
            if self.left == 0 {
                return Err(self.damaged());
            }
            self.more()?;
        }
    }

    /// Forgets what was decoded and reads at least as much as is left.
    fn more(&mut self) -> Result<(), IndexError> {
        const PIECE: usize = 64 << 10;
        self.piece.drain(..self.at);
        self.at = 0;
        let wanted = (PIECE.max(self.piece.len()) as u64).min(self.left);
        let before = self.piece.len();
        self.input
            .by_ref()
            .take(wanted)
            .read_to_end(&mut self.piece)?;
        let length = (self.piece.len() - before) as u64;
        if length != wanted {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.left -= length;
        Ok(())
    }
}

fn head(input: &mut Decoder<'_>) -> Option<(DiffId, u64, u64)> {
    let digest: Digest = std::str::from_utf8(input.bytes()?).ok()?.parse().ok()?;
    Some((DiffId::new(digest), input.number()?, input.number()?))
}

fn encode(out: &mut Encoder, Record { entry, stored, sum }: &Record) {
    out.bytes(entry.path.as_bytes());
    out.described(entry);
    encode_stored(out, stored);
    if *stored != Stored::Nothing {
        out.0.extend_from_slice(&sum.to_le_bytes());
    }
}

fn record(input: &mut Decoder<'_>) -> Option<Record> {
    let path = input.path()?;
    let entry = input.entry(path)?;
    let stored = decode_stored(input)?;
    let sum = match stored {
        Stored::Nothing => 0,
        Stored::Whole { .. } | Stored::Sparse(_) => u32::from_le_bytes(input.array()?),
    };
    Some(Record { entry, stored, sum })
}

impl Value for Record {
    fn write(&self, out: &mut Encoder) {
        encode(out, self);
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        record(input)
    }

    fn weight(&self) -> usize {
        let attributes = self.entry.xattrs.iter();
        let attributes = attributes.map(|(name, value)| name.len() + value.len() + 96);
        let target = match &self.entry.kind {
            Kind::Symlink(target) => target.len(),
            Kind::Hardlink(target) => target.as_bytes().len(),
            _ => 0,
        };
        let pieces = match &self.stored {
            Stored::Sparse(extents) => size_of_val(&extents[..]),
            _ => 0,
        };
        let path = self.entry.path.as_bytes().len();
        size_of::<Self>() + path + target + pieces + attributes.sum::<usize>()
    }
}

pub(crate) fn encode_stored(out: &mut Encoder, stored: &Stored) {
    match stored {
        Stored::Nothing => out.0.push(0),
        Stored::Whole { at } => {
            out.0.push(1);
            out.number(*at);
        }
        Stored::Sparse(extents) => {
            out.0.push(2);
            out.number(extents.len() as u64);
            for extent in extents {
                for number in [extent.at, extent.stored_at, extent.len] {
                    out.number(number);
                }
            }
        }
    }
}

pub(crate) fn decode_stored(input: &mut Decoder<'_>) -> Option<Stored> {
    Some(match input.byte()? {
        0 => Stored::Nothing,
        1 => Stored::Whole {
            at: input.number()?,
        },
        2 => {
            let mut extents = Vec::new();
            for _ in 0..input.number()? {
                extents.push(Extent {
                    at: input.number()?,
                    stored_at: input.number()?,
                    len: input.number()?,
                });
            }
            Stored::Sparse(extents)
        }
        _ => return None,
    })
}
