//! Files that lie, links that loop, roots that point out of themselves: findings that name the file, and an end in time.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rootfs::closure::{Packages, Settings};
use rootfs::{DirTree, Ownership, Root};

use crate::forge::Forge;
use crate::tree::{Place, closure_in, fatal, files, missing, path, plain};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn program(needed: &[&str]) -> Forge {
    Forge::program(LOADER, needed)
}

#[test]
fn s04_a_program_cut_off_anywhere_is_a_finding() {
    let place = Place::with_glibc();
    let whole = Forge {
        requires: vec![("libz.so.1".to_owned(), "V".to_owned())],
        defines: vec!["W".to_owned()],
        dlopen: Some("[{\"soname\":[\"x\"]}]".to_owned()),
        ..program(&["libz.so.1"])
    };
    let bytes = whole.bytes();
    for length in 0..bytes.len() {
        place.write("/cut", &bytes[..length]);
        let closure = place.closure("/cut");
        assert!(!closure.starts(), "{length}");
        assert!(
            fatal(&closure)[0].starts_with("/cut: "),
            "{:?}",
            fatal(&closure)
        );
    }
}

#[test]
fn s04_a_byte_that_is_wrong_anywhere_is_no_panic() {
    let place = Place::with_glibc();
    place.elf("/usr/lib/x86_64-linux-gnu/libz.so.1", &Forge::library(&[]));
    let whole = Forge {
        requires: vec![("libz.so.1".to_owned(), "V".to_owned())],
        defines: vec!["W".to_owned()],
        ..program(&["libz.so.1"]).runpath("$ORIGIN/$LIB:/x")
    };
    let bytes = whole.bytes();
    let start = Instant::now();
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0xff] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            place.write("/wrong", &wrong);
            let _ = place.closure("/wrong");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn case_20_a_truncated_library_is_reported_in_the_words_of_the_loader() {
    let place = Place::with_glibc();
    place.elf("/prog", &program(&["libz.so.1"]));
    let library = "/usr/lib/x86_64-linux-gnu/libz.so.1";
    let bytes = Forge::library(&[]).bytes();
    place.write(library, &bytes[..10]);
    assert_eq!(
        fatal(&place.closure("/prog")),
        [format!("{library}: file too short")]
    );
    place.write(
        library,
        "not a library, although it is long enough to be one, with 64 bytes",
    );
    assert_eq!(
        fatal(&place.closure("/prog")),
        [format!("{library}: invalid ELF header")]
    );
    place.write(library, &bytes[..bytes.len() - 1]);
    assert!(fatal(&place.closure("/prog"))[0].contains("truncated"));
}

#[test]
fn case_20_a_looping_or_dangling_link_is_missing() {
    let place = Place::with_glibc();
    place
        .elf("/prog", &program(&["liba.so.1", "libb.so.1"]))
        .link("/usr/lib/x86_64-linux-gnu/liba.so.1", "liba.so.1")
        .link("/usr/lib/x86_64-linux-gnu/libb.so.1", "gone")
        .link("/x", "y/a")
        .link("/y", "x/b")
        .elf("/through", &Forge::program("/x/ld.so", &[]));
    assert_eq!(missing(&place.closure("/prog")), ["liba.so.1", "libb.so.1"]);
    let closure = place.closure("/through");
    assert_eq!(
        fatal(&closure),
        ["/through: /x/ld.so: Too many levels of symbolic links"]
    );
}

#[test]
fn ten_gigabytes_of_hole_cost_nothing() {
    let place = Place::with_glibc();
    place.elf("/sparse", &program(&[]));
    let file = File::options()
        .write(true)
        .open(place.on_disk("/sparse"))
        .expect("it");
    file.set_len(10 << 30).expect("a hole");
    place.write("/hole", "");
    File::options()
        .write(true)
        .open(place.on_disk("/hole"))
        .expect("it")
        .set_len(10 << 30)
        .expect("a hole");
    let start = Instant::now();
    assert!(place.closure("/sparse").starts());
    assert_eq!(fatal(&place.closure("/hole")).len(), 1);
    // Everything that a header can name is in the hole, and all of it is asked for.
    let mut bytes = program(&[]).bytes();
    for number in 0..4 {
        let at = 64 + 56 * number;
        bytes
            .get_mut(at + 32..at + 40)
            .into_iter()
            .for_each(|size| size.copy_from_slice(&(9_u64 << 30).to_le_bytes()));
    }
    place.write("/sparse", &bytes);
    File::options()
        .write(true)
        .open(place.on_disk("/sparse"))
        .expect("it")
        .set_len(10 << 30)
        .expect("a hole");
    assert!(!place.closure("/sparse").starts());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_chain_of_libraries_ends() {
    let place = Place::with_glibc();
    for number in 0..300 {
        let next = format!("lib{}.so", (number + 1) % 300);
        place.elf(
            &format!("/usr/lib/x86_64-linux-gnu/lib{number}.so"),
            &Forge::library(&[&next]),
        );
    }
    place.elf("/prog", &program(&["lib0.so"]));
    assert_eq!(plain(&place.closure("/prog")).len(), 301);
    let many = [
        "/x".repeat(2000),
        "a/".repeat(2000),
        ":".repeat(4000),
        "$LIB".repeat(1000),
    ];
    for path in many {
        place.elf("/deep", &program(&["lib0.so"]).runpath(&path));
        assert!(place.closure("/deep").starts());
        let _ = place.closure(&path);
    }
}

#[test]
fn nothing_outside_of_the_root_is_found() {
    let outside = tempfile::tempdir().expect("a directory");
    let secret = outside.path().join("libz.so.1");
    fs::write(&secret, Forge::library(&[]).bytes()).expect("a file");
    let place = Place::with_glibc();
    place.elf(
        "/prog",
        &program(&["libz.so.1", "libup.so.1"]).runpath("/../../../../../../../..//$ORIGIN/.."),
    );
    place.link(
        "/usr/lib/x86_64-linux-gnu/libz.so.1",
        secret.to_str().expect("text"),
    );
    let up = format!("../../../../../../../../../..{}", secret.display());
    place.link("/usr/lib/x86_64-linux-gnu/libup.so.1", &up);
    assert_eq!(
        missing(&place.closure("/prog")),
        ["libup.so.1", "libz.so.1"]
    );
    assert_eq!(files(&place.closure("/prog")), [LOADER]);
}

#[test]
fn f26_names_that_are_not_text_are_found_and_shown_escaped() {
    let place = Place::with_glibc();
    let name = std::ffi::OsStr::from_bytes(b"lib\xff\n.so");
    let directory = place.on_disk("/usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join(name), Forge::library(&[]).bytes()).expect("a file");
    // One byte for each character of the placeholder.
    let mut bytes = program(&["libXY.so"]).bytes();
    let at = bytes
        .windows(8)
        .position(|text| text == b"libXY.so")
        .expect("it");
    bytes[at + 3..at + 5].copy_from_slice(b"\xff\n");
    fs::write(place.on_disk("/prog"), bytes).expect("a file");
    symlink(
        "prog",
        place
            .on_disk("/")
            .join(std::ffi::OsStr::from_bytes(b"\xfe")),
    )
    .expect("a link");
    let closure = closure_in(&place.on_disk("/"), b"\xfe", Settings::default());
    assert!(closure.starts(), "{:?}", closure.findings);
    assert!(files(&closure).contains(&"/usr/lib/x86_64-linux-gnu/lib\\xff\\x0a.so".to_owned()));
    assert!(files(&closure).contains(&"/\\xfe -> prog".to_owned()));
}

#[test]
fn a_package_database_that_leads_nowhere_is_none() {
    let place = Place::new();
    place
        .elf("/prog", &Forge::library(&[]))
        .link("/usr", "/usr/usr")
        .link("/lib", "../../etc/lib")
        .link("/var", "prog");
    let root = Root::open(&place.on_disk("/")).expect("a root");
    let tree = DirTree::new(root, Ownership::Recorded);
    let program = path("/prog");
    let packages = Packages::of(&tree, [&program]).expect("there is none");
    assert_eq!(packages.owner(&program), None);
}

#[test]
fn a_fifo_or_device_in_the_place_of_a_library_is_not_opened() {
    let place = Place::with_glibc();
    place.elf("/prog", &program(&["libz.so.1"]));
    let library = place.on_disk("/usr/lib/x86_64-linux-gnu/libz.so.1");
    fs::create_dir_all(library.parent().expect("a parent")).expect("a directory");
    let status = std::process::Command::new("mkfifo")
        .arg(&library)
        .status()
        .expect("mkfifo");
    assert!(status.success());
    let closure = place.closure("/prog");
    assert_eq!(
        fatal(&closure),
        ["/usr/lib/x86_64-linux-gnu/libz.so.1: invalid ELF header"]
    );
}
