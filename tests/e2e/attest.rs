//! Bills of materials, provenance and signatures: what a build attaches, where it goes, and who verifies it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::registries::Registry;
use crate::support::{Degree, Place};

const SPDX: &str = "application/spdx+json";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const SIGNATURES: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// A context with one file and a secret that is nowhere to be found later.
fn place() -> Place {
    let place = Place::new();
    let file = "FROM scratch\nARG V\nARG PASSWORD\nCOPY one /d/one\nLABEL a=b v=$V\nUSER 1:1\n";
    place.write("one", "1").write("Containerfile", file);
    place.write("../secret", "hunter2-hunter2");
    openssl(
        place.path(),
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "key",
        ],
    );
    openssl(
        place.path(),
        &["pkey", "-in", "key", "-pubout", "-out", "pub"],
    );
    place
}

fn openssl(directory: &Path, args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(directory)
        .output();
    let output = output.expect("the program openssl");
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What a command prints, as it speaks to the registry.
fn said(place: &Place, registry: &Registry, args: &[&str]) -> String {
    let mut all = vec![args[0], "--insecure-registry", &registry.host];
    all.extend(&args[1..]);
    place.expect(0, &all).0.trim().to_owned()
}

/// What a registry lists beside a name: type and digest.
fn listed(place: &Place, registry: &Registry, name: &str) -> Vec<(String, String)> {
    let name = format!("docker://{name}");
    let text = said(
        place,
        registry,
        &["inspect", "--referrers", "--format", "json", &name],
    );
    let rows: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut found: Vec<_> = rows
        .iter()
        .map(|row| (text(&row["artifactType"]), text(&row["digest"])))
        .collect();
    found.sort();
    found
}

fn types(place: &Place, registry: &Registry, name: &str) -> Vec<String> {
    listed(place, registry, name)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect()
}

/// The document of an artifact.
fn document(place: &Place, registry: &Registry, name: &str, kind: &str) -> Value {
    let found = listed(place, registry, name);
    let (_, digest) = found.iter().find(|(of, _)| of == kind).expect(kind);
    let layout = place.path().join("fetched");
    let at = format!("oci:{}", layout.display());
    let (repository, _) = name.rsplit_once(':').expect("a tag");
    said(
        place,
        registry,
        &["copy", &format!("docker://{repository}@{digest}"), &at],
    );
    let blob = |digest: &Value| {
        let digest = digest.as_str().expect("a digest").replace(':', "/");
        fs::read(layout.join("blobs").join(digest)).expect("a blob")
    };
    let manifest: Value = serde_json::from_slice(&blob(&digest.as_str().into())).expect("JSON");
    serde_json::from_slice(&blob(&manifest["layers"][0]["digest"])).expect("JSON")
}

#[test]
fn a_build_attaches_documents_and_a_signature_to_what_it_pushes() {
    requires!(degree Degree::NoSub);
    let registry = registry!(false);
    let place = place();
    let name = format!("{}/app:v1", registry.host);
    let secret = format!(
        "--secret=id=s,src={}",
        place.path().join("secret").display()
    );
    let key = place.path().join("key").display().to_string();
    let args = [
        "build",
        "-q",
        "-t",
        &name,
        "--push",
        "--sbom=spdx,cyclonedx",
        "--provenance=mode=max,builder-id=https://ci.example/7",
        "--sign-by",
        &key,
        "--build-arg",
        "V=2",
        "--build-arg",
        "PASSWORD=hunter2-hunter2",
        "--build-arg",
        "HTTP_PROXY=http://u:p@proxy.example",
        &secret,
        ".",
    ];
    said(&place, &registry, &args);
    let found = types(&place, &registry, &name);
    assert_eq!(found, [SPDX, CYCLONEDX, SIGNATURES, STATEMENT]);
    // Debian's registry keeps no list of referrers, so there is one under a tag.
    let top = said(
        &place,
        &registry,
        &["inspect", "--raw", &format!("docker://{name}")],
    );
    let digest = image_digest(top.as_bytes());
    let tags = said(&place, &registry, &["tags", &name]);
    assert!(tags.contains(&digest.replace(':', "-")), "{tags}");
    assert!(
        tags.contains(&format!("{}.sig", digest.replace(':', "-"))),
        "{tags}"
    );
    // What they say.
    let spdx = document(&place, &registry, &name, SPDX);
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    assert_eq!(spdx["files"][0]["fileName"], "./d/one");
    let statement = document(&place, &registry, &name, STATEMENT);
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        digest.trim_start_matches("sha256:")
    );
    let predicate = &statement["predicate"];
    assert_eq!(
        predicate["runDetails"]["builder"]["id"],
        "https://ci.example/7"
    );
    let external = &predicate["buildDefinition"]["externalParameters"];
    assert_eq!(external["args"]["V"], "2");
    assert_eq!(external["argsLeftOut"][0], "PASSWORD");
    let text = statement.to_string();
    for kept_back in [
        "hunter2",
        "proxy.example",
        &place.path().display().to_string(),
    ] {
        assert!(!text.contains(kept_back), "{kept_back}: {text}");
    }
    // And it verifies.
    let public = place.path().join("pub").display().to_string();
    assert_eq!(
        said(&place, &registry, &["verify", "--key", &public, &name]),
        digest
    );
}

fn image_digest(bytes: &[u8]) -> String {
    let output = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut child = output.expect("sha256sum");
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), bytes).expect("written");
    let output = child.wait_with_output().expect("its output");
    format!(
        "sha256:{}",
        String::from_utf8_lossy(&output.stdout)
            .split(' ')
            .next()
            .unwrap_or_default()
    )
}

#[test]
fn what_the_store_keeps_goes_with_a_push_and_names_what_arrives() {
    requires!(degree Degree::NoSub);
    let registry = registry!(false);
    let place = place();
    place.expect(
        0,
        &["build", "-q", "-t", "app", "--sbom", "--provenance", "."],
    );
    let (plain, _) = Place::new()
        .write("one", "1")
        .write(
            "Containerfile",
            "FROM scratch\nARG V\nARG PASSWORD\nCOPY one /d/one\nLABEL a=b v=$V\nUSER 1:1\n",
        )
        .expect(0, &["build", "-q", "."]);
    let (id, _) = place.expect(0, &["inspect", "app"]);
    assert!(
        id.contains(plain.trim()),
        "documents beside an image change nothing of it: {id} {plain}"
    );
    place.expect(0, &["prune"]);
    let (kept, _) = place.expect(0, &["inspect", "--referrers", "app"]);
    assert!(kept.contains(SPDX) && kept.contains(STATEMENT), "{kept}");
    let name = format!("{}/app:v1", registry.host);
    let digest = said(&place, &registry, &["push", "app", &name]);
    assert_eq!(types(&place, &registry, &name), [SPDX, STATEMENT]);
    let statement = document(&place, &registry, &name, STATEMENT);
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        digest.trim_start_matches("sha256:")
    );
    assert_eq!(
        statement["subject"][0]["name"],
        format!("{}/app", registry.host)
    );
    // Once more is the same: nothing is new, and nothing is listed twice.
    let blobs = registry.blobs();
    said(&place, &registry, &["push", "app", &name]);
    assert_eq!(registry.blobs(), blobs);
    assert_eq!(types(&place, &registry, &name).len(), 2);
    // The image goes, and with it what belongs to it.
    place.expect(0, &["rmi", "app"]);
    place.expect(0, &["prune"]);
    place.expect(1, &["inspect", "--referrers", "app"]);
}

#[test]
fn a_copy_takes_what_refers_along_when_it_is_asked_to() {
    requires!(degree Degree::NoSub);
    let registry = registry!(false);
    let place = place();
    let key = place.path().join("key").display().to_string();
    let public = place.path().join("pub").display().to_string();
    let name = |tag: &str| format!("{}/{tag}", registry.host);
    let push = [
        "build",
        "-q",
        "-t",
        &name("app:v1"),
        "--push",
        "--sbom",
        "--sign-by",
        &key,
        ".",
    ];
    said(&place, &registry, &push);
    let digest = said(
        &place,
        &registry,
        &["verify", "--key", &public, &name("app:v1")],
    );
    let layout = format!(
        "oci:{}:{}",
        place.path().join("layout").display(),
        name("app:v1")
    );
    let from = format!("docker://{}", name("app:v1"));
    said(&place, &registry, &["copy", "--referrers", &from, &layout]);
    assert_eq!(
        said(&place, &registry, &["verify", "--key", &public, &layout]),
        digest
    );
    let to = format!("docker://{}", name("mirror/app:v1"));
    said(&place, &registry, &["copy", "--referrers", &layout, &to]);
    assert_eq!(
        types(&place, &registry, &name("mirror/app:v1")),
        [SPDX, SIGNATURES]
    );
    // The signature is of the origin's name.
    let mirror = name("mirror/app:v1");
    let args = [
        "verify",
        "--insecure-registry",
        &registry.host,
        "--key",
        &public,
        &mirror,
    ];
    let (_, told) = place.expect(1, &args);
    assert!(
        told.contains("signed it as") && told.contains("--identity"),
        "{told}"
    );
    let origin = name("app");
    let args = ["verify", "--key", &public, "--identity", &origin, &mirror];
    assert_eq!(said(&place, &registry, &args), digest);
    // Without being asked it takes nothing along; where it cannot, it says so.
    said(
        &place,
        &registry,
        &["copy", &from, &format!("docker://{}", name("bare:v1"))],
    );
    assert_eq!(
        types(&place, &registry, &name("bare:v1")),
        Vec::<String>::new()
    );
    let (_, told) = place.expect(2, &["copy", "--referrers", "store:app", "dir:x"]);
    assert!(told.contains("registries and OCI layouts"), "{told}");
}

#[test]
fn what_is_not_verified_says_how_far_it_came() {
    requires!(degree Degree::NoSub);
    let registry = registry!(false);
    let place = place();
    let at = |name: &str| place.path().join(name).display().to_string();
    let name = |tag: &str| format!("{}/{tag}", registry.host);
    let told = |key: &str, name: &str| {
        let args = [
            "verify",
            "--insecure-registry",
            &registry.host,
            "--key",
            key,
            name,
        ];
        place.expect(1, &args).1
    };
    place.expect(0, &["build", "-q", "-t", "app", "."]);
    said(&place, &registry, &["push", "app", &name("app:v1")]);
    assert!(told(&at("pub"), &name("app:v1")).contains("it has no signature"));
    said(
        &place,
        &registry,
        &["push", "--sign-by", &at("key"), "app", &name("app:v1")],
    );
    said(
        &place,
        &registry,
        &["verify", "--key", &at("pub"), &name("app:v1")],
    );
    // Another key.
    openssl(
        place.path(),
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            "key2",
        ],
    );
    openssl(
        place.path(),
        &["pkey", "-in", "key2", "-pubout", "-out", "pub2"],
    );
    assert!(told(&at("pub2"), &name("app:v1")).contains("none of its 1 signatures"));
    // A second signature joins the first one, and the same key signs once.
    said(
        &place,
        &registry,
        &["push", "--sign-by", &at("key2"), "app", &name("app:v1")],
    );
    said(
        &place,
        &registry,
        &["push", "--sign-by", &at("key2"), "app", &name("app:v1")],
    );
    said(
        &place,
        &registry,
        &["verify", "--key", &at("pub"), &name("app:v1")],
    );
    said(
        &place,
        &registry,
        &["verify", "--key", &at("pub2"), &name("app:v1")],
    );
    // A signature of another image, under this one's tag.
    place.write("one", "2");
    place.expect(0, &["build", "-q", "-t", "other", "."]);
    let other = said(&place, &registry, &["push", "other", &name("app:other")]);
    let first = said(
        &place,
        &registry,
        &["verify", "--key", &at("pub"), &name("app:v1")],
    );
    let sig = |digest: &str| name(&format!("app:{}.sig", digest.replace(':', "-")));
    let (from, to) = (
        format!("docker://{}", sig(&first)),
        format!("docker://{}", sig(&other)),
    );
    said(&place, &registry, &["copy", &from, &to]);
    assert!(told(&at("pub"), &name("app:other")).contains("another image"));
    // Keys that are none.
    let args = ["verify", "--key", &at("key"), &name("app:v1")];
    assert!(place.expect(2, &args).1.contains("no public key"));
    let args = ["push", "--sign-by", &at("pub"), "app", &name("app:v1")];
    assert!(place.expect(2, &args).1.contains("no private key"));
}

#[test]
fn a_layout_and_an_index_have_documents_and_signatures_too() {
    let place = place();
    let at = |name: &str| place.path().join(name).display().to_string();
    let out = format!("type=oci,tar=false,dest={}", at("layout"));
    let args = [
        "build",
        "-q",
        "-t",
        "q.io/app:1",
        "--platform",
        "linux/amd64,linux/arm64",
        "-o",
        &out,
        "--sbom",
        "--provenance",
        "--sign-by",
        &at("key"),
        ".",
    ];
    place.expect(0, &args);
    let index = fs::read_to_string(place.path().join("layout/index.json")).expect("an index");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let entries = index["manifests"].as_array().expect("entries");
    let of = |kind: &str| {
        entries
            .iter()
            .filter(|one| one["artifactType"] == kind)
            .count()
    };
    // Of each image, and a signature of the index too.
    assert_eq!(
        (of(SPDX), of(STATEMENT), of(SIGNATURES)),
        (2, 2, 3),
        "{index}"
    );
    let layout = format!("oci:{}:q.io/app:1", at("layout"));
    let (digest, _) = place.expect(0, &["verify", "--key", &at("pub"), &layout]);
    assert_eq!(
        digest.trim(),
        entries[0]["digest"].as_str().expect("a digest")
    );
    // Without a name the image is found all the same.
    place.expect(0, &["copy", &format!("oci:{}", at("layout")), "store:back"]);
    // Built again it is the same, signatures that are random aside.
    place.expect(0, &args);
    let again = fs::read_to_string(place.path().join("layout/index.json")).expect("an index");
    let again: Value = serde_json::from_str(&again).expect("JSON");
    let digests = |index: &Value| {
        let entries = index["manifests"].as_array().expect("entries").iter();
        let lasting = entries.filter(|one| one["artifactType"] != SIGNATURES);
        let mut all: Vec<_> = lasting.map(|one| one["digest"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(digests(&index), digests(&again));
}

#[test]
fn single_files_are_attributed_to_the_package_that_owned_them() {
    let layout = requires!(base "debian");
    let place = Place::new();
    place.write(
        "Containerfile",
        "FROM debian AS d\nFROM scratch\nCOPY --from=d /bin/sh /opt/sh\nUSER 1:1\n",
    );
    let context = format!("--build-context=debian=oci-layout:{}", layout.display());
    place.expect(
        0,
        &[
            "build",
            "-q",
            &context,
            "-t",
            "app",
            "--closure",
            "off",
            "--sbom",
            ".",
        ],
    );
    let (text, _) = place.expect(0, &["sbom", "app"]);
    let spdx: Value = serde_json::from_str(&text).expect("JSON");
    let all = |kind: &str| spdx[kind].as_array().expect("elements").clone();
    let file = all("files")
        .into_iter()
        .find(|one| one["fileName"] == "./opt/sh")
        .expect("the file");
    let owner = all("relationships").into_iter().find(|one| {
        one["relationshipType"] == "CONTAINS" && one["relatedSpdxElement"] == file["SPDXID"]
    });
    let owner = owner.expect("an owner")["spdxElementId"].clone();
    let package = all("packages")
        .into_iter()
        .find(|one| one["SPDXID"] == owner)
        .expect("a package");
    assert!(
        ["bash", "dash"].iter().any(|name| package["name"] == *name),
        "{package}"
    );
    let purl = package["externalRefs"][0]["referenceLocator"].to_string();
    assert!(
        purl.contains("pkg:deb/debian/") && purl.contains("distro=debian-"),
        "{purl}"
    );
}
