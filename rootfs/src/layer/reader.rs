//! A layer tar from elsewhere, entry by entry.
//!
//! Invariant: either every parser we know of sees the same members here, or the stream is refused (S04). The `tar` crate is
//! the header codec; iteration, extensions, names and limits are decided in this file and nothing is ever unpacked by it.

use std::io::{self, Read};

use flate2::Crc;
use tar::{EntryType, Header};

use crate::entry::{Entry, Kind, Time};
use crate::layer::error::{Limits, ReadError};
use crate::layer::header::{self, BLOCK, natural, number, padding, text};
use crate::layer::index::{Extent, Record, Stored};
use crate::layer::member::{header_path, kind, stored_size, whiteout};
use crate::layer::pax::{self, Extensions};
use crate::layer::sparse;
use crate::note::Note;
use crate::path::TreePath;
use crate::xattr;

/// What the names of an archive mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// An image layer: `.wh.` names delete.
    Layer,
    /// An ordinary archive (ADD).
    Archive,
}

/// Iterates a tar stream; after [`next`](Self::next) the content of the entry is read from the reader itself.
pub struct LayerReader<R> {
    input: R,
    offset: u64,
    content: u64,
    pad: u64,
    entries: u64,
    ended: bool,
    dialect: Dialect,
    limits: Limits,
    notes: Vec<Note>,
    sum: Crc,
    sum_before: u32,
}

/// The extension headers that were read before an entry.
#[derive(Default)]
struct Pending {
    pax: Option<Extensions>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<R: Read> LayerReader<R> {
    /// Reads an uncompressed stream.
    pub fn new(input: R, dialect: Dialect, limits: Limits) -> Self {
        Self {
            input,
            offset: 0,
            content: 0,
            pad: 0,
            entries: 0,
            ended: false,
            dialect,
            limits,
            notes: Vec::new(),
            sum: Crc::new(),
            sum_before: 0,
        }
    }

    /// What was left out so far.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The sum of the content of the entry before the one that was given last; at the end of the archive, of the last one.
    pub(crate) fn sum_before(&self) -> u32 {
        self.sum_before
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads whatever follows the end of the archive, so that a digest around the stream sees all of it.
    pub fn finish(mut self) -> Result<R, ReadError> {
        self.read_to_end()?;
        Ok(self.input)
    }

    /// As [`finish`](Self::finish); how long the stream is.
    pub fn read_to_end(&mut self) -> Result<u64, ReadError> {
        while self.next()?.is_some() {}
        let mut rest = [0; 8192];
        while self.fill(&mut rest)? > 0 {
            self.limit(self.offset, "the layer's length", self.limits.bytes)?;
        }
        Ok(self.offset)
    }

    /// The stream.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// The next entry; what is left of the previous one's content is skipped.
    #[expect(
        clippy::should_implement_trait,
        reason = "the reader is also the entry's content, so it cannot be borrowed by an iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Record>, ReadError> {
        self.skip_content()?;
        if !self.ended {
            self.sum_before = self.sum.sum();
            self.sum.reset();
        }
        let mut pending = Pending::default();
        while !self.ended {
            let start = self.offset;
            let Some(block) = self.block()? else {
                return self.end(&pending);
            };
            let at = |problem| ReadError::Header {
                offset: start,
                problem,
            };
            let header = header::check(&block).map_err(at)?;
            match header.entry_type() {
                EntryType::XHeader | EntryType::XGlobalHeader => {
                    self.pax_header(header, start, &mut pending)?
                }
                EntryType::GNULongName if pending.long_name.is_none() => {
                    pending.long_name = Some(self.long_name(header, start)?)
                }
                EntryType::GNULongLink if pending.long_link.is_none() => {
                    pending.long_link = Some(self.long_name(header, start)?)
                }
                EntryType::GNULongName | EntryType::GNULongLink => {
                    return Err(at("two long names for one entry"));
                }
                _ => {
                    self.entries += 1;
                    self.check_limit(
                        self.entries,
                        start,
                        "the number of entries",
                        self.limits.entries,
                    )?;
                    return self.entry(header, start, pending).map(Some);
                }
            }
            if pending.pax.is_some() && (pending.long_name.is_some() || pending.long_link.is_some())
            {
                return Err(at("PAX header and GNU long name for one entry"));
            }
        }
        Ok(None)
    }

    fn end(&mut self, pending: &Pending) -> Result<Option<Record>, ReadError> {
        self.ended = true;
        if pending.is_empty() {
            Ok(None)
        } else {
            Err(ReadError::Truncated {
                offset: self.offset,
            })
        }
    }

    /// The next header block; `None` at the end of the archive.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ReadError> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            // As Go and GNU tar: the closing blocks may be missing, but nothing at all is no archive (S21).
            0 if self.entries > 0 => return Ok(None),
            BLOCK => {}
            _ => {
                return Err(ReadError::Truncated {
                    offset: self.offset,
                });
            }
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        match self.fill(&mut block)? {
            0 => Ok(None),
            BLOCK if block == [0; BLOCK] => Ok(None),
            _ => Err(ReadError::Header {
                offset: self.offset - 512,
                problem: "a single zero block inside the archive",
            }),
        }
    }

    fn pax_header(
        &mut self,
        header: &Header,
        start: u64,
        pending: &mut Pending,
    ) -> Result<(), ReadError> {
        let global = header.entry_type() == EntryType::XGlobalHeader;
        let data = self.extension(header, start)?;
        let body = start + BLOCK as u64;
        let extensions = pax::parse(&data).map_err(|(at, problem)| ReadError::Pax {
            offset: body + at as u64,
            problem,
        })?;
        if global {
            // As Docker: global headers (git archive writes its commit there) say nothing about entries.
            return Ok(());
        }
        if pending.pax.replace(extensions).is_some() {
            return Err(ReadError::Header {
                offset: start,
                problem: "two PAX headers for one entry",
            });
        }
        Ok(())
    }

    fn long_name(&mut self, header: &Header, start: u64) -> Result<Vec<u8>, ReadError> {
        let mut name = self.extension(header, start)?;
        // The name ends with one NUL, and one inside would show another name to a C program.
        while name.last() == Some(&0) {
            name.pop();
        }
        if name.is_empty() || name.contains(&0) {
            return Err(ReadError::Header {
                offset: start,
                problem: "a malformed GNU long name",
            });
        }
        Ok(name)
    }

    /// The data of an extension header, within its limit.
    fn extension(&mut self, header: &Header, start: u64) -> Result<Vec<u8>, ReadError> {
        let size = natural(&header.as_old().size).map_err(|problem| ReadError::Header {
            offset: start,
            problem,
        })?;
        self.check_limit(
            size,
            start,
            "the size of an extended header",
            self.limits.extension,
        )?;
        let mut data = vec![0; usize::try_from(size + padding(size)).unwrap_or(usize::MAX)];
        if self.fill(&mut data)? != data.len() {
            return Err(ReadError::Truncated {
                offset: self.offset,
            });
        }
        data.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(data)
    }

    fn entry(
        &mut self,
        header: &Header,
        start: u64,
        pending: Pending,
    ) -> Result<Record, ReadError> {
        let at = |problem| ReadError::Header {
            offset: start,
            problem,
        };
        let pax = pending.pax.unwrap_or_default();
        let stored = stored_size(header, &pax, start)?;
        let kind_byte = header.entry_type();
        if stored > 0
            && !(kind_byte.is_file() || kind_byte.is_contiguous() || kind_byte.is_gnu_sparse())
        {
            return Err(at("content on an entry that can have none"));
        }
        self.check_limit(stored, start, "the length of a file", self.limits.file)?;
        self.check_limit(
            self.offset.saturating_add(stored),
            start,
            "the layer's length",
            self.limits.bytes,
        )?;
        self.content = stored;
        self.pad = padding(stored);

        let raw_path = pax
            .path
            .clone()
            .or(pending.long_name)
            .unwrap_or_else(|| header_path(header));
        let link = pax
            .link
            .clone()
            .or(pending.long_link)
            .unwrap_or_else(|| text(&header.as_old().linkname).to_vec());
        for name in [&raw_path, &link] {
            let length = name.len() as u64;
            self.check_limit(length, start, "the length of a name", self.limits.name)?;
            let levels = name.iter().filter(|byte| **byte == b'/').count() as u64;
            self.check_limit(levels, start, "the levels of a name", self.limits.levels)?;
        }
        let path = TreePath::scoped(&raw_path).map_err(|source| ReadError::Name {
            offset: start,
            source,
        })?;
        let (size, place) = self.place(header, &pax, stored, start)?;
        let kind = kind(header, &raw_path, link, size, start)?;
        if path.is_root() && kind != Kind::Dir {
            return Err(at("the root of the tree is not a directory"));
        }
        let mut entry = self.metadata(header, pax, path, kind, start)?;
        if self.dialect == Dialect::Layer {
            whiteout(&mut entry, start)?;
        }
        // Whatever stands below the name of a deletion is skipped.
        let stored = match entry.kind {
            Kind::File { .. } => place,
            _ => Stored::Nothing,
        };
        Ok(Record {
            entry,
            stored,
            sum: 0,
        })
    }

    fn metadata(
        &mut self,
        header: &Header,
        pax: Extensions,
        path: TreePath,
        kind: Kind,
        start: u64,
    ) -> Result<Entry, ReadError> {
        let at = |problem| ReadError::Header {
            offset: start,
            problem,
        };
        let old = header.as_old();
        let id = |pax: Option<u32>, field: &[u8]| match pax {
            Some(id) => Ok(id),
            None => u32::try_from(natural(field).map_err(at)?)
                .map_err(|_| at("an owner id does not fit in 32 bits")),
        };
        let mut xattrs = pax.xattrs;
        xattrs.retain(|name, _| {
            let keep = !xattr::is_overlay(name);
            if !keep {
                self.notes.push(Note::overlay_xattr(&path, name));
            }
            keep
        });
        let mode = natural(&old.mode).map_err(at)?;
        Ok(Entry {
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            uid: id(pax.uid, &old.uid)?,
            gid: id(pax.gid, &old.gid)?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => Time {
                    secs: number(&old.mtime).map_err(at)?,
                    nanos: 0,
                },
            },
            path,
            kind,
            xattrs,
        })
    }

    /// Length and place of the content; for a sparse file its map is read here.
    fn place(
        &mut self,
        header: &Header,
        pax: &Extensions,
        stored: u64,
        start: u64,
    ) -> Result<(u64, Stored), ReadError> {
        let at = |problem| ReadError::Header {
            offset: start,
            problem,
        };
        let (size, pairs) = if header.entry_type().is_gnu_sparse() {
            self.gnu_map(header, start)?
        } else if pax.sparse.is_present {
            let size = pax
                .sparse
                .size
                .ok_or(at("a sparse file without its length"))?;
            let map = if pax.sparse.major == Some(1) {
                self.embedded_map(start)?
            } else {
                pax.sparse.map.clone()
            };
            if map.len() % 2 != 0 {
                return Err(at("half a region in a sparse map"));
            }
            (
                size,
                map.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
            )
        } else {
            let place = if stored == 0 {
                Stored::Nothing
            } else {
                Stored::Whole { at: self.offset }
            };
            return Ok((stored, place));
        };
        self.check_limit(size, start, "the length of a file", self.limits.file)?;
        self.check_limit(
            pairs.len() as u64,
            start,
            "the number of sparse regions",
            self.limits.regions as u64,
        )?;
        let mut stored_at = self.offset;
        let regions = sparse::checked(pairs.into_iter(), size, self.content).map_err(at)?;
        let extents = regions.into_iter().map(|(at, len)| {
            let extent = Extent { at, stored_at, len };
            stored_at += len;
            extent
        });
        Ok((size, Stored::Sparse(extents.collect())))
    }

    /// Old GNU format: four regions in the header, 21 in each extension block.
    fn gnu_map(
        &mut self,
        header: &Header,
        start: u64,
    ) -> Result<(u64, Vec<sparse::Region>), ReadError> {
        let at = |problem| ReadError::Header {
            offset: start,
            problem,
        };
        let gnu = header
            .as_gnu()
            .ok_or(at("a sparse file without a GNU header"))?;
        let region = |slot: &[u8]| -> Result<sparse::Region, ReadError> {
            Ok((
                natural(&slot[..12]).map_err(at)?,
                natural(&slot[12..24]).map_err(at)?,
            ))
        };
        let mut regions = Vec::new();
        for slot in header.as_bytes()[386..482]
            .chunks_exact(24)
            .filter(|slot| slot[12] != 0)
        {
            regions.push(region(slot)?);
        }
        let mut extended = gnu.isextended[0] != 0;
        while extended {
            let mut block = [0; BLOCK];
            if self.fill(&mut block)? != BLOCK {
                return Err(ReadError::Truncated {
                    offset: self.offset,
                });
            }
            for slot in block[..504].chunks_exact(24).filter(|slot| slot[12] != 0) {
                regions.push(region(slot)?);
            }
            self.check_limit(
                regions.len() as u64,
                start,
                "the number of sparse regions",
                self.limits.regions as u64,
            )?;
            extended = block[504] != 0;
        }
        Ok((natural(&gnu.realsize).map_err(at)?, regions))
    }

    /// PAX format 1.0: the map is text at the beginning of the content, padded to a block.
    fn embedded_map(&mut self, start: u64) -> Result<Vec<u64>, ReadError> {
        let at = |problem| ReadError::Header {
            offset: start,
            problem,
        };
        let mut numbers = Vec::new();
        let mut wanted = 1_u64;
        let mut digits = Vec::new();
        while (numbers.len() as u64) < wanted {
            let mut block = [0; BLOCK];
            if self.content < BLOCK as u64 || self.fill(&mut block)? != BLOCK {
                return Err(at("a sparse map is cut off"));
            }
            self.content -= BLOCK as u64;
            for byte in block {
                if (numbers.len() as u64) == wanted {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    continue;
                }
                let value =
                    pax::decimal(&digits).ok_or(at("a sparse map is not made of numbers"))?;
                digits.clear();
                if numbers.is_empty() {
                    self.check_limit(
                        value,
                        start,
                        "the number of sparse regions",
                        self.limits.regions as u64,
                    )?;
                    wanted += value * 2;
                }
                numbers.push(value);
            }
            if digits.len() > 20 {
                return Err(at("a sparse map is not made of numbers"));
            }
        }
        numbers.remove(0);
        Ok(numbers)
    }

    fn skip_content(&mut self) -> Result<(), ReadError> {
        let mut scratch = [0; 16 * 1024];
        let mut left = self.content + self.pad;
        while left > 0 {
            let wanted = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(scratch.len());
            if self.fill(&mut scratch[..wanted])? != wanted {
                return Err(ReadError::Truncated {
                    offset: self.offset,
                });
            }
            let content = self.content.min(wanted as u64);
            self.sum
                .update(&scratch[..usize::try_from(content).unwrap_or(wanted)]);
            self.content -= content;
            left -= wanted as u64;
        }
        (self.content, self.pad) = (0, 0);
        Ok(())
    }

    /// Fills `buffer` as far as the stream goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ReadError::Io {
                        offset: self.offset + filled as u64,
                        source,
                    });
                }
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn limit(&self, value: u64, what: &'static str, limit: u64) -> Result<(), ReadError> {
        self.check_limit(value, self.offset, what, limit)
    }

    fn check_limit(
        &self,
        value: u64,
        offset: u64,
        what: &'static str,
        limit: u64,
    ) -> Result<(), ReadError> {
        if value > limit {
            Err(ReadError::Limit {
                offset,
                what,
                limit,
            })
        } else {
            Ok(())
        }
    }
}

/// The stored bytes of the current entry, without holes.
impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let length = self.input.read(&mut buffer[..wanted])?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                ReadError::Truncated {
                    offset: self.offset,
                },
            ));
        }
        self.sum.update(&buffer[..length]);
        self.offset += length as u64;
        self.content -= length as u64;
        Ok(length)
    }
}
