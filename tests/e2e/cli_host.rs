//! `doctor`, `unshare` and the ranges of the store: what depends on the machine and the user.

use std::fs;

use crate::support::{Degree, Place, degree};

#[test]
fn doctor_reports_every_check_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.rbuild().arg("doctor").output().expect("it starts");
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{:?}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    for check in [
        "newuidmap",
        "overlay in a user namespace",
        "pasta",
        "store filesystem",
    ] {
        assert!(text.contains(check), "{check} is missing in {text}");
    }
    let left: Vec<_> = fs::read_dir(place.path())
        .expect("the place")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["context"], "the store is not made, and nothing else");
}

#[test]
fn doctor_in_json_says_the_degree() {
    let output = Place::new()
        .rbuild()
        .args(["doctor", "--format", "json"])
        .output()
        .expect("it starts");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected: &[&str] = match degree() {
        Degree::SubIds => &["full", "files-only"],
        Degree::NoSub => &["single-id", "files-only"],
        Degree::Root => &["root", "files-only"],
    };
    assert!(
        expected.contains(&report["degree"].as_str().expect("a degree")),
        "{report}"
    );
}

#[test]
fn unshare_makes_the_user_root_of_its_ids_and_passes_the_exit_code_on() {
    requires!(execution);
    let place = Place::new();
    let (stdout, _) = place.expect(
        9,
        &[
            "unshare",
            "sh",
            "-c",
            "id -u; cat /proc/self/uid_map; exit 9",
        ],
    );
    let ids: Vec<&str> = stdout.split_whitespace().collect();
    assert_eq!(ids[0], "0");
    let mapped: u64 = ids[1..]
        .chunks(3)
        .map(|extent| extent[2].parse::<u64>().expect("a count"))
        .sum();
    assert_eq!(mapped > 1, degree() != Degree::NoSub, "{stdout}");
    let (_, stderr) = place.expect(127, &["unshare", "no-such-program"]);
    assert!(stderr.contains("no-such-program"), "{stderr}");
    place.expect(143, &["unshare", "sh", "-c", "kill -TERM $$"]);
}

#[test]
fn unshare_hands_standard_input_and_the_store_on() {
    requires!(execution);
    let place = Place::new();
    let output = place
        .rbuild()
        .args(["unshare", "sh", "-c", "cat; echo $RBUILD_ROOT"])
        .write_stdin("in\n")
        .output()
        .expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("in\n{}\n", place.store().display())
    );
}

#[test]
fn f35_a_changed_range_is_an_error_that_names_both() {
    requires!(execution);
    requires!(sub_ids);
    let place = Place::new();
    place.expect(0, &["unshare", "true"]);
    let record = place.store().join("id-ranges.json");
    let text = fs::read_to_string(&record).expect("the record");
    let now: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let start = now["uids"][0]["outside"]
        .as_u64()
        .expect("a start")
        .to_string();
    fs::write(&record, text.replace(&start, "7777777")).expect("another record");
    let (_, stderr) = place.expect(3, &["unshare", "true"]);
    assert!(
        stderr.contains("7777777") && stderr.contains(&start) && stderr.contains("usermod"),
        "{stderr}"
    );
    fs::write(&record, text).expect("the old record");
    place.expect(0, &["unshare", "true"]);
}

/// Runs rbuild where /etc/subuid and /etc/subgid say `range`: a private mount namespace, which root may make.
fn with_range(place: &Place, range: &str, words: &str) -> std::process::Output {
    let file = place.path().join("ranges");
    fs::write(&file, format!("root:{range}\n")).expect("the ranges");
    let binary = crate::support::binary();
    let script = format!(
        "mount --bind {file} /etc/subuid && mount --bind {file} /etc/subgid && exec {binary} {words}",
        file = file.display(),
        binary = binary.display()
    );
    std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .env("RBUILD_ROOT", place.store())
        .output()
        .expect("unshare starts")
}

#[test]
fn a_new_range_counts_at_the_next_command_and_a_changed_one_is_an_error() {
    requires!(degree Degree::Root);
    requires!(execution);
    let place = Place::new();
    let first = with_range(&place, "3000000:65536", "unshare cat /proc/self/uid_map");
    let text = String::from_utf8_lossy(&first.stdout);
    assert!(
        text.contains("3000000"),
        "{text}{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let changed = with_range(&place, "4000000:65536", "unshare true");
    let text = String::from_utf8_lossy(&changed.stderr);
    assert_eq!(changed.status.code(), Some(3), "{text}");
    assert!(
        text.contains("3000000:65536") && text.contains("4000000:65536"),
        "{text}"
    );
    let other = Place::new();
    let next = with_range(&other, "4000000:65536", "unshare cat /proc/self/uid_map");
    assert!(String::from_utf8_lossy(&next.stdout).contains("4000000"));
}

#[test]
fn unshare_gives_a_network_as_containers_have_it() {
    requires!(execution);
    requires!(pasta);
    let place = Place::new();
    let network = |flags: &[&str]| {
        let args = [&["unshare"], flags, &["readlink", "/proc/self/ns/net"]].concat();
        place.expect(0, &args).0
    };
    let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    assert_eq!(network(&[]).trim(), own.to_string_lossy());
    assert_ne!(network(&["--rootless-netns"]).trim(), own.to_string_lossy());
    let devices = ["unshare", "--rootless-netns", "cat", "/proc/net/dev"];
    let (devices, _) = place.expect(0, &devices);
    let count = devices.lines().filter(|line| line.contains(':')).count();
    assert!(count > 1, "not only lo:\n{devices}");
}
