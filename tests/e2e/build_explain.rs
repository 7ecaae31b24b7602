//! `--explain-cache`: for each step whether the cache had it, and if not which input changed. The invariant: one test for each kind of
//! reason; what is said names inputs and never shows a value.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::build_oracle::Site;
use crate::support::{Degree, degree};
use crate::web::{Answer, Web};

const EXPLAIN: &str = "--explain-cache";

/// Builds, and returns what was said of the cache: of each step its place and the verdict.
fn told(site: &Site, file: &str, args: &[&str]) -> Vec<String> {
    let built = site.build(file, &[&[EXPLAIN][..], args].concat());
    verdicts(&built.stderr)
}

fn verdicts(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().filter(|line| line.contains("] cache "));
    lines.map(str::to_owned).collect()
}

/// What is said of a step, and of no other.
fn reason(site: &Site, file: &str, args: &[&str]) -> String {
    let told = told(site, file, args);
    let misses: Vec<_> = told
        .iter()
        .filter(|line| !line.contains("] cache hit"))
        .collect();
    assert_eq!(misses.len(), 1, "{told:#?}");
    let (_, reason) = misses[0].split_once("] cache miss: ").expect("a miss");
    reason.to_owned()
}

#[test]
fn a_first_build_has_nothing_and_a_second_one_has_all() {
    let site = site!();
    site.place.write("a", "1");
    let file = "FROM scratch AS one\nCOPY a /a\nFROM one\nCOPY a /b\n";
    assert_eq!(
        told(&site, file, &[]),
        [
            "[one 1/1] cache miss: never built here",
            "[stage-1 1/1] cache miss: never built here"
        ]
    );
    let again = told(&site, file, &[]);
    assert_eq!(again.len(), 2, "{again:#?}");
    for line in again {
        let (_, hit) = line.split_once("] cache hit: sha256:").expect("a hit");
        assert_eq!(
            hit.len(),
            "0123456789ab, built 2026-11-22T04:22:00Z".len(),
            "{hit}"
        );
        assert!(hit.contains(", built 2"), "{hit}");
    }
    let silent = site.build(file, &[]);
    assert_eq!(verdicts(&silent.stderr), [""; 0]);
}

#[test]
fn files_are_named_by_path_and_the_step_below_names_its_parent() {
    let site = site!();
    site.place
        .write("d/one", "1")
        .write("d/two", "2")
        .write("d/three", "3");
    let file = "FROM scratch\nCOPY d /d\nCOPY d/three /\n";
    site.build(file, &[]);
    site.place.write("d/one", "other").write("d/new", "n");
    fs::remove_file(site.place.context().join("d/two")).expect("a file");
    let told = told(&site, file, &[]);
    let files = told[0].split_once("] cache miss: ").expect("a miss").1;
    assert_eq!(
        files,
        "file d/new was added; file d/one changed; file d/two was removed"
    );
    assert_eq!(
        told[1],
        "[stage-0 2/2] cache miss: the step before it differs: [stage-0 1/2] COPY d /d"
    );
}

#[test]
fn of_many_files_the_first_are_named_and_the_others_counted() {
    let site = site!();
    let file = "FROM scratch\nCOPY d /d\n";
    let write = |text: &str| {
        for number in 0..9 {
            site.place.write(&format!("d/{number}"), text);
        }
    };
    write("a");
    site.build(file, &[]);
    write("b");
    assert_eq!(
        reason(&site, file, &[]),
        "file d/0 changed; file d/1 changed; file d/2 changed; file d/3 changed; file d/4 changed; and 4 files more"
    );
}

#[test]
fn a_touched_file_is_a_reason_only_where_times_are_inputs() {
    let site = site!();
    site.place.write("a", "1");
    let file = "FROM scratch\nCOPY a /\n";
    let touch = |seconds| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let file = fs::File::options()
            .write(true)
            .open(site.place.context().join("a"));
        file.and_then(|file| file.set_modified(time))
            .expect("a time");
    };
    touch(1_700_000_000);
    site.build(file, &[]);
    touch(1_700_000_001);
    assert_eq!(reason(&site, file, &[]), "file a has another time");
    let exactly = ["--timestamp", "5"];
    let epoch = reason(&site, file, &exactly);
    assert!(
        epoch.contains("the epoch (of a flag, SOURCE_DATE_EPOCH or the commit) changed"),
        "{epoch}"
    );
    touch(1_700_000_002);
    let untouched = told(&site, file, &exactly);
    assert!(untouched[0].contains("] cache hit"), "{untouched:#?}");
    // Nor is a file that no step copies, nor one that is ignored.
    site.place.write("b", "unused");
    let unused = told(&site, file, &exactly);
    assert!(unused[0].contains("] cache hit"), "{unused:#?}");
}

#[test]
fn flags_sources_owners_and_heredocs_are_named() {
    let site = site!();
    site.place.write("a", "1").write("b", "1");
    let file = |line: &str| format!("FROM scratch\n{line}\n");
    site.build(&file("COPY a /"), &[]);
    for (line, expected) in [
        ("COPY --chown=5:5 a /", "--chown changed"),
        ("COPY --chmod=600 a /", "--chmod changed"),
        ("COPY a /c", "the source or destination paths changed"),
    ] {
        assert_eq!(reason(&site, &file(line), &[]), expected, "{line}");
        site.build(&file("COPY a /"), &[]);
    }
    // Neither the user nor the environment is an input of COPY.
    let other = told(&site, &file("ENV A=1\nUSER 5:5\nCOPY a /"), &[]);
    assert!(other[0].contains("] cache hit"), "{other:#?}");
    let heredoc = |text: &str| file(&format!("COPY <<EOF /f\n{text}\nEOF"));
    site.build(&heredoc("one"), &[]);
    assert_eq!(
        reason(&site, &heredoc("two"), &[]),
        "the heredoc EOF changed"
    );
    // An argument that an instruction is expanded with shows as what it changed.
    let arg = "FROM scratch\nARG WHICH=a\nCOPY $WHICH /x\n";
    site.build(arg, &[]);
    let other = reason(&site, arg, &["--build-arg", "WHICH=b"]);
    assert!(
        other.starts_with("the source or destination paths changed"),
        "{other}"
    );
    assert!(
        other.contains("file b was added") && other.contains("file a was removed"),
        "{other}"
    );
}

#[test]
fn what_a_run_depends_on_is_named_and_no_value_is_shown() {
    let site = site!(run);
    let file = |middle: &str, run: &str| format!("FROM busybox\n{middle}\n{run}\n");
    site.build(&file("ENV A=open-sesame", "RUN true"), &[]);
    let cases = [
        ("ENV A=xyzzy", "RUN true", "the variable A changed"),
        (
            "ENV B=plugh",
            "RUN true",
            "the variable B was added; the variable A was removed",
        ),
        (
            "ENV A=open-sesame\nSHELL [\"/bin/ash\", \"-ec\"]",
            "RUN true",
            "SHELL changed",
        ),
        (
            "ENV A=open-sesame\nARG C=xyzzy",
            "RUN true",
            "the build argument C was added",
        ),
        ("ENV A=open-sesame", "RUN true # 2", "the command changed"),
        ("ENV A=open-sesame", "RUN [\"true\"]", "the command changed"),
        (
            "ENV A=open-sesame",
            "RUN --network=none true",
            "--network changed",
        ),
        (
            "ENV A=open-sesame",
            "RUN --mount=type=tmpfs,target=/t true",
            "the mount at /t was added",
        ),
    ];
    for (middle, run, expected) in cases {
        let told = reason(&site, &file(middle, run), &[]);
        assert_eq!(told, expected, "{middle} {run}");
        assert!(!told.contains("xyzzy"));
        // It is compared with the nearest, which need not be the last: this is noted only when it is built.
        site.build(&file("ENV A=open-sesame", "RUN true"), &["--no-cache"]);
        site.build(&file("ENV A=other", "RUN true"), &["--no-cache"]);
    }
    let plain = file("ENV A=open-sesame", "RUN true");
    let below = |line: &str| plain.replace("RUN", &format!("{line}\nRUN"));
    let moved = told(&site, &below("WORKDIR /w"), &[]);
    assert_eq!(
        moved[1],
        "[stage-0 2/2] cache miss: the step before it differs: [stage-0 1/2] WORKDIR /w; the working directory changed"
    );
    if degree() != Degree::NoSub {
        assert_eq!(reason(&site, &below("USER 5:5"), &[]), "the user changed");
    }
    let ulimit = reason(
        &site,
        &file("ENV A=open-sesame", "RUN true"),
        &["--ulimit", "nofile=100"],
    );
    assert_eq!(ulimit, "--ulimit changed");
    // Nor do values lie in the records that this is told from.
    for record in fs::read_dir(site.place.store().join("cache/explain")).expect("records") {
        let text = fs::read_to_string(record.expect("one").path()).expect("a record");
        assert!(text.contains("\"env\"") && text.contains("\"A\""), "{text}");
        for value in ["xyzzy", "plugh", "open-sesame"] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

#[test]
fn secrets_are_no_reason_and_appear_nowhere() {
    let site = site!(run);
    let secret = site.place.path().join("token");
    fs::write(&secret, "swordfish-1").expect("a secret");
    let given = format!("id=token,src={}", secret.display());
    let file = "FROM busybox\nRUN --mount=type=secret,id=token,env=TOKEN test -n \"$TOKEN\"\n";
    let first = site.build(file, &[EXPLAIN, "--secret", &given]);
    assert!(!first.stderr.contains("swordfish"), "{}", first.stderr);
    fs::write(&secret, "swordfish-2").expect("a secret");
    let again = told(&site, file, &["--secret", &given]);
    assert!(again[0].contains("] cache hit"), "{again:#?}");
    let renamed = file
        .replace("env=TOKEN", "env=OTHER")
        .replace("$TOKEN", "$OTHER");
    let told = reason(&site, &renamed, &["--secret", &given]);
    assert!(
        told.contains("the secret variable OTHER was added"),
        "{told}"
    );
    for record in fs::read_dir(site.place.store().join("cache/explain")).expect("records") {
        let text = fs::read_to_string(record.expect("one").path()).expect("a record");
        assert!(!text.contains("swordfish"), "{text}");
    }
}

#[test]
fn files_of_stages_and_mounts_are_named_with_their_source() {
    let site = site!(run);
    site.place.write("c/f", "1");
    let file = |text: &str| {
        format!(
            "FROM busybox AS made\nRUN mkdir /d && echo {text} >/d/x && echo same >/d/y\n\
             FROM busybox\nCOPY --from=made /d /d\nRUN --mount=type=bind,source=c,target=/c cat /c/f\n"
        )
    };
    let epoch = ["--timestamp", "5"];
    site.build(&file("one"), &epoch);
    let told = told(&site, &file("two"), &epoch);
    assert!(
        told.contains(&"[made 1/1] cache miss: the command changed".to_owned()),
        "{told:#?}"
    );
    assert!(
        told.contains(&"[stage-1 1/2] cache miss: file made:d/x changed".to_owned()),
        "{told:#?}"
    );
    site.place.write("c/f", "2");
    let mounted = reason(&site, &file("two"), &epoch);
    assert!(mounted.starts_with("file c/f "), "{mounted}");
}

#[test]
fn another_base_image_is_told_by_digest() {
    let site = site!();
    site.place.write("a", "1").write("b", "2");
    let bases = ["a", "b"].map(|name| {
        let file = format!("FROM scratch\nCOPY {name} /base\n");
        let dest = format!("type=oci,dest=../{name}");
        let id = site.build(&file, &["-o", &dest, "-o", "type=store"]).id;
        let context = format!("base=oci-layout:{}", site.place.path().join(name).display());
        (id, context)
    });
    let file = "FROM base\nCOPY a /a\n";
    let from = |file: &str, context: &str| reason(&site, file, &["--build-context", context]);
    site.build(file, &["--build-context", &bases[0].1]);
    let told = from(file, &bases[1].1);
    let (old, new) = told
        .strip_prefix("the base image changed (")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once(" -> "))
        .unwrap_or_else(|| panic!("{told}"));
    assert_ne!(old, new);
    for digest in [old, new] {
        assert!(digest.contains("@sha256:"), "{told}");
    }
    // An image that files are copied from.
    let file = "FROM scratch\nCOPY --from=base /base /x\n";
    site.build(file, &["--build-context", &bases[0].1]);
    let told = from(file, &bases[1].1);
    assert!(
        told.starts_with("the image that files are taken from changed (") && told.contains(" -> "),
        "{told}"
    );
}

#[test]
fn what_is_fetched_is_told_by_digest() {
    let site = site!();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let web = Web::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::ok(number.to_string())
    });
    let file = format!("FROM scratch\nADD {} /f\n", web.url("/f"));
    site.build(&file, &[]);
    let told = reason(&site, &file, &[]);
    assert!(
        told.starts_with("source 1, which is fetched, changed (sha256:")
            && told.contains(" -> sha256:"),
        "{told}"
    );
}

#[test]
fn the_cache_may_be_left_out_and_results_may_be_gone() {
    let site = site!();
    site.place.write("a", "1");
    let file = "FROM scratch AS one\nCOPY a /\n";
    let id = site.build(file, &[]).id;
    assert_eq!(reason(&site, file, &["--no-cache"]), "--no-cache");
    assert_eq!(
        reason(&site, file, &["--no-cache-filter", "one"]),
        "--no-cache-filter"
    );
    site.place.expect(0, &["rmi", &id]);
    site.place.expect(0, &["prune"]);
    assert_eq!(
        reason(&site, file, &[]),
        "its result was removed from the store"
    );
    site.place.expect(0, &["prune", "--all"]);
    assert!(
        !site
            .place
            .store()
            .join("cache/explain")
            .read_dir()
            .is_ok_and(|mut all| all.next().is_some())
    );
}

#[test]
fn a_layer_that_was_made_without_a_session_serves_a_stage_that_runs_something() {
    let site = site!(run);
    site.place.write("a", "1");
    let copied = "FROM busybox\nCOPY a /\n";
    site.build(copied, &[]);
    let told = told(&site, &format!("{copied}RUN test \"$(cat /a)\" = 1\n"), &[]);
    match degree() {
        Degree::NoSub => {
            let why = "how owners are stored (with or without subordinate ids) changed";
            assert_eq!(told[0], format!("[stage-0 1/2] cache miss: {why}"));
        }
        Degree::SubIds | Degree::Root => assert!(told[0].contains("cache hit"), "{told:?}"),
    }
}

#[test]
fn an_instruction_that_moved_is_compared_with_itself() {
    let site = site!();
    site.place.write("a", "1").write("b", "2").write("c", "3");
    let file = |first: &str| format!("FROM scratch\n{first}COPY a /\nCOPY b /\n");
    site.build(&file(""), &[]);
    assert_eq!(
        told(&site, &file("COPY c /\n"), &[]),
        [
            "[stage-0 1/3] cache miss: never built here",
            "[stage-0 2/3] cache miss: the step before it differs: [stage-0 1/3] COPY c /",
            "[stage-0 3/3] cache miss: the step before it differs: [stage-0 2/3] COPY a /",
        ]
    );
    let two = "FROM scratch\nCOPY a /m\nCOPY b /m\n";
    site.build(two, &[]);
    assert_eq!(
        reason(&site, "FROM scratch\nCOPY b /m\n", &[]),
        "it is the first step now"
    );
    // Another Containerfile has steps of its own.
    site.place
        .write("Other", "FROM scratch\nCOPY c /elsewhere\n");
    let other = told(&site, &file(""), &["-f", "Other"]);
    assert_eq!(other, ["[stage-0 1/1] cache miss: never built here"]);
}

#[test]
fn events_have_the_verdict_the_reasons_and_the_span() {
    let site = site!();
    site.place
        .write("a", "1")
        .write("Containerfile", "FROM scratch\nCOPY a /\nUSER 1:1\n");
    let run = || {
        let (_, stderr) = site.place.expect(
            0,
            &[
                "build",
                "--network",
                "none",
                "--progress",
                "json",
                EXPLAIN,
                ".",
            ],
        );
        let events: Vec<Value> = stderr
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let found = events
            .into_iter()
            .find(|event| event["event"] == "cache-explained");
        found.expect("an explanation")
    };
    let never = run();
    assert_eq!(never["verdict"], "miss");
    assert_eq!(never["reasons"][0]["cause"], "never-built");
    assert_eq!(never["label"]["span"], serde_json::json!([13, 21]));
    let hit = run();
    assert_eq!(hit["verdict"], "hit");
    assert!(
        hit["key"]
            .as_str()
            .is_some_and(|key| key.starts_with("sha256:"))
    );
    assert!(
        hit["built"]
            .as_i64()
            .is_some_and(|time| time > 1_700_000_000)
    );
    site.place.write("a", "other");
    let miss = run();
    let reason = &miss["reasons"][0];
    assert_eq!(
        (&reason["cause"], &reason["name"], &reason["change"]),
        (&"file".into(), &"a".into(), &"changed".into())
    );
}

#[test]
fn a_dry_run_says_what_would_be_found_and_does_nothing() {
    let site = site!(run);
    site.place.write("a", "1").write("b", "1");
    let file = "FROM busybox AS made\nCOPY a /a\nRUN cp /a /x\nFROM scratch\nCOPY b /\nCOPY --from=made /x /\n";
    let dry = |args: &[&str]| {
        let all = [&["--dry-run", EXPLAIN][..], args].concat();
        let output = site.command(file, &all).output().expect("it starts");
        assert!(output.status.success());
        let plan = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(plan.contains("stage 0 made"), "{plan}");
        verdicts(&String::from_utf8_lossy(&output.stderr))
    };
    let never = dry(&[]);
    assert_eq!(never.len(), 4, "{never:#?}");
    assert!(
        never
            .iter()
            .all(|line| line.ends_with("cache miss: never built here")),
        "{never:#?}"
    );
    assert!(!site.place.store().join("trees/steps").exists());
    site.build(file, &[]);
    let all = dry(&[]);
    assert!(
        all.iter().all(|line| line.contains("] cache hit")),
        "{all:#?}"
    );
    site.place.write("a", "other");
    let changed = dry(&[]);
    assert_eq!(
        changed[..2],
        [
            "[made 1/2] cache miss: file a changed",
            "[made 2/2] cache miss: the step before it differs: [made 1/2] COPY a /a",
        ]
    );
    assert!(
        changed[2].contains("[stage-1 1/2] cache hit"),
        "{changed:#?}"
    );
    assert_eq!(
        changed[3],
        "[stage-1 2/2] cache unknown: it depends on what is in the stage made"
    );
    let fresh = dry(&["--no-cache"]);
    assert!(
        fresh
            .iter()
            .all(|line| line.ends_with("cache miss: --no-cache")),
        "{fresh:#?}"
    );
}

#[test]
fn it_is_refused_where_nothing_is_shown() {
    let site = site!();
    for quiet in [&["-q"][..], &["--progress", "quiet"]] {
        site.place
            .expect(2, &[&["build", EXPLAIN, "."][..], quiet].concat());
    }
}
