//! What an ELF file asks of its loader.
//!
//! Invariant: every offset, count and length comes from a stranger: each is checked where it is used, tables are read with a
//! bound on their length, and links between entries only lead forward. Formats: elf(5), and the System V ABI's chapters 4 and 5.

use super::dynamic::{Dynamic, File};
use super::machine::{Machine, Shape};
use super::note::{self, DlopenNote};
use super::window::{Window, WindowError};
use crate::tree::TreeError;

pub(super) const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

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
    /// Whether a note names the build that it is of.
    pub(super) build_id: bool,
}

/// The first bytes of a file that the kernel and the loaders look at first.
pub(crate) const MAGIC: &[u8; 4] = b"\x7fELF";

/// Numbers in a piece of a file.
pub(super) struct Fields<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) shape: Shape,
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

    pub(super) fn half(&self, at: usize) -> u16 {
        self.number(at, 2) as u16
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        self.number(at, 4) as u32
    }

    /// A number of the class's width, at the place that it has in each class.
    pub(super) fn native(&self, narrow: usize, wide: usize) -> u64 {
        match self.shape.wide {
            true => self.number(wide, 8),
            false => self.number(narrow, 4),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) size: u64,
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
        build_id: false,
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
            PT_NOTE => notes(window, segment, &mut elf)?,
            _ => {}
        }
    }
    elf.packed = elf.dynamic.is_none() && has_packer_mark(window)?;
    Ok(elf)
}

pub(super) fn lies(what: &'static str) -> impl Fn(WindowError) -> ElfError {
    move |error| match error {
        WindowError::Beyond => ElfError::Lies(what),
        WindowError::TooMuch => ElfError::TooMuch(what),
        WindowError::Tree(error) => ElfError::Tree(error),
    }
}

fn header(window: &mut Window<'_>) -> Result<Header, ElfError> {
    let head = window.head(64).map_err(lies("the ELF header"))?;
    if head.len() < 52 {
        // Before anything else, as in `open_verify` of glibc's elf/dl-load.c.
        return Err(ElfError::Short);
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

fn notes(window: &mut Window<'_>, segment: &Segment, elf: &mut Elf) -> Result<(), ElfError> {
    // Core files have large notes; of programs and libraries no loader reads more than this.
    let length = usize::try_from(segment.size).map_or(MOST_NOTES, |size| size.min(MOST_NOTES));
    let bytes = window
        .bytes(segment.offset, length)
        .map_err(lies("a note"))?;
    let word = |at: usize| {
        Fields {
            bytes: &bytes,
            shape: elf.machine.shape,
        }
        .word(at) as usize
    };
    elf.dlopen.extend(note::dlopen(&bytes, &word));
    elf.build_id |= note::has_build_id(&bytes, &word);
    Ok(())
}

/// UPX writes its mark behind the program headers.
fn has_packer_mark(window: &mut Window<'_>) -> Result<bool, ElfError> {
    let head = window.head(1024).map_err(lies("its beginning"))?;
    Ok(head.windows(4).any(|bytes| bytes == b"UPX!"))
}
