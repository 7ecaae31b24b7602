//! dpkg's database, and the one of distroless images: deb822(5) paragraphs of installed packages.
//!
//! Invariant: what is only known, or removed but for its configuration, is no package of the tree.

use super::{Package, PackageKind, lines, owned, some, whole};
use crate::path::TreePath;
use crate::tree::{NodeKind, Tree, TreeError};

const STATUS: &str = "var/lib/dpkg/status";
const STATUS_D: &str = "var/lib/dpkg/status.d";

pub(super) fn read(tree: &dyn Tree) -> Result<Vec<Package>, TreeError> {
    let mut packages = Vec::new();
    if let Some(status) = whole(tree, STATUS)? {
        parse(&status, &mut packages);
    }
    let directory = match tree.lookup(&TreePath::clamped(STATUS_D)?) {
        Ok(Some((directory, meta))) if meta.is_dir() => directory,
        Ok(_) | Err(TreeError::Loop { .. } | TreeError::NotDirectory { .. }) => {
            return Ok(packages);
        }
        Err(error) => return Err(error),
    };
    for (name, meta) in tree.read_dir(&directory)? {
        if meta.kind == NodeKind::File && !name.ends_with(b".md5sums") {
            let length = usize::try_from(meta.size.min(super::LARGEST)).unwrap_or(0);
            let record = tree.read_at(&directory.child(&name), 0, length)?;
            parse(&record, &mut packages);
        }
    }
    Ok(packages)
}

fn parse(text: &[u8], packages: &mut Vec<Package>) {
    let (mut package, mut installed) = (Package::default(), true);
    for line in lines(text).chain([&b""[..]]) {
        if line.is_empty() {
            let done = std::mem::take(&mut package);
            if installed && !done.name.is_empty() && !done.version.is_empty() {
                packages.push(done);
            }
            installed = true;
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let Some(colon) = colon.filter(|_| !line.starts_with(b" ") && !line.starts_with(b"\t"))
        else {
            continue;
        };
        let value = &line[colon + 1..];
        package.kind = PackageKind::Deb;
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"package" => package.name = owned(value),
            b"version" => package.version = owned(value),
            b"architecture" => package.architecture = some(value),
            b"maintainer" => package.supplier = some(value),
            // `Source: glibc (2.36-9)` where the versions differ.
            b"source" => package.upstream = some(value).map(|text| upstream(&text)),
            b"status" => installed = value.trim_ascii().ends_with(b" installed"),
            _ => {}
        }
    }
}

/// As syft writes it into a purl: `NAME`, or `NAME@VERSION`.
fn upstream(text: &str) -> String {
    match text.split_once(" (") {
        Some((name, version)) => format!("{name}@{}", version.trim_end_matches(')')),
        None => text.to_owned(),
    }
}
