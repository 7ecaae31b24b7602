//! Doing what a plan says, in its order: members of archives come after what is in trees, hard links after all files.
//!
//! Invariant: what is written is what was planned; a source that has another length than it had is an error.

use std::io::{self, Read, Write};
use std::iter::Peekable;
use std::os::fd::AsFd;

use image::Stop;

use crate::copy::planned::{Member, Origin, SourceFile};
use crate::copy::target::{Form, IntoLayer, IntoTree, Target};
use crate::copy::{CopyError, CopyPlan, archive};
use crate::entry::{Entry, Kind};
use crate::layer::{Descriptor, Dialect, LayerReader, LayerWriter, Limits};
use crate::note::Note;
use crate::ownership::Ownership;
use crate::root::Root;
use crate::sorted::{Entries, ScratchError, SortedMap};
use crate::tree::{Content, OpenFile};

impl CopyPlan<'_> {
    /// Streams everything into a layer; the destination's own directories are repeated there as they are.
    pub fn write_layer<W: Write>(
        &self,
        layer: &mut LayerWriter<W>,
    ) -> Result<Vec<Note>, CopyError> {
        self.perform(&mut IntoLayer { layer })?;
        Ok(self.notes.clone())
    }

    /// Writes everything into a tree (a mounted overlay), whose owners are stored as `ownership` says.
    pub fn write_tree(&self, root: &Root, ownership: Ownership) -> Result<Vec<Note>, CopyError> {
        self.write(root, ownership, Form::Whole)
    }

    /// Writes everything but contents into a tree: its files are [redirected](crate::redirect()) to those of the source, whose
    /// directory is to be the data-only one of a mount. Nothing of them is read but attributes.
    pub fn write_redirects(
        &self,
        root: &Root,
        ownership: Ownership,
    ) -> Result<Vec<Note>, CopyError> {
        self.write(root, ownership, Form::Redirects)
    }

    fn write(&self, root: &Root, ownership: Ownership, form: Form) -> Result<Vec<Note>, CopyError> {
        self.check_owners(ownership)?;
        let mut tree = IntoTree::new(root, ownership, form, self);
        self.perform(&mut tree)?;
        tree.finish()
    }

    /// An archive may name ids that have no place on the disk: that is an error before anything is written.
    fn check_owners(&self, ownership: Ownership) -> Result<(), CopyError> {
        if self.archives.is_empty() || ownership == Ownership::Squashed {
            return Ok(());
        }
        for planned in self.planned() {
            let (path, planned) = planned?;
            if !planned.kept && !matches!(planned.kind, Kind::Hardlink(_)) {
                ownership.to_disk(planned.uid, &path)?;
                ownership.to_disk(planned.gid, &path)?;
            }
        }
        Ok(())
    }

    fn perform(&self, target: &mut impl Target) -> Result<(), CopyError> {
        let mut members = SortedMap::new(&self.parts.scratch);
        for planned in self.planned() {
            let (path, planned) = planned?;
            match (&planned.from, &planned.kind) {
                (Origin::Member { archive, ordinal }, _) => {
                    let place = place_of(*archive, *ordinal);
                    let target = path;
                    members.insert(&place, Member { target, planned })?;
                }
                // Their files may come later.
                (_, Kind::Hardlink(_)) => {}
                (Origin::Nowhere, _) => target.plain(planned.entry(&path), planned.kept)?,
                (Origin::Inline(content), kind) => {
                    debug_assert!(matches!(kind, Kind::File { .. }));
                    target.file(planned.entry(&path), None, &mut &content[..])?;
                }
                (Origin::Tree(file), _) => self.tree_file(planned.entry(&path), file, target)?,
            }
        }
        let mut members = members.iter().peekable();
        for (number, archive) in self.archives.iter().enumerate() {
            self.members(number, archive, &mut members, target)?;
        }
        if !self.parts.has_links {
            return Ok(());
        }
        for planned in self.planned() {
            let (path, planned) = planned?;
            if matches!(planned.kind, Kind::Hardlink(_)) {
                target.plain(planned.entry(&path), planned.kept)?;
            }
        }
        Ok(())
    }

    fn tree_file(
        &self,
        mut entry: Entry,
        file: &SourceFile,
        target: &mut impl Target,
    ) -> Result<(), CopyError> {
        let (tree, path) = self.source_of(file, &entry.path);
        if target.wants_redirects() {
            entry.xattrs = tree.xattrs(&path)?;
            return target.redirect(&entry, &path);
        }
        let OpenFile {
            mut content,
            size,
            xattrs,
        } = tree.open(&path)?;
        if size != entry.size() {
            return Err(CopyError::Changed { path });
        }
        if !xattrs.is_empty() {
            entry.xattrs = xattrs;
        }
        let stop = self.stop();
        match &mut content {
            Content::File(file) => {
                let input = Descriptor(file.as_fd());
                target.file(entry, Some(file), &mut Heeding { stop, input })
            }
            Content::Stream(input) => target.file(entry, None, &mut Heeding { stop, input }),
        }
    }

    fn members(
        &self,
        number: usize,
        archive: &archive::Archive,
        planned: &mut Peekable<Entries<'_, Member>>,
        target: &mut impl Target,
    ) -> Result<(), CopyError> {
        let path = &archive.path;
        let fail = |source| CopyError::Archive {
            path: path.clone(),
            source,
        };
        let stream = archive::decoded(self.sources[archive.tree], path, archive.format)?;
        let mut reader = LayerReader::new(stream, Dialect::Archive, Limits::default());
        let mut ordinal = 0;
        while let Some(record) = reader.next().map_err(fail)? {
            let place = place_of(number, ordinal);
            let is_next = |next: &Result<(Vec<u8>, Member), ScratchError>| {
                next.as_ref().map_or(true, |(next, _)| *next == place)
            };
            if let Some(next) = planned.next_if(is_next) {
                let (_, member) = next?;
                if record.entry.size() != member.planned.size() {
                    return Err(CopyError::Changed { path: path.clone() });
                }
                let content = &mut Holes::new(&record, &mut reader);
                target.file(member.planned.entry(&member.target), None, content)?;
            }
            ordinal += 1;
        }
        Ok(())
    }
}

/// Members in the order of their archives.
fn place_of(archive: usize, ordinal: u64) -> [u8; 16] {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&(archive as u64).to_be_bytes());
    place[8..].copy_from_slice(&ordinal.to_be_bytes());
    place
}

/// A stream that fails when it is time to stop.
pub(crate) struct Heeding<'s, R> {
    pub(crate) stop: &'s Stop,
    pub(crate) input: R,
}

impl<R: Read> Read for Heeding<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.input.read(buffer)
    }
}

/// A member's stored pieces with zeros in its holes.
struct Holes<'r, R> {
    pieces: std::vec::IntoIter<crate::layer::Extent>,
    piece: Option<crate::layer::Extent>,
    at: u64,
    size: u64,
    stored: &'r mut R,
}

impl<'r, R: Read> Holes<'r, R> {
    fn new(record: &crate::layer::Record, stored: &'r mut R) -> Self {
        let mut pieces = record.extents().into_iter();
        let piece = pieces.next();
        Self {
            pieces,
            piece,
            at: 0,
            size: record.entry.size(),
            stored,
        }
    }
}

impl<R: Read> Read for Holes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (until, hole) = match self.piece {
            Some(piece) if self.at >= piece.at => (piece.at + piece.len, false),
            Some(piece) => (piece.at, true),
            None => (self.size, true),
        };
        let wanted = usize::try_from(until - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let length = if hole {
            buffer[..wanted].fill(0);
            wanted
        } else {
            self.stored.read(&mut buffer[..wanted])?
        };
        self.at += length as u64;
        if !hole && self.at == until {
            self.piece = self.pieces.next();
        }
        Ok(length)
    }
}
