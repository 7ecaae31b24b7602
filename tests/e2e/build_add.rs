//! ADD, files given as heredocs, and what is refused.

use std::fs;

use crate::build_oracle::{Site, python};

/// Name, kind, mode, uid, gid, and content or link target.
pub(crate) type Member<'m> = (&'m str, &'m str, u32, u32, u32, &'m str);

/// Writes an archive with Python.
pub(crate) fn archive(site: &Site, name: &str, mode: &str, members: &[Member<'_>]) {
    let script = r#"
import io, json, sys, tarfile
path, mode, members = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
kinds = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "p": tarfile.FIFOTYPE}
with tarfile.open(path, mode, pax_headers={"comment": "global"}) as out:
    for name, kind, bits, uid, gid, text in members:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.mtime = kinds[kind], bits, uid, gid, 1000000000
        if kind in "lh":
            info.linkname = text
        data = text.encode() if kind == "f" else b""
        info.size = len(data)
        out.addfile(info, io.BytesIO(data))
"#;
    let json = serde_json::to_string(members).expect("JSON");
    python(
        script,
        &[
            site.place.context().join(name).into(),
            mode.into(),
            json.into(),
        ],
    );
}

const MEMBERS: [Member<'static>; 5] = [
    ("deep/er/file", "f", 0o640, 10, 20, "x"),
    ("deep/er/hard", "h", 0o640, 10, 20, "deep/er/file"),
    ("link", "l", 0o777, 30, 40, "/etc/passwd"),
    ("dir", "d", 0o700, 50, 60, ""),
    ("fifo", "p", 0o600, 0, 0, ""),
];

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }
}

#[test]
fn archives_are_known_by_their_content_and_keep_their_owners() {
    let site = site!();
    archive(&site, "plain", "w", &MEMBERS);
    archive(&site, "gz", "w:gz", &MEMBERS);
    fs::copy(
        site.place.context().join("plain"),
        site.place.context().join("z"),
    )
    .expect("a copy");
    archive(&site, "bz2", "w:bz2", &MEMBERS);
    archive(&site, "xz", "w:xz", &MEMBERS);
    let mut sources = vec!["plain", "gz", "bz2", "xz"];
    if crate::support::in_path("zstd") {
        let status = std::process::Command::new("zstd")
            .args(["-q", "--rm", "z"])
            .current_dir(site.place.context())
            .status();
        assert!(status.expect("zstd starts").success());
        sources.push("z.zst");
    }
    for source in sources {
        let lines = site
            .build(&format!("FROM scratch\nADD {source} /x/\n"), &[])
            .scratch();
        has(
            &lines,
            &[
                "d 0755 0:0 x",
                r#"f 0640 10:20 x/deep/er/file = "x""#,
                "h 0640 10:20 x/deep/er/hard => x/deep/er/file",
                "l 0777 30:40 x/link -> /etc/passwd",
                "d 0700 50:60 x/dir",
                "p 0600 0:0 x/fifo",
            ],
        );
        assert!(!lines.iter().any(|line| line.contains("pax")), "{lines:#?}");
    }
}

/// Writes a file with Python: `data` is the expression of its content.
pub(crate) fn written(site: &Site, name: &str, data: &str) {
    let script = format!(
        "import bz2, gzip, io, lzma, random, sys, tarfile\ndef tar(size):\n    out = io.BytesIO()\n    with tarfile.open(fileobj=out, mode='w') as t:\n        info = tarfile.TarInfo('file')\n        info.size = size\n        t.addfile(info, io.BytesIO(b'x' * size))\n    return out.getvalue()\nnoise = bytearray(tar(2 << 20))\nnoise[512:512 + (2 << 20)] = random.Random(1).randbytes(2 << 20)\nopen(sys.argv[1], 'wb').write({data})\n"
    );
    python(&script, &[site.place.context().join(name).into()]);
}

#[test]
fn s18_damaged_archives_are_errors_that_name_the_file() {
    let site = site!();
    for (name, data) in [
        ("cut.gz", "gzip.compress(noise)[:-20]"),
        ("cut.bz2", "bz2.compress(noise)[:-20]"),
        ("cut.xz", "lzma.compress(noise)[:-20]"),
        ("cut.tar", "tar(9999)[:6000]"),
        ("tail.gz", "gzip.compress(tar(9999)) + b'garbage'"),
        ("tail.bz2", "bz2.compress(tar(9999)) + b'garbage' * 9"),
        ("tail.xz", "lzma.compress(tar(9999)) + b'garbage!' * 9"),
        (
            "sum.xz",
            "(lambda d: d[:-99] + bytes([d[-99] ^ 1]) + d[-98:])(lzma.compress(noise))",
        ),
    ] {
        written(&site, name, data);
        let stderr = site.fails(&format!("FROM scratch\nADD {name} /x/\n"), &[]);
        assert!(
            stderr.contains(&format!("unpack '/{name}'")) && stderr.contains("Containerfile:2:"),
            "{name}: {stderr}"
        );
    }
}

#[test]
fn s18_archives_that_exhaust_are_refused() {
    let site = site!();
    let bombs = [
        (
            "bomb.xz",
            "lzma.compress(tar(300 << 20), preset=6)",
            "2000 times",
        ),
        ("bomb.bz2", "bz2.compress(tar(300 << 20))", "2000 times"),
        (
            "dictionary.xz",
            "lzma.compress(tar(9), filters=[{'id': lzma.FILTER_LZMA2, 'dict_size': 512 << 20}])",
            "",
        ),
    ];
    for (name, data, reason) in bombs {
        written(&site, name, data);
        let output = site
            .command(&format!("FROM scratch\nADD {name} /x/\n"), &[])
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(name) && stderr.contains(reason),
            "{name}: {stderr}"
        );
    }
}

#[test]
fn chown_and_unpack_change_what_add_does() {
    let site = site!();
    archive(&site, "a.tar", "w", &MEMBERS);
    site.place.write("fake.tar.gz", "no archive");
    let lines = site
        .build("FROM scratch\nADD --chown=7:8 a.tar /x/\n", &[])
        .scratch();
    has(
        &lines,
        &[r#"f 0640 7:8 x/deep/er/file = "x""#, "d 0700 7:8 x/dir"],
    );
    let lines = site
        .build(
            "FROM scratch\nADD --unpack=false a.tar fake.tar.gz /x/\n",
            &[],
        )
        .scratch();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("f 0644 0:0 x/a.tar = ")),
        "{lines:#?}"
    );
    let lines = site
        .build("FROM scratch\nADD fake.tar.gz /x/\nCOPY a.tar /y/\n", &[])
        .scratch();
    has(&lines, &[r#"f 0644 0:0 x/fake.tar.gz = "no archive""#]);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("f 0644 0:0 y/a.tar = ")),
        "{lines:#?}"
    );
}

#[test]
fn archives_of_hostile_names_stay_inside_the_destination() {
    let site = site!();
    let canary = site.place.path().join("canary");
    fs::write(&canary, "canary").expect("the canary");
    let path = canary.display().to_string();
    let hostile: [&[Member<'_>]; 5] = [
        &[("../../up", "f", 0o644, 0, 0, "bad")],
        &[(&path, "f", 0o644, 0, 0, "bad")],
        &[
            ("l", "l", 0o777, 0, 0, &path),
            ("l", "f", 0o644, 0, 0, "bad"),
        ],
        &[
            ("l", "l", 0o777, 0, 0, "/"),
            ("l/etc/made", "f", 0o644, 0, 0, "bad"),
        ],
        &[("h", "h", 0o644, 0, 0, &path)],
    ];
    for members in hostile {
        archive(&site, "hostile", "w", members);
        for base in ["FROM scratch\n", "FROM busybox\nRUN true\n"] {
            if base.contains("RUN") && !crate::support::can_execute() {
                continue;
            }
            let output = site
                .command(&format!("{base}ADD hostile /x/\n"), &[])
                .output()
                .expect("it starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() || output.status.code() == Some(1),
                "{members:?}: {stderr}"
            );
            assert_eq!(fs::read_to_string(&canary).expect("the canary"), "canary");
            assert!(
                !site.place.path().join("up").exists() && !site.place.context().join("up").exists()
            );
        }
    }
}

#[test]
fn an_owner_outside_the_range_is_named_or_kept() {
    let site = site!();
    archive(
        &site,
        "far.tar",
        "w",
        &[("far/away", "f", 0o644, 70_000, 70_001, "x")],
    );
    // Without RUN owners are data: kept.
    let lines = site.build("FROM scratch\nADD far.tar /\n", &[]).scratch();
    has(&lines, &[r#"f 0644 70000:70001 far/away = "x""#]);
    requires!(execution);
    let file = "FROM busybox\nRUN true\nADD far.tar /\n";
    if crate::support::degree() == crate::support::Degree::NoSub {
        // One id holds all files, and the layer is written from what they should have.
        let lines = site.build(file, &[]).layers().concat();
        has(&lines, &[r#"f 0644 70000:70001 far/away = "x""#]);
        return;
    }
    let stderr = site.fails(file, &[]);
    for part in [
        "far/away",
        "id 70000 is outside the mapped range 0..=",
        "add subordinate ids",
        "Containerfile:3:",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
}

#[test]
fn heredocs_are_files() {
    let site = site!();
    let file = r#"FROM scratch
ARG NAME=value
COPY <<one <<"two" /x/
plain $NAME ${NAME}
one
quoted $NAME
two
COPY --chmod=0755 --chown=3:4 <<-EOF /y
	tabs go
	EOF
"#;
    let lines = site.build(file, &[]).scratch();
    has(
        &lines,
        &[
            r#"f 0644 0:0 x/one = "plain value value\n""#,
            r#"f 0644 0:0 x/two = "quoted $NAME\n""#,
            r#"f 0755 3:4 y = "tabs go\n""#,
        ],
    );
}

#[test]
fn what_is_not_implemented_is_refused_before_anything_runs() {
    let site = site!();
    for (line, part) in [
        ("ADD https://127.0.0.1:1/b.git#--upload-pack=x /", "ref"),
        ("RUN --security=insecure true", "--security"),
        ("COPY --frob one /", "--frob"),
        (
            "ADD --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa one /",
            "--checksum",
        ),
    ] {
        let stderr = site.fails(&format!("FROM busybox\nRUN echo ran >&2\n{line}\n"), &[]);
        assert!(
            stderr.contains(part) && stderr.contains("Containerfile:3:"),
            "{line}: {stderr}"
        );
        assert!(!stderr.contains("| ran"), "{stderr}");
    }
}
