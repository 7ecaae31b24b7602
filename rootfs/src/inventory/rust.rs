//! What `cargo auditable` writes into programs: the crates that they were built from, as compressed JSON (cargo-auditable,
//! PARSING.md).
//!
//! Invariant: no more than a fixed number of bytes is unpacked. Crates that only ran during the build are not listed.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use super::{Package, PackageKind};

pub(super) const SECTION: &str = ".dep-v0";

/// PARSING.md proposes 8 MiB.
const MOST: u64 = 8 << 20;

#[derive(Deserialize)]
struct Listed {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    root: bool,
}

pub(super) fn parse(section: &[u8]) -> Result<Vec<Package>, &'static str> {
    const MALFORMED: &str = "its list of crates is malformed";
    let mut json = Vec::new();
    let unpacked = ZlibDecoder::new(section).take(MOST).read_to_end(&mut json);
    unpacked.map_err(|_| MALFORMED)?;
    let listed: Listed = serde_json::from_slice(&json).map_err(|_| MALFORMED)?;
    let packages = listed.packages.into_iter();
    Ok(packages
        .filter(|one| one.kind != "build")
        .map(|one| Package {
            kind: PackageKind::Cargo,
            name: one.name,
            version: one.version,
            is_main: one.root,
            ..Package::default()
        })
        .collect())
}
