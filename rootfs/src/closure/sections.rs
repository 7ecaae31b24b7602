//! The bytes of named sections of an ELF file.
//!
//! Invariant: what is no ELF file, or one whose headers lie, has no sections; offsets and lengths are checked where they are used.

use super::elf::Fields;
pub(crate) use super::elf::MAGIC;
use super::machine::Shape;
use super::window::{Window, WindowError};
use crate::path::TreePath;
use crate::tree::{Meta, Tree, TreeError};

/// A program has a few dozen; those compiled with one section for each function are objects, not programs.
const SECTIONS_MAX: usize = 4096;
/// A list of modules has some hundred kilobytes at most.
const LONGEST: u64 = 2 << 20;

/// Those of the named sections that a file has, with their bytes.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read<'n>(
    tree: &dyn Tree,
    path: &TreePath,
    meta: &Meta,
    names: &[&'n str],
) -> Result<Vec<(&'n str, Vec<u8>)>, TreeError> {
    if meta.size < 64 {
        return Ok(Vec::new());
    }
    let mut window = Window::open(tree, path)?;
    match sections(&mut window, names) {
        Ok(found) => Ok(found),
        Err(WindowError::Tree(error)) => Err(error),
        Err(WindowError::Beyond | WindowError::TooMuch) => Ok(Vec::new()),
    }
}

fn sections<'n>(
    window: &mut Window<'_>,
    names: &[&'n str],
) -> Result<Vec<(&'n str, Vec<u8>)>, WindowError> {
    let head = window.head(64)?;
    if head.len() < 64 || !head.starts_with(MAGIC) {
        return Ok(Vec::new());
    }
    let shape = Shape {
        wide: head[4] == 2,
        big: head[5] == 2,
    };
    let header = Fields {
        bytes: &head,
        shape,
    };
    let (size_at, count_at, name_at, size) = match shape.wide {
        true => (58, 60, 62, 64),
        false => (46, 48, 50, 40),
    };
    let (count, of_names) = (
        usize::from(header.half(count_at)),
        usize::from(header.half(name_at)),
    );
    if usize::from(header.half(size_at)) != size || count > SECTIONS_MAX || of_names >= count {
        return Ok(Vec::new());
    }
    let table = window.bytes(header.native(32, 40), count * size)?;
    let section = |at: usize| Fields {
        bytes: &table[at * size..(at + 1) * size],
        shape,
    };
    let texts_at = section(of_names).native(16, 24);
    let mut found = Vec::new();
    for at in 0..count {
        let fields = section(at);
        let place = texts_at.checked_add(u64::from(fields.word(0)));
        let name = window.name(place.ok_or(WindowError::Beyond)?)?;
        let wanted = names.iter().find(|wanted| wanted.as_bytes() == name);
        let length = fields.native(20, 32);
        if let Some(wanted) = wanted.filter(|_| length <= LONGEST) {
            let length = usize::try_from(length).map_err(|_| WindowError::TooMuch)?;
            found.push((*wanted, window.bytes(fields.native(16, 24), length)?));
        }
    }
    Ok(found)
}
