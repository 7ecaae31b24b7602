//! What a context may be, and which Containerfile and ignore file of it are taken.

use std::fs;
use std::os::unix::fs::symlink;

use crate::build_oracle::{Site, python};
use crate::support::Place;
use crate::web::Web;

/// Files of a tar: name and content; a link's content begins with `->`.
type Files<'f> = &'f [(&'f str, &'f str)];

const FILES: Files<'static> = &[
    ("Containerfile", "FROM scratch\nCOPY . /x/\nUSER 1:1\n"),
    (".dockerignore", "ignored\nContainerfile\n.dockerignore\n"),
    ("sub/kept", "kept"),
    ("ignored", "no"),
    ("link", "->sub/kept"),
];

const TREE: &str = r#"d 0755 0:0 x
l 0777 0:0 x/link -> sub/kept
d 0755 0:0 x/sub
f 0644 0:0 x/sub/kept = "kept"
"#;

/// A tar by Python, in one of its modes.
fn tar(place: &Place, name: &str, mode: &str, files: Files<'_>) -> Vec<u8> {
    let script = r#"
import io, json, sys, tarfile
with tarfile.open(sys.argv[1], sys.argv[2]) as out:
    for name, text in json.loads(sys.argv[3]):
        info = tarfile.TarInfo(name)
        info.mtime, info.uid, info.mode = 1000000000, 70000, 0o644
        if text.startswith("->"):
            info.type, info.linkname = tarfile.SYMTYPE, text[2:]
            out.addfile(info)
        else:
            data = text.encode()
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
"#;
    let path = place.path().join(name);
    let json = serde_json::to_string(files).expect("JSON");
    python(script, &[path.clone().into(), mode.into(), json.into()]);
    fs::read(path).expect("the tar")
}

/// Builds with these arguments and standard input; the files of the image, or what was said.
fn built(place: &Place, args: &[&str], stdin: &[u8]) -> Result<String, String> {
    let mut command = place.rbuild();
    command.args(["build", "--progress", "plain", "--user-policy", "off"]);
    command.args(["-o", "type=tar,dest=../out.tar"]).args(args);
    let output = command
        .write_stdin(stdin.to_vec())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Nothing is left of what was unpacked.
    let work = place.store().join("trees/work");
    let left = fs::read_dir(&work).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{}", work.display());
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(1), "{said}");
        return Err(said);
    }
    let list = "import sys, tarfile\nfor m in sorted(tarfile.open(sys.argv[1]).getmembers(), key=lambda m: m.name):\n    kind = {tarfile.DIRTYPE: 'd', tarfile.SYMTYPE: 'l', tarfile.REGTYPE: 'f'}[m.type]\n    end = ' -> ' + m.linkname if kind == 'l' else ''\n    if kind == 'f': end = ' = \"' + tarfile.open(sys.argv[1]).extractfile(m).read().decode() + '\"'\n    print(f'{kind} {m.mode:04o} {m.uid}:{m.gid} {m.name}{end}')\n";
    Ok(python(list, &[place.path().join("out.tar").into()]))
}

#[test]
fn a_tar_is_a_context_whatever_brings_it() {
    let place = Place::new();
    for mode in ["w", "w:gz", "w:bz2", "w:xz"] {
        let packed = tar(&place, "context.bin", mode, FILES);
        let web = Web::files(&[("/c", &packed)]);
        assert_eq!(built(&place, &["-"], &packed).as_deref(), Ok(TREE));
        assert_eq!(built(&place, &["../context.bin"], b"").as_deref(), Ok(TREE));
        assert_eq!(built(&place, &[&web.url("/c")], b"").as_deref(), Ok(TREE));
        let named = "FROM scratch\nCOPY --from=other . /x/\n";
        place.write("F", named);
        for source in ["../context.bin", &web.url("/c")] {
            let context = format!("other={source}");
            let args = ["-f", "F", "--build-context", &context, "."];
            assert_eq!(built(&place, &args, b"").as_deref(), Ok(TREE));
        }
    }
}

#[test]
fn a_lone_containerfile_is_a_build_without_files() {
    let place = Place::new();
    let text = "FROM scratch\nCOPY <<EOF /a\nx\nEOF\n";
    let web = Web::files(&[("/F", text.as_bytes())]);
    let tree = "f 0644 0:0 a = \"x\n\"\n";
    assert_eq!(built(&place, &["-"], text.as_bytes()).as_deref(), Ok(tree));
    assert_eq!(built(&place, &[&web.url("/F")], b"").as_deref(), Ok(tree));
    assert_eq!(
        built(&place, &["-f", &web.url("/F"), "."], b"").as_deref(),
        Ok(tree)
    );
    let copies = "FROM scratch\nCOPY a /\n";
    let said = built(&place, &["-"], copies.as_bytes()).unwrap_err();
    assert!(said.contains("find '/a'"), "{said}");
    let said = built(&place, &["-f", "F", "-"], copies.as_bytes()).unwrap_err();
    assert!(said.contains("no archive"), "{said}");
}

#[test]
fn s35_files_of_a_packed_context_are_looked_for_inside_it() {
    let place = Place::new();
    let canary = place.path().join("canary");
    fs::write(&canary, "FROM scratch\nCOPY canary /\n").expect("the canary");
    let out = format!("->{}", canary.display());
    let up = "->../../../../../../../../../../../../etc/hostname";
    for files in [
        &[("Containerfile", out.as_str())][..],
        &[("Containerfile", up)],
        &[
            ("Containerfile", "FROM scratch\nCOPY a /\n"),
            (".dockerignore", &out),
            ("a", "a"),
        ],
    ] {
        let packed = tar(&place, "c", "w", files);
        match built(&place, &["-"], &packed) {
            // A dangling ignore file ignores nothing.
            Ok(tree) => assert_eq!(tree, "f 0644 0:0 a = \"a\"\n"),
            Err(said) => assert!(
                !said.contains("canary") && said.contains("find a Containerfile"),
                "{said}"
            ),
        }
    }
    let packed = tar(
        &place,
        "c",
        "w",
        &[("real", "FROM scratch\nCOPY real /\n"), ("d/F", "->/real")],
    );
    for name in ["d/F", "/d/F", "../../d/F"] {
        let tree = built(&place, &["-f", name, "-"], &packed).expect("inside");
        assert!(tree.starts_with("f 0644 0:0 real"), "{tree}");
    }
    let outside = canary.display().to_string();
    let said = built(&place, &["-f", &outside, "-"], &packed).unwrap_err();
    assert!(said.contains("in the build context"), "{said}");
}

#[test]
fn s33_a_damaged_context_is_discarded_whole() {
    let place = Place::new();
    let canary = place.path().join("canary");
    fs::write(&canary, "canary").expect("the canary");
    let out = format!("->{}", canary.display());
    let mut packed = tar(&place, "c", "w:gz", &[("Dockerfile", &out), ("x", "x")]);
    packed.extend(b"FROM scratch\n");
    let web = Web::files(&[("/c", &packed)]);
    for args in [["-"], [web.url("/c").as_str()]] {
        let said = built(&place, &args, &packed).unwrap_err();
        assert!(said.contains("unpack the build context"), "{said}");
    }
    assert_eq!(fs::read(&canary).expect("the canary"), b"canary");
}

#[test]
fn the_ignore_file_is_the_nearest_one() {
    let place = Place::new();
    let site = |files: Files<'_>| {
        let directory = place.context();
        fs::remove_dir_all(&directory).expect("the last one goes");
        for (name, text) in files {
            place.write(name, text);
        }
    };
    let text = "FROM scratch\nCOPY [abcde] /\n";
    let all = [
        ("d/F", text),
        ("d/F.containerignore", "a"),
        ("d/F.dockerignore", "b"),
        (".containerignore", "c"),
        (".dockerignore", "d"),
        ("ignore", "e"),
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("d_", ""),
        ("e", ""),
    ];
    for (without, hidden) in [(0, "a"), (1, "b"), (2, "c"), (3, "")] {
        let files: Vec<_> = all[..1]
            .iter()
            .chain(&all[1 + without..])
            .copied()
            .collect();
        site(&files);
        let packed = tar(&place, "c", "w", &files);
        let own = built(&place, &["-f", "d/F", "."], b"").expect("it builds");
        assert_eq!(
            built(&place, &["-f", "d/F", "-"], &packed).as_deref(),
            Ok(own.as_str())
        );
        for name in ["a", "b", "c", "e"] {
            let there = own.contains(&format!(" {name} = "));
            assert_eq!(there, name != hidden, "{name} with {without}: {own}");
        }
    }
    let own = built(&place, &["-f", "d/F", "--ignorefile", "ignore", "."], b"").expect("it builds");
    assert!(own.contains(" a = ") && !own.contains(" e = "), "{own}");
    let said = built(&place, &["-f", "d/F", "--ignorefile", "gone", "."], b"").unwrap_err();
    assert!(said.contains("gone"), "{said}");
}

#[test]
fn a_named_context_has_its_own_ignore_file() {
    let place = Place::new();
    let other = place.path().join("other");
    fs::create_dir(&other).expect("a directory");
    for (name, text) in [("a", "a"), ("b", "b"), (".dockerignore", "b\n.d*\n")] {
        fs::write(other.join(name), text).expect("a file");
    }
    place.write("Containerfile", "FROM scratch\nCOPY --from=other . /\n");
    place.write(".dockerignore", "a\n");
    let args = ["--build-context", "other=../other", "."];
    assert_eq!(
        built(&place, &args, b"").as_deref(),
        Ok("f 0644 0:0 a = \"a\"\n")
    );
    // S35: not through a link out of it.
    fs::remove_file(other.join(".dockerignore")).expect("it goes");
    fs::write(place.path().join("canary"), "a\n").expect("the canary");
    symlink(place.path().join("canary"), other.join(".dockerignore")).expect("a link");
    let tree = built(&place, &args, b"").expect("it builds");
    assert!(tree.contains(" a = ") && tree.contains(" b = "), "{tree}");
}

#[test]
fn an_unused_context_is_not_fetched() {
    let place = Place::new();
    let web = Web::files(&[]);
    place.write("Containerfile", "FROM scratch\nCOPY Containerfile /\n");
    let context = format!("other={}", web.url("/gone"));
    let args = ["--build-context", &context, "."];
    built(&place, &args, b"").expect("it builds");
    assert!(web.requests().is_empty());
}

#[test]
fn an_oci_layout_by_digest_is_a_context() {
    let site: Site = site!();
    site.place.write("a", "a");
    let (digest, layout) = {
        let layout = requires!(base "busybox");
        let text = fs::read_to_string(layout.join("index.json")).expect("an index");
        let index: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let digest = index["manifests"][0]["digest"]
            .as_str()
            .expect("a digest")
            .to_owned();
        (digest, layout)
    };
    let context = format!("base=oci-layout://{}@{digest}", layout.display());
    site.build("FROM base\nCOPY a /\n", &["--build-context", &context]);
}

/// Its files are never on the disk but for what a step mounts, and both ways of making files take them from the tar.
#[test]
fn a_packed_context_is_mounted_and_copied_by_steps_that_run() {
    let site: Site = site!(run);
    let text = "FROM busybox\nRUN --mount=type=bind,target=/c cat /c/sub/kept && ls /c\nCOPY --from=other sub /o/\nCOPY . /x/\nRUN cat /x/link /o/kept\n";
    let files = [&FILES[1..], &[("Containerfile", text)]].concat();
    for mode in ["w", "w:gz"] {
        let packed = tar(&site.place, "context.bin", mode, &files);
        let busybox = format!("busybox=oci-layout:{}", site.busybox().display());
        let build = |cached: usize| {
            let mut command = site.place.rbuild();
            command.args(["build", "--progress", "plain", "--user-policy", "off"]);
            command.args(["--network", "none", "--closure", "off"]);
            command.args(["--build-context", &busybox, "-"]);
            command.args(["--build-context", "other=../context.bin"]);
            let built = site.built(command.write_stdin(packed.clone()));
            assert_eq!(built.cached(), cached, "{}", built.stderr);
            built
        };
        // The two archives hold the same files.
        let first = build(if mode == "w" { 0 } else { 4 });
        if mode == "w" {
            for line in ["| keptlink", "| sub", "| keptkept"] {
                assert!(first.said(line), "{line}: {}", first.stderr);
            }
            assert!(!first.said("| ignored"), "{}", first.stderr);
        }
        assert_eq!(build(4).id, first.id);
        let work = fs::read_dir(site.place.store().join("trees/work")).map_or(0, Iterator::count);
        assert_eq!(work, 0, "nothing is left of a context");
    }
}
