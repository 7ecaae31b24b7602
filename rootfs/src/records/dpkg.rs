//! dpkg's database (dpkg-query(1), deb-md5sums(5)), and that of distroless images.
//!
//! Invariant: a paragraph is passed on as it is, but for what is about the installation on that system.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::{Catalogue, Found, Kind, Known, Package, hex, lines, text};
use crate::path::TreePath;
use crate::tree::{Tree, TreeError};

const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const STATUS_D: &str = "var/lib/dpkg/status.d";
const MD5SUMS: &[u8] = b".md5sums";

/// Left out: the state on that system, and configuration files, which are not copied with the package.
const OF_SYSTEM: [&str; 3] = ["status", "conffiles", "config-version"];

pub(super) fn read(tree: &dyn Tree) -> Result<Option<Catalogue>, TreeError> {
    let place = |path: &str| TreePath::clamped(path);
    let mut catalogue = Catalogue {
        kind: Kind::Dpkg,
        ..Catalogue::default()
    };
    let mut names = HashMap::new();
    if let Some(status) = text(tree, &place(STATUS)?)? {
        paragraphs(&status, &mut catalogue, &mut names);
    }
    let directory = |path: &str| -> Result<Vec<(TreePath, Vec<u8>)>, TreeError> {
        let Some((directory, meta)) = tree.lookup(&TreePath::clamped(path)?)? else {
            return Ok(Vec::new());
        };
        if !meta.is_dir() {
            return Ok(Vec::new());
        }
        let names = tree.read_dir(&directory)?.into_iter();
        Ok(names
            .map(|(name, _)| (directory.child(&name), name))
            .collect())
    };
    let records = directory(STATUS_D)?;
    for (path, _) in records.iter().filter(|(_, name)| !name.ends_with(MD5SUMS)) {
        if let Some(record) = text(tree, path)? {
            paragraphs(&record, &mut catalogue, &mut names);
        }
    }
    for (path, name) in directory(INFO)?.into_iter().chain(records) {
        let Some(&package) = name.strip_suffix(MD5SUMS).and_then(|name| names.get(name)) else {
            continue;
        };
        for line in text(tree, &path)?.iter().flat_map(|text| lines(text)) {
            // 32 digits and two blanks.
            let parts = (line.get(..32).and_then(hex), line.get(34..));
            if let (Some(digest), Some(path)) = parts {
                let path = path.strip_prefix(b"./").unwrap_or(path).to_vec();
                let known = catalogue.files.entry(digest).or_default();
                known.push(Known { package, path });
            }
        }
    }
    Ok((!catalogue.packages.is_empty()).then_some(catalogue))
}

/// Adds the installed packages of a text, under all names that their lists of files may have.
fn paragraphs(text: &[u8], catalogue: &mut Catalogue, names: &mut HashMap<Vec<u8>, usize>) {
    let mut package = Package::default();
    let (mut name, mut architecture, mut installed) = (Vec::new(), Vec::new(), true);
    let mut kept = false;
    for line in lines(text).chain([&b""[..]]) {
        if line.is_empty() {
            if !name.is_empty() && installed {
                let number = catalogue.packages.len();
                let full = [&name[..], b":", &architecture].concat();
                // The second architecture of a package has a record of its own.
                let first = !names.contains_key(&name);
                package.name.clone_from(if first { &name } else { &full });
                names.entry(name.clone()).or_insert(number);
                names.insert(full, number);
                catalogue.packages.push(std::mem::take(&mut package));
            }
            package = Package::default();
            (name, architecture, installed) = (Vec::new(), Vec::new(), true);
            continue;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let colon = line.iter().position(|byte| *byte == b':');
            let (field, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let field = String::from_utf8_lossy(field).to_ascii_lowercase();
            kept = !OF_SYSTEM.contains(&field.as_str());
            match field.as_str() {
                "package" => name = value.to_vec(),
                "architecture" => architecture = value.to_vec(),
                "status" => installed = value.ends_with(b" installed"),
                _ => {}
            }
        }
        if kept {
            package.paragraph.extend(line);
            package.paragraph.push(b'\n');
        }
    }
}

pub(super) fn write(
    packages: &[Package],
    found: &BTreeMap<usize, Vec<Found>>,
) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    for (package, files) in found {
        let package = &packages[*package];
        // Names of packages are ASCII, deb-control(5); another name is in no path.
        let Ok(name) = str::from_utf8(&package.name) else {
            continue;
        };
        if name.contains('/') || name.starts_with('.') {
            continue;
        }
        let mut sums = Vec::new();
        for file in files {
            let mut digest = String::new();
            for byte in &file.digest {
                // Writing to a String cannot fail.
                let _ = write!(digest, "{byte:02x}");
            }
            sums.extend([digest.as_bytes(), b"  ", &file.path, b"\n"].concat());
        }
        records.insert(format!("{STATUS_D}/{name}"), package.paragraph.clone());
        records.insert(format!("{STATUS_D}/{name}.md5sums"), sums);
    }
    records
}
