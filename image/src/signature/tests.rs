//! Beside `openssl`, which knows nothing of rbuild: what one signs the other verifies.

use std::path::Path;
use std::process::Command;

use super::*;

fn openssl(directory: &Path, args: &[&str]) -> bool {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(directory)
        .output()
        .expect("the program openssl");
    output.status.success()
}

/// A key pair of `openssl`.
fn keys(directory: &Path) -> (Signer, PublicKey) {
    let curve = "ec_paramgen_curve:P-256";
    let made = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        curve,
        "-out",
        "key",
    ];
    assert!(openssl(directory, &made));
    assert!(openssl(
        directory,
        &["pkey", "-in", "key", "-pubout", "-out", "pub"]
    ));
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    (
        Signer::from_pem(&read("key"), None).unwrap(),
        PublicKey::from_pem(&read("pub")).unwrap(),
    )
}

fn image() -> Descriptor {
    Descriptor::of(MediaType::OciManifest, b"image")
}

/// The payloads of an artifact, read as from a registry.
fn layers(export: &Export<'_>) -> Vec<Layer> {
    let mut read = |wanted: &Descriptor| {
        let blob = export
            .content()
            .find(|blob| *blob.digest() == wanted.digest);
        let mut bytes = Vec::new();
        std::io::copy(&mut blob.unwrap().open().unwrap(), &mut bytes).unwrap();
        Ok(bytes)
    };
    layers_of(export.manifest_bytes(), &mut read).unwrap()
}

#[test]
fn openssl_verifies_what_is_signed_here() {
    let place = tempfile::tempdir().unwrap();
    let (signer, public) = keys(place.path());
    assert_eq!(signer.public_key(), public);
    let export = signer
        .sign("q.io/app", &image(), Vec::new())
        .unwrap()
        .unwrap();
    assert_eq!(export.tag(), Some(tag_of(&image().digest).as_str()));
    let signed = &layers(&export)[0];
    std::fs::write(place.path().join("payload"), &signed.payload).unwrap();
    std::fs::write(place.path().join("sig"), signed.signature().unwrap()).unwrap();
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        "pub",
        "-signature",
        "sig",
        "payload",
    ];
    assert!(openssl(place.path(), &verify));
    std::fs::write(place.path().join("payload"), b"another").unwrap();
    assert!(!openssl(place.path(), &verify));
}

#[test]
fn what_openssl_signs_is_verified_here() {
    let place = tempfile::tempdir().unwrap();
    let (_, public) = keys(place.path());
    std::fs::write(place.path().join("payload"), b"a payload").unwrap();
    let sign = ["dgst", "-sha256", "-sign", "key", "-out", "sig", "payload"];
    assert!(openssl(place.path(), &sign));
    let signature = std::fs::read(place.path().join("sig")).unwrap();
    assert!(public.has_signed(b"a payload", &signature));
    assert!(!public.has_signed(b"a payload!", &signature));
    let (_, other) = keys(place.path());
    assert!(!other.has_signed(b"a payload", &signature));
}

#[test]
fn a_second_signature_joins_the_first_and_the_same_is_made_once() {
    let place = tempfile::tempdir().unwrap();
    let (one, _) = keys(place.path());
    let (other, _) = keys(place.path());
    let first = one.sign("q.io/app", &image(), Vec::new()).unwrap().unwrap();
    assert!(
        one.sign("q.io/app", &image(), layers(&first))
            .unwrap()
            .is_none()
    );
    let both = other
        .sign("q.io/app", &image(), layers(&first))
        .unwrap()
        .unwrap();
    assert_eq!(layers(&both).len(), 2);
    assert!(layers(&both)[0].is_signed_by(&one.public_key()));
    assert!(layers(&both)[1].is_signed_by(&other.public_key()));
}

#[test]
fn a_signature_is_of_one_digest_under_one_repositorys_name() {
    use verify::{Fault, examine};
    let place = tempfile::tempdir().unwrap();
    let (signer, public) = keys(place.path());
    let (_, other) = keys(place.path());
    let signed = |identity: &str| {
        let export = signer.sign(identity, &image(), Vec::new()).unwrap();
        layers(&export.unwrap()).remove(0)
    };
    let digest = image().digest;
    let told = |identity: &str, asked: &str| examine(&signed(identity), &digest, &public, asked);
    assert!(told("q.io/app", "q.io/app").is_ok());
    // containers/image signs whole names, cosign has its own name of Docker Hub.
    assert!(told("q.io/app:1", "q.io/app").is_ok());
    assert!(told("index.docker.io/library/app", "docker.io/library/app").is_ok());
    for wrong in ["q.io/application", "q.io/team/app", "evil.io/app", ""] {
        let fault = Fault::Identity(wrong.to_owned());
        assert_eq!(told(wrong, "q.io/app").unwrap_err(), fault);
    }
    let layer = signed("q.io/app");
    assert_eq!(
        examine(&layer, &digest, &other, "q.io/app").unwrap_err(),
        Fault::Key
    );
    let another = Digest::of("another");
    let fault = Fault::Digest(digest.to_string());
    assert_eq!(
        examine(&layer, &another, &public, "q.io/app").unwrap_err(),
        fault
    );
}

#[test]
fn the_payload_is_cosigns() {
    let place = tempfile::tempdir().unwrap();
    let (signer, _) = keys(place.path());
    let export = signer
        .sign("q.io/app", &image(), Vec::new())
        .unwrap()
        .unwrap();
    let expected = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"q.io/app"}},"image":{{"docker-manifest-digest":"{}"}},"type":"cosign container image signature"}},"optional":null}}"#,
        image().digest
    );
    assert_eq!(
        String::from_utf8(layers(&export)[0].payload.clone()).unwrap(),
        expected
    );
    assert!(!format!("{signer:?}").contains("EcdsaKeyPair"));
}

/// `fixtures/cosign.key` was sealed by libsodium (PyNaCl) under the password `a password`, its scrypt by Python's hashlib, in cosign's
/// form.
#[test]
fn keys_that_are_sealed_as_cosign_does_it_are_opened() {
    let sealed = include_str!("../../tests/fixtures/cosign.key");
    let public = PublicKey::from_pem(include_str!("../../tests/fixtures/cosign.pub")).unwrap();
    let signer = Signer::from_pem(sealed, Some("a password")).unwrap();
    assert_eq!(signer.public_key(), public);
    assert_eq!(
        Signer::from_pem(sealed, None).err(),
        Some(KeyError::NoPassword)
    );
    assert_eq!(
        Signer::from_pem(sealed, Some("another")).err(),
        Some(KeyError::Password)
    );
}

#[test]
fn keys_that_are_none_say_why() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    keys(at);
    let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    let private = |text: &str| Signer::from_pem(text, None).err();
    assert!(openssl(
        at,
        &["ecparam", "-name", "prime256v1", "-genkey", "-out", "sec1"]
    ));
    assert_eq!(private(&read("sec1")), Some(KeyError::Sec1));
    assert!(openssl(
        at,
        &["genpkey", "-algorithm", "ED25519", "-out", "ed"]
    ));
    assert_eq!(private(&read("ed")), Some(KeyError::NotP256));
    let curve = "ec_paramgen_curve:P-384";
    assert!(openssl(
        at,
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            curve,
            "-out",
            "p384"
        ]
    ));
    assert_eq!(private(&read("p384")), Some(KeyError::NotP256));
    assert!(openssl(
        at,
        &["pkey", "-in", "p384", "-pubout", "-out", "p384.pub"]
    ));
    assert_eq!(
        PublicKey::from_pem(&read("p384.pub")).err(),
        Some(KeyError::NotP256)
    );
    assert!(matches!(
        private(&read("pub")),
        Some(KeyError::Other { .. })
    ));
    assert!(matches!(
        PublicKey::from_pem(&read("key")).err(),
        Some(KeyError::Other { .. })
    ));
    assert_eq!(private("nothing"), Some(KeyError::NotPem));
}
