//! Archives as trees to copy from: nothing of them is unpacked, and nothing of them is believed later that was not read first.

extern crate rbuild_rootfs as rootfs;

mod common;

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use common::Tar;
use image::Stop;
use rootfs::copy::CopyError;
use rootfs::{NodeKind, PackedTar, PackedTree, Scratch, Tree, TreePath, index_tar};

struct Place(tempfile::TempDir);

impl Place {
    fn with(tar: &[u8]) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        fs::write(place.stream(), tar).expect("the tar");
        place
    }

    fn stream(&self) -> PathBuf {
        self.0.path().join("stream")
    }

    fn index(&self) -> Result<Option<(PackedTar, PackedTree)>, CopyError> {
        let limits = (&Scratch::below(self.0.path()), &Stop::default());
        index_tar(&self.stream(), self.0.path(), limits)
    }
}

fn text(tree: &dyn Tree, path: &str) -> std::io::Result<String> {
    let path = TreePath::clamped(path).expect("a path");
    let (path, _) = tree.lookup(&path).expect("readable").expect("there");
    let mut content = String::new();
    let mut file = tree.open(&path).expect("a file").content;
    file.read_to_string(&mut content).map(|_| content)
}

#[test]
fn an_archive_is_a_tree_in_this_process_and_in_another_one() {
    let tar = Tar::new()
        .dir("d", 0o700)
        .file("d/a", b"first")
        .symlink("up", "/../../d")
        .file("up/b", b"through a link")
        .hardlink("c", "d/a")
        .file("d/a", b"last")
        .file("twice", b"a file")
        .dir("twice", 0o755)
        .file("implied/x", b"");
    let place = Place::with(&tar.end());
    let (packed, tree) = place.index().expect("it is read").expect("an archive");
    assert_eq!(packed.tar, place.stream(), "it is used where it is");
    let again = PackedTree::open(&packed, &Scratch::default()).expect("it opens");
    for tree in [&tree, &again] {
        let tree: &dyn Tree = tree;
        assert_eq!(text(tree, "d/a").expect("whole"), "last");
        assert_eq!(text(tree, "up/b").expect("whole"), "through a link");
        assert_eq!(text(tree, "d/b").expect("whole"), "through a link");
        assert_eq!(
            text(tree, "c").expect("whole"),
            "first",
            "a link is to what was there"
        );
        let node = |path: &str| tree.node(&TreePath::clamped(path).expect("a path"));
        let kind = |path: &str| node(path).expect("readable").map(|meta| meta.kind);
        assert_eq!(kind("twice"), Some(NodeKind::Dir), "the last one counts");
        assert_eq!(kind("up"), Some(NodeKind::Symlink));
        let implied = node("implied").expect("readable").expect("there");
        assert_eq!((implied.mode, implied.mtime.secs), (0o755, 0));
    }
    let below = tree.below(&TreePath::clamped("up").expect("a path"));
    let below = below.expect("readable").expect("a directory");
    assert_eq!(text(&below, "/../b").expect("whole"), "through a link");
    let file = tree.below(&TreePath::clamped("d/a").expect("a path"));
    assert!(file.expect("readable").is_none(), "a file is no directory");
}

#[test]
fn what_a_tar_said_first_is_what_counts() {
    let content = b"0123456789".repeat(100);
    let tar = Tar::new().file("a", &content).end();
    let place = Place::with(&tar);
    let (packed, tree) = place.index().expect("it is read").expect("an archive");
    let mut changed = tar.clone();
    changed[512 + 700] ^= 1;
    fs::write(place.stream(), &changed).expect("the tar");
    let later = PackedTree::open(&packed, &Scratch::default()).expect("it opens");
    for tree in [tree, later] {
        let error = text(&tree, "a").expect_err("another content");
        assert!(error.to_string().contains("not what it was"), "{error}");
    }
    assert!(place.stream().exists(), "it is the caller's");
}

#[test]
fn a_damaged_archive_is_none_at_all() {
    let good = Tar::new().file("a", b"a").file("b", &[7; 2000]).end();
    let cases = [
        ("cut off", good[..1500].to_vec()),
        (
            "a link to nothing",
            Tar::new().file("a", b"a").hardlink("l", "gone").end(),
        ),
        (
            "a file on the way",
            Tar::new().file("a", b"a").file("a/b", b"b").end(),
        ),
    ];
    for (what, tar) in cases {
        assert!(Place::with(&tar).index().is_err(), "{what}");
    }
    for text in [&b"FROM scratch\n"[..], b""] {
        let found = Place::with(text).index().expect("it is read");
        assert!(found.is_none(), "no archive");
    }
}

#[test]
fn a_compressed_archive_is_stored_uncompressed_beside_its_index() {
    let tar = Tar::new().file("a", b"packed").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).expect("memory");
    let place = Place::with(&gzip.finish().expect("memory"));
    let (packed, tree) = place.index().expect("it is read").expect("an archive");
    assert_ne!(packed.tar, place.stream());
    assert_eq!(fs::read(&packed.tar).expect("the tar"), tar);
    assert_eq!(text(&tree, "a").expect("whole"), "packed");
}
