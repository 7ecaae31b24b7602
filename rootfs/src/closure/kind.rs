//! What a file is, as far as its headers say. Invariant: only the first bytes of a file that is none of ELF's are read.

use super::Resolver;
use super::elf::MAGIC;
use crate::path::TreePath;

/// An ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The architecture that it is for, in the words of the OCI image specification where it has any.
    pub architecture: String,
    /// Whether a loader has to map it.
    pub dynamic: bool,
    /// Whether it is there to be mapped, rather than to be started.
    pub library: bool,
    /// Whether it is packed by UPX.
    pub packed: bool,
    /// Whether a note names the build that it is of (a GNU or a Go build id).
    pub build_id: bool,
}

impl Resolver<'_> {
    /// What the regular file at the canonical path is; `None` for what is no ELF file that can be read.
    pub fn look(&self, path: &TreePath) -> Option<Binary> {
        let head = self.files.tree().read_at(path, 0, MAGIC.len()).ok()?;
        if head != MAGIC {
            return None;
        }
        let read = self.files.elf(path);
        let elf = read.as_ref().as_ref().ok()?;
        let dynamic = elf.dynamic.as_ref();
        let needs = dynamic.is_some_and(|dynamic| !dynamic.needed.is_empty());
        let named = dynamic.is_some_and(|dynamic| dynamic.soname.is_some());
        Some(Binary {
            architecture: elf.machine.name(),
            dynamic: elf.interpreter.is_some() || needs,
            library: named || (needs && elf.interpreter.is_none()),
            packed: elf.packed,
            build_id: elf.build_id,
        })
    }
}
