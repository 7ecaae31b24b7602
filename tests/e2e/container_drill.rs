//! `rbuild run --drill`: every attempt fails in a container as it is by default, and a protection that is given up is noticed.

use std::collections::BTreeMap;

use crate::support::{Degree, Place, degree};

fn built(containerfile: &str) -> Option<Place> {
    let base = crate::support::base("busybox")?;
    let place = Place::new();
    place.write("file", "x");
    let context = format!("busybox=oci-layout:{}", base.display());
    place.build(
        containerfile,
        &[
            "--network",
            "none",
            "-t",
            "box",
            "--build-context",
            &context,
        ],
    );
    Some(place)
}

/// Verdicts by the probes' names.
fn verdicts(place: &Place, code: i32, flags: &[&str]) -> BTreeMap<String, (String, String)> {
    let args = [&["run", "--drill=json"], flags, &["box"]].concat();
    let (stdout, stderr) = place.expect(code, &args);
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or("null").to_owned();
    let pair = |row: &serde_json::Value| {
        (
            text(row, "probe"),
            (text(row, "verdict"), text(row, "outside")),
        )
    };
    rows.iter().map(pair).collect()
}

fn with(verdicts: &BTreeMap<String, (String, String)>, wanted: &str) -> Vec<String> {
    let found = verdicts
        .iter()
        .filter(|(_, (verdict, _))| verdict == wanted);
    found.map(|(name, _)| name.clone()).collect()
}

macro_rules! requires_image {
    ($containerfile:expr) => {{
        requires!(execution);
        match built($containerfile) {
            Some(place) => place,
            None => skip!("bases", "RBUILD_TEST_BASES has no busybox"),
        }
    }};
}

#[test]
fn every_attempt_fails_inside_and_most_are_proved_outside() {
    let place = requires_image!("FROM busybox\nUSER 65532:65532\n");
    for flags in [
        &["--network", "none"][..],
        &["--network", "none", "--read-only", "--init"],
    ] {
        let found = verdicts(&place, 0, flags);
        assert_eq!(with(&found, "failed"), Vec::<String>::new());
        let held = with(&found, "held");
        assert!(
            held.len() >= 45,
            "only {} of {}: {held:?}",
            held.len(),
            found.len()
        );
        for probe in [
            "host-file",
            "signal-host-process",
            "unshare-user",
            "mount-tmpfs",
            "read-masked",
            "host-abstract-socket",
        ] {
            assert!(
                held.iter().any(|one| one == probe),
                "{probe} is unproven: {:?}",
                found[probe]
            );
        }
        assert_eq!(found["host-file"].1, "ok");
    }
    if degree() == Degree::NoSub {
        return;
    }
    let found = verdicts(&place, 0, &["--network", "none", "-u", "0"]);
    assert_eq!(with(&found, "failed"), Vec::<String>::new());
}

#[test]
fn d44_an_image_of_one_file_is_enough() {
    let place = requires_image!("FROM scratch\nCOPY file /file\nUSER 65532:65532\n");
    let (text, _) = place.expect(0, &["run", "--network", "none", "--drill", "box"]);
    assert!(text.starts_with("ROW"), "{text}");
    assert!(text.contains(", 0 FAILED"), "{text}");
}

#[test]
fn a_protection_that_is_given_up_turns_its_rows_red() {
    let place = requires_image!("FROM busybox\nUSER 65532:65532\n");
    let found = verdicts(&place, 1, &["--network", "host"]);
    let failed = with(&found, "failed");
    for probe in ["host-loopback", "host-abstract-socket"] {
        assert!(failed.iter().any(|one| one == probe), "{failed:?}");
    }
    assert!(failed.len() < 6, "{failed:?}");
    let found = verdicts(&place, 1, &["--network", "none", "--cap-add", "NET_RAW"]);
    let failed = with(&found, "failed");
    for probe in ["raw-socket", "packet-socket", "rare-capability"] {
        assert!(failed.iter().any(|one| one == probe), "{failed:?}");
    }
}

#[test]
fn d11_a_set_user_id_file_gives_nothing_in_a_container_and_only_mapped_ids_in_a_step() {
    requires!(execution);
    requires!(program "gcc");
    if degree() == Degree::NoSub {
        skip!("degree", "there is one id only, and nobody to become");
    }
    let place = Place::new();
    place.write("become.c", "#include <stdio.h>\n#include <unistd.h>\nint main(int n, char **words) { printf(\"%d\\n\", geteuid()); return n > 1 && geteuid(); }");
    let compiled = std::process::Command::new("gcc")
        .current_dir(place.context())
        .args(["-static", "-o", "become", "become.c"])
        .output()
        .expect("gcc");
    if !compiled.status.success() {
        skip!("static-libc", "gcc -static fails here");
    }
    // The control: in a step, where privileges may be gained, the same file makes its user root of the step.
    let text = "FROM scratch\nCOPY --chmod=4755 become /become\nUSER 65532:65532\nRUN [\"/become\", \"root\"]\n";
    place.build(text, &["--network", "none", "--no-lint", "-t", "box"]);
    let run = ["run", "--network", "none", "box", "/become"];
    assert_eq!(place.expect(0, &run).0, "65532\n");
}

#[test]
fn d35_what_is_used_up_is_the_containers_own() {
    let place = requires_image!("FROM busybox\nUSER 65532:65532\n");
    let shell = |flags: &[&str], script: &str| {
        let command = ["box", "/bin/sh", "-c", script];
        let args = [&["run", "--network", "none"], flags, &command].concat();
        let output = place.rbuild().args(args).output().expect("it starts");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let hog = "head -c 2097152 /dev/zero > /hog/file";
    let (code, text) = shell(&["--tmpfs", "/hog:size=1m"], hog);
    assert_eq!(code, Some(1), "{text}");
    // The control: with room for it, it fits.
    assert_eq!(shell(&["--tmpfs", "/hog:size=4m"], hog).0, Some(0));
    let files = "ulimit -n; i=3; while [ $i -lt 40 ]; do eval \"exec $i</dev/null\" || exit 1; i=$((i+1)); done; echo all";
    assert!(
        !shell(&["--ulimit", "nofile=20:20"], files)
            .1
            .contains("all")
    );
    assert!(
        shell(&["--ulimit", "nofile=64:64"], files)
            .1
            .contains("all")
    );
}
