//! F05, F06: a store on a file system without room. The store is a small tmpfs in a private mount namespace, where an ordinary
//! user mounts as root of a user namespace.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fault_oracle::{Ended, Running, Scene};
use crate::support::{Degree, binary, degree};

/// Mounts a tmpfs with options on the store and builds; gives it room and builds again; looks at what is there at the end.
const SCRIPT: &str = r#"
mount -t tmpfs -o mode=0700,$OPTIONS none "$RBUILD_ROOT" || exit 99
"$@" >first.out 2>first.err
echo "first $?"
mount -t tmpfs -o remount,size=200m,nr_inodes=10000 none "$RBUILD_ROOT" || exit 99
"$@" 2>second.err
echo "second $?"
cd "$RBUILD_ROOT"/blobs/sha256 && for blob in *; do echo "$blob  $blob"; done | sha256sum -c --quiet >&2 && echo whole
find ../../tmp ../../leases ../../trees/work -mindepth 1 2>/dev/null | sed 's/^/left /'
"#;

struct Two {
    first: i32,
    error: String,
    log: Ended,
}

/// One build without room and one with.
fn build_in(scene: &Scene, options: &str) -> Two {
    std::fs::create_dir_all(scene.place.store()).expect("the mount point");
    let mut command = Command::new("setsid");
    command.args(["unshare", "--mount"]);
    if degree() != Degree::Root {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(binary())
        .args(scene.args())
        .current_dir(scene.place.context())
        .env("RBUILD_ROOT", scene.place.store())
        .env("SOURCE_DATE_EPOCH", crate::fault_oracle::EPOCH)
        .env("OPTIONS", options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = Running::spawn(command, scene.word()).end(Duration::from_secs(60));
    let read = |name| std::fs::read_to_string(scene.place.context().join(name)).unwrap_or_default();
    let error = read("first.err");
    let first = log
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("first "));
    let first = first
        .and_then(|code| code.parse().ok())
        .expect("the first build's code");
    assert!(
        log.stdout.contains("\nsecond 0\n") && log.stdout.contains("\nwhole\n"),
        "{options}: with room again:\n{}{}{}\nfirst: {error}",
        log.stdout,
        log.stderr,
        read("second.err"),
    );
    assert!(!log.stdout.contains("\nleft "), "{options}: {}", log.stdout);
    for name in ["first.out", "first.err", "second.err"] {
        std::fs::remove_file(scene.place.context().join(name)).expect("it goes");
    }
    Two { first, error, log }
}

/// From hardly any room to enough.
fn sweep(scene: &Scene, options: impl Iterator<Item = String>) {
    let wanted = scene.build(&[]);
    assert!(wanted.status.success(), "{}", wanted.stderr);
    for (failures, options) in options.enumerate() {
        let two = build_in(scene, &options);
        assert!(
            two.log.stdout.contains(wanted.stdout.trim()),
            "{options}: another image"
        );
        if two.first == 0 {
            assert!(failures > 0, "{options} is enough already");
            scene.recovers();
            return;
        }
        let error = &two.error;
        assert!(
            matches!(two.first, 1 | 3),
            "{options}: {} {error}",
            two.first
        );
        assert_eq!(
            error
                .lines()
                .filter(|line| line.starts_with("error"))
                .count(),
            1,
            "{options}: {error}"
        );
        assert!(
            error.contains("No space left on device"),
            "{options}: {error}"
        );
        let store = scene.place.store().display().to_string();
        assert!(
            error.contains(&store) || error.contains("Containerfile:"),
            "{options}: no place: {error}"
        );
        assert!(!error.contains("panicked"), "{options}: {error}");
    }
    panic!("never enough");
}

fn may_mount() -> bool {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if degree() != Degree::Root {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command
        .args(["mount", "-t", "tmpfs", "none", "/tmp"])
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn f05_a_disk_that_is_full_in_a_build_that_copies() {
    if !may_mount() {
        skip!("mount", "no mount in a private namespace here");
    }
    sweep(
        &Scene::copy_only(),
        (1..80).map(|pages| format!("size={}k", pages * 8)),
    );
}

#[test]
fn f06_a_disk_without_inodes_in_a_build_that_copies() {
    if !may_mount() {
        skip!("mount", "no mount in a private namespace here");
    }
    sweep(
        &Scene::copy_only(),
        (1..60).map(|count| format!("size=100m,nr_inodes={}", count * 2)),
    );
}

#[test]
fn f05_f06_a_full_disk_in_a_build_that_runs() {
    requires!(execution);
    let base = requires!(base "busybox");
    requires!(degree Degree::Root);
    sweep(
        &Scene::with_run(base.clone()),
        (1..60).map(|step| format!("size={}k", step * 300)),
    );
    sweep(
        &Scene::with_run(base),
        (1..80).map(|step| format!("size=100m,nr_inodes={}", step * 20)),
    );
}
