//! What the kernel starts: scripts, their interpreters, programs that need nothing; and whose the files are.

use std::io;
use std::sync::Arc;

use rootfs::closure::{Packages, Resolver, Settings};
use rootfs::{
    DirTree, Entry, Kind, LayerContents, LayerTimes, LayerWriter, Ownership, Root, TreePath, View,
};

use crate::forge::Forge;
use crate::tree::{Place, fatal, files, missing, notes, path, plain, reason};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn with_shell() -> Place {
    let place = Place::with_glibc();
    place
        .link("/bin", "usr/bin")
        .elf("/usr/bin/dash", &Forge::program(LOADER, &["libc.so.6"]))
        .link("/usr/bin/sh", "dash")
        .elf("/usr/lib/x86_64-linux-gnu/libc.so.6", &Forge::library(&[]))
        .elf("/usr/bin/env", &Forge::program(LOADER, &["libe.so.1"]))
        .elf("/usr/lib/x86_64-linux-gnu/libe.so.1", &Forge::library(&[]));
    place
}

#[test]
fn case_01_a_static_program_needs_nothing() {
    let place = Place::new();
    let program = Forge {
        kind: 2,
        dynamic: false,
        ..Forge::library(&[])
    };
    place
        .elf("/busybox", &program)
        .elf("/static-pie", &Forge::library(&[]));
    for program in ["/busybox", "/static-pie"] {
        let closure = place.closure(program);
        assert_eq!(
            (files(&closure).len(), closure.starts()),
            (0, true),
            "{:?}",
            closure.findings
        );
    }
}

#[test]
fn case_17_a_script_needs_its_interpreter_and_what_that_needs() {
    let place = with_shell();
    place.write("/usr/bin/script", "#! /bin/sh -e\necho\n");
    let closure = place.closure("/usr/bin/script");
    let expected = [
        "/bin -> usr/bin",
        LOADER,
        "/usr/bin/dash",
        "/usr/bin/sh -> dash",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
    ];
    assert_eq!(files(&closure), expected);
    assert_eq!(reason(&closure, "/usr/bin/dash"), "#! of /usr/bin/script");
}

#[test]
fn case_17_env_needs_itself_and_what_it_starts() {
    let place = with_shell();
    place
        .write("/opt/bin/tool", "#!/usr/bin/env -S A=1 sh -x\n")
        .write("/other", "#!/usr/bin/env nothing-like-it\n");
    let closure = place.closure("/opt/bin/tool");
    let own = plain(&closure);
    for file in [
        "/usr/bin/env",
        "/usr/bin/dash",
        "/usr/lib/x86_64-linux-gnu/libe.so.1",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
    ] {
        assert!(own.contains(&file.to_owned()), "{file} {own:?}");
    }
    assert_eq!(
        reason(&closure, "/usr/bin/dash"),
        "sh by #! of /opt/bin/tool"
    );
    let settings = Settings {
        path: b"/nowhere".to_vec(),
        ..Settings::default()
    };
    assert_eq!(
        missing(&place.closure_with("/opt/bin/tool", settings)),
        ["sh"]
    );
    assert_eq!(missing(&place.closure("/other")), ["nothing-like-it"]);
}

#[test]
fn scripts_that_lead_nowhere_are_findings() {
    let place = with_shell();
    place
        .write("/empty", "#!\n")
        .write("/relative", "#!bin/sh\n")
        .write("/lost", "#!/usr/bin/perl\r\n")
        .write("/a", "#!/b\n")
        .write("/b", "#!/a\n")
        .write("/text", "hello")
        .write("/d/x", "");
    assert_eq!(
        fatal(&place.closure("/empty")),
        ["/empty: Exec format error: its #! line names no program"]
    );
    assert_eq!(fatal(&place.closure("/relative")).len(), 1);
    assert_eq!(missing(&place.closure("/lost")), ["/usr/bin/perl\r"]);
    assert!(fatal(&place.closure("/a"))[0].contains("Too many levels"));
    assert_eq!(
        fatal(&place.closure("/text")),
        ["/text: Exec format error: neither an ELF file nor a script"]
    );
    assert_eq!(fatal(&place.closure("/d")), ["/d: Is a directory"]);
    assert_eq!(missing(&place.closure("/gone")), ["/gone"]);
}

#[test]
fn a_packed_program_is_named_as_one() {
    let place = Place::new();
    let program = Forge {
        dynamic: false,
        texts: vec!["UPX!".to_owned()],
        ..Forge::library(&[])
    };
    place.elf("/packed", &program);
    let closure = place.closure("/packed");
    assert!(closure.starts());
    assert!(notes(&closure)[0].starts_with("/packed: it is packed by UPX"));
}

#[test]
fn files_belong_to_packages_of_dpkg_distroless_and_apk() {
    let place = Place::new();
    place
        .write(
            "/var/lib/dpkg/info/libc6:amd64.list",
            "/.\n/lib\n/lib/x86_64-linux-gnu/libc.so.6\n",
        )
        .write("/var/lib/dpkg/info/libc6:amd64.md5sums", "x\n")
        .write(
            "/var/lib/dpkg/info/other.list",
            "/lib\n/usr/lib/x86_64-linux-gnu/libc.so.6.old\n",
        )
        .write(
            "/var/lib/dpkg/status.d/zlib1g.md5sums",
            "d41d8cd98f00b204e9800998ecf8427e  usr/lib/libz.so.1.2\n",
        )
        .write(
            "/lib/apk/db/installed",
            "C:Q1\nP:musl\nV:1\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:base\nF:\nR:top\n",
        );
    let tree = DirTree::new(
        Root::open(&place.on_disk("/")).expect("a root"),
        Ownership::Recorded,
    );
    let paths = [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/libz.so.1.2",
        "/lib/ld-musl-x86_64.so.1",
        "/top",
        "/lib",
        "/nobody",
    ]
    .map(path);
    let packages = Packages::of(&tree, &paths).expect("they are read");
    let owners = paths.each_ref().map(|path| packages.owner(path));
    assert_eq!(
        owners,
        [
            Some("libc6"),
            Some("zlib1g"),
            Some("musl"),
            Some("base"),
            None,
            None
        ]
    );
}

/// The layer's tar, in memory.
struct Bytes(Vec<u8>);

impl LayerContents for Bytes {
    fn open(&self, _: usize, offset: u64, len: u64) -> io::Result<Box<dyn io::Read + '_>> {
        let (start, len) = (
            usize::try_from(offset).expect("small"),
            usize::try_from(len).expect("small"),
        );
        Ok(Box::new(&self.0[start..start + len]))
    }
}

#[test]
fn layers_give_the_same_answer_as_the_directory() {
    let place = with_shell();
    place.write("/usr/bin/script", "#!/bin/sh\n");
    let tree = DirTree::new(
        Root::open(&place.on_disk("/")).expect("a root"),
        Ownership::Recorded,
    );
    let mut writer = LayerWriter::new(Vec::new(), LayerTimes::Recorded);
    let mut waiting = vec![TreePath::root()];
    while let Some(directory) = waiting.pop() {
        for (name, meta) in rootfs::Tree::read_dir(&tree, &directory).expect("a directory") {
            let path = directory.child(&name);
            let kind = match meta.kind {
                rootfs::NodeKind::Dir => {
                    waiting.push(path.clone());
                    Kind::Dir
                }
                rootfs::NodeKind::Symlink => {
                    Kind::Symlink(rootfs::Tree::read_link(&tree, &path).expect("a link"))
                }
                _ => Kind::File { size: meta.size },
            };
            let entry = Entry::new(path.clone(), kind.clone(), meta.mode);
            match kind {
                Kind::File { .. } => {
                    let mut file =
                        std::fs::File::open(place.on_disk(&path.to_string())).expect("a file");
                    writer
                        .append_stream(entry, &mut file)
                        .expect("it is written");
                }
                _ => writer.append(entry).expect("it is written"),
            };
        }
    }
    let finished = writer.finish().expect("a layer");
    let view = View::of([&finished.index.decode()])
        .expect("one layer")
        .with_contents(Arc::new(Bytes(finished.output)));
    let program = path("/usr/bin/script");
    let from_layers = Resolver::new(&view, Settings::default()).closure(&program);
    assert_eq!(
        from_layers,
        Resolver::new(&tree, Settings::default()).closure(&program)
    );
    assert_eq!(from_layers.files.len(), 5);
}
