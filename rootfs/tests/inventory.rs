//! What trees are made of: databases of packages, modules in programs, files and who owns them. The databases of rpm in `fixtures/rpm`
//! were written by Debian's rpm 4.18 (SQLite) and db5.3_load, of two packages that rpmbuild made.

extern crate rbuild_rootfs as rootfs;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::ZlibEncoder;
use rootfs::inventory::{Inventory, Package, PackageKind};
use rootfs::{DirTree, Ownership, Root};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, bytes).expect("a file");
        self
    }

    fn inventory(&self) -> Inventory {
        let tree = DirTree::new(
            Root::open(self.0.path()).expect("a root"),
            Ownership::Squashed,
        );
        Inventory::of(&tree).expect("an inventory")
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rpm");
    let file = fs::File::open(path.join(Path::new(name).with_added_extension("gz"))).expect(name);
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    bytes
}

/// The purls of all packages.
fn purls(inventory: &Inventory) -> Vec<String> {
    let purl = |package: &Package| package.purl(inventory.distribution.as_ref());
    inventory.packages.iter().map(purl).collect()
}

/// The owner of a file, by name.
fn owner<'i>(inventory: &'i Inventory, path: &str) -> Option<&'i str> {
    let file = inventory
        .files
        .iter()
        .find(|file| file.path.to_string() == format!("/{path}"));
    let owner = file.unwrap_or_else(|| panic!("{path} is listed")).owner;
    owner.map(|at| inventory.packages[at].name.as_str())
}

const DEBIAN: &str = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n";

#[test]
fn dpkg_tells_what_is_installed_and_whose_files_are_whose() {
    let place = Place::new();
    place
        .write("etc/os-release", DEBIAN)
        .write(
            "var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u4\n\
             Description: x\n Package: not\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n",
        )
        .write("var/lib/dpkg/info/libc6:amd64.list", "/.\n/lib\n/lib/libc.so.6\n")
        .write(
            "var/lib/dpkg/status.d/tool",
            "Package: tool\nVersion: 1:2~rc1\nArchitecture: amd64\nSource: tools (2~rc)\n",
        )
        .write(
            "var/lib/dpkg/status.d/tool.md5sums",
            "d41d8cd98f00b204e9800998ecf8427e  opt/other/tool\n",
        )
        .write("usr/lib/libc.so.6", "libc")
        .write("opt/other/tool", "tool")
        .write("opt/mine", "abc");
    let found = place.inventory();
    assert_eq!(
        purls(&found),
        [
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
            "pkg:deb/debian/tool@1:2~rc1?arch=amd64&distro=debian-12&upstream=tools%402~rc",
        ]
    );
    // With /usr merged the list names another path. A file that was copied elsewhere belongs to its package by its record.
    assert_eq!(owner(&found, "usr/lib/libc.so.6"), Some("libc6"));
    assert_eq!(owner(&found, "opt/other/tool"), Some("tool"));
    assert_eq!(owner(&found, "opt/mine"), None);
    let mine = found
        .files
        .iter()
        .find(|file| file.path.to_string() == "/opt/mine")
        .expect("it");
    assert_eq!(mine.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(
        mine.sha256.hex(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(found.unread, Vec::<String>::new());
    assert_eq!(place.inventory(), found);
}

#[test]
fn apk_tells_licences_too() {
    let place = Place::new();
    place
        .write("etc/os-release", "ID=alpine\nVERSION_ID=3.19.1\n")
        .write(
            "lib/apk/db/installed",
            "C:Q1x=\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\nL:Apache-2.0\no:openssl\nm:A B <a@b.c>\nF:lib\nR:libcrypto.so.3\n\n\
             P:broken\n\n",
        )
        .write("lib/libcrypto.so.3", "x");
    let found = place.inventory();
    assert_eq!(
        purls(&found),
        ["pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl"]
    );
    assert_eq!(found.packages[0].licence.as_deref(), Some("Apache-2.0"));
    assert_eq!(owner(&found, "lib/libcrypto.so.3"), Some("libcrypto3"));
}

#[test]
fn rpm_is_read_in_all_three_forms() {
    for (name, home) in [
        ("rpmdb.sqlite", "var/lib/rpm"),
        ("Packages.db", "usr/lib/sysimage/rpm"),
        ("Packages", "var/lib/rpm"),
    ] {
        let place = Place::new();
        place
            .write("etc/os-release", "ID=fedora\nVERSION_ID=39\n")
            .write(&format!("{home}/{name}"), fixture(name))
            .write("usr/bin/tool", "x")
            .write("usr/share/tool/a-rather-long-name-of-a-file-300", "x")
            .write("usr/lib64/libtool.so", "x")
            .write("usr/lib64/other.so", "x");
        let found = place.inventory();
        assert_eq!(found.unread, Vec::<String>::new(), "{name}");
        assert_eq!(
            purls(&found),
            [
                "pkg:rpm/fedora/libtool@1.2-3?arch=x86_64&distro=fedora-39&upstream=libtool-1.2-3.src.rpm",
                "pkg:rpm/fedora/tool@1.2-3?arch=x86_64&distro=fedora-39&epoch=1&upstream=tool-1.2-3.src.rpm",
            ],
            "{name}"
        );
        let of = |path: &str| owner(&found, path);
        assert_eq!(of("usr/bin/tool"), Some("tool"));
        assert_eq!(
            of("usr/share/tool/a-rather-long-name-of-a-file-300"),
            Some("tool")
        );
        assert_eq!(of("usr/lib64/libtool.so"), Some("libtool"));
        assert_eq!(of("usr/lib64/other.so"), None);
        assert_eq!(found.packages[0].licence.as_deref(), Some("GPLv2+"));
    }
}

#[test]
fn a_database_that_lies_is_told_and_never_a_panic() {
    for name in ["rpmdb.sqlite", "Packages.db", "Packages"] {
        let whole = fixture(name);
        let place = Place::new();
        let at = format!("var/lib/rpm/{name}");
        place.write(&at, b"nothing of the kind");
        assert_eq!(place.inventory().unread.len(), 1, "{name}");
        // Cut anywhere, and with bytes of it changed: some packages, or a sentence.
        for step in 1..40 {
            let cut = &whole[..whole.len() * step / 40];
            place.write(&at, cut);
            let found = place.inventory();
            assert!(found.packages.len() <= 2, "{name} {step}");
            let mut changed = whole.clone();
            for at in (step * 7..changed.len()).step_by(997) {
                changed[at] = 0xff;
            }
            place.write(&at, changed);
            place.inventory();
        }
    }
    // Changes that were not brought into the database yet.
    let place = Place::new();
    place
        .write("var/lib/rpm/rpmdb.sqlite", fixture("rpmdb.sqlite"))
        .write("var/lib/rpm/rpmdb.sqlite-wal", "x");
    assert!(place.inventory().unread[0].contains("write-ahead log"));
}

/// An ELF file of 64 bits with one named section.
fn elf(name: &str, content: &[u8]) -> Vec<u8> {
    let mut names = vec![0];
    names.extend(name.as_bytes());
    names.extend(b"\0.shstrtab\0");
    let (content_at, names_at) = (64, 64 + content.len());
    let table = names_at + names.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    file[58..60].copy_from_slice(&64_u16.to_le_bytes());
    file[60..62].copy_from_slice(&3_u16.to_le_bytes());
    file[62..64].copy_from_slice(&2_u16.to_le_bytes());
    file.extend(content);
    file.extend(&names);
    for (name, at, length) in [
        (0_u32, 0, 0),
        (1, content_at, content.len()),
        (name.len() as u32 + 2, names_at, names.len()),
    ] {
        let mut section = vec![0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        section[32..40].copy_from_slice(&(length as u64).to_le_bytes());
        file.extend(section);
    }
    file
}

fn go_information(flags: u8, modules: &str) -> Vec<u8> {
    let mut bytes = b"\xff Go buildinf:\x08".to_vec();
    bytes.push(flags);
    bytes.resize(32, 0);
    let modules = format!("0123456789abcdef{modules}fedcba9876543210");
    for text in ["go1.22.1 X:none", &modules] {
        let length = text.len();
        bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        bytes.extend(text.as_bytes());
    }
    bytes
}

#[test]
fn go_programs_name_their_modules() {
    let modules = "path\texample.org/App\nmod\texample.org/App\t(devel)\t\ndep\tgithub.com/a/b/v2\tv2.0.1\th1:x=\n\
                   dep\tgithub.com/c/d\tv1.0.0\th1:y=\n=>\tgithub.com/e/f\tv1.1.0\th1:z=\nbuild\t-trimpath=true\n";
    let place = Place::new();
    place.write("app", elf(".go.buildinfo", &go_information(2, modules)));
    let found = place.inventory();
    assert_eq!(
        purls(&found),
        [
            "pkg:golang/example.org/app",
            "pkg:golang/github.com/a/b/v2@v2.0.1",
            "pkg:golang/github.com/e/f@v1.1.0",
            "pkg:golang/stdlib@1.22.1",
        ]
    );
    assert!(found.packages[0].is_main && !found.packages[1].is_main);
    assert_eq!(
        found.packages[0]
            .program
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("/app")
    );
    // Without a distribution, programs and modules are what they are.
    assert!(
        found
            .packages
            .iter()
            .all(|package| package.kind == PackageKind::Go)
    );
    place.write("app", elf(".go.buildinfo", &go_information(0, modules)));
    assert!(
        place.inventory().unread[0].starts_with("/app: "),
        "{:?}",
        place.inventory().unread
    );
    place.write("app", elf(".go.buildinfo", b"\xff Go buildinf:"));
    assert_eq!(
        place.inventory().unread,
        ["/app: its Go build information is malformed"]
    );
}

#[test]
fn auditable_programs_name_their_crates() {
    let json = br#"{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[1]},
        {"name":"serde","version":"1.0.0","source":"crates.io"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#;
    let packed = |json: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json).expect("bytes");
        encoder.finish().expect("zlib")
    };
    let place = Place::new();
    place.write("usr/bin/app", elf(".dep-v0", &packed(json)));
    let found = place.inventory();
    assert_eq!(
        purls(&found),
        ["pkg:cargo/app@0.1.0", "pkg:cargo/serde@1.0.0"]
    );
    assert!(found.packages[0].is_main);
    // Ten megabytes of nothing are not unpacked.
    place.write(
        "usr/bin/app",
        elf(".dep-v0", &packed(&vec![b' '; 10 << 20])),
    );
    assert_eq!(
        place.inventory().unread,
        ["/usr/bin/app: its list of crates is malformed"]
    );
}
