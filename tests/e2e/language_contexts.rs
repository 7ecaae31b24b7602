//! Tables 1.6 and 1.7 of the Containerfile reference, ignore files, contexts, outputs and metadata, row by row. The invariant: what
//! a flag or a file asks for is seen in the result, or refused by its name.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::build_oracle::Site;
use crate::language::Is::{Entry, Field, NoEntry, Warns};
use crate::language::{builds, check, refused};
use crate::support::Place;

/// What a COPY of everything takes, below `x/`, with this ignore file.
fn kept(site: &Site, ignore: &str) -> Vec<String> {
    site.place.write(".dockerignore", ignore);
    let lines = site.build("FROM scratch\nCOPY . /x/\n", &[]).scratch();
    lines
        .iter()
        .filter(|line| line.starts_with("f "))
        .filter_map(|line| line.split(" x/").nth(1)?.split(" = ").next())
        .map(str::to_owned)
        .collect()
}

/// What every file below says at its end.
const OWN: &str = "Containerfile\n.dockerignore\n";

const ALL: [&str; 8] = [
    "#c",
    "a",
    "b",
    "dir/a",
    "dir/b",
    "dir/keep/z",
    "dir/sub/x.go",
    "dir/sub/y.c",
];

/// An ignore file and what it leaves.
const IGNORED: [(&str, &str, &[&str]); 16] = [
    ("nothing", "", &ALL),
    (
        "a mark of byte order",
        "\u{feff}a\nb\n#c\n\n",
        &[
            "#c",
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "a comment begins at the beginning; blanks around are nothing",
        " #c\n\t a  \n   \n#b\n",
        &[
            "b",
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "paths are cleaned, and a leading slash is nothing",
        "/a\n./dir/../b\ndir//sub/\n",
        &["#c", "dir/a", "dir/b", "dir/keep/z"],
    ),
    (
        "a name is the root's",
        "a\n",
        &[
            "#c",
            "b",
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "`*` is no slash",
        "*/a\n",
        &[
            "#c",
            "a",
            "b",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "`**` is any depth",
        "**/a\n",
        &[
            "#c",
            "b",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "`**` within a pattern",
        "dir/**/*.go\n",
        &[
            "#c",
            "a",
            "b",
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/y.c",
        ],
    ),
    (
        "`?` and classes",
        "?\n[#]c\n",
        &[
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "a directory is all that is in it",
        "dir\n",
        &["#c", "a", "b"],
    ),
    (
        "with the pattern of its content too",
        "dir/**\n",
        &["#c", "a", "b"],
    ),
    ("an exception", "*\n!b\n", &["b"]),
    (
        "the last match counts",
        "!a\na\nb\n!b\n",
        &[
            "#c",
            "b",
            "dir/a",
            "dir/b",
            "dir/keep/z",
            "dir/sub/x.go",
            "dir/sub/y.c",
        ],
    ),
    (
        "below an ignored directory",
        "*\n!dir/**/*.go\n",
        &["dir/sub/x.go"],
    ),
    (
        "and again an exception of it",
        "*\n!dir\ndir/sub\n!dir/sub/y.c\n",
        &["dir/a", "dir/b", "dir/keep/z", "dir/sub/y.c"],
    ),
    ("of all", "**\n!dir/keep\n", &["dir/keep/z"]),
];

#[test]
fn ignore_files() {
    let site = site!();
    let place = &site.place;
    for name in [
        "a",
        "b",
        "#c",
        "dir/a",
        "dir/b",
        "dir/sub/x.go",
        "dir/sub/y.c",
        "dir/keep/z",
    ] {
        place.write(name, "");
    }
    let mut wrong = Vec::new();
    for (name, ignore, wanted) in IGNORED {
        let found = kept(&site, &format!("{ignore}{OWN}"));
        if found != wanted {
            wrong.push(format!("{name}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (text, part) in [("a\n!\n", "line 2"), ("a\n[x\n", "line 2")] {
        site.place.write(".dockerignore", text);
        let said = site.fails("FROM scratch\nCOPY . /\n", &[]);
        assert!(
            said.contains(".dockerignore") && said.contains(part),
            "{said}"
        );
    }
    // What is ignored is no source by name either; the build itself still reads both files.
    site.place.write(".dockerignore", "*\n");
    for source in ["a", "dir", "dir/a", ".dockerignore", "Containerfile"] {
        let said = site.fails(&format!("FROM scratch\nCOPY {source} /\n"), &[]);
        assert!(
            said.contains("the ignore file excludes it"),
            "{source}: {said}"
        );
    }
    let rows = [builds(
        "a pattern of COPY finds nothing that is ignored",
        "FROM scratch\nCOPY [ab] d*/a /x/\n",
        [NoEntry("x/")],
    )];
    check(&site, &rows);
}

#[test]
fn the_first_ignore_file_wins() {
    let site = site!();
    let place = &site.place;
    let files = [
        ("Containerfile.containerignore", "a"),
        ("Containerfile.dockerignore", "b"),
        (".containerignore", "c"),
        (".dockerignore", "d"),
    ];
    for name in ["a", "b", "c", "d", "e"] {
        place.write(name, "");
    }
    place.write("other", "e\n");
    for (file, hidden) in files {
        place.write(file, format!("{hidden}\n"));
    }
    for (file, hidden) in files {
        let lines = site.build("FROM scratch\nCOPY [a-e] /\n", &[]).scratch();
        let found: Vec<&str> = lines.iter().map(|line| &line[11..12]).collect();
        let wanted: Vec<&str> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .filter(|name| *name != hidden)
            .collect();
        assert_eq!(found, wanted, "{file}");
        let lines = site
            .build("FROM scratch\nCOPY [a-e] /\n", &["--ignorefile", "other"])
            .scratch();
        assert_eq!(lines.len(), 4, "{lines:#?}");
        fs::remove_file(place.context().join(file)).expect("it goes");
    }
}

#[test]
fn a_containerfile_is_looked_for_and_named() {
    let place = Place::new();
    let file = |name: &str, label: &str| {
        place.write(name, format!("FROM scratch\nLABEL is={label}\nUSER 1:1\n"));
    };
    let label = |args: &[&str]| {
        let (id, _) = place.expect(0, &[&["build", "-q"], args].concat());
        let (json, _) = place.expect(0, &["inspect", id.trim(), "--format", "json"]);
        let json: Value = serde_json::from_str(&json).expect("JSON");
        json["config"]["config"]["Labels"]["is"]
            .as_str()
            .expect("it")
            .to_owned()
    };
    file("Dockerfile", "docker");
    assert_eq!(label(&["."]), "docker");
    file("Containerfile", "container");
    assert_eq!(label(&["."]), "container");
    file("deep/er", "deep");
    assert_eq!(label(&["-f", "deep/er", "."]), "deep");
    file("../outside", "outside");
    assert_eq!(label(&["-f", "../outside", "."]), "outside");
    symlink("../outside", place.context().join("to")).expect("a link");
    assert_eq!(label(&["-f", "to", "."]), "outside", "the caller named it");
    for (args, part) in [
        (&["build", "-f", "deep/er", "-f", "to", "."][..], "--file"),
        (&["build", "-f", "no.in", "."], "no.in"),
    ] {
        let output = place.rbuild().args(args).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(part), "{said}");
    }
}

#[test]
fn targets_and_named_contexts() {
    let site = site!();
    site.place.write("one", "1").write("../named/two", "2");
    let stages = "FROM scratch AS first\nLABEL at=1\nFROM scratch AS Second\nLABEL at=2\nFROM no.such.registry.invalid/x\n";
    let rows = [
        builds(
            "a target by name",
            stages,
            [Field("Labels", r#"{"at":"1"}"#)],
        )
        .with(["--target", "first"]),
        builds("in any case", stages, [Field("Labels", r#"{"at":"2"}"#)])
            .with(["--target", "SECOND"]),
        builds("by number", stages, [Field("Labels", r#"{"at":"2"}"#)]).with(["--target", "1"]),
        refused(
            "that is missing",
            stages,
            ["frist", "did you mean \"first\"?"],
        )
        .with(["--target", "frist"]),
        builds(
            "a context of files",
            "FROM scratch\nCOPY --from=named two /\n",
            [Entry(r#"f 0644 0:0 two = "2""#)],
        )
        .with(["--build-context", "named=../named"]),
        builds(
            "in the place of a stage",
            "FROM scratch AS named\nCOPY one /two\nFROM scratch\nCOPY --from=named two /\n",
            [Entry(r#"f 0644 0:0 two = "2""#)],
        )
        .with(["--build-context", "named=../named"]),
        refused(
            "files are no base",
            "FROM named\n",
            ["named", "Containerfile:1:"],
        )
        .with(["--build-context", "named=../named"]),
    ];
    check(&site, &rows);
    let busybox = format!("oci-layout://{}", site.busybox().display());
    for (name, from) in [
        ("alpine:3.20", "alpine:3.20"),
        ("docker.io/library/alpine:3.20", "alpine:3.20"),
        ("alpine", "alpine"),
    ] {
        let context = format!("{name}={busybox}");
        let built = site.build(
            &format!("FROM {from}\nCOPY one /\n"),
            &["--build-context", &context],
        );
        assert_eq!(
            built.layers().concat(),
            [r#"f 0644 0:0 one = "1""#],
            "{name}"
        );
    }
}

/// Each of these is refused with exit code 2 and a text that names it and says why, before anything is read.
#[test]
fn values_of_other_builders_that_are_not_there_are_named() {
    let place = Place::new();
    place.write("Containerfile", "FROM scratch\nUSER 1:1\n");
    let mut wrong = Vec::new();
    for (flag, reason) in [
        ("--build-context=a=target:b", "target:"),
        ("--secret=id=a,what=b", "what"),
        ("--output=type=s3,dest=x", "s3"),
        ("--output=type=oci,dest=x,compression=estargz", "estargz"),
        ("--output=type=local,dest=x,mode=delete", "mode=delete"),
        ("--output=type=local,dest=x,compression=gzip", "compression"),
        ("--frobnicate", "--frobnicate"),
    ] {
        let output = place
            .rbuild()
            .args(["build", flag, "."])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let name = flag
            .trim_start_matches('-')
            .split('=')
            .next()
            .unwrap_or_default();
        if output.status.code() != Some(2)
            || !said.contains(&format!("--{name}"))
            || !said.contains(reason)
        {
            wrong.push(format!("{flag}: {:?}: {said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (images, _) = place.expect(0, &["images"]);
    assert_eq!(images.lines().count(), 1, "nothing was built: {images}");
}

#[test]
fn secrets_of_the_command_line() {
    let site = site!(run);
    site.place
        .write("file", "from a file")
        .write("both", "wrong");
    let file = "FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s\n";
    for (secret, wanted) in [
        ("id=s,src=file", "| from a file"),
        ("id=s,source=file", "| from a file"),
        ("type=file,id=s,src=file", "| from a file"),
        ("id=s,env=VARIABLE", "| from a variable"),
        ("id=s,type=env,src=VARIABLE", "| from a variable"),
        ("type=env,id=s,env=VARIABLE", "| from a variable"),
    ] {
        let args = ["--no-cache", "--secret", secret];
        let mut command = site.command(file, &args);
        let built = site.built(command.env("VARIABLE", "from a variable"));
        assert!(built.said(wanted), "{secret}: {}", built.stderr);
    }
    // Neither: the variable of that name, then the file.
    for (set, wanted) in [(true, "| from a variable"), (false, "| wrong")] {
        let file = file
            .replace("id=s", "id=both")
            .replace("secrets/s", "secrets/both");
        let mut command = site.command(&file, &["--no-cache", "--secret", "id=both"]);
        if set {
            command.env("both", "from a variable");
        }
        let built = site.built(&mut command);
        assert!(built.said(wanted), "{}", built.stderr);
    }
}

#[test]
fn images_from_nothing() {
    let site = site!();
    let built = site.build("FROM scratch\n", &[]);
    assert_eq!(built.config["rootfs"]["diff_ids"], serde_json::json!([]));
    assert_eq!(built.config["os"], "linux");
    let architecture = &built.config["architecture"];
    assert!(
        ["amd64", "arm64"].contains(&architecture.as_str().expect("it")),
        "{architecture}"
    );
    let rows = [
        builds(
            "the history shows the arguments of RUN only where they count, and marks what makes no layer",
            "FROM scratch\nARG V=1\nENV E=$V\nCOPY Containerfile /f\nLABEL l=1\n",
            [Field("Labels", r#"{"l":"1"}"#)],
        ),
        builds(
            "an argument that nothing declares is told",
            "FROM scratch\nLABEL a=1\n",
            [Warns("NOBODY")],
        )
        .with(["--build-arg", "NOBODY=1"]),
    ];
    check(&site, &rows);
    let built = site.build(
        "FROM scratch\nARG V=1\nENV E=$V\nCOPY Containerfile /f\nWORKDIR /\nWORKDIR /w\n",
        &[],
    );
    let history = built.config["history"].as_array().expect("a history");
    let empty: Vec<bool> = history
        .iter()
        .map(|entry| entry["empty_layer"] == true)
        .collect();
    assert_eq!(empty, [true, true, false, true, false], "{history:#?}");
}
