//! `--progress json`: every line is JSON, and what is wrong with a Containerfile has its place to the byte.

use serde_json::Value;

use crate::support::Place;

/// Builds and returns the events; every line of standard error must be one.
fn events(place: &Place, file: &str, code: i32, args: &[&str]) -> Vec<Value> {
    place.write("Containerfile", file);
    let mut all = vec!["build", "--network", "none", "--progress", "json", "."];
    all.extend(args);
    let (_, stderr) = place.expect(code, &all);
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{stderr}"))
    };
    stderr.lines().map(parse).collect()
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

/// The text that a finding is about, and `line:column-line:column`.
fn place_of<'f>(file: &'f str, finding: &Value) -> (&'f str, String) {
    let number = |of: &str, key: &str| {
        let number = finding["place"][of][key].as_u64();
        usize::try_from(number.expect("a number")).expect("a small one")
    };
    let text = &file[number("span", "start")..number("span", "end")];
    let (from, to) = ("from", "to");
    let [a, b, c, d] = [
        (from, "line"),
        (from, "column"),
        (to, "line"),
        (to, "column"),
    ]
    .map(|(of, key)| number(of, key));
    (text, format!("{a}:{b}-{c}:{d}"))
}

#[test]
fn errors_of_the_text_and_of_the_plan_are_events_with_their_bytes() {
    let place = Place::new();
    let file = "# größe\nFROM scratch\nCOPPY a b\nUSER 1:1\nENV\n";
    let found = events(&place, file, 1, &[]);
    let errors = named(&found, "diagnostic");
    let places: Vec<_> = errors.iter().map(|error| place_of(file, error)).collect();
    assert_eq!(
        places,
        [
            ("COPPY", "3:1-3:6".to_owned()),
            ("ENV", "5:1-5:4".to_owned())
        ],
        "{errors:?}"
    );
    assert!(errors.iter().all(|error| error["severity"] == "error"
        && error["place"]["file"] == "Containerfile"
        && error["message"].is_string()));
    assert!(
        errors[0]["help"][0]
            .as_str()
            .is_some_and(|help| help.contains("COPY"))
    );
    let failed = named(&found, "failed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["exit-code"], 1);

    let file =
        "FROM scratch AS a\nFROM a\nCOPY --from=nowhere \\\n  /x /y\nSTOPSIGNAL ü\nUSER 1:1\n";
    let found = events(&place, file, 1, &["--pull=never"]);
    let places: Vec<_> = named(&found, "diagnostic")
        .into_iter()
        .map(|error| place_of(file, error))
        .collect();
    assert!(places.contains(&("ü", "5:12-5:13".to_owned())), "{found:?}");
}

#[test]
fn warnings_are_events_too_and_the_build_goes_on() {
    let place = Place::new();
    let file = "from scratch as A\nLABEL a b\nUSER app\n";
    let args = ["--build-arg", "X=1", "--user-policy", "warn"];
    let found = events(&place, file, 0, &args);
    let rules: Vec<_> = named(&found, "diagnostic")
        .iter()
        .map(|warning| {
            assert_eq!(warning["severity"], "warning", "{warning}");
            (
                warning["rule"].as_str().unwrap_or_default(),
                place_of(file, warning).0,
            )
        })
        .collect();
    assert_eq!(
        rules,
        [
            ("UnusedBuildArg", "from"),
            ("StageNameCasing", "A"),
            ("LegacyKeyValueFormat", "a b"),
            ("", "USER app")
        ]
    );
    assert_eq!(named(&found, "committed").len(), 1);
}

#[test]
fn the_policy_of_users_has_a_place() {
    let place = Place::new();
    let file = "FROM scratch\nUSER app\n";
    let found = events(&place, file, 1, &["--user-policy", "enforce"]);
    let errors = named(&found, "diagnostic");
    assert_eq!(errors.len(), 1, "{found:?}");
    assert_eq!(place_of(file, errors[0]).0, "USER app");
}

#[test]
fn an_unknown_target_is_an_event() {
    let place = Place::new();
    let file = "FROM scratch AS base\nFROM base AS final\n";
    let found = events(&place, file, 1, &["--target", "finl"]);
    let errors = named(&found, "diagnostic");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].to_string().contains("did you mean"),
        "{}",
        errors[0]
    );
}

#[test]
fn a_failed_step_is_an_event_with_its_instruction_and_exit_code() {
    let site = site!(run);
    let file = "FROM busybox\n# é\nRUN echo out; \\\n  exit 7\n";
    site.place.write("Containerfile", file);
    let layout = format!("busybox=oci-layout:{}", requires!(base "busybox").display());
    let args = ["--build-context", layout.as_str(), "--user-policy=off"];
    let found = events(&site.place, file, 1, &args);
    let errors = named(&found, "diagnostic");
    assert_eq!(errors.len(), 1, "{found:?}");
    assert_eq!(errors[0]["exit-code"], 7);
    let (text, at) = place_of(file, errors[0]);
    assert_eq!(
        (text, at.as_str()),
        ("RUN echo out; \\\n  exit 7", "3:1-4:9")
    );
    let started = named(&found, "step-started");
    let span = &started[0]["label"]["span"];
    let bounds = [0, 1].map(|at| span[at].as_u64().expect("a number") as usize);
    assert_eq!(&file[bounds[0]..bounds[1]], text);
}

#[test]
fn the_log_may_go_into_a_file_and_quiet_says_the_id_alone() {
    let place = Place::new();
    place
        .write("Containerfile", "FROM scratch\nCOPY x /x\nUSER 1:1\n")
        .write("x", "1");
    let log = place.path().join("log");
    let args = [
        "build",
        "--logfile",
        "../log",
        "--metadata-file",
        "../m.json",
        "-t",
        "a:1",
        "-t",
        "localhost/b",
        ".",
    ];
    let (id, _) = place.expect(0, &args);
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(text.contains("COPY x /x"), "{text}");
    let metadata = std::fs::read_to_string(place.path().join("m.json")).expect("it");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    assert_eq!(metadata["containerimage.config.digest"], id.trim());
    assert_eq!(
        metadata["image.name"],
        "docker.io/library/a:1,localhost/b:latest"
    );
    for quiet in [&["-q"][..], &["--progress", "quiet"], &["--progress=none"]] {
        let (stdout, stderr) = place.expect(0, &[&["build"], quiet, &["."]].concat());
        assert_eq!((stdout.as_str(), stderr.as_str()), (id.as_str(), ""));
    }
}
