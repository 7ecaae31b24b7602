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
