//! `rbuild push`, `copy`, `tags` and `inspect docker://`: between the store, files and Debian's docker-registry.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::registries::Registry;
use crate::support::Place;

/// A place whose store has the image `app`.
fn place() -> Place {
    let place = Place::new();
    let file = "FROM scratch\nCOPY one /d/one\nLABEL a=b\nUSER 1:1\n";
    place.write("one", "1").write("Containerfile", file);
    place.expect(0, &["build", "-t", "app", "."]);
    place
}

/// What a command prints, without the line's end.
fn said(place: &Place, registry: &Registry, args: &[&str]) -> String {
    let mut all = vec![args[0], "--insecure-registry", &registry.host];
    all.extend(&args[1..]);
    place.expect(0, &all).0.trim().to_owned()
}

#[test]
fn a_push_from_the_store_tells_the_digest_and_a_second_one_sends_nothing() {
    let registry = registry!(false);
    let place = place();
    let name = format!("{}/app:v1", registry.host);
    let digest = said(
        &place,
        &registry,
        &["push", "app", &name, "--digest-file", "../digest"],
    );
    let file = fs::read_to_string(place.path().join("digest")).expect("the digest");
    assert_eq!(file.trim(), digest);
    let blobs = registry.blobs();
    assert_eq!(said(&place, &registry, &["push", "app", &name]), digest);
    assert_eq!(registry.blobs(), blobs);
    assert_eq!(said(&place, &registry, &["tags", &name]), "v1");
    let json = said(
        &place,
        &registry,
        &["tags", &format!("docker://{name}"), "--format", "json"],
    );
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["Tags"][0], "v1");
    assert_eq!(json["Repository"], format!("{}/app", registry.host));
    // Without a place it goes where its own name says.
    place.expect(0, &["build", "-q", "-t", &name, "."]);
    assert_eq!(said(&place, &registry, &["push", &name]), digest);
}

#[test]
fn a_copy_through_every_transport_keeps_the_digest() {
    let registry = registry!(false);
    let place = place();
    let at = |path: &str| place.path().join(path).display().to_string();
    let first = format!("docker://{}/app:v1", registry.host);
    let last = format!("docker://{}/other/app:v2", registry.host);
    let digest = said(&place, &registry, &["push", "app", &first]);
    let chain = [
        first.clone(),
        format!("oci:{}:v1", at("layout")),
        format!("oci-archive:{}:v1", at("app.tar")),
        format!("dir:{}", at("directory")),
        last,
    ];
    for pair in chain.windows(2) {
        assert_eq!(
            said(&place, &registry, &["copy", &pair[0], &pair[1]]),
            digest,
            "{pair:?}"
        );
    }
    // The store keeps layers uncompressed, and the image under its manifest's digest.
    assert_eq!(
        said(&place, &registry, &["copy", &chain[3], "store:back"]),
        digest
    );
    let (id, _) = place.expect(0, &["images", "--format", "json"]);
    let images: Value = serde_json::from_str(&id).expect("JSON");
    assert!(images.to_string().contains("back"), "{images}");
    let archive = format!("docker-archive:{}:app:1", at("docker.tar"));
    said(&place, &registry, &["copy", &chain[4], &archive]);
    said(&place, &registry, &["copy", &archive, "store:again"]);
    let id = |name: &str| {
        let (text, _) = place.expect(0, &["inspect", name, "--format", "json"]);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        value["id"].clone()
    };
    assert_eq!(id("again"), id("app"));
}

#[test]
fn s61_a_copied_archive_takes_no_name_but_the_one_that_is_given() {
    let registry = registry!(false);
    let place = place();
    let archive = format!(
        "docker-archive:{}:app:latest",
        place.path().join("a.tar").display()
    );
    said(&place, &registry, &["copy", "store:app", &archive]);
    let other = Place::new();
    other.write("Containerfile", "FROM scratch\nLABEL mine=yes\nUSER 1:1\n");
    let (mine, _) = other.expect(0, &["build", "-t", "app", "."]);
    said(&other, &registry, &["copy", &archive, "store:theirs"]);
    let (text, _) = other.expect(0, &["inspect", "app"]);
    assert!(text.contains(mine.trim()), "{text}");
}

#[test]
fn other_types_and_compressions_are_made_of_any_source() {
    let registry = registry!(false);
    let place = place();
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    said(&place, &registry, &["push", "app", &name("v1")]);
    let from = format!("docker://{}", name("v1"));
    let to = format!("docker://{}", name("zstd"));
    said(
        &place,
        &registry,
        &["copy", "--dest-compress-format", "zstd", &from, &to],
    );
    said(
        &place,
        &registry,
        &["push", "--format", "v2s2", "app", &name("docker")],
    );
    let kind = |tag: &str| registry.manifest(tag)["layers"][0]["mediaType"].to_string();
    assert!(kind("zstd").contains("tar+zstd"), "{}", kind("zstd"));
    assert!(kind("docker").contains("vnd.docker"), "{}", kind("docker"));
    assert_eq!(
        registry.manifest("v1")["config"]["digest"],
        registry.manifest("zstd")["config"]["digest"]
    );
}

#[test]
fn what_a_registry_has_is_shown_without_its_layers() {
    let registry = registry!(false);
    let place = place();
    let name = format!("docker://{}/app:v1", registry.host);
    let digest = said(&place, &registry, &["push", "app", &name]);
    let other = Place::new();
    let text = said(&other, &registry, &["inspect", &name]);
    assert!(
        text.contains(&digest) && text.contains("a=b") && text.contains("1:1"),
        "{text}"
    );
    let raw = said(&other, &registry, &["inspect", "--raw", &name]);
    assert_eq!(
        serde_json::from_str::<Value>(&raw).expect("JSON"),
        registry.manifest("v1")
    );
    let config = said(&other, &registry, &["inspect", "--config", &name]);
    assert!(config.contains("rootfs"), "{config}");
    assert!(!other.store().join("blobs").exists(), "nothing is stored");
    let (_, stderr) = other.expect(
        4,
        &[
            "inspect",
            "--insecure-registry",
            &registry.host,
            "--retry",
            "0",
            &name.replace("v1", "no"),
        ],
    );
    assert!(stderr.contains("404"), "{stderr}");
    other.expect(2, &["inspect", "--files", &name]);
    place.expect(2, &["inspect", "--raw", "app"]);
}

#[test]
fn places_that_are_none_are_refused_with_a_reason() {
    let place = place();
    for (to, said) in [
        ("containers-storage:app", "podman save"),
        ("docker-daemon:app:1", "docker save"),
        ("app", "docker://NAME"),
        ("oci:", "nothing is named"),
    ] {
        let (_, stderr) = place.expect(2, &["copy", "store:app", to]);
        assert!(stderr.contains(said), "{stderr}");
    }
    // Nobody's directory is written into.
    place.write("full/file", "x");
    let full = format!("dir:{}", place.path().join("context/full").display());
    let (_, stderr) = place.expect(1, &["copy", "store:app", &full]);
    assert!(stderr.contains("neither empty"), "{stderr}");
    place.expect(1, &["copy", "store:no-such", "dir:x"]);
}

/// skopeo, where it is installed.
fn skopeo(args: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("skopeo").args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.success(), text + &error))
}

#[test]
fn skopeo_reads_what_is_written_and_the_other_way_round() {
    let registry = registry!(false);
    let place = place();
    let at = |path: &str| place.path().join(path).display().to_string();
    let name = format!("docker://{}/app:v1", registry.host);
    let digest = said(&place, &registry, &["push", "app", &name]);
    let Some((good, text)) = skopeo(&["inspect", "--tls-verify=false", &name]) else {
        skip!("skopeo", "it is not installed");
    };
    assert!(good && text.contains(&digest), "{text}");
    for (n, place_there) in [
        format!("oci:{}:x", at("l")),
        format!("dir:{}", at("d")),
        format!("oci-archive:{}", at("a.tar")),
        format!("docker-archive:{}:x:1", at("b.tar")),
    ]
    .iter()
    .enumerate()
    {
        said(&place, &registry, &["copy", "store:app", place_there]);
        let theirs = format!("dir:{}", at(&format!("theirs{n}")));
        let (good, text) =
            skopeo(&["--insecure-policy", "copy", place_there, &theirs]).expect("skopeo");
        assert!(good, "{place_there}: {text}");
        let back = format!("store:back{n}");
        said(&place, &registry, &["copy", &theirs, &back]);
    }
}
