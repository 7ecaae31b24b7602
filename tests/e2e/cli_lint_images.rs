//! `rbuild lint --image` and `--with-images`: what the store has of images. Only files are built here, so it needs no namespaces.

use std::fs;

use crate::support::Place;

/// The rules that are found in an image, and the whole text.
fn found(place: &Place, code: i32, args: &[&str]) -> (Vec<String>, String) {
    let mut line = vec!["lint", "--format", "plain"];
    line.extend(args);
    let (text, _) = place.expect(code, &line);
    let rules = text.lines().filter_map(|line| line.split(' ').nth(2));
    (rules.map(str::to_owned).collect(), text)
}

fn any(found: &(Vec<String>, String), rule: &str, words: &str) {
    let hit = found
        .1
        .lines()
        .any(|line| line.contains(rule) && line.contains(words));
    assert!(hit, "{rule} {words}\n{}", found.1);
}

#[test]
fn a_program_without_its_loader_and_its_owner_are_found_in_the_image() {
    let place = Place::new();
    let program = fs::read("/bin/true").expect("a dynamic program");
    place.write_program("true", program);
    let file = "FROM scratch\nCOPY --chown=7:7 true /app\nUSER 7:7\nEXPOSE 80\nVOLUME /data\nENTRYPOINT [\"/app\"]\n";
    place.build(file, &["-t", "app", "--closure", "off"]);
    let all = found(&place, 1, &["--image", "app"]);
    any(&all, "error RB203", "/app needs /lib");
    any(&all, "RB602", "USER 7:7 can change /app");
    any(&all, "RB401", "port 80");
    any(&all, "RB603", "/data is not in the image");
    any(&all, "RB212", "no /tmp");
    assert!(!all.0.contains(&"RB101".to_owned()), "{}", all.1);
    // The same from a layout, into which it was written.
    place.build(file, &["-o", "type=oci,dest=../layout", "--closure", "off"]);
    let again = found(&place, 1, &["--image", "oci-layout:../layout"]);
    assert_eq!(again.0, all.0);
    let (sarif, _) = place.expect(1, &["lint", "--image", "app", "--format", "sarif"]);
    assert!(sarif.contains("\"RB203\""), "{sarif}");
    let (text, said) = place.expect(1, &["lint", "--image", "app"]);
    assert!(
        text.contains(" --> app:") && text.contains("-0755 7:7 /app"),
        "{text}"
    );
    assert!(said.contains("in 1 image"), "{said}");
    place.expect(0, &["lint", "--image", "app", "--fail-on", "none"]);
    place.expect(1, &["lint", "--image", "nothing"]);
}

#[test]
fn a_script_and_its_certificates_are_looked_for() {
    let place = Place::new();
    place
        .write_program("run", "#!/bin/sh\n")
        .write("ca.pem", "x")
        .write("tmp/x", "");
    place.build(
        "FROM scratch\nCOPY run /run.sh\nCOPY --chmod=400 ca.pem /ca.pem\nCOPY --chmod=1777 tmp /tmp\nENV SSL_CERT_FILE=/ca.pem\nUSER 7:7\nENTRYPOINT [\"/run.sh\"]\nHEALTHCHECK CMD [\"/probe\"]\n",
        &["-t", "script", "--format", "docker", "--closure", "off"],
    );
    let all = found(&place, 1, &["--image", "script"]);
    any(&all, "error RB208", "/bin/sh is missing");
    any(&all, "error RB303", "cannot read");
    any(&all, "error RB502", "/probe");
}

#[test]
fn base_images_are_looked_into_where_they_are_at_hand() {
    let place = Place::new();
    place.write("app", "x").write(
        ".rbuild.toml",
        "[lint]\ndisabled = [\"RB701\", \"RB501\"]\n",
    );
    place.build(
        "FROM scratch\nCOPY app /data/app\nENV KNOWN=1\nUSER 7:7\n",
        &["-t", "registry.example/base:1"],
    );
    let file = "FROM registry.example/base:1\nVOLUME /data /other\nENV A=$KNOWN B=$UNKNOWN\nENTRYPOINT [\"/data/app\"]\n";
    place.write("Containerfile", file);
    assert_eq!(found(&place, 0, &["Containerfile"]).0, ["RB101"], "a note");
    assert_eq!(
        found(&place, 1, &["Containerfile", "--with-images"]).0,
        ["UndefinedVar"]
    );
    place.build(
        "FROM scratch\nCOPY app /other/app\nUSER 7:7\n",
        &["-o", "type=oci,dest=../layout"],
    );
    place.write(
        "Containerfile",
        "FROM mine\nVOLUME /data /other\nUSER 8:8\n",
    );
    assert_eq!(
        found(&place, 0, &["Containerfile", "--with-images"]).0,
        [""; 0]
    );
    let context = [
        "Containerfile",
        "--with-images",
        "--build-context",
        "mine=oci-layout:../layout",
    ];
    let all = found(&place, 1, &context);
    assert!(all.0 == ["RB603"] && all.1.contains("/data"), "{}", all.1);
    place.write("Containerfile", "FROM registry.example/none:1\n");
    let (_, said) = place.expect(0, &["lint", "--with-images"]);
    assert!(
        said.contains("`rbuild pull registry.example/none:1`"),
        "{said}"
    );
    let elsewhere = Place::new();
    elsewhere.write("Containerfile", file);
    elsewhere.expect(0, &["lint", "--with-images", "Containerfile"]);
    assert!(!elsewhere.store().exists(), "no store is made");
}

#[test]
fn a_distribution_has_what_distributions_have() {
    let layout = requires!(base "debian");
    let place = Place::new();
    let name = format!("oci-layout:{}", layout.display());
    let all = found(&place, 1, &["--image", &name]);
    any(&all, "RB101", "runs as root");
    any(&all, "RB112", "/usr/bin/passwd has the set-user-ID bit");
    any(&all, "RB608", "files belong to");
    let wrong = ["RB202", "RB203", "RB208", "RB209", "RB301", "RB211"];
    assert!(
        !all.0.iter().any(|rule| wrong.contains(&rule.as_str())),
        "{}",
        all.1
    );
}
