//! registries.conf and certs.d of a user: mirrors, locations, what is blocked, and whom one registry's authorities are for.

use std::fs;

use crate::build_push::certify;
use crate::registries::Registry;
use crate::support::Place;

/// A place whose user has a registries.conf.
fn place(conf: &str) -> Place {
    let place = Place::new();
    configure(&place, conf);
    place.write("Containerfile", "FROM scratch\nLABEL a=b\nUSER 1:1\n");
    place
}

fn configure(place: &Place, conf: &str) {
    let directory = place.path().join(".config/containers");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("registries.conf"), conf).expect("a file");
}

#[test]
fn a_name_is_looked_for_at_its_mirrors_and_keeps_its_own() {
    let registry = registry!(false);
    let host = &registry.host;
    let conf = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
    let place = place(&conf);
    place.expect(
        0,
        &[
            "build",
            "-t",
            &format!("{host}/mirrored/app:v1"),
            "--push",
            ".",
        ],
    );
    // The first mirror answers nobody; the location itself does not exist.
    let conf = format!(
        "[[registry]]\nprefix = \"far.invalid/team\"\nlocation = \"far.invalid/team\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:1/none\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{host}/mirrored\"\ninsecure = true\n"
    );
    let other = Place::new();
    configure(&other, &conf);
    let (_, said) = other.expect(0, &["pull", "--retry", "0", "far.invalid/team/app:v1"]);
    assert!(said.contains("mirror 127.0.0.1:1 is passed over"), "{said}");
    let (listed, _) = other.expect(0, &["images"]);
    assert!(listed.contains("far.invalid/team/app"), "{listed}");
    other.write("Containerfile", "FROM far.invalid/team/app:v1\n");
    other.expect(0, &["build", "--pull=always", "--retry", "0", "."]);
    // A password of the command line is not a mirror's.
    other.expect(
        0,
        &[
            "pull",
            "--retry",
            "0",
            "--creds",
            "a:b",
            "far.invalid/team/app:v1",
        ],
    );
    // What is pushed goes to the location, never to a mirror.
    let (_, said) = other.expect(
        4,
        &[
            "push",
            "--retry",
            "0",
            "far.invalid/team/app:v1",
            "far.invalid/team/app:v2",
        ],
    );
    assert!(said.contains("far.invalid"), "{said}");
}

#[test]
fn a_location_is_where_a_name_is_and_a_blocked_one_is_nowhere() {
    let registry = registry!(false);
    let host = &registry.host;
    let place = place(&format!(
        "[[registry]]\nprefix = \"q.invalid\"\nlocation = \"{host}/moved\"\ninsecure = true\n\
         [[registry]]\nprefix = \"q.invalid/bad\"\nblocked = true\n"
    ));
    place.expect(0, &["build", "-t", "q.invalid/app:v1", "--push", "."]);
    let (tags, _) = place.expect(
        0,
        &[
            "tags",
            "--insecure-registry",
            host,
            &format!("{host}/moved/app"),
        ],
    );
    assert_eq!(tags, "v1\n");
    assert_eq!(place.expect(0, &["tags", "q.invalid/app"]).0, "v1\n");
    place.expect(0, &["inspect", "docker://q.invalid/app:v1"]);
    place.expect(
        0,
        &[
            "copy",
            "docker://q.invalid/app:v1",
            "docker://q.invalid/app:v2",
        ],
    );
    for args in [
        &["pull", "q.invalid/bad/app"][..],
        &["tags", "q.invalid/bad/app"],
        &["copy", "store:x", "docker://q.invalid/bad/app"],
        &["inspect", "docker://q.invalid/bad/app"],
    ] {
        let (_, said) = place.expect(4, args);
        assert!(said.contains("blocks q.invalid/bad"), "{said}");
    }
    place.write("Containerfile", "FROM q.invalid/bad/app\n");
    place.expect(4, &["build", "."]);
    configure(&place, "[registries.search]\nregistries = [\"q.io\"]\n");
    let (_, said) = place.expect(3, &["tags", "q.invalid/app"]);
    assert!(
        said.contains("version 1") && said.contains("registries.conf"),
        "{said}"
    );
}

#[test]
fn s58_authorities_of_certs_d_are_for_their_registry_alone() {
    requires!(program "openssl");
    let keys = tempfile::tempdir().expect("a directory");
    certify(keys.path());
    let at = keys.path().display();
    let tls = format!(", tls: {{certificate: {at}/own.crt, key: {at}/own.key}}");
    let (Some(one), Some(two)) = (
        Registry::start_with(false, &tls),
        Registry::start_with(false, &tls),
    ) else {
        skip!("registry", "RBUILD_TEST_REGISTRY names none that starts");
    };
    let place = place("");
    let certs = place
        .path()
        .join(".config/containers/certs.d")
        .join(&one.host);
    fs::create_dir_all(&certs).expect("a directory");
    fs::copy(keys.path().join("ca/ca.crt"), certs.join("ca.crt")).expect("a copy");
    let push = |registry: &Registry, code: i32| {
        let tag = format!("{}/app:v1", registry.host);
        place
            .expect(code, &["build", "--retry", "0", "-t", &tag, "--push", "."])
            .1
    };
    push(&one, 0);
    let said = push(&two, 4);
    assert!(said.contains("certificate"), "{said}");
}
