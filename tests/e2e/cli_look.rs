//! `rbuild size`, `why` and `diff`: what the bytes of an image are for, what brought a file, and what differs between two images.

use serde_json::Value;

use crate::support::Place;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A test's image: two files, one of them replaced by a later layer.
const REPLACED: &str = "FROM scratch\nCOPY a b /d/\nCOPY c /d/b\nUSER 65532:65532\n";

fn replaced() -> Place {
    let place = Place::new();
    place.write("a", "x".repeat(1000));
    place.write("b", "x".repeat(500_000));
    place.write("c", "x".repeat(30));
    place.build(REPLACED, &["-t", "app"]);
    place
}

#[test]
fn size_says_what_the_bytes_are_for_and_what_is_hidden() {
    let place = replaced();
    let (said, _) = place.expect(0, &["size", "app", "--format", "json"]);
    let answer = json(&said);
    let layers = answer["layers"].as_array().expect("layers");
    let seen: Vec<_> = layers
        .iter()
        .map(|layer| (layer["bytes"].as_u64(), layer["files"].as_u64()))
        .collect();
    assert_eq!(
        seen,
        [(Some(1000), Some(1)), (Some(30), Some(1))],
        "the second layer hides what the first has"
    );
    assert!(layers[0]["size"].as_u64() > Some(501_000), "{said}");
    let sum: u64 = layers
        .iter()
        .filter_map(|layer| layer["size"].as_u64())
        .sum();
    assert_eq!(answer["size"].as_u64(), Some(sum));
    let names = answer["reasons"].as_array().expect("reasons").iter();
    let reasons: Vec<_> = names.map(|row| (&row["name"], &row["bytes"])).collect();
    assert_eq!(
        reasons,
        [
            (&"COPY a b /d/".into(), &1000.into()),
            (&"COPY c /d/b".into(), &30.into())
        ]
    );
    assert_eq!(
        answer["packages"],
        serde_json::json!([{"name": "-", "bytes": 1030, "files": 2}])
    );
    let (said, _) = place.expect(0, &["size", "app"]);
    assert!(
        said.contains("COPY a b /d/") && said.contains("1.00 kB"),
        "{said}"
    );
}

#[test]
fn size_above_the_budget_is_exit_code_1() {
    let place = replaced();
    let (_, said) = place.expect(1, &["size", "app", "--budget", "500kB"]);
    assert!(said.contains("keep app within 500 kB: it has 50"), "{said}");
    let (said, _) = place.expect(0, &["size", "app", "--budget", "1MB"]);
    assert!(said.contains(" of 1.00 MB\n"), "{said}");
    place.expect(2, &["size", "app", "--budget", "1 heap"]);
    // Exactly as large is not larger.
    let (said, _) = place.expect(0, &["size", "app", "--format", "json"]);
    let exact = json(&said)["size"].as_u64().expect("a size");
    place.expect(0, &["size", "app", "--budget", &exact.to_string()]);
    place.expect(1, &["size", "app", "--budget", &(exact - 1).to_string()]);
}

#[test]
fn why_names_the_program_that_needs_a_library_and_the_instruction_that_brought_it() {
    let layout = requires!(base "debian");
    let place = Place::new();
    let context = format!("debian=oci-layout:{}", layout.display());
    let file = "FROM scratch\nCOPY --from=debian / /\nCOPY note /etc/\nUSER 65532:65532\n";
    place.write("note", "n");
    place.build(file, &["--build-context", &context, "-t", "app"]);
    let ask = |path: &str| {
        let (said, _) = place.expect(0, &["why", "app", path, "--format", "json"]);
        json(&said)
    };
    let tinfo = ask("/lib/x86_64-linux-gnu/libtinfo.so.6");
    if tinfo["package"].is_null() {
        skip!("x86-64", "the base is for another machine");
    }
    let chain = tinfo["chain"].as_array().expect("a chain");
    let edges: Vec<_> = chain.iter().map(|edge| edge["reason"].as_str()).collect();
    assert_eq!(edges.len(), 2, "{tinfo}");
    assert!(
        edges[0].is_some_and(|edge| edge.starts_with("link to /usr/lib/")),
        "{tinfo}"
    );
    assert!(edges[1].is_some_and(|edge| edge.starts_with("libtinfo.so.6 needed by /usr/bin/")));
    assert_eq!(tinfo["instruction"], "COPY --from=debian / /");
    let programs = tinfo["programs"].as_array().expect("programs");
    assert!(programs.contains(&"/usr/bin/bash".into()), "{tinfo}");
    assert!(!programs.contains(&"/usr/bin/env".into()), "{tinfo}");
    let note = ask("/etc/note");
    assert_eq!(
        (&note["instruction"], &note["chain"], &note["package"]),
        (
            &"COPY note /etc/".into(),
            &serde_json::json!([]),
            &Value::Null
        )
    );
    let (said, _) = place.expect(0, &["why", "app", "/etc/note"]);
    assert_eq!(said, "/etc/note\n  it is from: COPY note /etc/\n");
    let (_, said) = place.expect(1, &["why", "app", "/nowhere"]);
    assert!(said.contains("find /nowhere in app"), "{said}");
    // The sizes of the same image know packages and programs.
    let (said, _) = place.expect(0, &["size", "app", "--format", "json"]);
    let ledger = json(&said);
    let named = |table: &str, name: &str| {
        let rows = ledger[table].as_array().expect("rows").iter();
        rows.filter(|row| row["name"] == name).count()
    };
    assert_eq!(named("packages", "libc6"), 1, "{said}");
    assert_eq!(named("reasons", "needed by several programs"), 1, "{said}");
}

#[test]
fn diff_is_exit_code_0_for_the_same_and_1_with_every_difference_named() {
    let place = Place::new();
    place
        .write("lib.so.1", "one")
        .write("kept", "kept")
        .write("old", "old");
    let one = "FROM scratch\nCOPY lib.so.1 /lib/libx.so.1\nCOPY kept old /d/\nENV A=1 B=2\nUSER 65532:65532\n";
    place.build(one, &["-t", "one", "--closure", "off"]);
    place.write("lib.so.1", "two").write("new", "new");
    let two = "FROM scratch\nCOPY lib.so.1 /lib/libx.so.1\nCOPY --chmod=0600 --chown=7:8 kept /d/\nCOPY new /d/\nENV A=1 B=3\nENTRYPOINT [\"/x\"]\nUSER 65532:7\n";
    place.build(two, &["-t", "two", "--closure", "off"]);
    let (said, _) = place.expect(0, &["diff", "one", "one"]);
    assert_eq!(said, "");
    let (said, _) = place.expect(
        1,
        &["diff", "one", "two", "--ignore-times", "--format", "json"],
    );
    let answer = json(&said);
    let files: Vec<String> = answer["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|row| format!("{} {} {}", row["change"], row["path"], row["aspects"]).replace('"', ""))
        .collect();
    assert_eq!(
        files,
        [
            "changed /d [owner]",
            "changed /d/kept [mode,owner]",
            "added /d/new []",
            "removed /d/old []",
            "changed /lib/libx.so.1 [content]"
        ]
    );
    assert_eq!(
        answer["libraries"].as_array().map(Vec::len),
        Some(1),
        "{said}"
    );
    let fields = answer["configuration"].as_array().expect("fields").iter();
    let fields: Vec<_> = fields.map(|row| row["field"].as_str()).collect();
    assert_eq!(
        fields,
        [Some("Entrypoint"), Some("Env.B"), Some("User")],
        "{said}"
    );
    let (said, _) = place.expect(1, &["diff", "one", "two", "--ignore-times"]);
    for line in [
        "~ /d/kept: mode 0644 -> 0600, owner 0:0 -> 7:8\n",
        "+ /d/new\n",
        "- /d/old\n",
        "~ /lib/libx.so.1 (library): content (3 -> 3 bytes)\n",
        "~ User: 65532:65532 -> 65532:7\n",
        "~ Env.B: 2 -> 3\n",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
}

#[test]
fn diff_does_not_depend_on_how_layers_are_cut_and_sees_times() {
    let place = Place::new();
    place.write("a", "a").write("b", "b");
    let two = "FROM scratch\nCOPY a /d/\nCOPY b /d/\nUSER 65532:65532\n";
    place.build(
        two,
        &["-t", "two", "--timestamp", "1000000000", "--closure", "off"],
    );
    place.build(
        two,
        &[
            "-t",
            "one",
            "--squash",
            "--timestamp",
            "1000000000",
            "--closure",
            "off",
        ],
    );
    place.expect(0, &["diff", "one", "two"]);
    place.build(
        two,
        &[
            "-t",
            "later",
            "--timestamp",
            "1000000001",
            "--closure",
            "off",
        ],
    );
    let (said, _) = place.expect(1, &["diff", "one", "later"]);
    assert!(said.contains("~ /d/a: time\n"), "{said}");
    assert!(said.contains("~ created: "), "{said}");
    place.expect(0, &["diff", "one", "later", "--ignore-times"]);
}

#[test]
fn why_knows_what_rules_say_that_programs_open() {
    let place = Place::new();
    place.write_program("app", "#!/nowhere\n");
    place.write("Tokyo", "TZif").write("note", "n");
    let file = "FROM scratch\nCOPY app /app\nCOPY Tokyo /usr/share/zoneinfo/Asia/\nCOPY note /etc/\nENV TZ=Asia/Tokyo\nUSER 1:1\n";
    place.build(file, &["-t", "app"]);
    let (said, _) = place.expect(0, &["why", "app", "/usr/share/zoneinfo/Asia/Tokyo"]);
    assert_eq!(
        said,
        "/usr/share/zoneinfo/Asia/Tokyo\n  /usr/share/zoneinfo/Asia/Tokyo: opened by /app, says the rule timezone\n  /app is from: COPY app /app\n  it is from: COPY Tokyo /usr/share/zoneinfo/Asia/\n"
    );
    let (said, _) = place.expect(0, &["why", "app", "/etc/note"]);
    assert_eq!(said, "/etc/note\n  it is from: COPY note /etc/\n");
}

#[test]
fn diff_says_which_symbols_a_library_has_no_more() {
    requires!(program "gcc");
    let place = Place::new();
    for (name, text) in [
        (
            "one",
            "int kept(void) { return 1; } int gone(void) { return 1; } static int own(void) { return kept(); } int (*f)(void) = own;",
        ),
        (
            "two",
            "int kept(void) { return 2; } int come(void) { return 1; } int (*f)(void);",
        ),
    ] {
        place.write("x.c", text);
        let args = ["-shared", "-fPIC", "-nostdlib", "-o", "libx.so.1", "x.c"];
        let mut gcc = std::process::Command::new("gcc");
        let status = gcc.args(args).current_dir(place.context()).status();
        assert!(status.expect("gcc").success());
        place.build(
            "FROM scratch\nCOPY libx.so.1 /lib/\nUSER 1:1\n",
            &["-t", name],
        );
    }
    let (said, _) = place.expect(1, &["diff", "one", "two", "--ignore-times"]);
    assert!(
        said.contains("~ /lib/libx.so.1 (library): content"),
        "{said}"
    );
    assert!(
        said.contains("\n    - symbols: gone\n    + symbols: come\n"),
        "{said}"
    );
    let (said, _) = place.expect(1, &["diff", "one", "two", "--format", "json"]);
    let row = &json(&said)["libraries"][0];
    assert_eq!(
        row["symbols"],
        serde_json::json!({"added": ["come"], "removed": ["gone"]})
    );
}
