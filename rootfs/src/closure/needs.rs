//! What the programs among copied files need, all of them together.
//!
//! Invariant: a file is a program by what is in it, never by its name.

use std::collections::BTreeSet;

use super::elf::MAGIC;
use super::loader::Loader;
use super::machine::Machine;
use super::reason::{Reason, chain};
use super::{Closure, ClosureFile, Resolver};
use crate::path::TreePath;
use crate::tree::{Meta, NodeKind};

/// What is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What must be there, in the order of the paths, each with the first reason for it.
    pub files: Vec<ClosureFile>,
    /// The programs that would not start even so.
    pub broken: Vec<Closure>,
    /// What was asked for and is not there, as it is written in a Containerfile.
    pub unmet: Vec<String>,
}

impl Needs {
    /// Why a file is needed: the last reason names what was copied. Empty where it is not.
    pub fn chain(&self, path: &TreePath) -> Vec<(TreePath, Reason)> {
        chain(&self.files, path)
    }
}

impl Resolver<'_> {
    /// The symbols that the library at a canonical path gives to others; none where it is no library.
    pub fn exports(&self, path: &TreePath) -> BTreeSet<Vec<u8>> {
        self.files.exports(path).into_iter().collect()
    }

    /// Whether something is started or mapped from this path: an ELF file, or a script that can be executed.
    pub(super) fn is_program(&self, path: &TreePath) -> bool {
        self.begins(path, |head, meta| {
            head == MAGIC || (head.starts_with(b"#!") && meta.mode & 0o111 != 0)
        })
    }

    pub(super) fn is_elf(&self, path: &TreePath) -> bool {
        self.begins(path, |head, _| head == MAGIC)
    }

    fn begins(&self, path: &TreePath, like: impl Fn(&[u8], &Meta) -> bool) -> bool {
        let raw = [b"/", path.as_bytes()].concat();
        let Ok(place) = self.files.places.find(&raw) else {
            return false;
        };
        let head = self.files.tree().read_at(&place.path, 0, MAGIC.len());
        place.meta.kind == NodeKind::File && head.is_ok_and(|head| like(&head, &place.meta))
    }

    /// Whether the library at a path defines a version of symbols.
    pub(super) fn defines(&self, path: &TreePath, version: &[u8]) -> bool {
        let read = self.files.elf(path);
        let elf = (*read).as_ref().ok();
        let defines = elf.and_then(|elf| elf.dynamic.as_ref()?.defines.as_ref());
        defines.is_some_and(|all| all.iter().any(|own| own == version))
    }

    /// What the program at a path is for, and the directories that its loader searches last.
    pub(super) fn system_dirs(&self, path: &TreePath) -> Option<(Machine, Vec<Vec<u8>>)> {
        let raw = [b"/", path.as_bytes()].concat();
        let place = self.files.places.find(&raw).ok()?;
        let read = self.files.elf(&place.path);
        let elf = (*read).as_ref().ok()?;
        let interpreter = elf.interpreter.as_ref()?;
        match &*self.loader(interpreter, elf.machine) {
            Loader::Glibc(glibc) => Some((elf.machine, glibc.system_dirs.clone())),
            Loader::Musl(_) => None,
        }
    }
}
