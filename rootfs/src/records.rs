//! Package records for single files that were taken from a tree with a package database: what scanners read to know them.
//!
//! ```text
//! dpkg  var/lib/dpkg/status.d/NAME           the package's paragraph, as in the images of GoogleContainerTools/distroless
//!       var/lib/dpkg/status.d/NAME.md5sums   of its files only those that are there, where they are
//! apk   lib/apk/db/installed                 likewise, all packages in one file
//! ```
//!
//! Invariant: a file belongs to a package because it has the very content that the database says, wherever it was copied to; so no
//! record claims a file that was changed.

mod apk;
mod dpkg;

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

use md5::Digest as _;

use crate::closure::Packages;
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, Tree, TreeError};

/// No list of a database is larger.
const LARGEST: u64 = 64 << 20;

/// What tells scanners which distribution the records are of: they are in one of these files.
pub const RELEASES: [&str; 4] = [
    "etc/os-release",
    "etc/debian_version",
    "etc/lsb-release",
    "etc/alpine-release",
];

/// The packages of a tree, and their files by content.
#[derive(Debug, Default)]
pub struct Catalogue {
    kind: Kind,
    packages: Vec<Package>,
    /// By the digest that the kind of database has.
    files: HashMap<Vec<u8>, Vec<Known>>,
}

/// Whose database it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Dpkg,
    Apk,
}

/// A package as its database describes it.
#[derive(Debug, Default)]
struct Package {
    /// As its record is called.
    name: Vec<u8>,
    /// The fields of its paragraph that are not about files, each with its line end.
    paragraph: Vec<u8>,
}

/// A file that a package has.
#[derive(Debug)]
struct Known {
    package: usize,
    path: Vec<u8>,
}

/// A file of an image and the package that it is from.
#[derive(Debug)]
struct Found {
    path: Vec<u8>,
    digest: Vec<u8>,
}

impl Catalogue {
    /// Reads the database of a tree; `None` where there is none.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub fn of(tree: &dyn Tree) -> Result<Option<Self>, TreeError> {
        match dpkg::read(tree)? {
            Some(catalogue) => Ok(Some(catalogue)),
            None => apk::read(tree),
        }
    }

    /// The files that record which of `files` are the packages', by path. Files that the image's own databases know are left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn records(
        &self,
        image: &dyn Tree,
        files: &[(TreePath, Meta)],
    ) -> Result<BTreeMap<String, Vec<u8>>, TreeError> {
        let own = Packages::of(image, files.iter().map(|(path, _)| path))?;
        let mut found: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
        for (path, meta) in files {
            // A record is lines: a name with a line end could write some of its own.
            let line = path.as_bytes().contains(&b'\n');
            if meta.kind != NodeKind::File || meta.size == 0 || line || own.owner(path).is_some() {
                continue;
            }
            let digest = self.digest(image, path)?;
            if let Some(package) = self.owner(&digest, path) {
                let path = path.as_bytes().to_vec();
                found
                    .entry(package)
                    .or_default()
                    .push(Found { path, digest });
            }
        }
        Ok(match self.kind {
            Kind::Dpkg => dpkg::write(&self.packages, &found),
            Kind::Apk => apk::write(&self.packages, &found),
        })
    }

    /// Of several packages with one content, the one that has it at this place, or else under this name.
    fn owner(&self, digest: &[u8], path: &TreePath) -> Option<usize> {
        let known = self.files.get(digest)?;
        let merged = path.as_bytes().strip_prefix(b"usr/");
        let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
        let same_path = |one: &&Known| {
            one.path == path.as_bytes() || merged.is_some_and(|merged| merged == one.path)
        };
        let same_name = |one: &&Known| name(&one.path) == name(path.as_bytes());
        let first = known.first().map(|one| one.package);
        let only = first.filter(|first| known.iter().all(|one| one.package == *first));
        let mut all = known.iter();
        let found = all.find(same_path).or_else(|| known.iter().find(same_name));
        found.map(|one| one.package).or(only)
    }

    fn digest(&self, tree: &dyn Tree, path: &TreePath) -> Result<Vec<u8>, TreeError> {
        let mut content = tree.open(path)?.content;
        let mut hashers = (md5::Md5::new(), sha1::Sha1::new());
        let mut buffer = vec![0; 128 << 10];
        loop {
            let length = content
                .read(&mut buffer)
                .map_err(|source| TreeError::Read {
                    path: path.clone(),
                    source,
                })?;
            match (length, self.kind) {
                (0, Kind::Dpkg) => return Ok(hashers.0.finalize().to_vec()),
                (0, Kind::Apk) => return Ok(hashers.1.finalize().to_vec()),
                (_, Kind::Dpkg) => hashers.0.update(&buffer[..length]),
                (_, Kind::Apk) => hashers.1.update(&buffer[..length]),
            }
        }
    }
}

/// A file of a database, links followed; `None` where there is none.
fn text(tree: &dyn Tree, path: &TreePath) -> Result<Option<Vec<u8>>, TreeError> {
    match tree.lookup(path)? {
        Some((path, meta)) if meta.kind == NodeKind::File && meta.size <= LARGEST => {
            let length = usize::try_from(meta.size).unwrap_or(0);
            tree.read_at(&path, 0, length).map(Some)
        }
        _ => Ok(None),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// A digest in digits.
fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(digits).ok()?;
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}
