//! apk's database, apk-installed(5): one line for each field, a letter and a colon first.
//!
//! Invariant: a package has a name and a version, or it is none.

use super::{Package, PackageKind, lines, owned, some, whole};
use crate::tree::{Tree, TreeError};

const INSTALLED: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

pub(super) fn read(tree: &dyn Tree) -> Result<Vec<Package>, TreeError> {
    for place in INSTALLED {
        if let Some(installed) = whole(tree, place)? {
            return Ok(parse(&installed));
        }
    }
    Ok(Vec::new())
}

fn parse(installed: &[u8]) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut package = fresh();
    for line in lines(installed).chain([&b""[..]]) {
        let Some((field, value)) = line.split_at_checked(2) else {
            let done = std::mem::replace(&mut package, fresh());
            if !done.name.is_empty() && !done.version.is_empty() {
                packages.push(done);
            }
            continue;
        };
        match field {
            b"P:" => package.name = owned(value),
            b"V:" => package.version = owned(value),
            b"A:" => package.architecture = some(value),
            b"L:" => package.licence = some(value),
            b"m:" => package.supplier = some(value),
            b"o:" => package.upstream = some(value).filter(|origin| *origin != package.name),
            _ => {}
        }
    }
    packages
}

fn fresh() -> Package {
    Package {
        kind: PackageKind::Apk,
        ..Package::default()
    }
}
