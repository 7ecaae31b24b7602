//! `rbuild lint`: findings of files, directories and standard input, read without a store.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::Place;

const BAD: &str = "FROM scratch\nEXPOSE 8080/TCP\nCOPY app /app\nUSER 7\n";
const GOOD: &str = "FROM scratch\nCOPY app /app\nUSER 7:7\n";

#[test]
fn findings_are_shown_at_their_place_and_decide_about_the_exit_code() {
    let place = Place::new();
    place.write("Containerfile", BAD);
    let (text, said) = place.expect(1, &["lint", "Containerfile"]);
    insta::assert_snapshot!(text);
    assert_eq!(said, "2 warnings in 1 file\n");
    assert!(!place.store().exists(), "it needs no store");
    for (fail_on, code) in [("error", 0), ("warning", 1), ("info", 1), ("none", 0)] {
        place.expect(code, &["lint", "--fail-on", fail_on]);
    }
    place.write("Containerfile", format!("# check=error=true\n{BAD}"));
    place.expect(1, &["lint", "--fail-on", "error"]);
    place.write("Containerfile", GOOD);
    assert_eq!(
        place.expect(0, &["lint", "--fail-on", "info"]),
        (String::new(), "no findings in 1 file\n".to_owned())
    );
}

#[test]
fn directories_are_searched_and_every_file_is_examined() {
    let place = Place::new();
    place
        .write("a/Containerfile", BAD)
        .write("b/c/Dockerfile.dev", GOOD)
        .write("b/x.dockerfile", "FROM scratch\nUSER 0:0\n");
    place
        .write("b/Dockerfile.dockerignore", "not a Containerfile")
        .write("b/notes.md", "nor this");
    let (text, _) = place.expect(1, &["lint", "--format", "plain"]);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.split(' ').next().expect("a place"))
        .collect();
    assert_eq!(
        lines,
        [
            "a/Containerfile:2:13",
            "a/Containerfile:4:6",
            "b/x.dockerfile:2:6"
        ]
    );
    let (text, _) = place.expect(1, &["lint", "--format", "gnu", "b", "a/Containerfile"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let (_, said) = place.expect(1, &["lint", "b/c/nothing"]);
    assert!(said.contains("b/c/nothing"), "{said}");
    fs::create_dir(place.context().join("empty")).expect("a directory");
    let (_, said) = place.expect(1, &["lint", "empty"]);
    assert!(said.contains("find a Containerfile"), "{said}");
}

#[test]
fn fixes_are_printed_or_made_and_the_rest_is_reported() {
    let place = Place::new();
    place.write("Containerfile", format!("{BAD}CMD [\"/app\"]\n"));
    let path = place.context().join("Containerfile");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode");
    let (diff, _) = place.expect(1, &["lint", "--diff"]);
    assert!(
        diff.contains("-USER 7\n") && diff.contains("+USER 7:7\n"),
        "{diff}"
    );
    assert_eq!(
        fs::read_to_string(&path).expect("unchanged"),
        format!("{BAD}CMD [\"/app\"]\n")
    );
    let (text, said) = place.expect(0, &["lint", "--fix", "--format", "plain"]);
    assert!(said.contains("Containerfile: 2 fixes"), "{said}");
    assert!(text.contains("RB501") && !text.contains("RB105"), "{text}");
    let fixed = fs::read_to_string(&path).expect("the file");
    assert_eq!(
        fixed,
        "FROM scratch\nEXPOSE 8080/tcp\nCOPY app /app\nUSER 7:7\nCMD [\"/app\"]\n"
    );
    assert_eq!(
        fs::metadata(&path).expect("the file").permissions().mode() & 0o7777,
        0o640
    );
    let names = fs::read_dir(place.context()).expect("the context").count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn whatever_is_read_ends_with_a_finding_or_an_error() {
    let place = Place::new();
    place.write("utf8/Containerfile", b"FROM scratch\nUSER \xff\xfe\n");
    place.write("binary/Containerfile", b"\x7fELF\0\0\x01");
    place.write(
        "long/Containerfile",
        format!("FROM scratch\nRUN {}\n", "x".repeat(1 << 20)),
    );
    place.write("huge/Containerfile", vec![b'x'; (16 << 20) + 1]);
    for (directory, what) in [
        ("utf8", "2:6 error RB000 this is not UTF-8"),
        ("binary", "RB000"),
        ("long", "longer than"),
        ("huge", "larger than 16 MiB"),
    ] {
        let (text, _) = place.expect(1, &["lint", "--format", "plain", directory]);
        assert!(text.contains(what), "{directory}: {text}");
    }
    let output = |stdin: &[u8], args: &[&str]| {
        let output = place
            .rbuild()
            .arg("lint")
            .args(args)
            .write_stdin(stdin)
            .output()
            .expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, text) = output(BAD.as_bytes(), &["--stdin", "--format", "plain"]);
    assert!(
        code == Some(1) && text.starts_with("-:2:13 warning ExposeProtoCasing"),
        "{code:?} {text}"
    );
    assert_eq!(
        output(GOOD.as_bytes(), &["-", "--format", "plain"]),
        (Some(0), String::new())
    );
    assert_eq!(output(b"", &["-", "--fix"]).0, Some(2));
    let (code, _) = output(&vec![b'\n'; 17 << 20], &["-"]);
    assert_eq!(code, Some(1));
}

/// What takes more than 64 MiB of memory, or more than 20 s, ends otherwise.
#[track_caller]
fn bounded(place: &Place, args: &[&str]) -> (Option<i32>, String) {
    let limits = ["20", "prlimit", "--data=67108864"];
    let output = assert_cmd::Command::new("timeout")
        .args(limits)
        .arg(crate::support::binary())
        .args(["lint", "--no-shellcheck", "--format", "plain"])
        .args(args)
        .current_dir(place.context())
        .output()
        .expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn fifo(place: &Place, name: &str) {
    let path = place.context().join(name);
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("it starts").success());
}

#[test]
fn bad_input_is_read_in_bounded_time_and_memory() {
    requires!(program "prlimit");
    let place = Place::new();
    place
        .write("nul/Containerfile", "FROM scratch\0\nUSER 7:7\0\n")
        .write("open/Containerfile", "FROM scratch\nRUN <<E\n")
        .write("good/Containerfile", GOOD);
    // One line of 1 GiB.
    fs::create_dir(place.context().join("huge")).expect("a directory");
    let huge = fs::File::create(place.context().join("huge/Containerfile")).expect("a file");
    huge.set_len(1 << 30).expect("its length");
    for link in ["loop", "good/Containerfile.loop"] {
        let path = place.context().join(link);
        std::os::unix::fs::symlink(path.file_name().expect("a name"), &path).expect("a link");
    }
    fifo(&place, "good/Containerfile.fifo");
    for (what, code, words) in [
        ("huge", 1, "RB000 the file is larger than 16 MiB"),
        ("/dev/zero", 1, "RB000 the file is larger than 16 MiB"),
        ("/dev/null", 1, "RB000 the file has no instructions"),
        ("nul", 1, "nul/Containerfile:1:"),
        ("open", 1, "unterminated heredoc"),
        ("loop", 1, "loop"),
        ("huge/Containerfile/x", 1, "Not a directory"),
        // In directories links that lead nowhere and fifos are not looked at.
        ("good", 0, ""),
    ] {
        let (found, text) = bounded(&place, &[what]);
        assert!(
            found == Some(code) && text.contains(words),
            "{what}: {found:?} {text}"
        );
    }
}

#[test]
fn pipes_are_read_to_their_end_or_as_far_as_a_containerfile_can_be() {
    requires!(program "prlimit");
    let place = Place::new();
    fifo(&place, "pipe");
    for (endless, words) in [
        (true, "RB000 the file is larger than 16 MiB"),
        (false, "RB105"),
    ] {
        let path = place.context().join("pipe");
        let writer = std::thread::spawn(move || -> std::io::Result<()> {
            use std::io::Write as _;
            let mut pipe = fs::OpenOptions::new().write(true).open(path)?;
            pipe.write_all(BAD.as_bytes())?;
            if !endless {
                return Ok(());
            }
            // Nobody reads on: EPIPE ends it.
            loop {
                pipe.write_all(&[b'#'; 4096])?;
            }
        });
        let (code, text) = bounded(&place, &["pipe"]);
        assert!(code == Some(1) && text.contains(words), "{code:?} {text}");
        assert_eq!(writer.join().expect("no panic").is_err(), endless);
    }
}

#[test]
fn what_lies_around_a_file_is_not_waited_for() {
    requires!(program "prlimit");
    for name in [".rbuild.toml", ".dockerignore"] {
        let place = Place::new();
        place.write("Containerfile", GOOD);
        fifo(&place, name);
        let (code, text) = bounded(&place, &["Containerfile"]);
        assert!(
            code == Some(1) && text.contains("no regular file"),
            "{name}: {code:?} {text}"
        );
    }
    let place = Place::new();
    place.write("Containerfile", format!("{GOOD}EXPOSE 8080\n"));
    for name in ["build.sh", ".trivyignore"] {
        fifo(&place, name);
    }
    let (code, text) = bounded(&place, &["Containerfile"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn the_ignore_file_beside_a_containerfile_is_heeded() {
    let place = Place::new();
    place
        .write("Containerfile", GOOD)
        .write(".dockerignore", "app\n");
    let (text, _) = place.expect(1, &["lint", "--format", "plain"]);
    assert!(text.contains("CopyIgnoredFile"), "{text}");
}

#[test]
fn rules_are_listed_and_explained_by_any_of_their_names() {
    let place = Place::new();
    let (list, _) = place.expect(0, &["lint", "--list"]);
    assert!(
        list.lines().count() > 60 && list.contains("RB103"),
        "{list}"
    );
    let (page, _) = place.expect(0, &["lint", "--explain", "dl3066"]);
    assert!(
        page.starts_with("## RB103: ") && page.contains("```dockerfile"),
        "{page}"
    );
    let (_, said) = place.expect(2, &["lint", "--explain", "RB999"]);
    assert!(said.contains("RB999"), "{said}");
}

#[test]
fn every_format_has_every_finding() {
    let place = Place::new();
    place.write("Containerfile", BAD);
    for format in [
        "tty",
        "plain",
        "json",
        "sarif",
        "checkstyle",
        "codeclimate",
        "gitlab",
        "junit",
        "gnu",
        "github",
    ] {
        let (text, _) = place.expect(1, &["lint", "--format", format]);
        for what in ["RB105", "ExposeProtoCasing"] {
            assert!(text.contains(what), "{format}: {text}");
        }
        if matches!(format, "json" | "sarif" | "gitlab") {
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        }
    }
}

#[test]
fn the_fixes_in_sarif_are_those_that_fix_makes() {
    let place = Place::new();
    let before = format!("{BAD}# ß\nUSER 8\n");
    place.write("Containerfile", &before);
    let (text, _) = place.expect(1, &["lint", "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let mut edits = Vec::new();
    for fix in results
        .iter()
        .flat_map(|one| one["fixes"].as_array())
        .flatten()
    {
        let change = &fix["artifactChanges"][0];
        assert_eq!(change["artifactLocation"]["uri"], "Containerfile");
        let edit = &change["replacements"][0];
        let number = |name: &str| {
            let number = edit["deletedRegion"][name].as_u64().expect("a number");
            usize::try_from(number).expect("small")
        };
        let new = edit["insertedContent"]["text"].as_str().expect("a text");
        edits.push((number("byteOffset"), number("byteLength"), new));
    }
    assert!(edits.len() >= 2, "{text}");
    edits.sort_unstable();
    let mut after = before;
    for (at, length, new) in edits.into_iter().rev() {
        after.replace_range(at..at + length, new);
    }
    place.expect(0, &["lint", "--fix", "--fail-on", "none"]);
    let fixed = fs::read_to_string(place.context().join("Containerfile")).expect("the file");
    assert_eq!(after, fixed);
}

#[test]
fn xml_is_well_formed_whatever_a_file_holds() {
    requires!(program "python3");
    let place = Place::new();
    place.write(
        "<&\"'>/Containerfile",
        "FROM scratch\nUSER <&\"']]>\u{1}\n\u{0}x\n",
    );
    for format in ["checkstyle", "junit"] {
        let (text, _) = place.expect(1, &["lint", "--format", format]);
        let parse =
            "import sys, xml.dom.minidom; xml.dom.minidom.parseString(sys.stdin.buffer.read())";
        let output = assert_cmd::Command::new("python3")
            .args(["-c", parse])
            .write_stdin(text.as_str())
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn the_nearest_configuration_decides_about_severities_and_registries() {
    let place = Place::new();
    place
        .write("a/b/Containerfile", BAD)
        .write("c/Containerfile", "FROM docker.io/x/y:1\nUSER 7:7\n");
    place.write(
        ".rbuild.toml",
        "[lint]\ntrusted-registries = [\"quay.io\"]\n",
    );
    place.write(
        "a/.rbuild.toml",
        "[lint]\ndisabled = [\"RB105\"]\n[lint.severity]\nExposeProtoCasing = \"error\"\n",
    );
    let (text, _) = place.expect(1, &["lint", "--format", "plain"]);
    let found: Vec<String> = text
        .lines()
        .map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        found,
        [
            "a/b/Containerfile:2:13 error ExposeProtoCasing",
            "c/Containerfile:1:6 info RB701",
            "c/Containerfile:1:6 error DL3026"
        ]
    );
    place.expect(1, &["lint", "--fail-on", "error", "a"]);
    place.write("other.toml", "");
    place.expect(0, &["lint", "--fail-on", "error", "--config", "other.toml"]);
    place.write("other.toml", "[lint]\ndisabled = [\"RB999\"]\n");
    let (_, said) = place.expect(2, &["lint", "--config", "other.toml"]);
    assert!(
        said.contains("other.toml") && said.contains("RB999"),
        "{said}"
    );
    place.expect(2, &["lint", "--config", "nothing.toml"]);
}

#[test]
fn a_baseline_leaves_what_was_there_out_and_nothing_else() {
    let place = Place::new();
    place.write("Containerfile", BAD);
    place.expect(0, &["lint", "--write-baseline", "known.json"]);
    let lint = ["lint", "--baseline", "known.json", "--format", "plain"];
    assert_eq!(place.expect(0, &lint).0, "");
    place.write("Containerfile", format!("# moved\n{BAD}EXPOSE 8080/TCP\n"));
    let (text, _) = place.expect(1, &lint);
    assert!(
        text.lines().count() == 1 && text.starts_with("Containerfile:6:13 "),
        "{text}"
    );
    place.write("known.json", "{\"version\":9,\"findings\":{}}");
    place.expect(2, &lint);
    place.expect(1, &["lint", "--baseline", "nothing.json"]);
}

/// Reads lines of standard input, and writes what the matchers take them for, as GitHub's runner does.
const MATCH: &str = r#"
import json, re, sys
for line in sys.stdin.read().splitlines():
    hits = []
    for matcher in json.load(open(sys.argv[1]))["problemMatcher"]:
        pattern = matcher["pattern"][0]
        found = re.search(pattern["regexp"], line)
        if found:
            part = lambda name: found.group(pattern[name]) if name in pattern else matcher[name]
            hits.append([part(name) for name in ("file", "line", "column", "severity", "code", "message")])
    print(json.dumps(hits))
"#;

#[test]
fn the_problem_matchers_take_every_line_for_what_it_is() {
    requires!(program "python3");
    let place = Place::new();
    place.write(
        "a: b/Containerfile",
        "FROM debian\nEXPOSE 80/TCP\nUSER 7\nNONSENSE [x]\n",
    );
    let (lines, _) = place.expect(1, &["lint", "--format", "gnu"]);
    let matchers = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/problem-matcher.json");
    let matcher = place.path().join("matcher.json");
    fs::copy(matchers, &matcher).expect("the matchers");
    let output = assert_cmd::Command::new("python3")
        .args(["-c", MATCH])
        .arg(&matcher)
        .write_stdin(lines.as_str())
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), lines.lines().count());
    let mut severities = Vec::new();
    for (line, hits) in lines.lines().zip(text.lines()) {
        let hits: Vec<[String; 6]> = serde_json::from_str(hits).expect("JSON");
        let [[file, row, column, severity, code, message]] = hits.as_slice() else {
            panic!("{line}: {hits:?}")
        };
        let word = if severity == "notice" {
            "info"
        } else {
            severity
        };
        let again = format!("{file}:{row}:{column}: {word}: {message} [{code}]");
        assert_eq!(
            (again.as_str(), file.as_str()),
            (line, "a: b/Containerfile")
        );
        severities.push(severity.clone());
    }
    for severity in ["error", "warning", "notice"] {
        assert!(
            severities.iter().any(|one| one == severity),
            "{severity}: {lines}"
        );
    }
}

#[test]
fn the_hooks_of_pre_commit_are_commands_that_are_understood() {
    let hooks = include_str!("../../.pre-commit-hooks.yaml");
    let place = Place::new();
    place.write("Containerfile", BAD).write("Dockerfile", GOOD);
    let mut entries = 0;
    for line in hooks
        .lines()
        .filter_map(|line| line.trim().strip_prefix("entry: rbuild "))
    {
        let mut args: Vec<&str> = line.split(' ').collect();
        args.extend(["Containerfile", "Dockerfile"]);
        let (text, _) = place.expect(1, &args);
        assert!(text.contains("RB105"), "{text}");
        entries += 1;
    }
    assert_eq!(entries, 2);
}

/// The file behind the README's session.
const SESSION: &str = "\
FROM docker.io/library/debian:13@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598 AS build
ARG TARGETARCH=amd64
RUN make ARCH=$TARGETARCH
FROM scratch
COPY --from=build /app /app
USER app
";

#[test]
fn the_readme_shows_what_is_printed() {
    let place = Place::new();
    place.write("Containerfile", SESSION);
    let (text, said) = place.expect(1, &["lint", "Containerfile"]);
    let readme = include_str!("../../README.md");
    let session = format!("$ rbuild lint Containerfile\n{text}{said}```\n");
    assert!(readme.contains(&session), "{session}");
}

#[test]
fn units_and_what_lies_around_a_file_are_read() {
    let place = Place::new();
    place.write(".git/HEAD", "");
    place.write(".github/workflows/ci.yaml", "env:\n  TOOL_VERSION: \"2\"\n");
    place.write(
        "a/Containerfile",
        "ARG TOOL_VERSION=1\nFROM scratch\nUSER 7:7\nHEALTHCHECK CMD [\"x\"]\n",
    );
    place.write("a/build.sh", "podman build .\n");
    place.write(
        "a/app.container",
        "[Container]\nImage=a\nUserNS=keep-id\nReadOnly=true\nNoNewPrivileges=true\nDropCapability=all\n[Install]\nWantedBy=default.target\n",
    );
    place.write("a/other.network", "[Match]\nName=eth0\n");
    place.write("a/other.image", "\u{0}\u{1}");
    let (text, _) = place.expect(1, &["lint", "--format", "plain"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 3
            && lines[0].starts_with("a/Containerfile:1:5 warning RB709")
            && lines[0].contains(".github/workflows/ci.yaml:2")
            && lines[1].starts_with("a/Containerfile:4:1 warning RB503 build.sh:1")
            && lines[2].starts_with("a/app.container:3:8 warning RB901")
            && lines[2].contains("keep-id:uid=7,gid=7"),
        "{text}"
    );
}

#[test]
fn what_dockle_and_trivy_ignore_is_ignored_and_labels_have_a_schema() {
    let place = Place::new();
    place.write(
        "Containerfile",
        "FROM scratch\nLABEL version=next\nUSER 0:0\n",
    );
    place.write(".trivyignore", "# why\nAVD-DS-0002\nCVE-2020-1\n");
    place.write(
        ".rbuild.toml",
        "[lint.labels]\nversion = \"semver\"\nlicence = \"spdx\"\n",
    );
    let (text, _) = place.expect(1, &["lint", "--format", "plain"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("Containerfile:1:1 info DL3049")
            && lines[1].starts_with("Containerfile:2:15 warning DL3052"),
        "{text}"
    );
}
