//! Who needs what in a whole tree: every program that can be started, with its closure.
//!
//! Invariant: it is computed from the tree alone, so it is true of images that others built, and cannot be out of date.

use std::collections::BTreeMap;

use super::elf::MAGIC;
use super::reason::chain;
use super::{Closure, Reason, Resolver};
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind, Tree};

/// The programs of a tree and what each needs.
#[derive(Debug, Default)]
pub struct Users {
    closures: Vec<Closure>,
    /// By path, the closures that have it.
    users: BTreeMap<TreePath, Vec<usize>>,
}

impl Users {
    /// Resolves those of `files` that somebody could start: executable ELF files that are no libraries, and scripts. What cannot be
    /// read needs nothing.
    pub fn of<'p>(
        tree: &dyn Tree,
        resolver: &Resolver<'_>,
        files: impl IntoIterator<Item = (&'p TreePath, &'p Meta)>,
    ) -> Self {
        let mut all = Self::default();
        for (path, meta) in files {
            if meta.kind == NodeKind::File && meta.mode & 0o111 != 0 && is_program(tree, path) {
                let closure = resolver.closure(path);
                for file in &closure.files {
                    let users = all.users.entry(file.path.clone()).or_default();
                    users.push(all.closures.len());
                }
                all.closures.push(closure);
            }
        }
        all
    }

    /// The programs that need the file at a canonical path, in the order of their paths.
    pub fn users(&self, path: &TreePath) -> impl ExactSizeIterator<Item = &TreePath> {
        let users = self.users.get(path).map_or(&[][..], Vec::as_slice);
        users.iter().map(|user| &self.closures[*user].program)
    }

    /// Why the first of these programs needs it: the last reason names the program.
    pub fn chain(&self, path: &TreePath) -> Vec<(TreePath, Reason)> {
        let Some(first) = self.users.get(path).and_then(|users| users.first()) else {
            return Vec::new();
        };
        chain(&self.closures[*first].files, path)
    }

    /// All programs, in the order of their paths.
    pub fn programs(&self) -> impl Iterator<Item = &TreePath> {
        self.closures.iter().map(|closure| &closure.program)
    }
}

/// Libraries are called so: many are executable, and some can be started to print their version.
fn is_program(tree: &dyn Tree, path: &TreePath) -> bool {
    let name = path.file_name().unwrap_or_default();
    let library = name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.");
    let starts = |head: Vec<u8>| head.starts_with(MAGIC) || head.starts_with(b"#!");
    !library && tree.read_at(path, 0, MAGIC.len()).is_ok_and(starts)
}
