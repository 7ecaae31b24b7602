//! The index of a layer: every entry, its owner, and where its content lies in the uncompressed tar.
//!
//! Invariant: the index says all that the tar says, so that nothing ever needs to read the tar to know what is in it, and it knows
//! contents by their sums, so that what rotted on the disk is noticed wherever a single file is read. The stored form is
//! length-prefixed binary: a base of 20,000 entries is loaded by every build that starts from it. Its own digest is its end.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::entry::{Device, Entry, Kind, Time, Xattrs};
use crate::ownership::OwnerId;
use crate::path::TreePath;
use crate::xattr;
use image::{DiffId, Digest};

const MAGIC: &[u8; 16] = b"rbuild-layer-2\n\0";

/// Bytes of a file, and where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file.
    pub at: u64,
    /// Offset in the uncompressed tar.
    pub stored_at: u64,
    /// Length.
    pub len: u64,
}

/// Where a file's content lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stored {
    /// There is no content.
    #[default]
    Nothing,
    /// In one piece from here on.
    Whole {
        /// Offset in the uncompressed tar.
        at: u64,
    },
    /// In these pieces, with holes between them.
    Sparse(Vec<Extent>),
}

impl Stored {
    /// The pieces of a content of `size` bytes, in order.
    pub(crate) fn extents(&self, size: u64) -> Vec<Extent> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Whole { at } => vec![Extent {
                at: 0,
                stored_at: *at,
                len: size,
            }],
            Self::Sparse(extents) => extents.clone(),
        }
    }
}

/// An entry and its content's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The entry, its path as the layer names it.
    pub entry: Entry,
    /// Its content.
    pub stored: Stored,
    /// CRC-32 of the stored pieces, one after the other.
    pub sum: u32,
}

impl Record {
    /// The sum of bytes that are all in memory.
    pub fn sum_of(bytes: &[u8]) -> u32 {
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        sum.sum()
    }

    /// The pieces of the content, in order.
    pub fn extents(&self) -> Vec<Extent> {
        self.stored.extents(self.entry.size())
    }
}

/// Every id that a layer names, ids in POSIX ACLs included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// User ids.
    pub uids: BTreeSet<OwnerId>,
    /// Group ids.
    pub gids: BTreeSet<OwnerId>,
}

/// Everything about a layer but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerIndex {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// Length of the uncompressed tar.
    pub size: u64,
    /// The entries, in the order of the tar.
    pub records: Vec<Record>,
    /// Who owns something in it.
    pub owners: Owners,
}

/// A stored index that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexError {
    /// Another program's file, or another version's.
    #[error("load the layer index: it is not of this version")]
    Version,
    /// Cut off or overwritten.
    #[error("load the layer index: it is damaged at byte {offset}")]
    Damaged {
        /// Where.
        offset: usize,
    },
}

impl LayerIndex {
    /// Puts an index together; the owners are collected here.
    pub fn new(diff_id: DiffId, size: u64, records: Vec<Record>) -> Self {
        let mut owners = Owners::default();
        let mut last = None;
        for Record { entry, .. } in &records {
            if matches!(
                entry.kind,
                Kind::Whiteout | Kind::Opaque | Kind::Hardlink(_)
            ) {
                continue;
            }
            if last != Some((entry.uid, entry.gid)) {
                owners.uids.insert(entry.uid);
                owners.gids.insert(entry.gid);
                last = Some((entry.uid, entry.gid));
            }
            if !entry.xattrs.is_empty() {
                let (users, groups) = xattr::acl_ids(&entry.xattrs);
                owners.uids.extend(users);
                owners.gids.extend(groups);
            }
        }
        Self {
            diff_id,
            size,
            records,
            owners,
        }
    }

    /// The stored form.
    pub fn stored(&self) -> StoredIndex {
        let mut growing = GrowingIndex::default();
        self.records.iter().for_each(|record| growing.push(record));
        growing.finish(self.diff_id, self.size)
    }

    /// Reads the stored form.
    pub fn decode(data: &[u8]) -> Result<Self, IndexError> {
        data.strip_prefix(MAGIC).ok_or(IndexError::Version)?;
        let whole = data.split_last_chunk::<32>();
        let (data, digest) = whole.ok_or(IndexError::Damaged { offset: data.len() })?;
        if Digest::of(data).as_bytes() != digest {
            return Err(IndexError::Damaged { offset: data.len() });
        }
        let body = data.strip_prefix(MAGIC).ok_or(IndexError::Version)?;
        let mut input = Decoder { rest: body };
        let damaged = |input: &Decoder<'_>| IndexError::Damaged {
            offset: data.len() - input.rest.len(),
        };
        let (diff_id, size, count) = input.head().ok_or_else(|| damaged(&input))?;
        let mut records = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(body.len()));
        for _ in 0..count {
            records.push(input.record().ok_or_else(|| damaged(&input))?);
        }
        if !input.rest.is_empty() {
            return Err(damaged(&input));
        }
        Ok(Self::new(diff_id, size, records))
    }
}

/// An index in its stored form: a layer of hundreds of thousands of files would take four times as much memory as records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredIndex {
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// How many entries there are.
    pub count: u64,
    /// What [`LayerIndex::decode`] reads.
    pub bytes: Vec<u8>,
}

impl StoredIndex {
    /// The index itself.
    pub fn decode(&self) -> LayerIndex {
        LayerIndex::decode(&self.bytes).expect("it was encoded by this program")
    }
}

/// A stored index that grows with its layer.
#[derive(Default)]
pub(crate) struct GrowingIndex {
    count: u64,
    records: Encoder,
}

impl GrowingIndex {
    pub(crate) fn push(&mut self, record: &Record) {
        self.count += 1;
        self.records.record(record);
    }

    /// Puts the head, which has the digest, in front.
    pub(crate) fn finish(self, diff_id: DiffId, size: u64) -> StoredIndex {
        let mut head = Encoder(MAGIC.to_vec());
        head.bytes(diff_id.to_string().as_bytes());
        head.number(size);
        head.number(self.count);
        let mut bytes = self.records.0;
        bytes.splice(0..0, head.0);
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        StoredIndex {
            diff_id,
            count: self.count,
            bytes,
        }
    }
}

#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    /// Seven bits a byte, least significant first (LEB128).
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn record(&mut self, Record { entry, stored, sum }: &Record) {
        self.bytes(entry.path.as_bytes());
        match &entry.kind {
            Kind::File { size } => {
                self.0.push(0);
                self.number(*size);
            }
            Kind::Dir => self.0.push(1),
            Kind::Symlink(target) => {
                self.0.push(2);
                self.bytes(target);
            }
            Kind::Hardlink(target) => {
                self.0.push(3);
                self.bytes(target.as_bytes());
            }
            Kind::Fifo => self.0.push(4),
            Kind::Char(device) => self.device(5, *device),
            Kind::Block(device) => self.device(6, *device),
            Kind::Whiteout => self.0.push(7),
            Kind::Opaque => self.0.push(8),
        }
        for number in [entry.mode, entry.uid, entry.gid, entry.mtime.nanos] {
            self.number(number.into());
        }
        self.number(entry.mtime.secs.cast_unsigned());
        self.number(entry.xattrs.len() as u64);
        for (name, value) in &entry.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
        self.stored(stored);
        if *stored != Stored::Nothing {
            self.0.extend_from_slice(&sum.to_le_bytes());
        }
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.0.push(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    fn stored(&mut self, stored: &Stored) {
        match stored {
            Stored::Nothing => self.0.push(0),
            Stored::Whole { at } => {
                self.0.push(1);
                self.number(*at);
            }
            Stored::Sparse(extents) => {
                self.0.push(2);
                self.number(extents.len() as u64);
                for extent in extents {
                    [extent.at, extent.stored_at, extent.len]
                        .into_iter()
                        .for_each(|number| self.number(number));
                }
            }
        }
    }
}

struct Decoder<'d> {
    rest: &'d [u8],
}

impl<'d> Decoder<'d> {
    fn head(&mut self) -> Option<(DiffId, u64, u64)> {
        let digest: Digest = std::str::from_utf8(self.bytes()?).ok()?.parse().ok()?;
        Some((DiffId::new(digest), self.number()?, self.number()?))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'d [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn path(&mut self) -> Option<TreePath> {
        TreePath::scoped(self.bytes()?).ok()
    }

    fn device(&mut self) -> Option<Device> {
        Some(Device {
            major: self.small()?,
            minor: self.small()?,
        })
    }

    fn record(&mut self) -> Option<Record> {
        let path = self.path()?;
        let kind = match self.byte()? {
            0 => Kind::File {
                size: self.number()?,
            },
            1 => Kind::Dir,
            2 => Kind::Symlink(self.bytes()?.to_vec()),
            3 => Kind::Hardlink(self.path()?),
            4 => Kind::Fifo,
            5 => Kind::Char(self.device()?),
            6 => Kind::Block(self.device()?),
            7 => Kind::Whiteout,
            8 => Kind::Opaque,
            _ => return None,
        };
        let (mode, uid, gid, nanos) = (self.small()?, self.small()?, self.small()?, self.small()?);
        let mtime = Time {
            secs: self.number()?.cast_signed(),
            nanos,
        };
        let mut xattrs = Xattrs::new();
        for _ in 0..self.number()? {
            xattrs.insert(self.bytes()?.to_vec(), self.bytes()?.to_vec());
        }
        let stored = self.stored()?;
        let sum = match stored {
            Stored::Nothing => 0,
            Stored::Whole { .. } | Stored::Sparse(_) => self.sum()?,
        };
        Some(Record {
            entry: Entry {
                path,
                kind,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            },
            stored,
            sum,
        })
    }

    fn sum(&mut self) -> Option<u32> {
        let (sum, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*sum))
    }

    fn stored(&mut self) -> Option<Stored> {
        Some(match self.byte()? {
            0 => Stored::Nothing,
            1 => Stored::Whole { at: self.number()? },
            2 => {
                let mut extents = Vec::new();
                for _ in 0..self.number()? {
                    extents.push(Extent {
                        at: self.number()?,
                        stored_at: self.number()?,
                        len: self.number()?,
                    });
                }
                Stored::Sparse(extents)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LayerIndex {
        let file = |name: &str, uid| Record {
            entry: Entry {
                uid,
                mtime: Time { secs: -5, nanos: 7 },
                xattrs: Xattrs::from([(b"user.a".to_vec(), b"\0\xff".to_vec())]),
                ..Entry::new(
                    TreePath::scoped(name).expect("valid"),
                    Kind::File { size: 300 },
                    0o4755,
                )
            },
            stored: Stored::Sparse(vec![Extent {
                at: 1,
                stored_at: 1 << 40,
                len: 3,
            }]),
            sum: 0x8000_0001,
        };
        let link = Record {
            entry: Entry::new(
                TreePath::scoped("l").expect("valid"),
                Kind::Symlink(b"../\xff".to_vec()),
                0o777,
            ),
            stored: Stored::Nothing,
            sum: 0,
        };
        LayerIndex::new(
            DiffId::new(Digest::of("x")),
            12_345,
            vec![file("a/b", 65_532), link, file("c\n", 4_000_000_000)],
        )
    }

    #[test]
    fn an_index_survives_being_stored() {
        let index = sample();
        assert_eq!(LayerIndex::decode(&index.stored().bytes), Ok(index.clone()));
        assert_eq!(
            index.owners.uids,
            BTreeSet::from([0, 65_532, 4_000_000_000])
        );
    }

    #[test]
    fn f14_a_damaged_index_is_refused_at_every_length() {
        let stored = sample().stored().bytes;
        for length in 0..stored.len() {
            assert!(LayerIndex::decode(&stored[..length]).is_err(), "{length}");
        }
        let longer = [stored.as_slice(), b"x"].concat();
        assert!(matches!(
            LayerIndex::decode(&longer),
            Err(IndexError::Damaged { .. })
        ));
    }

    #[test]
    fn f14_a_flipped_bit_of_an_index_is_noticed_wherever_it_is() {
        let stored = sample().stored().bytes;
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert!(LayerIndex::decode(&flipped).is_err(), "{at}");
        }
    }
}
