//! Large contexts: what is looked at, and what is not. strace(1) sees it.

use std::collections::BTreeSet;
use std::fs;

use crate::build_oracle::Site;

/// The paths that a build opened below the context's directory `tree`, by openat(2) and openat2(2), as strace shows them.
fn opened(site: &Site, file: &str) -> (String, BTreeSet<String>) {
    site.place.write("Containerfile", file);
    let log = site.place.path().join("trace");
    let mut command = assert_cmd::Command::new("strace");
    let calls = "trace=open,openat,openat2";
    command
        .current_dir(site.place.context())
        .env("RBUILD_ROOT", site.place.store())
        .env("HOME", site.place.path())
        .args(["-f", "-qq", "-y", "-s", "4096", "-e", calls, "-o"])
        .arg(&log)
        .arg(crate::support::binary())
        .args(["build", "--progress", "plain", "--user-policy", "off"])
        .args(["-f", "Containerfile", "."]);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    // With -y the descriptor that a call returns is shown with its path.
    let tree = format!("<{}/", site.place.context().join("tree").display());
    let trace = fs::read_to_string(&log).expect("the trace");
    let paths = trace.lines().filter_map(|line| {
        let (_, result) = line.rsplit_once(") = ")?;
        let path = result.split_once(&tree)?.1;
        Some(path.trim_end_matches('>').to_owned())
    });
    (said, paths.collect())
}

#[test]
fn an_unchanged_context_is_not_read_and_ignored_directories_are_not_entered() {
    requires!(program "strace");
    let site = site!();
    for directory in [
        "kept",
        "also",
        "ignored",
        "ignored/deep",
        "excepted",
        "excepted/not",
    ] {
        for number in 0..3 {
            let name = format!("tree/{directory}/file-{number}");
            site.place.write(&name, name.as_bytes());
        }
    }
    let mut ignore = String::from("tree/ignored\ntree/excepted\n!tree/excepted/file-1\n");
    for number in 0..500 {
        ignore += &format!("**/*.tmp{number}\ntree/other-{number}\n");
    }
    site.place.write(".dockerignore", ignore);
    // A digest is remembered only of a file that is clearly older than the moment it was read.
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let file = "FROM scratch\nCOPY tree/kept tree/excepted /a/\nCOPY tree/also /b\n";
    let (said, first) = opened(&site, file);
    let read = |name: &str| first.contains(name);
    assert!(read("kept/file-0") && read("excepted/file-1"), "{first:?}");
    assert!(!read("excepted/file-0"), "{first:?}");
    assert!(!said.contains("cached"), "{said}");
    let (said, second) = opened(&site, file);
    assert_eq!(said.matches("cached").count(), 2, "{said}");
    let entered = ["also", "excepted", "kept"].map(str::to_owned);
    assert_eq!(second, BTreeSet::from(entered), "directories, and no file");
    for opened in [first, second] {
        assert!(
            !opened
                .iter()
                .any(|path| path.starts_with("ignored") || path.starts_with("excepted/not")),
            "{opened:?}"
        );
    }
}
