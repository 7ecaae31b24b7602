//! `rbuild build`, its wiring: where files come from, where results go, what is said.

use std::fs;

use crate::support::Place;

const COPY_ONLY: &str = "FROM scratch\nCOPY hello.txt /\nUSER 65532:65532\n";

fn place() -> Place {
    let place = Place::new();
    place
        .write("hello.txt", "hello\n")
        .write("Containerfile", COPY_ONLY);
    place
}

#[test]
fn the_cards_own_call_equals_build() {
    let place = place();
    let (first, stderr) = place.expect(0, &["-f", "Containerfile", "."]);
    assert!(first.starts_with("sha256:"), "{first}");
    assert!(
        stderr
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("built sha256:") && line.contains("65532:65532")),
        "{stderr}"
    );
    let (again, _) = place.expect(0, &["build", "-q", "-f", "Containerfile", "."]);
    assert_eq!(again.lines().count(), 1);
}

#[test]
fn quiet_prints_the_id_and_nothing_else() {
    let place = place();
    let (stdout, stderr) = place.expect(0, &["build", "-q", "--iidfile", "id", "."]);
    assert_eq!(stderr, "");
    assert_eq!(
        fs::read_to_string(place.context().join("id")).expect("the id"),
        stdout.trim()
    );
}

#[test]
fn json_progress_is_one_object_per_line_also_when_it_fails() {
    let place = place();
    let (_, stderr) = place.expect(0, &["build", "--progress", "json", "."]);
    let events: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        events.iter().any(|event| event["event"] == "committed"),
        "{stderr}"
    );
    place.write("Containerfile", "FROM scratch\nCOPY missing /\n");
    let (_, stderr) = place.expect(1, &["build", "--progress", "json", "."]);
    let last: serde_json::Value =
        serde_json::from_str(stderr.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["event"], "failed");
}

#[test]
fn dry_run_prints_the_plan_and_builds_nothing() {
    let place = place();
    let (plan, _) = place.expect(0, &["build", "--dry-run", "-t", "never", "."]);
    assert!(
        plan.contains("hello.txt") && plan.contains("65532:65532"),
        "{plan}"
    );
    let (images, _) = place.expect(0, &["images"]);
    assert_eq!(images.lines().count(), 1, "{images}");
}

#[test]
fn outputs_are_written_where_they_were_asked_for() {
    let place = place();
    place.expect(
        0,
        &[
            "-o",
            "type=oci,dest=layout",
            "-o",
            "type=oci,dest=image.tar",
            "-o",
            "files",
            "-o",
            "type=docker,dest=d.tar",
            ".",
        ],
    );
    for name in ["layout/index.json", "image.tar", "files/hello.txt", "d.tar"] {
        assert!(place.context().join(name).exists(), "{name}");
    }
    let output = place
        .rbuild()
        .args(["-o", "-", "."])
        .output()
        .expect("it starts");
    assert!(output.status.success());
    assert_eq!(
        output.stdout.get(257..262),
        Some(&b"ustar"[..]),
        "standard output is a tar"
    );
}

#[test]
fn a_containerfile_on_standard_input_has_files_or_not() {
    let place = place();
    let with = place
        .rbuild()
        .args(["-f", "-", "."])
        .write_stdin(COPY_ONLY)
        .output()
        .expect("it starts");
    assert!(
        with.status.success(),
        "{}",
        String::from_utf8_lossy(&with.stderr)
    );
    let without = place
        .rbuild()
        .arg("-")
        .write_stdin(COPY_ONLY)
        .output()
        .expect("it starts");
    assert_eq!(without.status.code(), Some(1));
    let empty = place
        .rbuild()
        .arg("-")
        .write_stdin("FROM scratch\nLABEL a=b\nUSER 1:1\n")
        .output()
        .expect("it starts");
    assert!(
        empty.status.success(),
        "{}",
        String::from_utf8_lossy(&empty.stderr)
    );
}

#[test]
fn errors_show_the_line_of_the_containerfile() {
    let place = place();
    place.write("Containerfile", "FROM scratch\nCOPPY a b\n");
    let (_, stderr) = place.expect(1, &["."]);
    assert!(stderr.contains("--> Containerfile:2:1"), "{stderr}");
    place.write("Containerfile", "FROM scratch\nCOPY hello.txt /\n");
    let (_, stderr) = place.expect(1, &["."]);
    assert!(stderr.contains("USER 65532:65532"), "{stderr}");
    let (_, stderr) = place.expect(1, &["no-such-directory"]);
    assert!(stderr.contains("no-such-directory"), "{stderr}");
}

#[test]
fn a_failing_step_shows_its_lines_its_exit_code_and_its_output() {
    requires!(execution);
    let busybox = requires!(base "busybox");
    let place = place();
    place.write(
        "Containerfile",
        "FROM busybox\nRUN echo before; exit 7\nUSER 1:1\n",
    );
    let context = format!("busybox=oci-layout:{}", busybox.display());
    let (_, stderr) = place.expect(1, &["--network", "none", "--build-context", &context, "."]);
    for part in [
        "before",
        "Containerfile:2:1",
        "RUN echo before; exit 7",
        "7",
    ] {
        assert!(stderr.contains(part), "{part} is missing in {stderr}");
    }
}

#[test]
fn s65_a_caller_with_open_descriptors_may_build_and_shows_none_of_them() {
    requires!(execution);
    let busybox = requires!(base "busybox");
    let place = place();
    // The listing's own descriptor is 3.
    place.write(
        "Containerfile",
        "FROM busybox\nRUN test \"$(ls /proc/self/fd | tr '\\n' ' ')\" = '0 1 2 3 '\nUSER 1:1\n",
    );
    let line = format!(
        "exec {} build --network none --build-context busybox=oci-layout:{} . 3</etc/passwd 4</etc/passwd 9</etc/passwd",
        crate::support::binary().display(),
        busybox.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .output()
        .expect("sh starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A file that builds, with two warnings of the linter.
const WARNED: &str = "FROM scratch\nEXPOSE 80\nEXPOSE 81\nUSER 7:7\n";

#[test]
fn a_build_says_once_that_the_linter_has_something_to_say() {
    let place = Place::new();
    place.write("Containerfile", WARNED);
    let (_, said) = place.expect(0, &["build", "."]);
    assert_eq!(
        said.matches("the linter has 2 warnings").count(),
        1,
        "{said}"
    );
    assert!(!said.contains("RB401"), "{said}");
    for quiet in [&["build", "-q", "."][..], &["build", "--no-lint", "."]] {
        let (_, said) = place.expect(0, quiet);
        assert!(!said.contains("linter"), "{said}");
    }
    let (_, events) = place.expect(0, &["build", "--progress", "json", "."]);
    let found: Vec<&str> = events
        .lines()
        .filter(|line| line.contains("RB401"))
        .collect();
    assert!(
        found.len() == 2 && found[0].contains("\"span\":{\"start\":20,\"end\":22}"),
        "{events}"
    );
    // What the project or the file has decided is not said.
    place.write(".rbuild.toml", "[lint]\ndisabled = [\"RB401\"]\n");
    assert!(!place.expect(0, &["build", "."]).1.contains("linter"));
}

#[test]
fn check_shows_what_the_linter_finds_and_builds_nothing() {
    let place = Place::new();
    place.write("Containerfile", WARNED);
    let (text, said) = place.expect(1, &["build", "--check", "."]);
    assert_eq!(text.matches("warning[RB401]").count(), 2, "{text}");
    assert_eq!(said, "2 warnings\n");
    let skip = "BUILDKIT_DOCKERFILE_CHECK=skip=RB401";
    let (text, said) = place.expect(0, &["build", "--check", "--build-arg", skip, "."]);
    assert_eq!((text.as_str(), said.as_str()), ("", "no findings\n"));
    place.expect(
        2,
        &[
            "build",
            "--check",
            "--build-arg",
            "BUILDKIT_DOCKERFILE_CHECK=x",
            ".",
        ],
    );
    place.expect(2, &["build", "--check", "--dry-run", "."]);
    let (images, _) = place.expect(0, &["images"]);
    assert!(images.lines().count() <= 1, "nothing was built: {images}");
}

#[test]
fn warnings_of_the_linter_fail_a_build_that_asks_for_it() {
    let place = Place::new();
    place.write("Containerfile", format!("# check=error=true\n{WARNED}"));
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(
        said.contains("warning[RB401]") && said.contains("error=true was asked for"),
        "{said}"
    );
    place.expect(0, &["build", "--no-lint", "."]);
    // The user policy is what the builder says, once.
    place.write("Containerfile", "FROM scratch\nUSER app\n");
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(!said.contains("linter") && !said.contains("RB10"), "{said}");
}
