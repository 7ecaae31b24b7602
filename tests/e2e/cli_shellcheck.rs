//! ShellCheck behind `rbuild lint`: called where it is installed, and where it is wanted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::Place;

const FILE: &str = "\
FROM scratch
ARG dir=/x
COPY app /app
USER 7:7
RUN cp a $dir && \\
    # a comment
    echo 😀 $unset
";

/// What is printed with a PATH.
fn lint(place: &Place, path: &str, args: &[&str]) -> (String, String) {
    let output = place
        .rbuild()
        .env("PATH", path)
        .args(["lint", "--format", "plain", "--fail-on", "none"])
        .args(args)
        .output()
        .expect("it starts");
    assert!(output.status.success());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let found = text(output.stdout);
    let shell: Vec<&str> = found.lines().filter(|line| line.contains(" SC")).collect();
    (shell.join("\n"), text(output.stderr))
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

#[test]
fn its_findings_are_where_they_are_written() {
    requires!(program "shellcheck");
    let place = Place::new();
    place
        .write("a/Containerfile", FILE)
        .write("b/Containerfile", FILE.replace("$unset", "\"$dir\""));
    let (found, _) = lint(&place, &path(), &[]);
    let places: Vec<String> = found
        .lines()
        .map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "a/Containerfile:7:12 warning SC2154",
            "a/Containerfile:7:12 info SC2086"
        ]
    );
    assert_eq!(lint(&place, &path(), &["--no-shellcheck"]).0, "");
    let json = place
        .expect(
            0,
            &[
                "lint",
                "--format",
                "json",
                "--fail-on",
                "none",
                "a/Containerfile",
            ],
        )
        .0;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let findings = json["findings"].as_array().expect("a list");
    let one = findings
        .iter()
        .find(|one| one["rule"] == "SC2154")
        .expect("found");
    let at = FILE.find("$unset").expect("it");
    assert_eq!(
        one["place"]["span"],
        serde_json::json!({"start": at, "end": at + 6})
    );
}

#[test]
fn the_configuration_decides_about_it() {
    requires!(program "shellcheck");
    let place = Place::new();
    place.write("Containerfile", FILE).write(
        ".rbuild.toml",
        "[lint]\ndisabled = [\"SC2154\"]\n[lint.severity]\nSC2086 = \"error\"\n",
    );
    let (found, _) = lint(&place, &path(), &[]);
    assert!(
        found.lines().count() == 1 && found.contains("error SC2086"),
        "{found}"
    );
    place.write(".rbuild.toml", "[lint]\nshellcheck = false\n");
    assert_eq!(lint(&place, &path(), &[]).0, "");
    let (page, _) = place.expect(0, &["lint", "--explain", "sc2086"]);
    assert_eq!(page, "https://www.shellcheck.net/wiki/SC2086\n");
}

#[test]
fn without_it_nothing_is_missed_and_one_that_fails_is_told_once() {
    let place = Place::new();
    place.write("Containerfile", FILE).write("Dockerfile", FILE);
    assert_eq!(
        lint(&place, "/nothing", &[]),
        (String::new(), String::new())
    );
    let own = place.path().join("bin");
    fs::create_dir(&own).expect("a directory");
    let program = own.join("shellcheck");
    fs::write(&program, "#!/bin/sh\necho no such option >&2; exit 4\n").expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let (found, said) = lint(&place, own.to_str().expect("UTF-8"), &[]);
    assert!(
        found.is_empty()
            && said.matches("does not work").count() == 1
            && said.contains("no such option"),
        "{said}"
    );
}

#[test]
fn many_scripts_go_into_few_processes() {
    requires!(program "shellcheck");
    let place = Place::new();
    let runs: String = (0..300)
        .map(|number| format!("RUN echo $u{number}\n"))
        .collect();
    place.write("Containerfile", format!("FROM scratch\n{runs}USER 7:7\n"));
    let (found, _) = lint(&place, &path(), &[]);
    assert_eq!(
        found.lines().filter(|line| line.contains("SC2154")).count(),
        300,
        "{found}"
    );
}
