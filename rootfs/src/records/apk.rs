//! apk's database, apk-installed(5): one line for each field, a letter and a colon first.
//!
//! Invariant: lines about files are made anew for those that are there; all others are passed on as they are.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Catalogue, Found, Kind, Known, Package, lines, text};
use crate::path::TreePath;
use crate::tree::{Tree, TreeError};

const INSTALLED: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

/// SHA-1 in base64.
const SHA1: &[u8] = b"Q1";

pub(super) fn read(tree: &dyn Tree) -> Result<Option<Catalogue>, TreeError> {
    for place in INSTALLED {
        if let Some(installed) = text(tree, &TreePath::clamped(place)?)? {
            let catalogue = parse(&installed);
            return Ok((!catalogue.packages.is_empty()).then_some(catalogue));
        }
    }
    Ok(None)
}

fn parse(installed: &[u8]) -> Catalogue {
    let mut catalogue = Catalogue {
        kind: Kind::Apk,
        ..Catalogue::default()
    };
    let mut package = Package::default();
    let (mut directory, mut file): (&[u8], &[u8]) = (b"", b"");
    for line in lines(installed).chain([&b""[..]]) {
        let Some((field, value)) = line.split_at_checked(2) else {
            if !package.name.is_empty() {
                catalogue.packages.push(std::mem::take(&mut package));
            }
            package = Package::default();
            (directory, file) = (b"", b"");
            continue;
        };
        match field {
            b"F:" => directory = value,
            b"R:" => file = value,
            b"Z:" => {
                let digest = value.strip_prefix(SHA1);
                if let Some(Ok(digest)) = digest.map(|digest| STANDARD.decode(digest)) {
                    let between: &[u8] = if directory.is_empty() { b"" } else { b"/" };
                    let known = Known {
                        package: catalogue.packages.len(),
                        path: [directory, between, file].concat(),
                    };
                    catalogue.files.entry(digest).or_default().push(known);
                }
            }
            b"M:" | b"a:" => {}
            _ => {
                if field == b"P:" {
                    package.name = value.to_vec();
                }
                package.paragraph.extend(line);
                package.paragraph.push(b'\n');
            }
        }
    }
    catalogue
}

pub(super) fn write(
    packages: &[Package],
    found: &BTreeMap<usize, Vec<Found>>,
) -> BTreeMap<String, Vec<u8>> {
    let mut installed = Vec::new();
    for (package, files) in found {
        installed.extend(&packages[*package].paragraph);
        let mut last: Option<&[u8]> = None;
        for file in files {
            let slash = file.path.iter().rposition(|byte| *byte == b'/');
            let (directory, name) = match slash {
                None => (&b""[..], &file.path[..]),
                Some(slash) => (&file.path[..slash], &file.path[slash + 1..]),
            };
            if last != Some(directory) {
                installed.extend([b"F:", directory, b"\n"].concat());
                last = Some(directory);
            }
            let digest = STANDARD.encode(&file.digest);
            installed.extend([b"R:", name, b"\nZ:", SHA1, digest.as_bytes(), b"\n"].concat());
        }
        installed.push(b'\n');
    }
    match installed.is_empty() {
        true => BTreeMap::new(),
        false => BTreeMap::from([(INSTALLED[0].to_owned(), installed)]),
    }
}
