//! Documents of a small inventory, as they are written.

use image::Digest;
use rootfs::TreePath;
use rootfs::inventory::{Distribution, File, Package, PackageKind};
use serde_json::Value;

use super::*;

fn bill() -> Bill {
    let path = |text: &str| TreePath::clamped(text).expect("a path");
    let file = |name: &str, owner| File {
        path: path(name),
        sha1: "a9993e364706816aba3e25717850c26c9cd0d89d".to_owned(),
        sha256: Digest::of("abc"),
        owner,
    };
    let package = |kind, name: &str, licence: Option<&str>, program: Option<&str>| Package {
        kind,
        name: name.to_owned(),
        version: "1.0".to_owned(),
        licence: licence.map(str::to_owned),
        program: program.map(path),
        is_main: name == "app",
        ..Package::default()
    };
    Bill {
        name: "app:1".to_owned(),
        id: format!("sha256:{}", "1".repeat(64)).parse().expect("an id"),
        platform: "linux/amd64".parse().expect("a platform"),
        created: "2024-01-02T03:04:05Z".to_owned(),
        inventory: Inventory {
            distribution: Some(Distribution {
                id: "debian".to_owned(),
                version: "12".to_owned(),
                title: "Debian 12".to_owned(),
            }),
            packages: vec![
                package(PackageKind::Deb, "libc6", None, None),
                package(PackageKind::Rpm, "odd_name", Some("GPLv2+"), None),
                package(PackageKind::Go, "app", Some("MIT"), Some("app")),
                package(PackageKind::Go, "stdlib", None, Some("app")),
            ],
            files: vec![file("app", None), file("lib/libc.so.6", Some(0))],
            unread: vec!["/x: y".to_owned()],
        },
    }
}

fn json(format: SbomFormat) -> Value {
    serde_json::from_slice(&bill().write(format)).expect("JSON")
}

#[test]
fn spdx_is_as_its_snapshot() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&json(SbomFormat::Spdx)).expect("text"));
}

#[test]
fn cyclonedx_is_as_its_snapshot() {
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&json(SbomFormat::CycloneDx)).expect("text")
    );
}

#[test]
fn every_element_of_spdx_is_reached_from_the_document() {
    let document = json(SbomFormat::Spdx);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let relations = document["relationships"].as_array().expect("relationships");
    let mut reached = vec!["SPDXRef-DOCUMENT".to_owned()];
    let mut at = 0;
    while let Some(from) = reached.get(at).cloned() {
        for one in relations.iter().filter(|one| one["spdxElementId"] == *from) {
            let to = text(&one["relatedSpdxElement"]);
            if !reached.contains(&to) {
                reached.push(to);
            }
        }
        at += 1;
    }
    for kind in ["packages", "files"] {
        for element in document[kind].as_array().expect("elements") {
            assert!(reached.contains(&text(&element["SPDXID"])), "{element}");
        }
    }
}

#[test]
fn the_same_image_has_the_same_documents() {
    for format in [SbomFormat::Spdx, SbomFormat::CycloneDx] {
        assert_eq!(bill().write(format), bill().write(format));
    }
}
