//! `--help`, `--version` and completions: what users and packagers read.

use crate::support::Place;

#[test]
fn help_shows_the_commands_with_examples_and_exit_codes() {
    let (help, _) = Place::new().expect(0, &["--help"]);
    insta::assert_snapshot!(help);
}

#[test]
fn help_of_build_shows_every_flag_of_the_issue() {
    let (help, _) = Place::new().expect(0, &["build", "--help"]);
    for flag in [
        "--file",
        "--tag",
        "--build-arg",
        "--target",
        "--build-context",
        "--no-cache",
        "--platform",
        "--label",
        "--annotation",
        "--jobs",
        "--network",
        "--allow",
        "--security-opt",
        "--iidfile",
        "--quiet",
        "--progress",
        "--output",
        "--user-policy",
        "--dry-run",
        "--authfile",
        "--insecure-registry",
    ] {
        assert!(help.contains(flag), "{flag} is missing");
    }
}

#[test]
fn help_of_run_shows_every_flag_of_the_issue() {
    let (help, _) = Place::new().expect(0, &["run", "--help"]);
    for flag in [
        "--userns",
        "--volume",
        "--env",
        "--entrypoint",
        "--workdir",
        "--user",
        "--network",
        "--read-only",
        "--tmpfs",
        "--cap-add",
        "--cap-drop",
    ] {
        assert!(help.contains(flag), "{flag} is missing");
    }
}

#[test]
fn version_is_one_line_on_standard_output() {
    let (stdout, stderr) = Place::new().expect(0, &["--version"]);
    assert_eq!(stdout, format!("rbuild {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(stderr, "");
}

#[test]
fn completions_and_manual_pages_are_written() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let (script, _) = place.expect(0, &["completions", shell]);
        assert!(script.contains("rbuild"), "{shell}");
    }
    place.expect(0, &["man", "pages"]);
    let page =
        std::fs::read_to_string(place.context().join("pages/rbuild-build.1")).expect("a page");
    assert!(page.contains("build\\-arg"));
}
