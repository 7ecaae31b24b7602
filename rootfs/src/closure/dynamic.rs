//! The dynamic section of an ELF file: names of libraries, where to look for them, and versions of symbols.
//!
//! Invariant: as in [`super::elf`]; a table of versions ends after [`MOST_ENTRIES`], wherever its links lead.

use super::elf::{ElfError, Fields, PT_LOAD, Segment, lies};
use super::machine::Shape;
use super::window::Window;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_AUXILIARY: u64 = 0x7fff_fffd;
const DT_FILTER: u64 = 0x7fff_ffff;
const DF_1_NODEFLIB: u64 = 0x800;
/// Only the object itself sees the symbol.
const STB_LOCAL: u8 = 0;
const VER_FLG_BASE: u16 = 1;
const VER_FLG_WEAK: u16 = 2;

/// More entries than this are no dynamic section, and no list of versions.
const MOST_ENTRIES: usize = 4096;

/// A version of a symbol that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) name: Vec<u8>,
    /// Only a warning when it is not there.
    pub(super) weak: bool,
}

/// Versions that a library must define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) file: Vec<u8>,
    pub(super) versions: Vec<Version>,
}

/// Where the dynamic symbols and their names are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbols {
    table: u64,
    names: u64,
    names_length: u64,
}

impl Symbols {
    /// The names of the symbols that the object takes from others.
    pub(super) fn imports(&self, window: &mut Window<'_>, shape: Shape) -> Vec<Vec<u8>> {
        self.names(window, shape, |section, _| section == 0)
    }

    /// The names of the symbols that the object gives to others.
    pub(super) fn exports(&self, window: &mut Window<'_>, shape: Shape) -> Vec<Vec<u8>> {
        self.names(window, shape, |section, binding| {
            section != 0 && binding != STB_LOCAL
        })
    }

    /// The names of the symbols whose section and binding are wanted. The table has no length of its own; linkers put the names
    /// behind it. An empty list where it makes no sense.
    fn names(
        &self,
        window: &mut Window<'_>,
        shape: Shape,
        wanted: impl Fn(u16, u8) -> bool,
    ) -> Vec<Vec<u8>> {
        let (width, at_section, at_info) = if shape.wide { (24, 6, 4) } else { (16, 14, 12) };
        let length = self.names.saturating_sub(self.table);
        let read = |window: &mut Window<'_>, at: u64, length: u64| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            window.bytes(at, length).unwrap_or_default()
        };
        let table = read(window, self.table, length);
        let names = read(window, self.names, self.names_length);
        let found = table.chunks_exact(width).filter_map(|bytes| {
            let symbol = Fields { bytes, shape };
            let name = usize::try_from(symbol.word(0)).ok()?;
            let is_wanted = wanted(symbol.half(at_section), bytes[at_info] >> 4);
            let name = names.get(name..).filter(|_| is_wanted)?;
            let end = name.iter().position(|byte| *byte == 0)?;
            (end > 0).then(|| name[..end].to_vec())
        });
        found.collect()
    }
}

/// The dynamic section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    pub(super) needed: Vec<Vec<u8>>,
    /// Libraries that glibc asks for symbols first (DT_FILTER), and whether the object does without (DT_AUXILIARY).
    pub(super) filters: Vec<(Vec<u8>, bool)>,
    pub(super) soname: Option<Vec<u8>>,
    pub(super) rpath: Option<Vec<u8>>,
    pub(super) runpath: Option<Vec<u8>>,
    pub(super) no_default_dirs: bool,
    pub(super) requires: Vec<Requirement>,
    /// `None` when it defines no versions at all.
    pub(super) defines: Option<Vec<Vec<u8>>>,
    pub(super) symbols: Option<Symbols>,
}

/// A file whose segments are known.
pub(super) struct File<'s> {
    pub(super) shape: Shape,
    pub(super) segments: &'s [Segment],
}

impl File<'_> {
    /// Where in the file an address of the loaded image lies.
    fn offset(&self, address: u64, what: &'static str) -> Result<u64, ElfError> {
        let mut loads = self
            .segments
            .iter()
            .filter(|segment| segment.kind == PT_LOAD);
        let found = loads.find_map(|load| {
            let inside = address.checked_sub(load.address)?;
            (inside < load.size).then(|| load.offset.saturating_add(inside))
        });
        found.ok_or(ElfError::Lies(what))
    }

    /// Reads the dynamic section and all that it names.
    pub(super) fn dynamic(
        &self,
        window: &mut Window<'_>,
        segment: &Segment,
    ) -> Result<Dynamic, ElfError> {
        let entries = self.entries(window, segment)?;
        let last = |wanted: u64| {
            let found = entries.iter().rev().find(|(tag, _)| *tag == wanted);
            found.map(|(_, value)| *value)
        };
        let Some(names) = last(DT_STRTAB) else {
            return Ok(Dynamic::default());
        };
        let names = self.offset(names, "the table of names")?;
        let symbols = last(DT_SYMTAB).and_then(|at| self.offset(at, "the symbols").ok());
        let names_length = last(DT_STRSZ).unwrap_or_default();
        let mut name = |at: u64| {
            window
                .name(names.saturating_add(at))
                .map_err(lies("a name"))
        };
        let needed = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED);
        let filters = entries.iter().filter_map(|(tag, at)| match *tag {
            DT_FILTER => Some((*at, false)),
            DT_AUXILIARY => Some((*at, true)),
            _ => None,
        });
        let mut dynamic = Dynamic {
            needed: needed.map(|(_, at)| name(*at)).collect::<Result<_, _>>()?,
            filters: filters
                .map(|(at, optional)| Ok((name(at)?, optional)))
                .collect::<Result<_, ElfError>>()?,
            soname: last(DT_SONAME).map(&mut name).transpose()?,
            rpath: last(DT_RPATH).map(&mut name).transpose()?,
            runpath: last(DT_RUNPATH).map(&mut name).transpose()?,
            symbols: symbols.map(|table| Symbols {
                table,
                names,
                names_length,
            }),
            no_default_dirs: last(DT_FLAGS_1).is_some_and(|flags| flags & DF_1_NODEFLIB != 0),
            ..Dynamic::default()
        };
        if let Some(address) = last(DT_VERNEED) {
            let at = self.offset(address, "the table of required versions")?;
            dynamic.requires = self.requires(window, at, names)?;
        }
        if let Some(address) = last(DT_VERDEF) {
            let at = self.offset(address, "the table of defined versions")?;
            dynamic.defines = Some(self.defines(window, at, names)?);
        }
        Ok(dynamic)
    }

    /// Tags and values, up to DT_NULL.
    fn entries(
        &self,
        window: &mut Window<'_>,
        segment: &Segment,
    ) -> Result<Vec<(u64, u64)>, ElfError> {
        const WHAT: &str = "the dynamic section";
        let width = if self.shape.wide { 16 } else { 8 };
        let length = usize::try_from(segment.size).unwrap_or(usize::MAX);
        if length > MOST_ENTRIES * width {
            return Err(ElfError::TooMuch(WHAT));
        }
        let bytes = window.bytes(segment.offset, length).map_err(lies(WHAT))?;
        let entries = bytes
            .chunks_exact(width)
            .map(|bytes| {
                let fields = Fields {
                    bytes,
                    shape: self.shape,
                };
                (fields.native(0, 0), fields.native(4, 8))
            })
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        Ok(entries)
    }

    fn requires(
        &self,
        window: &mut Window<'_>,
        mut at: u64,
        names: u64,
    ) -> Result<Vec<Requirement>, ElfError> {
        const WHAT: &str = "the table of required versions";
        let mut requires = Vec::new();
        let mut left = MOST_ENTRIES;
        loop {
            let bytes = window.bytes(at, 16).map_err(lies(WHAT))?;
            let entry = self.fields(&bytes);
            let mut requirement = Requirement {
                file: self.name(window, names, entry.word(4))?,
                versions: Vec::new(),
            };
            let mut version_at = at.saturating_add(entry.word(8).into());
            for _ in 0..entry.half(2) {
                left = left.checked_sub(1).ok_or(ElfError::TooMuch(WHAT))?;
                let bytes = window.bytes(version_at, 16).map_err(lies(WHAT))?;
                let version = self.fields(&bytes);
                requirement.versions.push(Version {
                    name: self.name(window, names, version.word(8))?,
                    weak: version.half(4) & VER_FLG_WEAK != 0,
                });
                match version.word(12) {
                    0 => break,
                    next => version_at = version_at.saturating_add(next.into()),
                }
            }
            requires.push(requirement);
            left = left.checked_sub(1).ok_or(ElfError::TooMuch(WHAT))?;
            match entry.word(12) {
                0 => return Ok(requires),
                next => at = at.saturating_add(next.into()),
            }
        }
    }

    fn defines(
        &self,
        window: &mut Window<'_>,
        mut at: u64,
        names: u64,
    ) -> Result<Vec<Vec<u8>>, ElfError> {
        const WHAT: &str = "the table of defined versions";
        let mut defines = Vec::new();
        for _ in 0..MOST_ENTRIES {
            let bytes = window.bytes(at, 20).map_err(lies(WHAT))?;
            let entry = self.fields(&bytes);
            if entry.half(2) & VER_FLG_BASE == 0 {
                let name_at = at.saturating_add(entry.word(12).into());
                let bytes = window.bytes(name_at, 8).map_err(lies(WHAT))?;
                defines.push(self.name(window, names, self.fields(&bytes).word(0))?);
            }
            match entry.word(16) {
                0 => return Ok(defines),
                next => at = at.saturating_add(next.into()),
            }
        }
        Err(ElfError::TooMuch(WHAT))
    }

    fn fields<'b>(&self, bytes: &'b [u8]) -> Fields<'b> {
        Fields {
            bytes,
            shape: self.shape,
        }
    }

    fn name(&self, window: &mut Window<'_>, names: u64, at: u32) -> Result<Vec<u8>, ElfError> {
        window
            .name(names.saturating_add(at.into()))
            .map_err(lies("the name of a version"))
    }
}
