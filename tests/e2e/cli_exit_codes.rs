//! Documented exit codes, and standard streams that went away.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::support::{Place, binary};

#[test]
fn without_arguments_there_is_help_and_exit_code_2() {
    let (stdout, stderr) = Place::new().expect(2, &[]);
    assert_eq!(stdout, "");
    assert!(stderr.contains("Examples:"), "{stderr}");
}

#[test]
fn mistakes_of_usage_are_exit_code_2_and_name_the_argument() {
    let place = Place::new();
    for (args, word) in [
        (&["build", "--manifest", "x", "."][..], "--manifest"),
        (&["images", "--format", "yaml"], "yaml"),
        (&["rmi"], "IMAGE"),
        (&["build", "-t", "UPPER", "."], "UPPER"),
        (&["build", "--tls-verify=false", "."], "--insecure-registry"),
    ] {
        let (_, stderr) = place.expect(2, args);
        assert!(stderr.contains(word), "{args:?}: {stderr}");
    }
}

#[test]
fn what_is_not_there_is_exit_code_1() {
    let place = Place::new();
    let (_, stderr) = place.expect(1, &["inspect", "nothing"]);
    assert!(stderr.starts_with("error: find image nothing"), "{stderr}");
    let (_, stderr) = place.expect(1, &["imagse"]);
    assert!(
        stderr.contains("hint: did you mean the command `rbuild images`?"),
        "{stderr}"
    );
    let (_, stderr) = place.expect(125, &["run", "nothing"]);
    assert!(stderr.contains("nothing"), "{stderr}");
}

#[test]
fn s16_a_store_that_others_may_enter_is_exit_code_3() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.expect(0, &["images"]);
    std::fs::set_permissions(place.store(), std::fs::Permissions::from_mode(0o755))
        .expect("its mode");
    let (_, stderr) = place.expect(3, &["images"]);
    assert!(stderr.contains("hint: chmod 700"), "{stderr}");
}

#[test]
fn f45_a_reader_that_went_away_is_no_panic() {
    for args in [
        &["--help"][..],
        &["completions", "bash"],
        &["images", "--format", "json"],
        &["doctor"],
    ] {
        let place = Place::new();
        let mut child = Command::new(binary())
            .args(args)
            .env("RBUILD_ROOT", place.store())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert!(
            output.status.code().is_some(),
            "{args:?} was killed: {:?}",
            output.status
        );
    }
}

#[test]
fn f45_a_full_device_as_standard_output_is_an_error() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = Command::new(binary())
        .arg("--help")
        .stdout(full)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("write to standard output"), "{stderr}");
}

#[test]
fn f40_without_a_home_the_store_must_be_named() {
    if crate::support::degree() == crate::support::Degree::Root {
        skip!("degree", "root's store is not below a home directory");
    }
    let output = Command::new(binary())
        .arg("images")
        .env_clear()
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--root"));
}

#[test]
fn f45_a_build_goes_on_when_nobody_reads_its_progress() {
    let place = Place::new();
    place.write(
        "Containerfile",
        "FROM scratch\nCOPY Containerfile /\nUSER 1:1\n",
    );
    for progress in ["plain", "json"] {
        let mut child = Command::new(binary())
            .args(["build", "--no-cache", "--progress", progress, "."])
            .current_dir(place.context())
            .env("RBUILD_ROOT", place.store())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stderr.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{progress}: {:?}", output.status);
        assert!(output.stdout.starts_with(b"sha256:"), "{progress}");
    }
}

#[test]
fn a_registry_that_does_not_answer_is_exit_code_4() {
    let place = Place::new();
    let (_, stderr) = place.expect(
        4,
        &[
            "pull",
            "--insecure-registry",
            "127.0.0.1:1",
            "127.0.0.1:1/x",
        ],
    );
    assert!(stderr.contains("127.0.0.1:1"), "{stderr}");
    place.write("Containerfile", "FROM 127.0.0.1:1/x\nUSER 1:1\n");
    place.expect(4, &["build", "--insecure-registry", "127.0.0.1:1", "."]);
}
