//! The files of a tree as the loaders see them.
//!
//! Invariant: each file is read once, however many programs need it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::draft::{chain, said};
use super::dynamic::Symbols;
use super::elf::{self, Elf, ElfError};
use super::machine::{Machine, Shape};
use super::places::{Absent, Place, Places};
use super::window::Window;
use crate::path::TreePath;
use crate::tree::{NodeKind, Tree, TreeError};

/// A tree with what was read of it.
pub(super) struct Files<'t> {
    pub(super) places: Places<'t>,
    elves: RefCell<HashMap<TreePath, ReadElf>>,
}

/// What reading an ELF file gave.
pub(super) type ReadElf = Rc<Result<Rc<Elf>, ElfError>>;

/// What opening a library gave.
pub(super) enum Opened {
    /// A library of the right kind.
    Library(Place, Rc<Elf>),
    /// Nothing is there, or something for another machine: the search goes on.
    Absent,
    /// As before, and if nothing else is found, this is the reason.
    OtherClass,
    /// Something is there that ends the search in this list of directories.
    Unusable,
    /// Something is there that ends everything.
    Broken(Place, String),
}

impl<'t> Files<'t> {
    pub(super) fn new(tree: &'t dyn Tree) -> Self {
        Self {
            places: Places::new(tree),
            elves: RefCell::default(),
        }
    }

    pub(super) fn tree(&self) -> &'t dyn Tree {
        self.places.tree
    }

    /// What the file at the canonical path asks of its loader.
    pub(super) fn elf(&self, path: &TreePath) -> ReadElf {
        if let Some(known) = self.elves.borrow().get(path) {
            return Rc::clone(known);
        }
        let read = Window::open(self.tree(), path)
            .map_err(ElfError::Tree)
            .and_then(|mut window| elf::read(&mut window).map(Rc::new));
        let read = Rc::new(read);
        self.elves
            .borrow_mut()
            .insert(path.clone(), Rc::clone(&read));
        read
    }

    /// The symbols that the ELF file at a canonical path takes from others.
    pub(super) fn imports(&self, path: &TreePath) -> Vec<Vec<u8>> {
        self.symbols(path, Symbols::imports)
    }

    /// The symbols that it gives to others.
    pub(super) fn exports(&self, path: &TreePath) -> Vec<Vec<u8>> {
        self.symbols(path, Symbols::exports)
    }

    fn symbols(
        &self,
        path: &TreePath,
        read: impl Fn(&Symbols, &mut Window<'_>, Shape) -> Vec<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let elf = self.elf(path);
        let Ok(elf) = &*elf else {
            return Vec::new();
        };
        let symbols = elf.dynamic.as_ref().and_then(|dynamic| dynamic.symbols);
        match (symbols, Window::open(self.tree(), path)) {
            (Some(symbols), Ok(mut window)) => read(&symbols, &mut window, elf.machine.shape),
            _ => Vec::new(),
        }
    }

    /// The beginning of a small file; `None` when there is no such regular file, or it is larger than `most` bytes.
    pub(super) fn small(
        &self,
        raw: &[u8],
        most: u64,
    ) -> Result<Option<(Place, Vec<u8>)>, TreeError> {
        let place = match self.places.find(raw) {
            Ok(place) if place.meta.kind == NodeKind::File && place.meta.size <= most => place,
            Ok(_) | Err(Absent::Missing | Absent::Loop) => return Ok(None),
            Err(Absent::Tree(error)) => return Err(error),
        };
        let length = usize::try_from(place.meta.size).unwrap_or(0);
        let bytes = self.tree().read_at(&place.path, 0, length)?;
        Ok(Some((place, bytes)))
    }

    /// Opens a library as glibc's `open_verify` does.
    pub(super) fn library(&self, raw: &[u8], machine: Machine) -> Opened {
        let place = match self.places.find(raw) {
            Ok(place) => place,
            Err(Absent::Missing) => return Opened::Absent,
            Err(Absent::Tree(TreeError::Root(error))) if is_denied(error.errno()) => {
                return Opened::Absent;
            }
            Err(_) => return Opened::Unusable,
        };
        match place.meta.kind {
            NodeKind::File => {}
            NodeKind::Dir => return Opened::Broken(place, "cannot read file data".to_owned()),
            _ => return Opened::Broken(place, "invalid ELF header".to_owned()),
        }
        let read = self.elf(&place.path);
        let elf = match &*read {
            Ok(elf) => elf,
            Err(ElfError::Tree(TreeError::Root(error))) if is_denied(error.errno()) => {
                return Opened::Absent;
            }
            Err(error) => return Opened::Broken(place, chain(error)),
        };
        let broken = |place, message: &str| Opened::Broken(place, message.to_owned());
        match elf.machine {
            own if own == machine && elf.dynamic.is_none() => {
                broken(place, "object file has no dynamic section")
            }
            own if own == machine && elf.fixed => {
                broken(place, "cannot dynamically load executable")
            }
            own if own == machine => Opened::Library(place, Rc::clone(elf)),
            own if own.shape.wide != machine.shape.wide => Opened::OtherClass,
            own if own.shape.big != machine.shape.big => {
                let order = if machine.shape.big { "big" } else { "little" };
                broken(place, &format!("ELF file data encoding not {order}-endian"))
            }
            _ => Opened::Absent,
        }
    }

    /// What a path leads to, or what the kernel would say.
    pub(super) fn find(&self, raw: &[u8]) -> Result<Place, String> {
        self.places.find(raw).map_err(|absent| said(&absent))
    }
}

fn is_denied(errno: Option<i32>) -> bool {
    errno == Some(rustix::io::Errno::ACCESS.raw_os_error())
}
