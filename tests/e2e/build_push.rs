//! Builds that end in a registry: Debian's docker-registry on loopback, with and without a password.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::registries::Registry;
use crate::support::Place;

const FILE: &str =
    "FROM scratch\nCOPY --chown=5:6 one /d/one\nUSER 1:1\nHEALTHCHECK CMD [\"/one\"]\n";

fn place() -> Place {
    let place = Place::new();
    place.write("one", "1").write("Containerfile", FILE);
    place
}

fn build(place: &Place, registry: &Registry, code: i32, args: &[&str]) -> (String, String) {
    let mut all = vec!["build", "--insecure-registry", registry.host.as_str(), "."];
    all.extend(args);
    place.expect(code, &all)
}

#[test]
fn every_tag_is_pushed_and_can_be_built_from() {
    let registry = registry!(false);
    let place = place();
    let tags = ["v1", "v2"].map(|tag| format!("{}/app:{tag}", registry.host));
    let args = [
        "-t",
        &tags[0],
        "-t",
        &tags[1],
        "--push",
        "--metadata-file",
        "../m.json",
    ];
    let (id, stderr) = build(&place, &registry, 0, &args);
    assert!(stderr.contains("push app "), "{stderr}");
    let manifest = registry.manifest("v1");
    assert_eq!(manifest, registry.manifest("v2"));
    assert_eq!(manifest["config"]["digest"], id.trim());
    assert!(
        manifest["layers"][0]["mediaType"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("tar+gzip")),
        "{manifest}"
    );
    let metadata = fs::read(place.path().join("m.json")).expect("the metadata");
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    assert_eq!(metadata["containerimage.config.digest"], id.trim());
    assert_eq!(metadata["image.name"], tags.join(","));
    let digest = metadata["containerimage.digest"]
        .as_str()
        .expect("a digest");
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    // --push alone gives it no name here; by its digest it is what the registry has.
    let (listed, _) = place.expect(0, &["images"]);
    assert!(!listed.contains("app"), "{listed}");
    let other = Place::new();
    let from = format!("FROM {}/app@{digest}\n", registry.host);
    other.write("Containerfile", from);
    build(&other, &registry, 0, &["--user-policy", "off"]);
}

#[test]
fn a_pulled_image_is_unpacked_by_its_pull_and_a_layer_that_rots_is_fetched_again() {
    requires!(execution);
    let registry = registry!(false);
    let tag = format!("{}/app:v1", registry.host);
    build(&place(), &registry, 0, &["-t", &tag, "--push"]);
    let other = Place::new();
    let pull = ["pull", "--insecure-registry", &registry.host, &tag];
    other.expect(0, &pull);
    let layers = fs::read_dir(other.store().join("trees/layers")).expect("unpacked layers");
    let homes: Vec<_> = layers.flatten().map(|entry| entry.path()).collect();
    assert_eq!(homes.len(), 1, "{homes:?}");
    assert!(homes[0].join("tree").exists() && !homes[0].join("unsynced").exists());
    let layer = fs::read_dir(other.store().join("index"))
        .expect("indexes")
        .flatten()
        .next();
    let layer = layer.expect("the layer's").file_name();
    let blob = other.store().join("blobs/sha256").join(layer);
    let mut bytes = fs::read(&blob).expect("the layer");
    bytes[700] ^= 1;
    fs::write(&blob, bytes).expect("a rotten one");
    other.expect(1, &["system", "check", "--repair"]);
    assert!(!blob.exists());
    other.write(
        "Containerfile",
        format!("FROM {tag}\nCOPY --from={tag} /d/one /copy\n"),
    );
    build(&other, &registry, 0, &[]);
    other.expect(0, &["system", "check"]);
}

#[test]
fn an_output_chooses_names_compression_format_and_annotations() {
    let registry = registry!(false);
    let place = place();
    let name = |tag: &str| format!("name={}/app:{tag}", registry.host);
    let outputs = [
        format!(
            "type=registry,{},compression=zstd,annotation.a=b",
            name("zstd")
        ),
        format!(
            "type=image,push=true,{},oci-mediatypes=false",
            name("docker")
        ),
        format!("type=registry,{},compression=uncompressed", name("plain")),
        format!("type=registry,{},compression-level=1", name("fast")),
    ];
    let args: Vec<&str> = outputs.iter().flat_map(|output| ["-o", output]).collect();
    build(&place, &registry, 0, &args);
    let kind = |tag: &str| {
        let manifest = registry.manifest(tag);
        let kind = manifest["layers"][0]["mediaType"].as_str().expect("a type");
        kind.rsplit('.').next().expect("a last word").to_owned()
    };
    assert_eq!(
        ["zstd", "docker", "plain", "fast"].map(kind),
        ["tar+zstd", "gzip", "tar", "tar+gzip"]
    );
    assert_eq!(registry.manifest("zstd")["annotations"]["a"], "b");
    assert_eq!(registry.manifest("plain")["annotations"], Value::Null);
    let docker = registry.manifest("docker").to_string();
    assert!(
        docker.contains("vnd.docker") && !docker.contains("vnd.oci"),
        "{docker}"
    );
    let (listed, _) = place.expect(0, &["images"]);
    assert!(
        listed.contains("docker") && !listed.contains("zstd"),
        "{listed}"
    );
}

#[test]
fn a_password_is_needed_where_one_is_wanted_and_a_failed_push_is_exit_code_4() {
    let registry = registry!(true);
    let place = place();
    let tag = format!("{}/app:v1", registry.host);
    let (_, stderr) = build(
        &place,
        &registry,
        4,
        &["-t", &tag, "--push", "--retry", "0"],
    );
    assert!(
        stderr.contains("log in") && stderr.contains(&tag),
        "{stderr}"
    );
    let auth = registry.auth_file();
    build(
        &place,
        &registry,
        0,
        &["-t", &tag, "--push", "--authfile", &auth],
    );
    assert_eq!(registry.manifest("v1")["schemaVersion"], 2);
    let tag = format!("{}/app:v2", registry.host);
    let creds = ["-t", tag.as_str(), "--push", "--creds", "user:U*U"];
    build(&place, &registry, 0, &creds);
    assert_eq!(registry.manifest("v2")["schemaVersion"], 2);
    // What is pulled is for the same registry; where two are named, neither gets the password.
    let child = Place::new();
    child.write("Containerfile", format!("FROM {tag} AS a\nFROM a\n"));
    build(
        &child,
        &registry,
        0,
        &["--user-policy=off", "--creds", "user:U*U"],
    );
    child.write(
        "Containerfile",
        format!("FROM {tag} AS a\nFROM other.invalid/x\n"),
    );
    let (_, stderr) = build(&child, &registry, 2, &["--creds", "user:U*U"]);
    assert!(
        stderr.contains("other.invalid") && !stderr.contains("U*U"),
        "{stderr}"
    );
}

#[test]
fn the_pull_policy_says_when_the_registry_is_asked() {
    let registry = registry!(false);
    let place = place();
    let tag = format!("{}/app:v1", registry.host);
    build(&place, &registry, 0, &["-t", &tag, "--push"]);
    let child = Place::new();
    child.write("Containerfile", format!("FROM {tag}\n"));
    let with = |code, pull: &str| build(&child, &registry, code, &["--user-policy=off", pull]);
    let (_, stderr) = with(1, "--pull=never");
    assert!(stderr.contains("--pull=never"), "{stderr}");
    let (first, _) = with(0, "--pull=missing");
    place.write("one", "2");
    build(&place, &registry, 0, &["-t", &tag, "--push"]);
    assert_eq!(with(0, "--pull=missing").0, first);
    assert_eq!(with(0, "--pull=never").0, first);
    let (second, _) = with(0, "--pull");
    assert_ne!(second, first);
    place.write("one", "3");
    build(&place, &registry, 0, &["-t", &tag, "--push"]);
    let (third, _) = with(0, "--pull=newer");
    assert!(third != second && third != first);
    let host = registry.host.clone();
    drop(registry);
    let args = [
        "build",
        "--insecure-registry",
        &host,
        "--user-policy=off",
        "--retry=0",
        ".",
    ];
    let gone = |code, pull| child.expect(code, &[&args[..], &[pull]].concat());
    assert_eq!(gone(0, "--pull=newer").0, third);
    assert!(gone(0, "--pull=newer").1.contains("of the store is used"));
    gone(4, "--pull=always");
}

/// An authority in `ca/ca.crt` and a certificate of it for 127.0.0.1, made with openssl.
pub(crate) fn certify(directory: &std::path::Path) {
    certify_for(directory, "2");
}

/// The same for so many days.
pub(crate) fn certify_for(directory: &std::path::Path, days: &str) {
    fs::create_dir(directory.join("ca")).expect("a directory");
    let openssl = |line: &str| {
        let made = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(directory)
            .output()
            .expect("openssl");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{said}");
    };
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca/ca.crt",
    );
    openssl("req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout own.key -out own.csr");
    fs::write(directory.join("ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    openssl(&format!(
        "x509 -req -in own.csr -CA ca/ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile ext -out own.crt"
    ));
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    requires!(program "openssl");
    let keys = tempfile::tempdir().expect("a directory");
    certify(keys.path());
    let at = keys.path().display();
    let tls = format!(", tls: {{certificate: {at}/own.crt, key: {at}/own.key}}");
    let Some(registry) = Registry::start_with(false, &tls) else {
        skip!("registry", "RBUILD_TEST_REGISTRY names none that starts");
    };
    let place = place();
    let tag = format!("{}/app:v1", registry.host);
    let trusting = format!("--cert-dir={at}/ca");
    let push = ["build", "--retry", "0", "-t", &tag, "--push", "."];
    let (_, said) = place.expect(4, &push);
    assert!(said.contains("certificate"), "{said}");
    place.expect(0, &[&push[..], &[&trusting]].concat());
    assert_eq!(
        registry.manifest("v1")["layers"].as_array().map(Vec::len),
        Some(1)
    );
    // Pulled with a store that has nothing of it, and its own answer fetched by ADD.
    let other = Place::new();
    let file = format!(
        "FROM {tag}\nADD https://{}/v2/ /answer\nUSER 1:1\n",
        registry.host
    );
    other.write("Containerfile", file);
    let (_, said) = other.expect(4, &["build", "--retry", "0", "."]);
    assert!(said.contains("certificate"), "{said}");
    other.expect(0, &["build", "-o", "../out", &trusting, "."]);
    assert_eq!(
        fs::read_to_string(other.path().join("out/answer")).expect("a file"),
        "{}"
    );
    // What would identify the caller is refused, not ignored.
    fs::copy(
        keys.path().join("own.key"),
        keys.path().join("ca/client.key"),
    )
    .expect("a copy");
    let (_, said) = other.expect(2, &["build", &trusting, "."]);
    assert!(said.contains("client.key"), "{said}");
}

/// containerfile.md 5: not only built and run, but fetched again into a store that knows nothing of it.
#[test]
fn f27_an_image_of_130_layers_is_pushed_and_fetched_again() {
    let registry = registry!(false);
    let place = place();
    let name = format!("{}/app:deep", registry.host);
    let mut file = "FROM scratch\n".to_owned();
    for number in 0..130 {
        file += &format!("COPY <<EOF /f{number}\n{number}\nEOF\n");
    }
    file += "USER 1:1\n";
    place.write("Containerfile", file);
    let (id, _) = build(
        &place,
        &registry,
        0,
        &["-q", "--push", "--load", "-t", &name],
    );
    let other = self::place();
    other.expect(0, &["pull", "--insecure-registry", &registry.host, &name]);
    let (json, _) = other.expect(0, &["inspect", &name, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let layers = json["config"]["rootfs"]["diff_ids"].as_array();
    assert_eq!(layers.map(Vec::len), Some(130));
    let (files, _) = other.expect(0, &["inspect", "--files", &name]);
    for number in [0, 64, 129] {
        assert!(files.contains(&format!("/f{number}")), "{files}");
    }
    let (own, _) = place.expect(0, &["inspect", id.trim(), "--format", "json"]);
    let own: Value = serde_json::from_str(&own).expect("JSON");
    assert_eq!(own["config"]["rootfs"], json["config"]["rootfs"]);
    other.write(
        "Containerfile",
        format!("FROM {name}\nCOPY one /last\nUSER 1:1\n"),
    );
    build(&other, &registry, 0, &["--pull=never"]);
}
