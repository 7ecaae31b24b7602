//! What a tree is made of: the packages of its databases, the modules that its programs name, and all of its files with their
//! digests. Software bills of materials are written from it.
//!
//! Invariant: everything comes from the tree's own bytes and is sorted, so equal trees have equal inventories; what is there and
//! could not be read is told in [`Inventory::unread`], never left out in silence.

mod apk;
mod dpkg;
mod go;
mod purl;
mod release;
mod rpm;
mod rust;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Read as _;

use image::{Digest, Hasher};
use sha1::Digest as _;

use crate::closure::{Packages, listed_names, sections};
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, Tree, TreeError, regular_files};

pub use purl::encode;
pub use release::Distribution;

/// No database of packages that is read is larger.
const LARGEST: u64 = 128 << 20;
/// Files that are listed one by one: a list of these takes some 30 MB as a document.
const FILES_MAX: usize = 50_000;

/// What a tree is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Which distribution it says that it is.
    pub distribution: Option<Distribution>,
    /// The packages, by kind, name and version.
    pub packages: Vec<Package>,
    /// The regular files, by path.
    pub files: Vec<File>,
    /// Sentences about what is there and was not read.
    pub unread: Vec<String>,
}

/// A package, or a module that was compiled into a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose it is.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Its version, as its database writes it.
    pub version: String,
    /// The machine that it is for.
    pub architecture: Option<String>,
    /// rpm's epoch, which is no part of the version there.
    pub epoch: Option<u32>,
    /// The source package that it was built from, where that has another name.
    pub upstream: Option<String>,
    /// Its licence, in the words of its database.
    pub licence: Option<String>,
    /// Who made it, in the words of its database.
    pub supplier: Option<String>,
    /// The program that it is in; none is a database's.
    pub program: Option<TreePath>,
    /// Whether the program is made from it, rather than it being one of the program's libraries.
    pub is_main: bool,
}

/// Whose packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageKind {
    /// dpkg's.
    #[default]
    Deb,
    /// apk's.
    Apk,
    /// rpm's.
    Rpm,
    /// A module of Go.
    Go,
    /// A crate of Rust.
    Cargo,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: TreePath,
    /// Its SHA-1, which SPDX demands.
    pub sha1: String,
    /// Its SHA-256.
    pub sha256: Digest,
    /// The package that owns it, as a position in [`Inventory::packages`].
    pub owner: Option<usize>,
}

/// What a database of packages says.
#[derive(Debug, Default)]
struct Database {
    packages: Vec<Package>,
    /// Files by path, with the position of their package; those of dpkg and apk are found by [`Packages`].
    files: HashMap<Vec<u8>, usize>,
}

impl Inventory {
    /// Reads all databases, all programs and all files.
    ///
    /// # Errors
    /// When a file cannot be read. What is malformed is told in [`Inventory::unread`].
    pub fn of(tree: &dyn Tree) -> Result<Self, TreeError> {
        let mut inventory = Self {
            distribution: release::read(tree)?,
            ..Self::default()
        };
        let files = regular_files(tree)?;
        let database = inventory.databases(tree)?;
        let mut packages = database.packages.clone();
        for (at, (path, meta)) in files.iter().enumerate() {
            let mut is_program = true;
            if at < FILES_MAX {
                let (file, head) = File::of(tree, path)?;
                is_program = head.starts_with(sections::MAGIC);
                inventory.files.push(file);
            }
            if is_program {
                packages.extend(inventory.modules(tree, path, meta)?);
            }
        }
        packages.sort();
        packages.dedup();
        if files.len() > FILES_MAX {
            inventory.unread.push(format!(
                "{} of {} files are not listed: a document has room for {FILES_MAX}",
                files.len() - FILES_MAX,
                files.len()
            ));
        }
        let owners = Owners::of(tree, &inventory.files, &database, &packages)?;
        for file in &mut inventory.files {
            file.owner = owners.of_file(&file.path);
        }
        inventory.packages = packages;
        Ok(inventory)
    }

    fn databases(&mut self, tree: &dyn Tree) -> Result<Database, TreeError> {
        let mut database = Database {
            packages: dpkg::read(tree)?,
            ..Database::default()
        };
        database.packages.extend(apk::read(tree)?);
        rpm::read(tree, &mut database, &mut self.unread)?;
        Ok(database)
    }

    /// What a program says that it was compiled from.
    fn modules(
        &mut self,
        tree: &dyn Tree,
        path: &TreePath,
        meta: &Meta,
    ) -> Result<Vec<Package>, TreeError> {
        let found = sections::read(tree, path, meta, &[go::SECTION, rust::SECTION])?;
        let mut packages = Vec::new();
        for (section, bytes) in found {
            let read = match section {
                go::SECTION => go::parse(&bytes),
                _ => rust::parse(&bytes),
            };
            match read {
                Ok(modules) => packages.extend(modules),
                Err(reason) => self.unread.push(format!("{path}: {reason}")),
            }
        }
        for package in &mut packages {
            package.program = Some(path.clone());
        }
        Ok(packages)
    }
}

/// Which package owns which file.
struct Owners {
    by_list: Packages,
    names: BTreeMap<String, usize>,
    by_rpm: HashMap<TreePath, usize>,
}

impl Owners {
    fn of(
        tree: &dyn Tree,
        files: &[File],
        database: &Database,
        packages: &[Package],
    ) -> Result<Self, TreeError> {
        let place = |package: &Package| packages.binary_search(package).ok();
        let mut names = BTreeMap::new();
        let mut by_rpm = HashMap::new();
        for (at, package) in packages.iter().enumerate() {
            if matches!(package.kind, PackageKind::Deb | PackageKind::Apk) {
                names.entry(package.name.clone()).or_insert(at);
            }
        }
        for File { path, .. } in files {
            let mut listed = listed_names(path);
            let owner = listed.find_map(|name| database.files.get(&name));
            if let Some(at) = owner.and_then(|at| place(&database.packages[*at])) {
                by_rpm.insert(path.clone(), at);
            }
        }
        Ok(Self {
            by_list: Packages::of(tree, files.iter().map(|file| &file.path))?,
            names,
            by_rpm,
        })
    }

    fn of_file(&self, path: &TreePath) -> Option<usize> {
        let listed = self.by_list.owner(path);
        let listed = listed.and_then(|name| self.names.get(name));
        listed.or_else(|| self.by_rpm.get(path)).copied()
    }
}

impl File {
    /// Reads a file once; its first bytes, too.
    fn of(tree: &dyn Tree, path: &TreePath) -> Result<(Self, Vec<u8>), TreeError> {
        let mut content = tree.open(path)?.content;
        let (mut sha1, mut sha256) = (sha1::Sha1::new(), Hasher::new());
        let mut buffer = vec![0; 128 << 10];
        let mut head = Vec::new();
        loop {
            let read = content.read(&mut buffer);
            let length = read.map_err(|source| TreeError::Read {
                path: path.clone(),
                source,
            })?;
            if length == 0 {
                break;
            }
            if head.len() < sections::MAGIC.len() {
                head.extend(buffer[..length].iter().take(sections::MAGIC.len()));
            }
            sha1.update(&buffer[..length]);
            sha256.update(&buffer[..length]);
        }
        let mut digits = String::new();
        for byte in sha1.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        let file = Self {
            path: path.clone(),
            sha1: digits,
            sha256: sha256.finish(),
            owner: None,
        };
        Ok((file, head))
    }
}

/// A file of a database, links followed; `None` where there is none, or one that is too large to be one.
fn whole(tree: &dyn Tree, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
    match tree.lookup(&TreePath::clamped(path)?) {
        Ok(Some((path, meta))) if meta.kind == NodeKind::File && meta.size <= LARGEST => {
            let length = usize::try_from(meta.size).unwrap_or(0);
            tree.read_at(&path, 0, length).map(Some)
        }
        Ok(_) | Err(TreeError::Loop { .. } | TreeError::NotDirectory { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn owned(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn some(bytes: &[u8]) -> Option<String> {
    Some(owned(bytes)).filter(|text| !text.is_empty())
}
