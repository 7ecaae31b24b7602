//! Archives and layers: the reader, the merged view, ADD's plan, the stored index.
//!
//! Invariant: nothing touches a disk, so what is tried here is what happens before a byte is written.

use std::io::{self, Read};
use std::sync::Arc;

use rootfs::copy::{CopyRequest, CopySource, Owner, Parents, Rules, Verdict, plan};
use rootfs::layer::{Dialect, Limits, ReadIndex, Record, Stored};
use rootfs::{Entry, Kind, LayerContents, LayerIndex, LayerReader, TreePath, View};

/// A tar stream as a layer and as the source of ADD, as it is and with checksums that fit, and a stored index.
pub fn archive(data: &[u8]) {
    stored_index(data);
    for bytes in [data.to_vec(), with_checksums(data)] {
        if let Some(index) = layer(&bytes) {
            same_when_stored(&index);
            let _ = View::of([&index, &index]);
        }
        add(bytes);
    }
}

/// Every entry begins with a block of 512 bytes, and its content lies within the stream.
fn layer(data: &[u8]) -> Option<LayerIndex> {
    let mut reader = LayerReader::new(data, Dialect::Layer, Limits::default());
    let mut index = ReadIndex::default();
    let mut count = 0;
    while let Some(record) = reader.next().ok()? {
        let path = &record.entry.path;
        assert!(!path.as_bytes().starts_with(b"/") && path.components().all(|name| name != b".."));
        for extent in record.extents() {
            let end = extent.at.checked_add(extent.len);
            assert!(end.is_some_and(|end| end <= record.entry.size()));
            assert!(extent.stored_at.checked_add(extent.len).is_some());
        }
        count += 1;
        index.add(record, &reader).expect("it is all in memory");
    }
    assert!(count <= data.len() / 512);
    assert!(reader.offset() <= data.len() as u64);
    let index = index.finish(&reader, any_layer(), reader.offset());
    Some(index.expect("it is all in memory").decode())
}

fn any_layer() -> image::DiffId {
    let digest = format!("sha256:{}", "0".repeat(64));
    digest.parse().expect("a digest")
}

fn index_of(size: usize, records: Vec<Record>) -> LayerIndex {
    LayerIndex::new(any_layer(), size as u64, records)
}

fn same_when_stored(index: &LayerIndex) {
    let stored = LayerIndex::decode(&index.stored().bytes());
    assert_eq!(stored.expect("it was just stored"), *index);
}

fn stored_index(data: &[u8]) {
    if let Ok(index) = LayerIndex::decode(data) {
        same_when_stored(&index);
    }
}

/// The only file of a context, ADDed into an image that holds the usual traps.
fn add(bytes: Vec<u8>) {
    let file = |path: &str, kind: Kind| Record {
        entry: Entry::new(TreePath::clamped(path).expect("a path"), kind, 0o644),
        stored: Stored::Nothing,
        sum: 0,
    };
    let mut archive = file(
        "in",
        Kind::File {
            size: bytes.len() as u64,
        },
    );
    if !bytes.is_empty() {
        archive.stored = Stored::Whole { at: 0 };
        archive.sum = Record::sum_of(&bytes);
    }
    let context = index_of(bytes.len(), vec![archive]);
    let image = index_of(
        0,
        vec![
            file("file", Kind::File { size: 0 }),
            file("link", Kind::Symlink(b"/".to_vec())),
            file("loop", Kind::Symlink(b"loop".to_vec())),
            file("up", Kind::Symlink(b"../../../etc".to_vec())),
            file("in", Kind::Dir),
        ],
    );
    let context = View::of([&context]).expect("one file");
    let context = context.with_contents(Arc::new(Bytes(bytes)));
    let image = View::of([&image]).expect("a small image");
    let request = CopyRequest {
        sources: &[CopySource::Path("in")],
        destination: "/",
        owner: Owner::Root,
        chmod: None,
        parents: Parents::Dropped,
        unpack: true,
        date: &|time| time,
        scratch: rootfs::Scratch::default(),
    };
    let rules = Rules {
        glob: &|_, _| false,
        ignore: &|_, _| Verdict::Keep,
        exclude: &|_, _| Verdict::Keep,
    };
    if let Ok(plan) = plan(&request, &context, Some(&image), &rules) {
        for entry in plan.entries() {
            let path = entry.expect("it is all in memory").path;
            assert!(path.components().all(|name| name != b".." && name != b"."));
        }
    }
}

/// The context's one file.
struct Bytes(Vec<u8>);

impl LayerContents for Bytes {
    fn open(&self, _: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let start = usize::try_from(offset).map_or(self.0.len(), |at| at.min(self.0.len()));
        Ok(Box::new(self.0[start..].take(len)))
    }
}

/// The checksum stands in the way of every mutation of a header, so that one which looks like a header gets one that fits.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut repaired = data.to_vec();
    for block in repaired.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    repaired
}
