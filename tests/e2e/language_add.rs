//! Table 1.4 of the Containerfile reference, ADD and what files carry with them, row by row. The invariant: what was added is read
//! from the layer, by Python.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::build_add::{Member, archive, written};
use crate::build_oracle::{Site, python};
use crate::language::Is::{Entry, NoEntry, Warns};
use crate::language::{builds, check, refused};
use crate::web::{Answer, Web};

const MEMBERS: [Member<'static>; 4] = [
    ("deep/er/file", "f", 0o4640, 10, 20, "x"),
    ("dir", "d", 0o1770, 50, 60, ""),
    ("link", "l", 0o777, 30, 40, "../out"),
    ("dir/hard", "h", 0o640, 10, 20, "deep/er/file"),
];

/// Archives, files that only look like some, and what they are added to.
fn archives_of(site: &Site) {
    archive(site, "a.txt", "w:gz", &MEMBERS);
    archive(site, "file.tar", "w", &[("l", "f", 0o644, 0, 0, "new")]);
    archive(
        site,
        "dir.tar",
        "w",
        &[("./", "d", 0o700, 7, 8, ""), ("./x/", "d", 0o700, 7, 8, "")],
    );
    written(site, "text.tar.gz", "gzip.compress(b'only text')");
    written(site, "text.tar.bz2", "bz2.compress(b'only text')");
    written(site, "text.tar.xz", "lzma.compress(b'only text')");
    written(site, "empty.tar", "b''");
    // A global header with another owner and name, which counts for nothing.
    written(
        site,
        "global.tar",
        "(lambda out: (lambda t: (t.addfile(tarfile.TarInfo('own'), io.BytesIO(b'')), t.close()))(tarfile.open(fileobj=out, mode='w', \
         format=tarfile.PAX_FORMAT, pax_headers={'uid': '123', 'path': 'other', 'comment': 'c'})) and out.getvalue())(io.BytesIO())",
    );
    site.place.write("one", "1").write("x/kept", "k");
    let l = site.place.context().join("odd");
    fs::create_dir(&l).expect("a directory");
    std::os::unix::fs::symlink("/elsewhere", l.join("l")).expect("a link");
}

#[test]
fn archives() {
    let site = site!();
    archives_of(&site);
    let rows = [
        builds(
            "known by content; the destination is a directory without a slash too",
            "FROM scratch\nADD a.txt /x\n",
            [
                Entry("d 0755 0:0 x"),
                // Directories that the archive only implies.
                Entry("d 0755 0:0 x/deep"),
                Entry("d 0755 0:0 x/deep/er"),
                Entry(r#"f 4640 10:20 x/deep/er/file = "x""#),
                Entry("d 1770 50:60 x/dir"),
                Entry("l 0777 30:40 x/link -> ../out"),
                Entry("h 0640 10:20 x/dir/hard => x/deep/er/file"),
            ],
        ),
        builds(
            "beside a file",
            "FROM scratch\nADD one a.txt /x/\n",
            [
                Entry(r#"f 0644 0:0 x/one = "1""#),
                Entry(r#"f 4640 10:20 x/deep/er/file = "x""#),
            ],
        ),
        builds(
            "--chown is everything's, implied directories too",
            "FROM scratch\nADD --chown=3:4 a.txt /x/\n",
            [
                Entry("d 0755 3:4 x/deep"),
                Entry(r#"f 4640 3:4 x/deep/er/file = "x""#),
                Entry("l 0777 3:4 x/link -> ../out"),
            ],
        ),
        builds(
            "--unpack=false copies it",
            "FROM scratch\nADD --unpack=false a.txt /x/\nADD --unpack=true a.txt /y/\n",
            [
                NoEntry("x/deep"),
                Entry(r#"f 4640 10:20 y/deep/er/file = "x""#),
            ],
        ),
        builds(
            "what holds no archive is copied, whatever its name",
            "FROM scratch\nADD text.tar.gz text.tar.bz2 text.tar.xz empty.tar /x/\n",
            [
                Entry(r#"f 0644 0:0 x/empty.tar = """#),
                NoEntry("only text"),
            ],
        ),
        builds(
            "COPY unpacks nothing",
            "FROM scratch\nCOPY a.txt /x/\n",
            [NoEntry("x/deep")],
        ),
        builds(
            "nor does ADD what is in a directory",
            "FROM scratch\nADD x /x/\nADD . /y/\n",
            [Entry(r#"f 0644 0:0 x/kept = "k""#), NoEntry("y/deep")],
        ),
        builds(
            "a global header names nothing and nobody",
            "FROM scratch\nADD global.tar /x/\n",
            [
                Entry(r#"f 0644 0:0 x/own = """#),
                NoEntry("other"),
                NoEntry("pax"),
            ],
        ),
        builds(
            "a file takes the place of a link, and the link leads nowhere",
            "FROM scratch\nCOPY odd /x\nADD file.tar /x\n",
            [Entry(r#"f 0644 0:0 x/l = "new""#), NoEntry("elsewhere =")],
        ),
        builds(
            "a directory of it says what it is; the destination stays",
            "FROM scratch\nCOPY x /d/x/\nADD dir.tar /d\n",
            [Entry("d 0700 7:8 d/x"), NoEntry("d 0700 7:8 d\n")],
        ),
        refused(
            "a file where its destination should be",
            "FROM scratch\nCOPY one /x\nADD a.txt /x\n",
            ["x", "Containerfile:3:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn what_is_no_archive_is_copied_byte_for_byte() {
    let site = site!();
    archives_of(&site);
    let built = site.build("FROM scratch\nADD text.tar.gz text.tar.xz /\n", &[]);
    for name in ["text.tar.gz", "text.tar.xz"] {
        let own = fs::read(site.place.context().join(name)).expect("the file");
        let sizes = format!("f 0644 0:0 {name} = {} ", own.len());
        let lines = built.scratch();
        assert!(
            lines.iter().any(|line| line.starts_with(&sizes)),
            "{lines:#?}"
        );
    }
}

#[test]
fn urls() {
    let site = site!();
    archive(&site, "a.tar", "w", &MEMBERS);
    let tar = fs::read(site.place.context().join("a.tar")).expect("the archive");
    let files = Web::files(&[("/a.tar", &tar), ("/n/file", b"f")]);
    let target = files.url("/n/file");
    let odd = Web::start(move |request| match request.path.as_str() {
        "/moved" => Answer::status(302).header("location", &target),
        "/said" => Answer::ok("s").header("content-disposition", "attachment; filename=other"),
        _ => Answer::status(404),
    });
    let rows = [
        builds(
            "0600, under the name that the URL has",
            format!(
                "FROM scratch\nADD {} /x/\nADD {} /y\n",
                files.url("/n/file?q=a/b#c/d"),
                files.url("/n/file")
            ),
            [
                Entry(r#"f 0600 0:0 x/file = "f""#),
                Entry(r#"f 0600 0:0 y = "f""#),
            ],
        ),
        builds(
            "not that of a redirect or a header",
            format!(
                "FROM scratch\nADD {} {} /x/\n",
                odd.url("/moved"),
                odd.url("/said")
            ),
            [
                Entry(r#"f 0600 0:0 x/moved = "f""#),
                Entry(r#"f 0600 0:0 x/said = "s""#),
            ],
        ),
        builds(
            "into a directory that is there",
            format!(
                "FROM scratch\nWORKDIR /x\nADD {} /x\nADD {} .\n",
                files.url("/n/file"),
                odd.url("/said")
            ),
            [
                Entry(r#"f 0600 0:0 x/file = "f""#),
                Entry(r#"f 0600 0:0 x/said = "s""#),
            ],
        ),
        builds(
            "never unpacked, unless asked for",
            format!(
                "FROM scratch\nADD {0} /x/\nADD --unpack {0} /y/\n",
                files.url("/a.tar")
            ),
            [
                NoEntry("x/deep"),
                Entry(r#"f 4640 10:20 y/deep/er/file = "x""#),
            ],
        ),
        builds(
            "a variable",
            format!("FROM scratch\nARG U={}\nADD $U /x/\n", files.url("/n/file")),
            [Entry(r#"f 0600 0:0 x/file = "f""#)],
        ),
        refused(
            "--checksum is for one source",
            format!(
                "FROM scratch\nADD --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {0} {0} /\n",
                files.url("/n/file")
            ),
            ["--checksum", "one source", "Containerfile:2:"],
        ),
        refused(
            "of sha256",
            format!(
                "FROM scratch\nADD --checksum=md5:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {} /\n",
                files.url("/n/file")
            ),
            ["--checksum", "Containerfile:2:"],
        ),
        refused(
            "--keep-git-dir is for repositories",
            format!(
                "FROM scratch\nADD --keep-git-dir {} /\n",
                files.url("/n/file")
            ),
            ["--keep-git-dir", "Containerfile:2:"],
        ),
    ];
    check(&site, &rows);
}

/// The times of files of `../out.tar`.
fn times(site: &Site, names: &[&str]) -> String {
    let script = "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nprint(*(int(t.getmember(n).mtime) for n in sys.argv[2:]))";
    let mut args = vec![site.place.path().join("out.tar").into()];
    args.extend(names.iter().map(std::ffi::OsString::from));
    python(script, &args)
}

#[test]
fn attributes() {
    let site = site!();
    site.place.write("d/f", "x").write("d/plain", "p");
    // linux/posix_acl_xattr.h: version 2, then tag, permissions and id; linux/capability.h: version 2.
    let script = r#"
import os, struct, sys
d, f = sys.argv[1], sys.argv[1] + "/f"
try:
    os.setxattr(f, "user.kept", b"v\x00\xff")
except OSError as error:
    print(error), sys.exit()
os.setxattr(d, "user.dir", b"d")
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in [(1, 6, 2**32 - 1), (2, 4, 1234), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)])
os.setxattr(f, "system.posix_acl_access", acl)
print("caps" if os.geteuid() == 0 else "none")
if os.geteuid() == 0:
    os.setxattr(f, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
"#;
    let output = python(script, &[site.place.context().join("d").into()]);
    if !["caps", "none"].contains(&output.trim()) {
        skip!("xattrs", "{}", output.trim());
    }
    let mut attributes = r#""user.kept": "7600ff""#.to_owned();
    if output.trim() == "caps" {
        attributes = format!(
            r#""security.capability": "0100000200040000000000000000000000000000", {attributes}"#
        );
    }
    // The ids of an ACL of the host are the host's.
    let line = format!(r#"f 0644 0:0 x/d/f = "x" {{{attributes}}}"#);
    for base in ["FROM scratch\n", "FROM busybox\nRUN true\n"] {
        if base.contains("RUN") && !crate::support::can_execute() {
            continue;
        }
        let above = usize::from(base.contains("busybox"));
        let built = site.build(&format!("{base}COPY . /x/\n"), &[]);
        let lines = built.layers_above(above).concat();
        for line in [
            line.as_str(),
            r#"d 0755 0:0 x/d {"user.dir": "64"}"#,
            r#"f 0644 0:0 x/d/plain = "p""#,
        ] {
            assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
        }
    }
}

#[test]
fn metadata() {
    let site = site!();
    site.place
        .write("d/f", "x")
        .write_program("d/s", "s")
        .write("e/g", "y");
    let context = site.place.context();
    let mode = |name: &str, mode| {
        fs::set_permissions(context.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
    };
    fs::hard_link(context.join("d/f"), context.join("d/same")).expect("a link");
    fs::hard_link(context.join("d/f"), context.join("e/far")).expect("a link");
    mode("d/s", 0o6711);
    mode("d", 0o3775);
    let _socket = std::os::unix::net::UnixListener::bind(context.join("d/socket")).expect("bound");
    for (name, seconds) in [("d/f", 1_000_000_000), ("d", 999_999_999)] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::open(context.join(name))
            .and_then(|file| file.set_modified(time))
            .expect("a time");
    }
    let rows = [
        builds(
            "setuid, setgid and sticky bits",
            "FROM scratch\nCOPY . /x/\n",
            [Entry("d 3775 0:0 x/d"), Entry(r#"f 6711 0:0 x/d/s = "s""#)],
        ),
        builds(
            "hard links within one COPY, several sources too, and not beyond",
            "FROM scratch\nCOPY d e /x/\nCOPY e /y/\n",
            [
                Entry(r#"f 0644 0:0 x/f = "x""#),
                Entry("h 0644 0:0 x/far => x/f"),
                Entry("h 0644 0:0 x/same => x/f"),
                Entry(r#"f 0644 0:0 y/far = "x""#),
            ],
        ),
        builds(
            "sockets are left out, and that is said",
            "FROM scratch\nCOPY d /x/\n",
            [NoEntry("socket"), Warns("socket")],
        ),
        refused(
            "but not when they are all that was asked for",
            "FROM scratch\nCOPY d/socket /x/\n",
            ["socket", "Containerfile:2:"],
        ),
    ];
    check(&site, &rows);
    let outputs = ["-o", "type=tar,dest=../out.tar", "-o", "type=store"];
    site.build("FROM scratch\nCOPY . /x/\n", &outputs);
    assert_eq!(times(&site, &["x/d/f", "x/d"]), "1000000000 999999999\n");
    requires!(execution);
    site.build("FROM busybox\nRUN true\nCOPY . /x/\n", &outputs);
    assert_eq!(times(&site, &["x/d/f", "x/d"]), "1000000000 999999999\n");
}

#[test]
fn a_url_is_as_old_as_its_server_says() {
    let site = site!();
    let files = Web::files(&[("/n/file", b"f")]);
    let odd = Web::start(|_| Answer::ok("no time"));
    let file = format!(
        "FROM scratch\nADD {} /y\nADD {} /z\n",
        files.url("/n/file"),
        odd.url("/no-time")
    );
    site.build(
        &file,
        &["-o", "type=tar,dest=../out.tar", "-o", "type=store"],
    );
    assert_eq!(
        times(&site, &["y", "z"]),
        "1000000000 0\n",
        "Last-Modified, or none"
    );
}
