//! Layers made to do harm: rows S01 to S22 of the threat table. Beside every root lies a canary that must stay as it was.

extern crate rbuild_rootfs as rootfs;

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Fixture, Tar};
use proptest::prelude::*;
use rootfs::layer::{Dialect, Limits, ReadError};
use rootfs::{LayerReader, Tree as _, View};

/// Unpacks a single layer over nothing; the canary is checked when the fixture goes.
fn unpack(
    tar: Tar,
) -> (
    Fixture,
    Result<rootfs::unpack::Unpacked, rootfs::unpack::UnpackError>,
) {
    let fixture = Fixture::new();
    let outcome = fixture.unpack(&tar.end(), &View::new());
    fixture.check_canary();
    (fixture, outcome)
}

fn refused(tar: Vec<u8>) -> ReadError {
    let mut reader = LayerReader::new(&tar[..], Dialect::Layer, Limits::default());
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("accepted"),
            Err(error) => return error,
        }
    }
}

#[test]
fn s01_a_file_replaces_the_link_of_the_same_name() {
    let fixture = Fixture::new();
    let canary = fixture.canary();
    let tar = Tar::new()
        .symlink("x", &canary)
        .file("x", b"mine")
        .symlink("y", &canary)
        .hardlink("z", "y")
        .file("z", b"mine");
    fixture.unpack(&tar.end(), &View::new()).expect("unpacks");
    fixture.check_canary();
    assert_eq!(std::fs::read(fixture.path("x")).expect("file"), b"mine");
    assert!(
        std::fs::symlink_metadata(fixture.path("z"))
            .expect("file")
            .is_file()
    );
}

#[test]
fn s02_nothing_is_made_through_a_link_that_leads_out() {
    let (fixture, outcome) = unpack(Tar::new().symlink("s", "..").file("s/a/b/f", b"x"));
    outcome.expect("scoped");
    assert!(
        fixture.path("a/b/f").is_file(),
        "as Docker: .. of the root is the root"
    );
    assert!(!fixture.outside("a").exists());
}

#[test]
fn s03_directory_entry_on_symlink_does_not_chmod_target() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .symlink("d", &fixture.canary_dir())
        .dir("d", 0o777);
    fixture.unpack(&tar.end(), &View::new()).expect("unpacks");
    fixture.check_canary();
    let made = std::fs::symlink_metadata(fixture.path("d")).expect("made");
    assert!(made.is_dir());
    assert_eq!(made.permissions().mode() & 0o7777, 0o777);
}

#[test]
fn s04_two_sizes_for_one_entry_are_refused() {
    let inner = Tar::new().file("hidden", b"x").end();
    let tar = Tar::new().pax(&[("size", "0")]).file("outer", &inner).end();
    assert!(matches!(refused(tar), ReadError::SizeConflict { .. }));
    let tar = Tar::new()
        .pax(&[("size", &inner.len().to_string())])
        .file("outer", b"")
        .raw(&inner)
        .end();
    assert!(matches!(refused(tar), ReadError::SizeConflict { .. }));
}

#[test]
fn s04_a_pax_header_before_a_long_name_is_refused() {
    let tar = Tar::new()
        .pax(&[("path", "a")])
        .long_name("b")
        .file("c", b"")
        .end();
    assert!(matches!(refused(tar), ReadError::Header { .. }));
    let tar = Tar::new()
        .long_name("b")
        .pax(&[("path", "a")])
        .file("c", b"")
        .end();
    assert!(matches!(refused(tar), ReadError::Header { .. }));
}

#[test]
fn s04_content_on_a_link_or_directory_is_refused() {
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let inner = Tar::new().file("hidden", b"x").end();
        let tar = Tar::new().entry("x", kind, "y", 0o644, &inner).end();
        assert!(
            matches!(refused(tar), ReadError::Header { .. }),
            "type {}",
            char::from(kind)
        );
    }
}

#[test]
fn s05_a_malformed_pax_record_is_refused_with_its_offset() {
    let tar = Tar::new()
        .file("first", b"1")
        .entry("pax", b'x', "", 0o644, b"12 path=abc\n99 path=x\n")
        .file("f", b"")
        .end();
    match refused(tar) {
        ReadError::Pax { offset, .. } => assert_eq!(offset, 512 * 3 + 12),
        other => panic!("{other}"),
    }
}

#[test]
fn s06_metadata_on_a_hard_link_to_a_link_stays_inside() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .symlink("l", &fixture.canary())
        .hardlink("h", "l")
        .entry("h", b'1', "l", 0o777, b"");
    fixture.unpack(&tar.end(), &View::new()).expect("unpacks");
    fixture.check_canary();
}

#[test]
fn s08_the_root_is_never_replaced() {
    for name in [".", "/", "./", "", "a/.."] {
        let fixture = Fixture::new();
        let tar = Tar::new()
            .symlink(name, &fixture.canary_dir())
            .file("x", b"");
        assert!(
            fixture.unpack(&tar.end(), &View::new()).is_err(),
            "{name:?}"
        );
        fixture.check_canary();
        assert!(
            std::fs::symlink_metadata(fixture.path(""))
                .expect("root")
                .is_dir()
        );
    }
}

#[test]
fn s09_links_and_names_are_scoped_or_refused() {
    let depth = "../".repeat(20);
    let fixture = Fixture::new();
    let absolute = fixture.canary_dir();
    let relative = format!("{depth}{}", absolute.trim_start_matches('/'));
    for target in [
        absolute.as_str(),
        relative.as_str(),
        "l",
        "..",
        "../..",
        "/",
        "../outside-evil",
    ] {
        for last in ["l/new", "l/sub/new"] {
            for kind in [b'0', b'5', b'2', b'6'] {
                let fixture = Fixture::new();
                let tar = Tar::new()
                    .symlink("l", target)
                    .entry(last, kind, "t", 0o777, b"");
                let _scoped_or_refused = fixture.unpack(&tar.end(), &View::new());
                fixture.check_canary();
            }
            let fixture = Fixture::new();
            let tar = Tar::new()
                .symlink("l", target)
                .hardlink("h", "l/canary")
                .hardlink("l/h", "l");
            let _scoped_or_refused = fixture.unpack(&tar.end(), &View::new());
            fixture.check_canary();
        }
    }
    for name in ["../x", "a/../../x", "../root-evil/x"] {
        assert!(
            matches!(
                refused(Tar::new().file(name, b"").end()),
                ReadError::Name { .. }
            ),
            "{name}"
        );
    }
    let (fixture, outcome) = unpack(Tar::new().file("/abs/f", b"x"));
    outcome.expect("a leading slash is the root of the image");
    assert!(fixture.path("abs/f").is_file());
}

#[test]
fn s09_a_link_to_itself_is_refused_not_followed_for_ever() {
    let (_fixture, outcome) = unpack(
        Tar::new()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b""),
    );
    assert!(outcome.is_err());
}

#[test]
fn s10_a_hard_link_target_is_never_looked_up_from_the_working_directory() {
    assert!(
        std::path::Path::new("Cargo.toml").exists(),
        "tests run in the package's directory"
    );
    let (fixture, outcome) = unpack(Tar::new().hardlink("x", "Cargo.toml"));
    assert!(outcome.is_err());
    assert!(!fixture.path("x").exists());
}

#[test]
fn s13_malformed_whiteouts_are_refused() {
    for name in [
        ".wh.",
        ".wh...",
        ".wh..",
        "d/.wh.",
        ".wh..wh.x",
        ".wh.d/f",
        ".wh..wh..opq/f",
        "d/.wh..wh.plnk",
    ] {
        assert!(
            matches!(
                refused(Tar::new().dir("d", 0o755).file(name, b"").end()),
                ReadError::Whiteout { .. }
            ),
            "{name}"
        );
    }
    assert!(matches!(
        refused(Tar::new().dir(".wh..wh..opq", 0o755).end()),
        ReadError::Whiteout { .. }
    ));
    assert!(matches!(
        refused(Tar::new().symlink(".wh..wh..opq", "/").end()),
        ReadError::Whiteout { .. }
    ));
}

#[test]
fn s13_content_of_a_whiteout_belongs_to_nothing() {
    let tar = Tar::new().file(".wh.x", b"content").file("y", b"").end();
    let mut reader = LayerReader::new(&tar[..], Dialect::Layer, Limits::default());
    let whiteout = reader.next().expect("read").expect("an entry");
    assert_eq!(whiteout.entry.kind, rootfs::Kind::Whiteout);
    assert_eq!(whiteout.extents(), []);
    let file = reader.next().expect("read").expect("an entry");
    assert_eq!(file.entry.path.as_bytes(), b"y");
}

#[test]
fn s13_a_whiteout_through_a_link_deletes_inside_only() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .symlink("s", &fixture.canary_dir())
        .file("s/.wh.canary", b"")
        .file("s/.wh..wh..opq", b"");
    fixture.unpack(&tar.end(), &View::new()).expect("scoped");
    fixture.check_canary();
}

#[test]
fn s14_overlay_attributes_are_dropped_and_its_device_is_refused() {
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.user.overlay.opaque", "y"),
            ("SCHILY.xattr.user.fine", "1"),
        ])
        .dir("d", 0o755);
    let (fixture, outcome) = unpack(tar);
    let unpacked = outcome.expect("unpacks");
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
    let names: Vec<_> = unpacked.index.decode().records[0]
        .entry
        .xattrs
        .keys()
        .cloned()
        .collect();
    assert_eq!(names, [b"user.fine".to_vec()]);
    let tree = fixture.tree();
    let path = rootfs::TreePath::scoped("d").expect("valid");
    assert_eq!(tree.xattrs(&path).expect("read").len(), 1);
    assert!(matches!(
        refused(Tar::new().device("c", b'3', 0, 0).end()),
        ReadError::Header { .. }
    ));
}

#[test]
fn s15_devices_are_counted_and_their_numbers_checked() {
    let (fixture, outcome) = unpack(
        Tar::new()
            .device("null", b'3', 1, 3)
            .device("sda", b'4', 8, 0),
    );
    assert_eq!(outcome.expect("unpacks").devices, 2);
    assert!(!fixture.path("null").exists());
    assert!(matches!(
        refused(Tar::new().device("c", b'3', 1 << 12, 0).end()),
        ReadError::Header { .. }
    ));
    assert!(matches!(
        refused(Tar::new().device("c", b'3', 1, 1 << 20).end()),
        ReadError::Header { .. }
    ));
}

#[test]
fn s17_absurd_sizes_are_refused_before_anything_is_allocated() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let tar = Tar::new().header_only("x", kind, 2 << 30).end();
        assert!(
            matches!(refused(tar), ReadError::Limit { .. }),
            "{}",
            char::from(kind)
        );
    }
    assert!(matches!(
        refused(Tar::new().header_only("x", b'0', 1 << 62).end()),
        ReadError::Limit { .. }
    ));
}

#[test]
fn s17_a_name_of_half_a_million_directories_is_refused() {
    for (kind, levels) in [
        (b'0', 500_000),
        (b'2', 500_000),
        (b'0', 5_000),
        (b'2', 5_000),
    ] {
        let name = "a/".repeat(levels);
        let tar = match kind {
            b'2' => Tar::new().symlink("x", &name),
            _ => Tar::new().long_name(&name).file("x", b""),
        };
        let refusal = refused(tar.end());
        assert!(matches!(refusal, ReadError::Limit { .. }), "{refusal}");
    }
}

#[test]
fn s17_a_sparse_map_of_ten_million_regions_is_refused() {
    let pax = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "5"),
    ];
    let tar = Tar::new().pax(&pax).file("s", b"10000000\n0\n1\n").end();
    let refusal = refused(tar);
    assert!(
        matches!(refusal, ReadError::Limit { .. } | ReadError::Header { .. }),
        "{refusal}"
    );
}

#[test]
fn s20_a_parent_that_is_a_link_below_is_followed_in_the_root() {
    let fixture = Fixture::new();
    let lower = fixture.unpack_as(
        "lower",
        &Tar::new()
            .dir("usr", 0o755)
            .dir("usr/lib", 0o751)
            .symlink("lib", "usr/lib")
            .end(),
        &View::new(),
    );
    let view = View::of([&lower.index.decode()]).expect("view");
    let upper = fixture.unpack_as("upper", &Tar::new().file("lib/x", b"x").end(), &view);
    assert!(fixture.outside("upper/usr/lib/x").is_file());
    let implied = std::fs::metadata(fixture.outside("upper/usr/lib"))
        .expect("made")
        .permissions()
        .mode();
    assert_eq!(
        implied & 0o7777,
        0o751,
        "an implied parent looks as it does below"
    );
    let merged = View::of([&lower.index.decode(), &upper.index.decode()]).expect("view");
    assert!(
        merged
            .node(&rootfs::TreePath::scoped("usr/lib/x").expect("valid"))
            .expect("looked")
            .is_some()
    );
}

#[test]
fn s20_the_last_entry_of_a_name_wins() {
    let tar = Tar::new()
        .file("x", b"1")
        .dir("x", 0o755)
        .file("x/in", b"")
        .symlink("x", "y")
        .file("x", b"2");
    let (fixture, outcome) = unpack(tar);
    outcome.expect("unpacks");
    assert_eq!(std::fs::read(fixture.path("x")).expect("file"), b"2");
}

#[test]
fn s21_garbage_is_no_layer() {
    let text = b"hello, I am a text file\n".repeat(100);
    let whole = Tar::new().file("a", &[7; 2000]).end();
    let mut wrong = whole.clone();
    wrong[257..262].copy_from_slice(b"xstar");
    for data in [
        Vec::new(),
        vec![7; 100],
        vec![0xaa; 4096],
        text,
        whole[..1000].to_vec(),
        whole[..600].to_vec(),
        wrong,
    ] {
        refused(data);
    }
}

#[test]
fn f26_odd_names_round_trip() {
    let mut names: Vec<Vec<u8>> = (1..=255)
        .filter(|byte| *byte != b'/' && *byte != b'.')
        .map(|byte| vec![byte])
        .collect();
    names.push(vec![b'n'; 255]);
    let tar = names.iter().fold(Tar::new(), |tar, name| {
        tar.entry_bytes(name, b'0', b"", 0o644, b"")
    });
    let (fixture, outcome) = unpack(tar);
    outcome.expect("unpacks");
    let mut listed: Vec<Vec<u8>> = fixture
        .tree()
        .read_dir(&rootfs::TreePath::root())
        .expect("listed")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    listed.sort();
    assert_eq!(listed, names);
}

#[test]
fn f32_holes_stay_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let pax = [
        ("GNU.sparse.size", "1099511627776"),
        ("GNU.sparse.map", "0,3,1099511627773,3"),
    ];
    let (fixture, outcome) = unpack(Tar::new().pax(&pax).file("s", b"abcxyz"));
    outcome.expect("unpacks");
    let stat = std::fs::metadata(fixture.path("s")).expect("made");
    assert_eq!(stat.len(), 1 << 40);
    assert!(stat.blocks() < 100, "{}", stat.blocks());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_layer_never_panics_and_never_leaves_the_root(changes in prop::collection::vec((0..8192_usize, any::<u8>()), 1..12)) {
        let mut tar = Tar::new()
            .pax(&[("path", "a/b"), ("mtime", "1.5"), ("SCHILY.xattr.user.k", "v")])
            .file("x", b"content")
            .long_name("long/name")
            .file("y", b"")
            .symlink("l", "/a")
            .hardlink("h", "a/b")
            .dir("l/d", 0o755)
            .file("l/.wh.b", b"")
            .pax(&[("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,3,90,3")])
            .file("s", b"abcdef")
            .end();
        for (at, byte) in changes {
            let at = at % tar.len();
            tar[at] = byte;
            // A header that was changed gets its checksum back, or nothing behind it would ever be reached.
            let start = at / 512 * 512;
            if tar[start + 257..start + 262] == *b"ustar" {
                tar[start + 148..start + 156].fill(b' ');
                let sum: u32 = tar[start..start + 512].iter().map(|byte| u32::from(*byte)).sum();
                tar[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let fixture = Fixture::new();
        let _refused_or_unpacked = fixture.unpack(&tar, &View::new());
        fixture.check_canary();
    }
}
