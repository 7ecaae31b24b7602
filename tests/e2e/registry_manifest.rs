//! `rbuild manifest`: indexes that are made of images from anywhere.

use serde_json::Value;

use crate::support::Place;

#[test]
fn an_index_is_made_of_images_from_anywhere_and_pushed_whole() {
    let registry = registry!(false);
    let place = Place::new();
    let host = registry.host.as_str();
    place
        .write("Containerfile", "FROM scratch\nCOPY one /one\nUSER 1:1\n")
        .write("one", "1");
    for arch in ["amd64", "arm64"] {
        let platform = format!("linux/{arch}");
        place.expect(0, &["build", "--platform", &platform, "-t", arch, "."]);
    }
    let remote = format!("docker://{host}/part:arm64");
    place.expect(0, &["push", "--insecure-registry", host, "arm64", &remote]);
    place.expect(
        0,
        &["manifest", "create", "--annotation", "k=v", "list", "amd64"],
    );
    place.expect(1, &["manifest", "create", "list"]);
    place.expect(
        0,
        &[
            "manifest",
            "add",
            "--insecure-registry",
            host,
            "list",
            &remote,
        ],
    );
    place.expect(
        0,
        &[
            "manifest",
            "add",
            "--arch",
            "riscv64",
            "--annotation",
            "x=y",
            "list",
            "amd64",
        ],
    );
    let (text, _) = place.expect(0, &["manifest", "inspect", "list"]);
    let index: Value = serde_json::from_str(&text).expect("JSON");
    let platforms = |index: &Value| {
        let entries = index["manifests"].as_array().expect("entries").iter();
        let mut found: Vec<String> = entries
            .map(|entry| {
                entry["platform"]["architecture"]
                    .as_str()
                    .expect("one")
                    .to_owned()
            })
            .collect();
        found.sort();
        found
    };
    // The same manifest is listed once, as it was listed last; so is a platform.
    assert_eq!(platforms(&index), ["arm64", "riscv64"]);
    assert_eq!(index["annotations"]["k"], "v");
    place.expect(0, &["manifest", "create", "--amend", "list", "amd64"]);
    place.expect(0, &["manifest", "add", "list", "arm64"]);
    let name = format!("{host}/app:list");
    let (digest, _) = place.expect(
        0,
        &[
            "manifest",
            "push",
            "--insecure-registry",
            host,
            "list",
            &name,
        ],
    );
    let pushed = registry.manifest("list");
    assert_eq!(platforms(&pushed), ["amd64", "arm64"]);
    let shown = format!("docker://{name}");
    let (raw, _) = place.expect(
        0,
        &["manifest", "inspect", "--insecure-registry", host, &shown],
    );
    assert_eq!(serde_json::from_str::<Value>(&raw).expect("JSON"), pushed);
    // All of it goes elsewhere as it is.
    let other = format!("docker://{host}/copy:list");
    let (copied, _) = place.expect(
        0,
        &["copy", "--all", "--insecure-registry", host, &shown, &other],
    );
    assert_eq!(copied, digest);
    place.expect(1, &["manifest", "add", "amd64", "arm64"]);
    place.expect(1, &["manifest", "add", "no-such", "arm64"]);
}
