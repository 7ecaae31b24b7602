//! What closures read of strangers: ELF files, `ld.so.cache`, musl's path file, scripts, package lists.
//!
//! Invariant: nothing touches a disk: the input is the program, a library, the loader, the cache and the lists of one small image.

use std::io::{self, Read};
use std::sync::Arc;

use rootfs::closure::{Packages, Resolver, Settings};
use rootfs::layer::{Record, Stored};
use rootfs::{Entry, Kind, LayerContents, LayerIndex, TreePath, View};

/// Where the input is in the image: each place is read by another reader.
const PLACES: [&str; 8] = [
    "program",
    "lib64/ld-linux-x86-64.so.2",
    "usr/lib/libz.so.1",
    "etc/ld.so.cache",
    "etc/ld-musl-x86_64.path",
    "lib/apk/db/installed",
    "var/lib/dpkg/info/p.list",
    "var/lib/dpkg/status.d/p.md5sums",
];

/// An image that is made of the input, asked twice about its program: the answer is the same, and inside the image.
pub fn closure(data: &[u8]) {
    let file = |path: &str| Record {
        entry: Entry::new(
            TreePath::clamped(path).expect("a path"),
            Kind::File {
                size: data.len() as u64,
            },
            0o755,
        ),
        stored: match data.is_empty() {
            true => Stored::Nothing,
            false => Stored::Whole { at: 0 },
        },
        sum: Record::sum_of(data),
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    let diff_id = digest.parse().expect("a digest");
    let index = LayerIndex::new(diff_id, data.len() as u64, PLACES.map(file).to_vec());
    let view = View::of([&index]).expect("a few files");
    let view = view.with_contents(Arc::new(Bytes(data.to_vec())));
    let program = TreePath::clamped(PLACES[0]).expect("a path");
    let answer = || Resolver::new(&view, Settings::default()).closure(&program);
    let closure = answer();
    assert_eq!(closure, answer());
    for file in &closure.files {
        assert!(PLACES.contains(&&*String::from_utf8_lossy(file.path.as_bytes())));
    }
    Packages::of(&view, closure.files.iter().map(|file| &file.path))
        .expect("lists are never refused");
}

/// Every file's content.
struct Bytes(Vec<u8>);

impl LayerContents for Bytes {
    fn open(&self, _: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let start = usize::try_from(offset).map_or(self.0.len(), |at| at.min(self.0.len()));
        Ok(Box::new(self.0[start..].take(len)))
    }
}
