//! A commit in a pack. The invariant: every number of a pack is checked before it is used; a chain of deltas is followed only so
//! far, and no object is larger in memory than a commit may be.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{LONGEST_HEADER, ObjectId, damaged, open};

/// git itself makes chains of 50 at most, unless it is told otherwise.
const LONGEST_CHAIN: usize = 4096;
const TAGGED_OFFSET: u32 = 1 << 31;

/// Looks for a commit in every pack of an object directory.
pub(super) fn commit(objects: &Path, id: &ObjectId) -> io::Result<Option<Vec<u8>>> {
    let directory = match std::fs::read_dir(objects.join("pack")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    for entry in directory {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "idx") {
            continue;
        }
        let index = Index(open(&path)?);
        if let Some(at) = index.offset_of(id)? {
            let pack = Pack {
                file: open(&path.with_extension("pack"))?,
                index,
                id_length: id.0.len() / 2,
            };
            return pack.commit(at).map(Some);
        }
    }
    Ok(None)
}

/// An index of version 2: header, 256 cumulative counts by first byte, ids, checksums, offsets, long offsets.
struct Index(File);

impl Index {
    fn number(&self, at: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.0.read_exact_at(&mut bytes, at)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn offset_of(&self, id: &ObjectId) -> io::Result<Option<u64>> {
        const FANOUT: u64 = 8;
        const IDS: u64 = FANOUT + 256 * 4;
        if self.number(0)? != 0xff74_4f63 || self.number(4)? != 2 {
            return Err(damaged("an index of a pack is not of version 2"));
        }
        let wanted = id.bytes();
        let first = u64::from(wanted[0]);
        let count = u64::from(self.number(FANOUT + 255 * 4)?);
        let mut low = match first {
            0 => 0,
            first => u64::from(self.number(FANOUT + (first - 1) * 4)?),
        };
        let mut high = u64::from(self.number(FANOUT + first * 4)?).min(count);
        let length = wanted.len() as u64;
        let mut found = vec![0; wanted.len()];
        while low < high {
            let middle = low.midpoint(high);
            self.0.read_exact_at(&mut found, IDS + middle * length)?;
            match found.cmp(&wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let offsets = IDS + count * (length + 4);
                    let short = self.number(offsets + middle * 4)?;
                    if short & TAGGED_OFFSET == 0 {
                        return Ok(Some(short.into()));
                    }
                    let at = offsets + count * 4 + u64::from(short ^ TAGGED_OFFSET) * 8;
                    let long = u64::from(self.number(at)?) << 32 | u64::from(self.number(at + 4)?);
                    return Ok(Some(long));
                }
            }
        }
        Ok(None)
    }
}

struct Pack {
    file: File,
    index: Index,
    id_length: usize,
}

impl Pack {
    /// The object at `at`: what it is based on is found first, then the deltas are applied in the other direction.
    fn commit(&self, mut at: u64) -> io::Result<Vec<u8>> {
        let mut deltas = Vec::new();
        for _ in 0..LONGEST_CHAIN {
            let mut input = At {
                file: &self.file,
                at,
            };
            let (kind, size) = head(&mut input)?;
            if size > LONGEST_HEADER {
                return Err(damaged("a packed commit is too long"));
            }
            let base = match kind {
                1 => None,
                6 => Some(
                    at.checked_sub(distance(&mut input)?)
                        .ok_or_else(|| damaged("a delta has no base"))?,
                ),
                7 => {
                    let mut id = vec![0; self.id_length];
                    input.read_exact(&mut id)?;
                    let base = self.index.offset_of(&ObjectId::of(&id))?;
                    Some(base.ok_or_else(|| damaged("a delta's base is not in its pack"))?)
                }
                _ => return Err(damaged("a packed object is no commit")),
            };
            let mut content = Vec::new();
            flate2::read::ZlibDecoder::new(input)
                .take(size)
                .read_to_end(&mut content)?;
            match base {
                Some(base) => {
                    deltas.push(content);
                    at = base;
                }
                None => {
                    return deltas
                        .iter()
                        .rev()
                        .try_fold(content, |base, delta| applied(&base, delta));
                }
            }
        }
        Err(damaged("a chain of deltas is too long"))
    }
}

/// A file from a position on.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Kind and size: three bits of kind, then four and seven bits of size at a time, least significant first.
fn head(input: &mut impl Read) -> io::Result<(u8, u64)> {
    let mut next = byte(input)?;
    let (kind, mut size, mut shift) = (next >> 4 & 7, u64::from(next & 15), 4);
    while next & 0x80 != 0 && shift < 60 {
        next = byte(input)?;
        size |= u64::from(next & 0x7f) << shift;
        shift += 7;
    }
    Ok((kind, size))
}

/// How far before a delta its base lies: seven bits at a time, most significant first, plus one for each that follows.
fn distance(input: &mut impl Read) -> io::Result<u64> {
    let mut next = byte(input)?;
    let mut distance = u64::from(next & 0x7f);
    while next & 0x80 != 0 {
        next = byte(input)?;
        distance = distance
            .checked_add(1)
            .and_then(|far| far.checked_mul(128))
            .ok_or_else(|| damaged("a delta has no base"))?
            | u64::from(next & 0x7f);
    }
    Ok(distance)
}

/// A delta: two sizes, then pieces of the base and new bytes.
pub(super) fn applied(base: &[u8], mut delta: &[u8]) -> io::Result<Vec<u8>> {
    let cut = || damaged("a delta is cut off");
    for _ in 0..2 {
        while byte(&mut delta)? & 0x80 != 0 {}
    }
    let mut out = Vec::new();
    while let Some((&code, rest)) = delta.split_first() {
        delta = rest;
        let piece = if code & 0x80 == 0 {
            let (new, rest) = delta.split_at_checked(code.into()).ok_or_else(cut)?;
            delta = rest;
            new
        } else {
            let mut number = |bits: std::ops::Range<u8>| -> io::Result<usize> {
                let mut number = 0;
                for (place, bit) in bits.enumerate() {
                    if code & (1 << bit) != 0 {
                        number |= usize::from(byte(&mut delta)?) << (8 * place);
                    }
                }
                Ok(number)
            };
            let (start, length) = (number(0..4)?, number(4..7)?);
            let length = if length == 0 { 0x10000 } else { length };
            base.get(start..start + length).ok_or_else(cut)?
        };
        out.extend_from_slice(piece);
        if out.len() as u64 > LONGEST_HEADER {
            return Err(damaged("a packed commit is too long"));
        }
    }
    Ok(out)
}
