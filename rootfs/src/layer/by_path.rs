//! The records of layers side by side, in the order of their paths.
//!
//! Invariant: of layers of any length a bounded part is in memory.

use std::cmp::Ordering;
use std::iter::Peekable;

use image::Scratch;

use crate::entry::Kind;
use crate::layer::{IndexError, IndexReader, Record};
use crate::sorted::{Entries, ScratchError, SortedMap};

/// The records of one layer. Of several for one path the last counts; what makes a directory opaque is beside the directory.
pub struct RecordsByPath(SortedMap<Record>);

impl RecordsByPath {
    /// Of no layer; what does not fit into memory goes to `scratch`.
    pub fn in_scratch(scratch: &Scratch) -> Self {
        Self(SortedMap::new(scratch))
    }

    /// Takes in a layer.
    ///
    /// # Errors
    /// When its index cannot be read.
    pub fn add(&mut self, mut index: IndexReader<'_>) -> Result<(), IndexError> {
        while let Some(record) = index.next()? {
            let mut key = record.entry.path.as_bytes().to_vec();
            // No path has such a byte, and it comes before all others.
            key.extend([0, u8::from(record.entry.kind == Kind::Opaque)]);
            let kept = self.0.insert(&key, record);
            kept.map_err(|error| IndexError::Read(std::io::Error::other(error)))?;
        }
        Ok(())
    }

    /// Both layers, path by path.
    pub fn beside<'r>(&'r self, other: &'r Self) -> Beside<'r> {
        Beside {
            one: self.0.iter().peekable(),
            two: other.0.iter().peekable(),
        }
    }
}

/// What two layers have at each path.
pub struct Beside<'r> {
    one: Peekable<Entries<'r, Record>>,
    two: Peekable<Entries<'r, Record>>,
}

impl Iterator for Beside<'_> {
    type Item = Result<(Option<Record>, Option<Record>), ScratchError>;

    fn next(&mut self) -> Option<Self::Item> {
        // An error is given like what comes first.
        let order = match (self.one.peek(), self.two.peek()) {
            (None, None) => return None,
            (Some(Err(_)), _) | (_, None) => Ordering::Less,
            (_, Some(Err(_))) | (None, _) => Ordering::Greater,
            (Some(Ok((one, _))), Some(Ok((two, _)))) => one.cmp(two),
        };
        let one = self.one.next_if(|_| order.is_le()).transpose();
        let two = self.two.next_if(|_| order.is_ge()).transpose();
        let value = |entry: Option<(Vec<u8>, Record)>| entry.map(|(_, record)| record);
        Some(one.and_then(|one| Ok((value(one), value(two?)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::layer::{LayerIndex, Stored};
    use crate::path::TreePath;
    use image::{DiffId, Digest};

    fn layer(paths: &[&str]) -> RecordsByPath {
        let record = |path: &&str| {
            let (path, kind) = match path.strip_suffix('!') {
                Some(path) => (path, Kind::Opaque),
                None => (*path, Kind::Dir),
            };
            let path = TreePath::scoped(path).expect("a path");
            Record {
                entry: Entry::new(path, kind, 0o755),
                stored: Stored::Nothing,
                sum: 0,
            }
        };
        let records = paths.iter().map(record).collect();
        let index = LayerIndex::new(DiffId::new(Digest::of(b"")), 0, records);
        let bytes = index.stored().bytes();
        let mut sorted = RecordsByPath::in_scratch(&Scratch::default());
        let read = IndexReader::of_bytes(&bytes).expect("an index");
        sorted.add(read).expect("read");
        sorted
    }

    #[test]
    fn two_layers_are_beside_each_other_path_by_path() {
        let (one, two) = (
            layer(&["a", "b", "a!", "a/x", "a.b"]),
            layer(&["c", "a", "a/x/y"]),
        );
        let shown = |record: Option<Record>| {
            let mark = |record: Record| match record.entry.kind {
                Kind::Opaque => format!("{}!", record.entry.path),
                _ => record.entry.path.to_string(),
            };
            record.map(mark).unwrap_or_default()
        };
        let found = one.beside(&two).map(|both| {
            let (one, two) = both.expect("read");
            format!("{}|{}", shown(one), shown(two))
        });
        let found: Vec<String> = found.collect();
        let wanted = ["/a|/a", "/a!|", "/a.b|", "/a/x|", "|/a/x/y", "/b|", "|/c"];
        assert_eq!(found, wanted);
    }
}
