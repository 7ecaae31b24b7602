//! Package records of single files that were copied out of a system: what scanners find in a scratch image.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::Place;

/// A scratch image with bash and a renamed library of the base `debian`; `more` stands in its last stage.
fn copied(place: &Place, layout: &std::path::Path, more: &str, args: &[&str]) {
    let file = format!(
        "FROM debian AS system\nFROM scratch\nCOPY --from=system /usr/bin/bash /bin/sh\nCOPY --from=system /etc/debian_version /usr/bin/env /opt/\nCOPY own /opt/\n{more}USER 65532:65532\n"
    );
    place.write("own", "no package's");
    let context = format!("debian=oci-layout:{}", layout.display());
    place.build(
        &file,
        &[&["--build-context", context.as_str()][..], args].concat(),
    );
}

#[test]
fn copied_files_have_records_with_the_sums_of_what_is_there() {
    let layout = requires!(base "debian");
    let place = Place::new();
    copied(
        &place,
        &layout,
        "# rbuild:accounts\n",
        &["-t", "app", "-o", "out", "-o", "type=store"],
    );
    let out = place.context().join("out");
    let records = out.join("var/lib/dpkg/status.d");
    let names: BTreeSet<String> = fs::read_dir(&records)
        .expect("records")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    let expected = ["bash", "bash.md5sums", "coreutils", "coreutils.md5sums"];
    for name in expected {
        assert!(names.contains(name), "{names:?}");
    }
    assert!(
        names
            .iter()
            .all(|name| ["bash", "base-files", "coreutils"]
                .contains(&name.trim_end_matches(".md5sums"))),
        "{names:?}"
    );
    let bash = fs::read_to_string(records.join("bash")).expect("it");
    assert!(
        bash.starts_with("Package: bash\n") && bash.contains("\nVersion: "),
        "{bash}"
    );
    assert!(
        !bash.contains("\nStatus:") && !bash.contains("\nConffiles:"),
        "{bash}"
    );
    let sums = fs::read_to_string(records.join("bash.md5sums")).expect("it");
    assert!(
        sums.ends_with("  bin/sh\n") && sums.lines().count() == 1,
        "{sums}"
    );
    let verified = Command::new("md5sum")
        .args([
            "-c",
            "--strict",
            "--quiet",
            "var/lib/dpkg/status.d/bash.md5sums",
            "var/lib/dpkg/status.d/coreutils.md5sums",
        ])
        .current_dir(&out)
        .output()
        .expect("md5sum");
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    // Which distribution it is.
    assert!(
        fs::read_to_string(out.join("etc/os-release"))
            .expect("it")
            .contains("ID=debian\n")
    );
    assert!(out.join("etc/debian_version").is_file());
    // rbuild's own commands read them too.
    let (why, _) = place.expect(0, &["why", "app", "/bin/sh"]);
    assert!(why.contains("  package: bash\n"), "{why}");
    let (why, _) = place.expect(0, &["why", "app", "/opt/own"]);
    assert!(!why.contains("package:"), "{why}");
    let (why, _) = place.expect(0, &["why", "app", "/var/lib/dpkg/status.d/bash"]);
    assert!(why.contains("it is from: # package records\n"), "{why}");
}

#[test]
fn records_are_made_where_something_beyond_instructions_is_asked_for_or_always_or_never() {
    let layout = requires!(base "debian");
    let place = Place::new();
    let has = |more: &str, args: &[&str]| {
        copied(&place, &layout, more, &[&["-t", "app"][..], args].concat());
        let (said, _) = place.expect(0, &["inspect", "app", "--files"]);
        said.contains("/var/lib/dpkg/status.d/bash\n")
            || said.contains("/var/lib/dpkg/status.d/bash ")
    };
    assert!(
        !has("", &[]),
        "a file without comments gives what other builders make"
    );
    assert!(has("", &["--package-records", "always"]));
    assert!(has("# rbuild:accounts\n", &[]));
    assert!(has("", &["--accounts", "auto"]));
    assert!(!has("# rbuild:accounts\n", &["--package-records", "off"]));
}

#[test]
fn a_changed_file_is_no_packages() {
    let layout = requires!(base "debian");
    requires!(execution);
    let place = Place::new();
    let context = format!("debian=oci-layout:{}", layout.display());
    let file = "FROM debian AS system\nRUN printf x >>/usr/bin/env\nFROM scratch\nCOPY --from=system /usr/bin/env /usr/bin/true /bin/\nUSER 65532:65532\n";
    let args = [
        "--build-context",
        &context,
        "--network",
        "none",
        "--package-records",
        "always",
        "-o",
        "out",
    ];
    place.build(file, &args);
    let sums = place
        .context()
        .join("out/var/lib/dpkg/status.d/coreutils.md5sums");
    let sums = fs::read_to_string(sums).expect("it");
    assert!(
        sums.ends_with("  bin/true\n") && sums.lines().count() == 1,
        "{sums}"
    );
}

/// The context's directory `alpine`: a system with two packages, as apk leaves it.
fn alpine(place: &Place) {
    let sum = |text: &str| {
        let output = Command::new("sh")
            .args([
                "-c",
                "printf %s \"$1\" | openssl dgst -sha1 -binary | base64",
                "sh",
                text,
            ])
            .output()
            .expect("openssl");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    };
    let (tool, data) = (sum("a tool"), sum("its data"));
    place
        .write("alpine/usr/bin/tool", "a tool")
        .write("alpine/usr/share/tool/data", "its data");
    place.write("alpine/etc/alpine-release", "3.22.1\n");
    place.write(
        "alpine/etc/os-release",
        "ID=alpine\nVERSION_ID=3.22.1\nNAME=\"Alpine Linux\"\n",
    );
    let installed = format!(
        "C:Q1xxxxxxxxxxxxxxxxxxxxxxxxxxx=\nP:tool\nV:1.2-r3\nA:x86_64\nS:100\nI:200\nT:A tool\nU:https://tool.example\nL:MIT\no:tool\nm:A <a@b.example>\nt:1700000000\nc:0123456789abcdef0123456789abcdef01234567\nF:usr\nF:usr/bin\nR:tool\na:0:0:755\nZ:Q1{tool}\nF:usr/share\nF:usr/share/tool\nR:data\nZ:Q1{data}\n\nP:other\nV:1-r0\nA:x86_64\nF:usr/bin\nR:other\nZ:Q1{}\n\n",
        sum("other")
    );
    place.write("alpine/lib/apk/db/installed", installed);
}

const OF_ALPINE: &str = "FROM scratch AS system\nCOPY alpine /\nFROM scratch\nCOPY --from=system /usr/bin/tool /usr/bin/tool\nUSER 65532:65532\n";

#[test]
fn the_database_of_apk_is_cut_to_what_was_copied() {
    requires!(program "openssl");
    let place = Place::new();
    alpine(&place);
    place.build(
        OF_ALPINE,
        &[
            "--package-records",
            "always",
            "-o",
            "out",
            "-t",
            "app",
            "-o",
            "type=store",
        ],
    );
    let out = place.context().join("out");
    let installed = fs::read_to_string(out.join("lib/apk/db/installed")).expect("it");
    assert!(
        installed.contains("P:tool\nV:1.2-r3\n") && installed.ends_with("\n\n"),
        "{installed}"
    );
    assert!(
        installed.contains("\nF:usr/bin\nR:tool\nZ:Q1"),
        "{installed}"
    );
    assert!(
        !installed.contains("R:data") && !installed.contains("P:other"),
        "{installed}"
    );
    assert_eq!(
        fs::read_to_string(out.join("etc/alpine-release")).expect("it"),
        "3.22.1\n"
    );
    let (why, _) = place.expect(0, &["why", "app", "/usr/bin/tool"]);
    assert!(why.contains("  package: tool\n"), "{why}");
}

/// Names and versions that syft finds in the archive.
fn found_by_syft(place: &Place, archive: &str) -> (BTreeSet<String>, Value) {
    let output = Command::new("syft")
        .args([
            "scan",
            &format!("oci-archive:{archive}"),
            "-q",
            "-o",
            "json",
        ])
        .current_dir(place.context())
        .env("HOME", place.path())
        .env("SYFT_CHECK_FOR_APP_UPDATE", "false")
        .output()
        .expect("syft");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = answer["artifacts"].as_array().expect("packages").iter();
    let packages = packages.filter(|one| one["type"] == "deb" || one["type"] == "apk");
    let names = packages.map(|one| one["name"].as_str().expect("a name").to_owned());
    (names.collect(), answer)
}

#[test]
fn a_scanner_finds_the_packages_of_single_files() {
    let layout = requires!(base "debian");
    requires!(program "syft");
    let place = Place::new();
    copied(
        &place,
        &layout,
        "# rbuild:accounts\n",
        &["-o", "type=oci,dest=app.tar"],
    );
    let (names, answer) = found_by_syft(&place, "app.tar");
    assert!(
        names.contains("bash") && names.contains("coreutils"),
        "{names:?}"
    );
    assert!(names.len() <= 3, "{names:?}");
    assert_eq!(answer["distro"]["id"], "debian");
    let all = answer["artifacts"].as_array().expect("packages").iter();
    let bash = all.clone().find(|one| one["name"] == "bash").expect("bash");
    let files = bash["metadata"]["files"].as_array().expect("files").iter();
    let paths: Vec<_> = files.filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(paths, ["/bin/sh"]);
    assert!(
        bash["purl"]
            .as_str()
            .is_some_and(|purl| purl.starts_with("pkg:deb/debian/bash@"))
    );
    // Without the records it finds none of them.
    copied(
        &place,
        &layout,
        "# rbuild:accounts\n",
        &["--package-records", "off", "-o", "type=oci,dest=app.tar"],
    );
    assert_eq!(found_by_syft(&place, "app.tar").0, BTreeSet::new());

    alpine(&place);
    place.build(
        OF_ALPINE,
        &["--package-records", "always", "-o", "type=oci,dest=apk.tar"],
    );
    let (names, answer) = found_by_syft(&place, "apk.tar");
    assert_eq!(names, BTreeSet::from(["tool".to_owned()]));
    assert_eq!(answer["distro"]["id"], "alpine");
}
