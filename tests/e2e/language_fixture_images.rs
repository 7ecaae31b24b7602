//! The realistic Containerfiles, built and looked into: the `image`, `closure` and `run` rows of their `expect.tsv`. The invariant: each
//! row is compared in the table below.
//!
//! What apt-get would install is in the base already, or something like it is: `ssh` is curl, `mkpasswd` is perl, which needs the
//! same libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Degree, Place};

/// What a row is compared with.
struct Row {
    case: &'static str,
    kind: &'static str,
    subject: &'static str,
    /// Flags of the build.
    build: &'static [&'static str],
    /// What is asked about the image `it`, and the exit code.
    ask: &'static [&'static str],
    code: i32,
    /// For each of these there is a line of the answer with all its words.
    says: &'static [&'static [&'static str]],
}

const LINT: &[&str] = &["lint", "--format", "plain", "--image", "it"];
const RUN: &[&str] = &["run", "--network", "none", "it"];
const FILES: &[&str] = &["inspect", "--files", "it"];

/// Rows of one build are beside each other.
const ROWS: [Row; 17] = [
    Row {
        case: "02-prebuilt-arch-trap",
        kind: "image",
        subject: "RB209",
        build: &["--platform", "linux/arm64"],
        ask: LINT,
        code: 1,
        says: &[&["RB209", "/opt/box/busybox", "for amd64, not for arm64"]],
    },
    Row {
        case: "05-forge-full",
        kind: "run",
        subject: "-",
        build: &[],
        ask: RUN,
        code: 0,
        says: &[&["ok git"], &["ok ssh"], &["ok gpg"]],
    },
    Row {
        case: "05-forge-full",
        kind: "run",
        subject: "-",
        build: &[],
        ask: &[
            "run",
            "--network",
            "none",
            "--entrypoint",
            "/usr/bin/id",
            "it",
        ],
        code: 0,
        says: &[&["uid=65532 gid=65532"]],
    },
    Row {
        case: "06-forge-scratch",
        kind: "image",
        subject: "RB203",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB203", "/bin/bash needs /lib", "/ld-linux"]],
    },
    Row {
        case: "06-forge-scratch",
        kind: "image",
        subject: "RB208",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB208", "/opt/forge/forge", "does not start", "/ld-linux"]],
    },
    Row {
        case: "06-forge-scratch",
        kind: "closure",
        subject: "-",
        build: &["--closure", "auto"],
        ask: FILES,
        code: 0,
        says: &[
            &["/ld-linux"],
            &["/libgcc_s.so.1"],
            &["/git-core/git-remote-https"],
            &["/libgnutls.so.30"],
            &["/etc/ssl/certs/ca-certificates.crt"],
        ],
    },
    Row {
        case: "07-triplet-libs",
        kind: "image",
        subject: "RB203",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB203", "/opt/mkpasswd/mkpasswd needs /lib", "/ld-linux"]],
    },
    Row {
        case: "07-triplet-libs",
        kind: "image",
        subject: "RB203",
        build: &[],
        ask: &[
            "run",
            "--network",
            "none",
            "--entrypoint",
            "/opt/mkpasswd/mkpasswd",
            "it",
        ],
        code: 127,
        says: &[&["/opt/mkpasswd/mkpasswd", "No such file"]],
    },
    Row {
        case: "07-triplet-libs",
        kind: "closure",
        subject: "-",
        build: &["--target", "collect"],
        ask: &["closure", "/usr/bin/mkpasswd", "--image", "it"],
        code: 0,
        says: &[
            &["/ld-linux", "loader of /usr/bin/mkpasswd"],
            &["/usr/lib/", "libc.so.6 needed by /usr/bin/mkpasswd"],
            &["/usr/lib/", "libcrypt.so.1 needed by /usr/bin/mkpasswd"],
        ],
    },
    Row {
        case: "08-python-service",
        kind: "image",
        subject: "RB208",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[
            &["RB208", "/app/main.py", "mode 0644"],
            &["RB208", "/app/main.py", "/usr/bin/env is missing"],
        ],
    },
    Row {
        case: "08-python-service",
        kind: "closure",
        subject: "-",
        build: &["--closure", "auto"],
        ask: FILES,
        code: 0,
        says: &[
            &["/libssl.so.3"],
            &["/libcrypto.so.3"],
            &["/libsqlite3.so.0"],
            &["/libffi.so.8"],
            &["/libz.so.1"],
            &["/libexpat.so.1"],
            &["/zoneinfo/Asia/Shanghai"],
        ],
    },
    Row {
        case: "09-nginx-dynamic",
        kind: "image",
        subject: "RB502",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB502", "/usr/bin/curl"]],
    },
    Row {
        case: "08-python-service",
        kind: "image",
        subject: "RB203",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[
            &["RB203", "/lib-dynload/_ssl.", "libssl.so.3"],
            &["RB203", "/lib-dynload/_sqlite3.", "libsqlite3.so.0"],
            &["RB203", "/lib-dynload/_ctypes.", "libffi.so.8"],
        ],
    },
    Row {
        case: "08-python-service",
        kind: "image",
        subject: "RB301",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB301", "can speak TLS"]],
    },
    Row {
        case: "09-nginx-dynamic",
        kind: "image",
        subject: "RB609",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB609", "file capabilities at /usr/sbin/nginx"]],
    },
    Row {
        case: "09-nginx-dynamic",
        kind: "image",
        subject: "RB208",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB208", "sudo"]],
    },
    Row {
        case: "10-mounts-and-heredocs",
        kind: "image",
        subject: "RB203",
        build: &[],
        ask: LINT,
        code: 1,
        says: &[&["RB203", "/usr/bin/sqlite3 needs /lib"]],
    },
];

/// The base images of the cases: what they are made from, and how.
const BASES: [(&str, &str, &[&str]); 2] = [
    (
        "debian",
        "RUN cp /usr/bin/perl /usr/bin/mkpasswd && cp /bin/true /usr/bin/sqlite3 && cp /bin/true /usr/sbin/nginx && mkdir -p /var/lib/nginx\n",
        &[
            "02-prebuilt-arch-trap",
            "07-triplet-libs",
            "09-nginx-dynamic",
            "10-mounts-and-heredocs",
        ],
    ),
    (
        "debian-programs",
        "RUN mv /usr/bin/curl /usr/bin/ssh\n",
        &["05-forge-full", "06-forge-scratch", "08-python-service"],
    ),
];

/// Programs in the place of those that a build would call with a network, or that are not installed. Debian's adduser makes
/// the directory above a home as root's, and case 05 could not write there, whoever builds it.
const STAND_INS: [(&str, &str); 4] = [
    (
        "apt-get",
        "#!/bin/sh\n[ \"$1\" != download ] || cp /stand-in/*.deb .\n",
    ),
    ("adduser", "#!/bin/sh\n"),
    // 188 is setxattr(2); revision 2, effective, cap_net_bind_service.
    (
        "setcap",
        "#!/usr/bin/perl\nmy ($name, $data) = ('security.capability', pack('V5', 0x02000001, 1 << 10, 0, 0, 0));\n\
         syscall(188, $ARGV[1], $name, $data, length $data, 0) == 0 or die \"$!\\n\";\n",
    ),
    ("sqlite3", "#!/bin/sh\ncat >>\"$1\"\n"),
];

const PATIENCE: Duration = Duration::from_secs(600);

/// The package of case 02, whose program is this machine's.
fn package(place: &Place) {
    let tree = place.path().join("package");
    for directory in ["bin", "DEBIAN"] {
        fs::create_dir_all(tree.join(directory)).expect("a directory");
    }
    fs::create_dir_all(place.context().join("stand-in")).expect("a directory");
    fs::copy("/bin/true", tree.join("bin/busybox")).expect("a program");
    let control = "Package: busybox-static\nVersion: 1\nArchitecture: all\nMaintainer: n <a@b>\nDescription: d\n";
    fs::write(tree.join("DEBIAN/control"), control).expect("a file");
    let made = std::process::Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([tree, place.context().join("stand-in/busybox-static_1.deb")])
        .output()
        .expect("dpkg-deb starts");
    assert!(made.status.success(), "{made:?}");
}

fn build(place: &Place, args: &[&str], contexts: &[String], directory: &Path) -> String {
    let mut command = place.rbuild();
    command
        .timeout(PATIENCE)
        .args(["build", "--progress", "plain", "--no-lint"]);
    command.args(["--network", "none", "--user-policy", "off"]);
    if !args.contains(&"--closure") {
        command.args(["--closure", "off"]);
    }
    for context in contexts {
        command.args(["--build-context", context]);
    }
    let output = command
        .args(args)
        .arg(directory)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", directory.display());
    said
}

/// A layout with the stand-ins, in `../NAME` of the context.
fn base(place: &Place, name: &str, layout: &Path, changes: &str) {
    let file = format!(
        "FROM base\nCOPY --chmod=0755 bin /usr/local/bin\nCOPY stand-in /stand-in\n{changes}"
    );
    place.write("Containerfile", file);
    let context = format!("base=oci-layout:{}", layout.display());
    let output = format!("type=oci,dest=../{name},compression=uncompressed");
    build(place, &["-o", &output], &[context], &place.context());
}

/// What is wrong about a row, where something is.
fn compared(place: &Place, row: &Row) -> Option<String> {
    let output = place.rbuild().args(row.ask).output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    let has = |words: &&&[&str]| {
        let mut lines = said.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    let right = output.status.code() == Some(row.code) && row.says.iter().all(|words| has(&words));
    (!right).then(|| format!("{} {} {}: {said}", row.case, row.kind, row.subject))
}

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/containerfiles");
    folder.is_dir().then_some(folder)
}

#[test]
fn image_closure_and_run_rows_hold() {
    // What is in an image does not depend on who builds it, and this takes its time.
    requires!(degree Degree::SubIds);
    let Some(fixtures) = fixtures() else {
        skip!("fixtures", "they do not lie beside the checkout");
    };
    requires!(execution);
    requires!(program "dpkg-deb");
    if !cfg!(target_arch = "x86_64") {
        skip!("machine", "case 02 is about programs of x86-64");
    }
    let place = Place::new();
    for (name, text) in STAND_INS {
        place.write_program(&format!("bin/{name}"), text);
    }
    package(&place);
    let mut wrong = Vec::new();
    for (name, changes, cases) in BASES {
        base(&place, name, &requires!(base name), changes);
        let contexts = ["debian:bookworm-slim", "debian:bookworm"];
        let contexts = contexts.map(|known| format!("{known}=oci-layout:../{name}"));
        let mut built = None;
        for row in ROWS.iter().filter(|row| cases.contains(&row.case)) {
            if built != Some((row.case, row.build)) {
                build(
                    &place,
                    &[&["-t", "it"], row.build].concat(),
                    &contexts,
                    &fixtures.join(row.case),
                );
                built = Some((row.case, row.build));
            }
            wrong.extend(compared(&place, row));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_is_in_the_table() {
    let Some(fixtures) = fixtures() else {
        skip!("fixtures", "they do not lie beside the checkout");
    };
    let mut missing = Vec::new();
    for folder in fs::read_dir(fixtures).expect("the fixtures").flatten() {
        let case = folder.file_name().into_string().expect("a name");
        let rows = fs::read_to_string(folder.path().join("expect.tsv")).expect("the rows");
        for line in rows.lines() {
            let row: Vec<&str> = line.split('\t').collect();
            let (kind, subject) = (row[1], row[2]);
            let compared = ROWS.iter().any(|known| {
                (known.case, known.kind, known.subject) == (case.as_str(), kind, subject)
            });
            if ["image", "closure", "run"].contains(&kind) && !compared {
                missing.push(format!("{case}: {line}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
