//! What an ELF file asks of its loader.
//!
//! Invariant: every offset, count and length comes from a stranger: each is checked where it is used, tables are read with a
//! bound on their length, and links between entries only lead forward. Formats: elf(5), and the System V ABI's chapters 4 and 5.

use super::machine::{Machine, Shape};
use super::note::{self, DlopenNote};
use super::window::{Window, WindowError};
use crate::tree::TreeError;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DF_1_NODEFLIB: u64 = 0x800;
const VER_FLG_BASE: u16 = 1;
const VER_FLG_WEAK: u16 = 2;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// More entries than this are no dynamic section, and no list of versions.
const MOST_ENTRIES: usize = 4096;
/// Linux maps no program with more bytes of program headers (`ELF_MIN_ALIGN` in fs/binfmt_elf.c, on the smallest page).
const MOST_HEADERS: usize = 4096;
const MOST_NOTES: usize = 64 << 10;

/// Why a file is not what a loader can load, in the loader's own words where it has any.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ElfError {
    #[error("file too short")]
    Short,
    #[error("invalid ELF header")]
    NotElf,
    #[error("ELF file version does not match current one")]
    Version,
    #[error("only ET_DYN and ET_EXEC can be loaded")]
    Kind,
    #[error("ELF file's phentsize not the expected size")]
    HeaderSize,
    #[error("object file has no loadable segments")]
    NoSegments,
    #[error("it is truncated: a segment ends at byte {end}, the file at byte {size}")]
    Truncated { end: u64, size: u64 },
    #[error("its headers lie: {0} is not inside the file")]
    Lies(&'static str),
    #[error("its headers lie: {0} is longer than any loader would read")]
    TooMuch(&'static str),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

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

/// The dynamic section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    pub(super) needed: Vec<Vec<u8>>,
    pub(super) soname: Option<Vec<u8>>,
    pub(super) rpath: Option<Vec<u8>>,
    pub(super) runpath: Option<Vec<u8>>,
    pub(super) no_default_dirs: bool,
    pub(super) requires: Vec<Requirement>,
    /// `None` when it defines no versions at all.
    pub(super) defines: Option<Vec<Vec<u8>>>,
}

/// What matters of an ELF file.
#[derive(Clone, Debug)]
pub(super) struct Elf {
    pub(super) machine: Machine,
    /// ET_EXEC: it can be a program, but no library.
    pub(super) fixed: bool,
    pub(super) interpreter: Option<Vec<u8>>,
    pub(super) dynamic: Option<Dynamic>,
    pub(super) dlopen: Vec<DlopenNote>,
    /// The mark of an executable packer: what it needs is not to be seen.
    pub(super) packed: bool,
}

/// The first bytes of a file that the kernel and the loaders look at first.
pub(super) const MAGIC: &[u8; 4] = b"\x7fELF";

/// Numbers in a piece of a file.
struct Fields<'b> {
    bytes: &'b [u8],
    shape: Shape,
}

impl Fields<'_> {
    fn number(&self, at: usize, width: usize) -> u64 {
        let bytes = self.bytes.get(at..at + width).unwrap_or_default();
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.shape.big {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        }
    }

    fn half(&self, at: usize) -> u16 {
        self.number(at, 2) as u16
    }

    fn word(&self, at: usize) -> u32 {
        self.number(at, 4) as u32
    }

    /// A number of the class's width, at the place that it has in each class.
    fn native(&self, narrow: usize, wide: usize) -> u64 {
        match self.shape.wide {
            true => self.number(wide, 8),
            false => self.number(narrow, 4),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

struct Header {
    machine: Machine,
    kind: u16,
    segments_at: u64,
    segment_size: usize,
    segments: usize,
}

/// Reads what matters.
pub(super) fn read(window: &mut Window<'_>) -> Result<Elf, ElfError> {
    let header = header(window)?;
    let segments = segments(window, &header)?;
    let mut elf = Elf {
        machine: header.machine,
        fixed: header.kind == ET_EXEC,
        interpreter: None,
        dynamic: None,
        dlopen: Vec::new(),
        packed: false,
    };
    for segment in &segments {
        match segment.kind {
            PT_INTERP if elf.interpreter.is_none() => {
                elf.interpreter = Some(interpreter(window, segment)?);
            }
            PT_DYNAMIC if elf.dynamic.is_none() => {
                let file = File {
                    shape: header.machine.shape,
                    segments: &segments,
                };
                elf.dynamic = Some(file.dynamic(window, segment)?);
            }
            PT_NOTE => elf
                .dlopen
                .extend(notes(window, header.machine.shape, segment)?),
            _ => {}
        }
    }
    elf.packed = elf.dynamic.is_none() && has_packer_mark(window)?;
    Ok(elf)
}

fn lies(what: &'static str) -> impl Fn(WindowError) -> ElfError {
    move |error| match error {
        WindowError::Beyond => ElfError::Lies(what),
        WindowError::TooMuch => ElfError::TooMuch(what),
        WindowError::Tree(error) => ElfError::Tree(error),
    }
}

fn header(window: &mut Window<'_>) -> Result<Header, ElfError> {
    let head = window.head(64).map_err(lies("the ELF header"))?;
    if head.len() < 52 {
        let starts = head.len() < 4 || head.starts_with(MAGIC);
        return Err(if starts {
            ElfError::Short
        } else {
            ElfError::NotElf
        });
    }
    if !head.starts_with(MAGIC) {
        return Err(ElfError::NotElf);
    }
    let (class, data, version) = (head[4], head[5], head[6]);
    let valid = matches!(class, 1 | 2) && matches!(data, 1 | 2) && version == 1;
    if !valid {
        return Err(ElfError::NotElf);
    }
    let shape = Shape {
        wide: class == 2,
        big: data == 2,
    };
    if shape.wide && head.len() < 64 {
        return Err(ElfError::Short);
    }
    let fields = Fields {
        bytes: &head,
        shape,
    };
    let (entry_size_at, count_at, expected) = if shape.wide {
        (54, 56, 56)
    } else {
        (42, 44, 32)
    };
    if fields.word(20) != 1 {
        return Err(ElfError::Version);
    }
    let kind = fields.half(16);
    if !matches!(kind, ET_EXEC | ET_DYN) {
        return Err(ElfError::Kind);
    }
    if usize::from(fields.half(entry_size_at)) != expected {
        return Err(ElfError::HeaderSize);
    }
    Ok(Header {
        machine: Machine {
            shape,
            number: fields.half(18),
        },
        kind,
        segments_at: fields.native(28, 32),
        segment_size: expected,
        segments: usize::from(fields.half(count_at)),
    })
}

fn segments(window: &mut Window<'_>, header: &Header) -> Result<Vec<Segment>, ElfError> {
    const WHAT: &str = "the table of program headers";
    let length = header.segments * header.segment_size;
    if length > MOST_HEADERS {
        return Err(ElfError::TooMuch(WHAT));
    }
    let table = window
        .bytes(header.segments_at, length)
        .map_err(lies(WHAT))?;
    let shape = header.machine.shape;
    let segments: Vec<Segment> = table
        .chunks_exact(header.segment_size)
        .map(|bytes| {
            let fields = Fields { bytes, shape };
            Segment {
                kind: fields.word(0),
                offset: fields.native(4, 8),
                address: fields.native(8, 16),
                size: fields.native(16, 32),
            }
        })
        .collect();
    let mut loads = segments.iter().filter(|segment| segment.kind == PT_LOAD);
    if loads.clone().next().is_none() {
        return Err(ElfError::NoSegments);
    }
    let size = window.size();
    let beyond = loads.find_map(|load| {
        let end = load.offset.saturating_add(load.size);
        (end > size).then_some(end)
    });
    match beyond {
        Some(end) => Err(ElfError::Truncated { end, size }),
        None => Ok(segments),
    }
}

fn interpreter(window: &mut Window<'_>, segment: &Segment) -> Result<Vec<u8>, ElfError> {
    const WHAT: &str = "the name of the interpreter";
    // As load_elf_binary: at most PATH_MAX, and it ends with a NUL.
    let length = usize::try_from(segment.size).unwrap_or(usize::MAX);
    if length > 4096 {
        return Err(ElfError::TooMuch(WHAT));
    }
    let mut name = window.bytes(segment.offset, length).map_err(lies(WHAT))?;
    let end = name.iter().position(|byte| *byte == 0);
    name.truncate(end.ok_or(ElfError::Lies(WHAT))?);
    Ok(name)
}

fn notes(
    window: &mut Window<'_>,
    shape: Shape,
    segment: &Segment,
) -> Result<Vec<DlopenNote>, ElfError> {
    // Core files have large notes; of programs and libraries no loader reads more than this.
    let length = usize::try_from(segment.size).map_or(MOST_NOTES, |size| size.min(MOST_NOTES));
    let bytes = window
        .bytes(segment.offset, length)
        .map_err(lies("a note"))?;
    let word = |at: usize| {
        Fields {
            bytes: &bytes,
            shape,
        }
        .word(at) as usize
    };
    Ok(note::dlopen(&bytes, word))
}

/// UPX writes its mark behind the program headers.
fn has_packer_mark(window: &mut Window<'_>) -> Result<bool, ElfError> {
    let head = window.head(1024).map_err(lies("its beginning"))?;
    Ok(head.windows(4).any(|bytes| bytes == b"UPX!"))
}

/// A file whose segments are known.
struct File<'s> {
    shape: Shape,
    segments: &'s [Segment],
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

    fn dynamic(&self, window: &mut Window<'_>, segment: &Segment) -> Result<Dynamic, ElfError> {
        const WHAT: &str = "the dynamic section";
        let width = if self.shape.wide { 16 } else { 8 };
        let length = usize::try_from(segment.size).unwrap_or(usize::MAX);
        if length > MOST_ENTRIES * width {
            return Err(ElfError::TooMuch(WHAT));
        }
        let bytes = window.bytes(segment.offset, length).map_err(lies(WHAT))?;
        let entries: Vec<(u64, u64)> = bytes
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
        let last = |wanted: u64| {
            let found = entries.iter().rev().find(|(tag, _)| *tag == wanted);
            found.map(|(_, value)| *value)
        };
        let Some(names) = last(DT_STRTAB) else {
            return Ok(Dynamic::default());
        };
        let names = self.offset(names, "the table of names")?;
        let mut name = |at: u64| {
            window
                .name(names.saturating_add(at))
                .map_err(lies("a name"))
        };
        let needed = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED);
        let mut dynamic = Dynamic {
            needed: needed.map(|(_, at)| name(*at)).collect::<Result<_, _>>()?,
            soname: last(DT_SONAME).map(&mut name).transpose()?,
            rpath: last(DT_RPATH).map(&mut name).transpose()?,
            runpath: last(DT_RUNPATH).map(&mut name).transpose()?,
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
