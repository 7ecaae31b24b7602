//! Bundles beside what the program `openssl` makes of the same certificates, and bad ones.

extern crate rbuild_rootfs as rootfs;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use rootfs::certificates::{Bundle, CertificateError, readers};
use rootfs::{DirTree, Ownership, Root, Tree, TreePath};

fn openssl(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(directory)
        .output()
        .expect("the program openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A self-signed certificate; `config` is the `[req]` section's rest.
fn made(directory: &Path, name: &str, subject: &str, config: &str) -> Vec<u8> {
    let text = format!("[req]\ndistinguished_name=dn\n{config}\n[dn]\n");
    fs::write(directory.join("cnf"), text).expect("a file");
    let pem = format!("{name}.pem");
    let args = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key",
        "-days",
        "30",
        "-config",
        "cnf",
        "-utf8",
        "-subj",
        subject,
        "-out",
        &pem,
    ];
    openssl(directory, &args);
    fs::read(directory.join(pem)).expect("it")
}

fn bundle(sources: &[&[u8]]) -> Bundle {
    let mut bundle = Bundle::default();
    for source in sources {
        bundle.add(source, "a test").expect("certificates");
    }
    bundle
}

#[test]
fn mozillas_roots_have_the_names_that_openssl_rehash_gives_them() {
    let bundle = Bundle::mozilla();
    assert!(bundle.len() > 100, "{}", bundle.len());
    let place = tempfile::tempdir().expect("a directory");
    for (number, one) in bundle.certificates().iter().enumerate() {
        let der = place.path().join(format!("{number}.der"));
        fs::write(&der, one.der()).expect("a file");
    }
    let files = bundle.hashed();
    assert_eq!(files.len(), bundle.len());
    for (number, text) in files.values().enumerate() {
        fs::write(place.path().join(format!("{number}.pem")), text).expect("a file");
    }
    openssl(place.path(), &["rehash", "."]);
    let links: BTreeSet<String> = fs::read_dir(place.path())
        .expect("it")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_type().expect("a type").is_symlink())
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    assert_eq!(links, files.keys().cloned().collect());
    // The one file is read whole.
    fs::write(place.path().join("bundle"), bundle.pem()).expect("a file");
    let said = openssl(place.path(), &["storeutl", "-certs", "-noout", "bundle"]);
    assert!(
        said.contains(&format!("Total found: {}", bundle.len())),
        "{said}"
    );
}

#[test]
fn odd_subjects_are_hashed_as_openssl_does() {
    let place = tempfile::tempdir().expect("a directory");
    let subjects = [
        ("/C=DE/O=  Two   Blanks /CN=MiXeD", "string_mask=utf8only"),
        ("/O=Grün & Söhne ÄÖ/CN=x", "string_mask=utf8only"),
        ("/O=Grün & Söhne ÄÖ/CN=x", "string_mask=pkix"),
        ("/O=Grün/CN=x", "string_mask=nombstr"),
        ("/O=中文/CN=x", "string_mask=MASK:0x800"),
        ("/O=中文/CN=x", "string_mask=MASK:0x100"),
        (
            "/CN=b+OU=a+O=c/emailAddress=A@B.example",
            "string_mask=default",
        ),
        ("/DC=Example/DC=COM/CN=x", ""),
        ("/CN= ", "string_mask=utf8only"),
        ("/CN=a\tb", "string_mask=utf8only"),
        ("/", ""),
    ];
    for (subject, config) in subjects {
        let pem = made(place.path(), "one", subject, config);
        let args = [
            "x509",
            "-in",
            "one.pem",
            "-noout",
            "-subject_hash",
            "-fingerprint",
            "-sha256",
        ];
        let said = openssl(place.path(), &args);
        let (hash, print) = said.trim().split_once('\n').expect("two lines");
        let made = bundle(&[&pem]);
        let one = made.certificates()[0].clone();
        assert_eq!(
            format!("{:08x}", one.subject_hash()),
            hash,
            "{subject} {config}"
        );
        let print = print
            .split('=')
            .next_back()
            .expect("digits")
            .replace(':', "");
        assert_eq!(one.fingerprint().hex(), print.to_lowercase());
        // In DER it is the same certificate.
        openssl(
            place.path(),
            &[
                "x509", "-in", "one.pem", "-outform", "der", "-out", "one.der",
            ],
        );
        let der = fs::read(place.path().join("one.der")).expect("it");
        assert_eq!(bundle(&[&der]), made);
    }
}

#[test]
fn equal_sources_in_any_order_give_equal_bytes_and_each_certificate_once() {
    let place = tempfile::tempdir().expect("a directory");
    let one = made(place.path(), "one", "/CN=one", "");
    let two = made(place.path(), "two", "/CN=One", "");
    let both = [
        &b"a remark\n"[..],
        &two,
        b"-----BEGIN EC PARAMETERS-----\nx\n-----END EC PARAMETERS-----\n",
        &one,
        &one,
    ]
    .concat();
    let (a, b) = (bundle(&[&one, &two]), bundle(&[&both, &two]));
    assert_eq!((a.len(), a.pem()), (2, b.pem()));
    assert!(
        !a.pem().contains("remark"),
        "nothing but certificates is written"
    );
    // Equal hashes are numbered.
    let names: Vec<String> = a.hashed().into_keys().collect();
    let hash = names[0].strip_suffix(".0").expect("the first");
    assert_eq!(names[1], format!("{hash}.1"));
    assert_eq!(a.hashed(), b.hashed());
    // What is read again is the same.
    assert_eq!(bundle(&[a.pem().as_bytes()]), a);
    assert_eq!(a.expired(0), Vec::<String>::new());
    assert_eq!(a.expired(i64::MAX), ["One", "one"]);
}

#[test]
fn what_is_no_certificate_is_an_error_that_names_its_place() {
    let place = tempfile::tempdir().expect("a directory");
    let good = String::from_utf8(made(place.path(), "one", "/CN=one", "")).expect("text");
    let said = |text: &str| {
        let error = Bundle::default().add(text.as_bytes(), "roots.pem");
        error.expect_err("it is wrong").to_string()
    };
    assert_eq!(said("nothing here\n"), "find a certificate in roots.pem");
    let cut = good
        .trim_end()
        .trim_end_matches("-----END CERTIFICATE-----");
    assert_eq!(
        said(&format!("\n{cut}")),
        "read the certificate in roots.pem, line 2: it is cut off"
    );
    assert!(said(&format!("{cut}{good}")).contains("line 1: it has no end"));
    let trusted = good.replace(" CERTIFICATE", " TRUSTED CERTIFICATE");
    assert!(said(&trusted).contains("TRUSTED CERTIFICATE"));
    assert!(said(&good.replacen('M', "!", 1)).contains("not base64"));
    assert!(
        said("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").contains("cut off")
    );
}

#[test]
fn no_cut_and_no_flipped_bit_is_a_panic() {
    let roots = Bundle::mozilla();
    let der = roots.certificates()[0].der().to_vec();
    for length in 0..der.len() {
        assert!(
            Bundle::default().add(&der[..length], "x").is_err(),
            "{length}"
        );
    }
    let mut flipped = der.clone();
    for bit in 0..der.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = Bundle::default().add(&flipped, "x");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    let longer = [&der[..], b"x"].concat();
    let error = Bundle::default()
        .add(&longer, "x")
        .expect_err("more follows");
    assert!(
        matches!(error, CertificateError::Malformed { line: 1, .. }),
        "{error}"
    );
}

#[test]
fn who_reads_the_environment_is_seen_in_any_window_of_a_file() {
    let place = tempfile::tempdir().expect("a directory");
    let write = |name: &str, parts: &[&[u8]]| {
        fs::write(place.path().join(name), parts.concat()).expect("a file");
    };
    let long = vec![0; (256 << 10) - 10];
    write(
        "1-script",
        &[b"#!/bin/sh\n# SSL_CERT_FILE SSL_CERT_DIR", &long],
    );
    write(
        "2-gnutls",
        &[b"\x7fELF", &long, b"/etc/ssl/certs/ca-certificates.crt"],
    );
    write(
        "3-openssl",
        &[b"\x7fELF", &long, b"SSL_CERT_FILE", &long, b"SSL_CERT_DIR"],
    );
    write(
        "4-openssl",
        &[b"\x7fELF", &long, b"SSL_CERT_FILE SSL_CERT_DIR"],
    );
    write(
        "5-go",
        &[
            b"\x7fELF\xff Go buildinf:",
            &long,
            b"SSL_CERT_DIR",
            b"SSL_CERT_FILE",
        ],
    );
    let tree = DirTree::new(Root::open(place.path()).expect("it"), Ownership::Recorded);
    let files: Vec<_> = tree
        .read_dir(&TreePath::root())
        .expect("it")
        .into_iter()
        .map(|(name, meta)| (TreePath::root().child(&name), meta))
        .collect();
    let found = readers(&tree, files.iter().map(|(path, meta)| (path, meta))).expect("it is read");
    let found: Vec<_> = found
        .iter()
        .map(|one| (one.path.to_string(), one.by_subject))
        .collect();
    assert_eq!(
        found,
        [("/3-openssl".to_owned(), true), ("/5-go".to_owned(), false)]
    );
}
