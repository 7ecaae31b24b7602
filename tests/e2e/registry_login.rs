//! `rbuild login` and `logout`, at a registry that wants a password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::Place;

#[test]
fn s63_a_password_that_the_registry_accepts_is_noted_for_the_owner_alone() {
    let registry = registry!(true);
    let place = Place::new();
    place.write("Containerfile", "FROM scratch\nLABEL a=b\nUSER 1:1\n");
    place.expect(0, &["build", "-t", "app", "."]);
    let file = place.path().join("auth/auth.json");
    let path = file.display().to_string();
    let host = registry.host.as_str();
    let login = |password: &str, code: i32| {
        let args = [
            "login",
            "--insecure-registry",
            host,
            "--authfile",
            &path,
            "--retry",
            "0",
            "-u",
            "user",
            "--password-stdin",
            host,
        ];
        place.expect_with_input(code, &args, password)
    };
    let (_, stderr) = login("wrong\n", 4);
    assert!(!file.exists() && stderr.contains("denied"), "{stderr}");
    let (stdout, stderr) = login("U*U\n", 0);
    assert!(
        stdout.is_empty() && stderr.contains("logged in"),
        "{stdout}{stderr}"
    );
    assert!(!stderr.contains("U*U"), "{stderr}");
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let name = format!("{host}/app:v1");
    let with = |args: &[&str], code: i32| {
        let mut all = vec![
            args[0],
            "--insecure-registry",
            host,
            "--authfile",
            &path,
            "--retry",
            "0",
        ];
        all.extend(&args[1..]);
        place.expect(code, &all)
    };
    with(&["push", "app", &name], 0);
    let (user, _) = with(&["login", "--get-login", host], 0);
    assert_eq!(user, "user\n");
    place.expect(0, &["logout", "--authfile", &path, host]);
    with(&["push", "app", &name], 4);
    place.expect(1, &["logout", "--authfile", &path, host]);
}

#[test]
fn a_log_in_needs_a_user_and_a_password() {
    let place = Place::new();
    let (_, stderr) = place.expect_with_input(2, &["login", "q.io"], "");
    assert!(stderr.contains("--password-stdin"), "{stderr}");
    place.expect(2, &["login", "q.io/team"]);
    place.expect(2, &["login", "--password-stdin", "q.io"]);
}
