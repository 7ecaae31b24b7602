//! `rbuild test --config`: structure tests in the form of container-structure-test. Each test is made to fail once.

use crate::support::Place;

const CONTAINERFILE: &str = "FROM busybox\n\
    COPY --chown=70:71 --chmod=0750 greet /greet\n\
    ENV WHO=world\nLABEL level=v12\nWORKDIR /tmp\nEXPOSE 8080\nUSER 65532:65532\nCMD [\"sh\"]\n";

fn built() -> Option<Place> {
    let base = crate::support::base("busybox")?;
    let place = Place::new();
    place.write_program("greet", "#!/bin/sh\necho hello\n");
    let context = format!("busybox=oci-layout:{}", base.display());
    let more = [
        "--network",
        "none",
        "-t",
        "box",
        "--build-context",
        &context,
    ];
    place.build(CONTAINERFILE, &more);
    Some(place)
}

macro_rules! requires_image {
    () => {
        match built() {
            Some(place) => place,
            None => skip!("bases", "RBUILD_TEST_BASES has no busybox"),
        }
    };
}

/// Tests that all pass, and need commands.
const COMMANDS: &str = r#"
schemaVersion: 2.0.0
globalEnvVars:
- {key: GLOBAL, value: "to $WHO"}
containerRunOptions:
  envVars: [HANDED]
x-rbuild:
  readOnly: true
  tmpfs: [/tmp]
commandTests:
- name: setup, command and teardown share files
  setup: [[sh, -c, "echo made > /tmp/made"]]
  command: sh
  args: [-c, "cat /tmp/made; echo $GLOBAL $OWN $HANDED >&2; exit 3"]
  teardown: [[rm, /tmp/made]]
  envVars: [{key: OWN, value: mine}]
  expectedOutput: ["^ma.e\n$"]
  excludedOutput: [nothing]
  expectedError: ['^\s*$']
  exitCode: 3
"#;

#[test]
fn commands_run_in_a_container_of_their_own() {
    requires!(execution);
    let place = requires_image!();
    // `$GLOBAL` and the others stand in the arguments, so they are expanded from the image, where they are not.
    let good = COMMANDS;
    place.write("good.yaml", good);
    let (text, _) = place.expect(0, &["test", "--config", "good.yaml", "box"]);
    assert!(text.contains("1 checks: 1 passed"), "{text}");
    // What a command itself sees.
    let shell = "schemaVersion: 2.0.0\nglobalEnvVars: [{key: GLOBAL, value: 'to $WHO'}]\ncommandTests:\n- {name: env, command: env, expectedOutput: ['GLOBAL=to world', 'WHO=world', 'HOME=']}\n";
    place.write("env.yaml", shell);
    place.expect(0, &["test", "--config", "env.yaml", "box"]);
    for (from, to, said) in [
        ("exitCode: 3", "exitCode: 4", "exit code 3, expected 4"),
        ("^ma.e", "^mode", "the output has no"),
        ("[nothing]", "[made]", "the output has"),
        ("cat /tmp/made;", "cat /tmp/none;", "the output has no"),
        ("command: sh", "command: /no/such", "No such file"),
        ("[[sh, -c", "[[/no/such, -c", "setup: execute /no/such"),
        ("made > /tmp/made", "made > /made", "the output has no"),
    ] {
        place.write("bad.yaml", good.replace(from, to));
        let (text, _) = place.expect(1, &["test", "--config", "bad.yaml", "box"]);
        assert!(text.contains("FAIL  command"), "{from}: {text}");
        assert!(text.contains(said), "{from}: {text}");
    }
}

#[test]
fn a_command_that_does_not_end_is_killed_with_all_that_it_started() {
    requires!(execution);
    let place = requires_image!();
    let text = "schemaVersion: 1.0.0\nx-rbuild: {timeoutSeconds: 1}\ncommandTests:\n- {name: slow, command: [sh, -c, 'sleep 100 & sleep 100']}\n";
    place.write("slow.yaml", text);
    let before = std::time::Instant::now();
    let (text, _) = place.expect(1, &["test", "-c", "slow.yaml", "box"]);
    assert!(text.contains("still ran after"), "{text}");
    assert!(before.elapsed().as_secs() < 20);
}

#[test]
fn files_and_metadata_are_read_without_starting_anything() {
    let place = requires_image!();
    let good = r#"{"schemaVersion": "2.0.0",
      "fileExistenceTests": [
        {"name": "greet", "path": "/greet", "permissions": "-rwxr-x---", "uid": 70, "gid": 71, "isExecutableBy": "group"},
        {"name": "none", "path": "/$WHO", "shouldExist": false}],
      "fileContentTests": [{"name": "says", "path": "/greet", "expectedContents": ["echo .*"], "excludedContents": ["bash"]}],
      "metadataTest": {"envVars": [{"key": "WHO", "value": "w.*d", "isRegex": true}], "labels": [{"key": "level", "value": "v12"}],
        "exposedPorts": ["8080"], "workdir": "/tmp", "user": "65532:65532", "cmd": ["sh"]},
      "x-rbuild": {"sizeBudget": "200MB", "elf": ["/bin/busybox"]}}"#;
    place.write("tests.json", good);
    let args = ["test", "--format", "json", "-c", "tests.json", "box"];
    let (text, _) = place.expect(0, &args);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["passed"], 6, "{text}");
    for (from, to) in [
        ("\"uid\": 70", "\"uid\": 0"),
        ("-rwxr-x---", "drwxr-x---"),
        ("\"/$WHO\"", "\"/bin\""),
        ("echo .*", "echo$"),
        ("\"v12\"", "\"v1\""),
        ("w.*d", "^d"),
        ("\"200MB\"", "\"1kB\""),
        ("/bin/busybox", "/bin/no-such"),
    ] {
        place.write("tests.json", good.replace(from, to));
        let (text, _) = place.expect(1, &args);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["failed"], 1, "{from}: {text}");
    }
}

#[test]
fn a_file_with_mistakes_is_a_usage_error_with_its_line_and_runs_nothing() {
    let place = requires_image!();
    let bomb: String = (1..12).fold(
        "x0: &x0 [a, a, a, a, a, a, a, a, a]\n".to_owned(),
        |text, n| {
            let below = format!("*x{}", n - 1);
            format!("{text}x{n}: &x{n} [{}]\n", vec![below; 9].join(", "))
        },
    );
    let unknown =
        "schemaVersion: 2.0.0\nfileExistenceTests:\n- name: a\n  path: /a\n  shoudExist: true\n";
    for (text, said) in [
        (
            unknown,
            "tests.yaml:5: a file existence test has no key \"shoudExist\"",
        ),
        (bomb.as_str(), "more than 200000 values"),
        (
            "schemaVersion: 2.0.0\ncontainerRunOptions: {privileged: true}\n",
            "tests.yaml:2: privileged",
        ),
        ("a: [\n", "tests.yaml:"),
    ] {
        place.write("tests.yaml", text);
        let (_, stderr) = place.expect(2, &["test", "-c", "tests.yaml", "box"]);
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    let (_, stderr) = place.expect(2, &["test", "-c", "none.yaml", "box"]);
    assert!(stderr.contains("--config: read none.yaml"), "{stderr}");
}

#[test]
fn failures_are_annotated_at_their_lines_and_counted_for_junit() {
    let place = requires_image!();
    let text = "schemaVersion: 2.0.0\nfileExistenceTests:\n- {name: here, path: /greet}\n- {name: 'not, there', path: /none}\n";
    place.write("tests.yaml", text);
    let format = |format| {
        place
            .expect(1, &["test", "--format", format, "-c", "tests.yaml", "box"])
            .0
    };
    assert_eq!(
        format("github"),
        "::error file=tests.yaml,line=4,title=file%3A not%2C there::/none is not there\n"
    );
    let xml = format("junit");
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("message=\"/none is not there\""), "{xml}");
}

#[test]
fn documents_of_the_images_own_program_are_asked_for() {
    requires!(execution);
    let place = requires_image!();
    place.write("www/index.html", "hello");
    let base = crate::support::base("busybox").expect("it was there");
    let context = format!("busybox=oci-layout:{}", base.display());
    let web = "FROM busybox\nCOPY www /www\nUSER 65532:65532\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";
    place.build(
        web,
        &[
            "--network",
            "none",
            "-t",
            "web",
            "--build-context",
            &context,
        ],
    );
    let good = "schemaVersion: 2.0.0\nx-rbuild:\n  http:\n  - {name: page, port: 8080, expectedContents: [^hello$]}\n  - {name: none, port: 8080, path: /none, status: 404}\n";
    place.write("http.yaml", good);
    let (text, _) = place.expect(0, &["test", "-c", "http.yaml", "web"]);
    assert!(text.contains("2 checks: 2 passed"), "{text}");
    for (from, to, said) in [
        ("^hello$", "^bye$", "the document has no"),
        ("status: 404", "status: 200", "status 404, expected 200"),
        (
            "page, port: 8080",
            "page, port: 8081",
            "ask port 8081 for /",
        ),
    ] {
        let bad = good.replace(from, to);
        place.write(
            "http.yaml",
            bad.replace("x-rbuild:", "x-rbuild:\n  timeoutSeconds: 1"),
        );
        let (text, _) = place.expect(1, &["test", "-c", "http.yaml", "web"]);
        assert!(text.contains(said), "{from}: {text}");
    }
}
