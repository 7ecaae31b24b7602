//! The index of a layer: every entry, its owner, and where its content lies in the uncompressed tar.
//!
//! Invariant: the index says all that the tar says, so that nothing ever needs to read the tar to know what is in it, and it knows
//! contents by their sums, so that what rotted on the disk is noticed wherever a single file is read.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::entry::{Entry, Kind};
use crate::layer::stored_index::{GrowingIndex, IndexReader, StoredIndex};
use crate::ownership::OwnerId;
use crate::xattr;
use image::DiffId;

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

impl Owners {
    /// Takes in whom an entry belongs to.
    pub(crate) fn add(&mut self, entry: &Entry) {
        if matches!(
            entry.kind,
            Kind::Whiteout | Kind::Opaque | Kind::Hardlink(_)
        ) {
            return;
        }
        self.uids.insert(entry.uid);
        self.gids.insert(entry.gid);
        if !entry.xattrs.is_empty() {
            let (users, groups) = xattr::acl_ids(&entry.xattrs);
            self.uids.extend(users);
            self.gids.extend(groups);
        }
    }
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
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Another program's file, or another version's.
    #[error("load the layer index: it is not of this version")]
    Version,
    /// It cannot be read.
    #[error("load the layer index")]
    Read(#[from] std::io::Error),
    /// Cut off or overwritten.
    #[error("load the layer index: it is damaged at byte {offset}")]
    Damaged {
        /// Where.
        offset: u64,
    },
}

impl LayerIndex {
    /// Puts an index together; the owners are collected here.
    pub fn new(diff_id: DiffId, size: u64, records: Vec<Record>) -> Self {
        let mut owners = Owners::default();
        records.iter().for_each(|record| owners.add(&record.entry));
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
        let all = self
            .records
            .iter()
            .try_for_each(|record| growing.push(record));
        all.expect("it is all in memory");
        growing.finish(self.diff_id, self.size)
    }

    /// Reads the stored form.
    pub fn decode(data: &[u8]) -> Result<Self, IndexError> {
        let mut reader = IndexReader::of_bytes(data)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok(Self::new(reader.diff_id(), reader.size(), records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Time, Xattrs};
    use crate::path::TreePath;
    use image::Digest;

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
        let decoded = LayerIndex::decode(&index.stored().bytes());
        assert_eq!(decoded.expect("decoded"), index);
        assert_eq!(
            index.owners.uids,
            BTreeSet::from([0, 65_532, 4_000_000_000])
        );
    }

    #[test]
    fn f14_a_damaged_index_is_refused_at_every_length() {
        let stored = sample().stored().bytes();
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
        let stored = sample().stored().bytes();
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert!(LayerIndex::decode(&flipped).is_err(), "{at}");
        }
    }
}
