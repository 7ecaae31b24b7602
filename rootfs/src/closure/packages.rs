//! Which package a file of a tree belongs to, as its package database says: dpkg's, distroless's or apk's.
//!
//! Invariant: only paths that were asked for are kept, so a database of any size costs what reading it costs.

use std::collections::{HashMap, HashSet};

use super::places::{Absent, Place, Places};
use crate::path::{TreePath, escape};
use crate::tree::{NodeKind, Tree, TreeError};

/// No list of a package is larger: linux-source's has 8 MB.
const LARGEST: u64 = 64 << 20;

/// Names of packages by path; `None` where several have it, as they have directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages(HashMap<TreePath, Option<String>>);

/// How the lines of a list name files.
#[derive(Clone, Copy)]
enum Lines {
    /// `/usr/bin/x`
    Paths,
    /// `DIGEST  usr/bin/x`
    Digests,
}

impl Packages {
    /// Looks for the owners of `paths`; where there is no database, nobody owns anything.
    ///
    /// # Errors
    /// When a database is there and cannot be read.
    pub fn of<'p>(
        tree: &dyn Tree,
        paths: impl IntoIterator<Item = &'p TreePath>,
    ) -> Result<Self, TreeError> {
        let mut wanted = HashMap::new();
        for path in paths {
            for name in names(path) {
                wanted.insert(name, path.clone());
            }
        }
        let mut search = Search {
            tree,
            lengths: wanted.keys().map(Vec::len).collect(),
            wanted,
            found: HashMap::new(),
        };
        search.lists("var/lib/dpkg/info", b".list", Lines::Paths)?;
        search.lists("var/lib/dpkg/status.d", b".md5sums", Lines::Digests)?;
        for database in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
            search.apk(database)?;
        }
        Ok(Self(search.found))
    }

    /// The only package that has the file at a canonical path, its name escaped like a path.
    pub fn owner(&self, path: &TreePath) -> Option<&str> {
        self.0.get(path)?.as_deref()
    }
}

/// The names under which a database may know a path: with /usr merged, packages still name `/lib/x` and `/bin/x`.
pub(crate) fn names(path: &TreePath) -> impl Iterator<Item = Vec<u8>> {
    let own = path.as_bytes().to_vec();
    let before = own.strip_prefix(b"usr/").filter(|rest| {
        let top = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        top == b"bin" || top == b"sbin" || top.starts_with(b"lib")
    });
    let before = before.map(<[u8]>::to_vec);
    std::iter::once(own).chain(before)
}

struct Search<'t> {
    tree: &'t dyn Tree,
    /// Most lines are of another length than any path that is asked for.
    lengths: HashSet<usize>,
    wanted: HashMap<Vec<u8>, TreePath>,
    found: HashMap<TreePath, Option<String>>,
}

impl Search<'_> {
    fn take(&mut self, name: &[u8], package: &[u8]) {
        if !self.lengths.contains(&name.len()) {
            return;
        }
        if let Some(path) = self.wanted.get(name) {
            let package = escape(package);
            let owner = self.found.entry(path.clone());
            let owner = owner.or_insert_with(|| Some(package.clone()));
            if owner.as_ref() != Some(&package) {
                *owner = None;
            }
        }
    }

    /// What is at a path; a link that leads nowhere leads to no database.
    fn find(&self, path: &str) -> Result<Option<Place>, TreeError> {
        match Places::new(self.tree).find(format!("/{path}").as_bytes()) {
            Ok(place) => Ok(Some(place)),
            Err(Absent::Missing | Absent::Loop) => Ok(None),
            Err(Absent::Tree(error)) => Err(error),
        }
    }

    /// A directory with one list for each package, `NAME[:ARCHITECTURE]` and an ending.
    fn lists(&mut self, directory: &str, ending: &[u8], lines: Lines) -> Result<(), TreeError> {
        let directory = match self.find(directory)? {
            Some(place) if place.meta.is_dir() => place.path,
            _ => return Ok(()),
        };
        for (name, meta) in self.tree.read_dir(&directory)? {
            let Some(package) = name.strip_suffix(ending) else {
                continue;
            };
            if meta.kind != NodeKind::File || meta.size > LARGEST {
                continue;
            }
            let package = package
                .split(|byte| *byte == b':')
                .next()
                .unwrap_or_default();
            let length = usize::try_from(meta.size).unwrap_or(0);
            let text = self.tree.read_at(&directory.child(&name), 0, length)?;
            for line in text.split(|byte| *byte == b'\n') {
                let path = match lines {
                    Lines::Paths => line.strip_prefix(b"/"),
                    // 32 digits and two spaces, md5sum(1).
                    Lines::Digests => line.get(34..),
                };
                if let Some(path) = path {
                    self.take(path, package);
                }
            }
        }
        Ok(())
    }

    /// apk-installed(5): `P:` package, `F:` directory, `R:` file in it.
    fn apk(&mut self, database: &str) -> Result<(), TreeError> {
        let place = match self.find(database)? {
            Some(place) if place.meta.kind == NodeKind::File => place,
            _ => return Ok(()),
        };
        if place.meta.size > LARGEST {
            return Ok(());
        }
        let length = usize::try_from(place.meta.size).unwrap_or(0);
        let text = self.tree.read_at(&place.path, 0, length)?;
        let (mut package, mut directory): (&[u8], &[u8]) = (b"", b"");
        for line in text.split(|byte| *byte == b'\n') {
            match line.split_at_checked(2) {
                Some((b"P:", name)) => package = name,
                Some((b"F:", name)) => directory = name,
                Some((b"R:", name)) if directory.is_empty() => self.take(name, package),
                Some((b"R:", name)) => self.take(&[directory, b"/", name].concat(), package),
                _ => {}
            }
        }
        Ok(())
    }
}
