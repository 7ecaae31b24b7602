//! Doing what a plan says: into a layer, or into a tree.
//!
//! Invariant: in a tree, a file belongs to its owner before it has content, and no destination is ever followed through a link.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use image::Stop;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::copy::planned::{Origin, Planned, SourceFile};
use crate::copy::{CopyError, CopyPlan, archive};
use crate::entry::{Entry, Kind, Xattrs};
use crate::layer::{Descriptor, Dialect, LayerReader, LayerWriter, Limits};
use crate::metadata::{set_times_of_name, settle, times};
use crate::note::Note;
use crate::noted;
use crate::ownership::Ownership;
use crate::path::TreePath;
use crate::redirect::redirect;
use crate::root::{self, Call, Root, RootError};
use crate::tree::{Content, OpenFile};

impl CopyPlan<'_> {
    /// Has hashing and writing end early, with an error, when `stop` asks for it.
    #[must_use]
    pub fn heeding(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

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
        let mut tree = IntoTree {
            root,
            ownership,
            form,
            recent: None,
            notes: self.notes.clone(),
            stop: &self.stop,
        };
        self.perform(&mut tree)?;
        for (path, planned) in self
            .entries
            .iter()
            .rev()
            .filter(|(_, planned)| planned.kind == Kind::Dir)
        {
            let directory = root.canonical_directory(path)?;
            rustix::fs::futimens(&directory, &times(planned.mtime))
                .map_err(RootError::call(Call::SetTimes, path))?;
        }
        Ok(tree.notes)
    }

    fn perform(&self, target: &mut impl Target) -> Result<(), CopyError> {
        let mut members: HashMap<(usize, u64), (&TreePath, &Planned)> = HashMap::new();
        for (path, planned) in &self.entries {
            match (&planned.from, &planned.kind) {
                (Origin::Member { archive, ordinal }, _) => {
                    members.insert((*archive, *ordinal), (path, planned));
                }
                // Their files may come later.
                (_, Kind::Hardlink(_)) => {}
                (Origin::Nowhere, _) => target.plain(planned.entry(path), planned.kept)?,
                (Origin::Inline(content), kind) => {
                    debug_assert!(matches!(kind, Kind::File { .. }));
                    target.file(planned.entry(path), None, &mut &content[..])?;
                }
                (Origin::Tree(file), _) => self.tree_file(planned.entry(path), file, target)?,
            }
        }
        for (number, archive) in self.archives.iter().enumerate() {
            self.members(
                archive,
                |ordinal| members.get(&(number, ordinal)).copied(),
                target,
            )?;
        }
        let mut links = self
            .entries
            .iter()
            .filter(|(_, planned)| matches!(planned.kind, Kind::Hardlink(_)));
        links.try_for_each(|(path, planned)| target.plain(planned.entry(path), planned.kept))
    }

    fn tree_file(
        &self,
        mut entry: Entry,
        file: &SourceFile,
        target: &mut impl Target,
    ) -> Result<(), CopyError> {
        let path = file.path(&self.directories, &entry.path);
        if target.wants_redirects() {
            entry.xattrs = file.tree(&self.sources).xattrs(&path)?;
            return target.redirect(&entry, &path);
        }
        let OpenFile {
            mut content,
            size,
            xattrs,
        } = file.tree(&self.sources).open(&path)?;
        if size != entry.size() {
            return Err(CopyError::Changed { path });
        }
        if !xattrs.is_empty() {
            entry.xattrs = xattrs;
        }
        let stop = &self.stop;
        match &mut content {
            Content::File(file) => {
                let input = Descriptor(file.as_fd());
                target.file(entry, Some(file), &mut Heeding { stop, input })
            }
            Content::Stream(input) => target.file(entry, None, &mut Heeding { stop, input }),
        }
    }

    fn members<'p>(
        &self,
        archive: &archive::Archive,
        planned: impl Fn(u64) -> Option<(&'p TreePath, &'p Planned)>,
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
            if let Some((to, planned)) = planned(ordinal) {
                if record.entry.size() != planned.size() {
                    return Err(CopyError::Changed { path: path.clone() });
                }
                let content = &mut Holes::new(&record, &mut reader);
                target.file(planned.entry(to), None, content)?;
            }
            ordinal += 1;
        }
        Ok(())
    }
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

/// What becomes of the files of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Redirects,
}

/// Something that entries are written to.
trait Target {
    /// Whether files of the source are not to be opened, but redirected to.
    fn wants_redirects(&self) -> bool {
        false
    }
    /// A file without its content, which is at `path` in the source.
    fn redirect(&mut self, _entry: &Entry, path: &TreePath) -> Result<(), CopyError> {
        Err(CopyError::Unsupported { path: path.clone() })
    }
    /// Everything but a file with content; `kept` is a directory that exists already and stays as it is.
    fn plain(&mut self, entry: Entry, kept: bool) -> Result<(), CopyError>;
    /// A file; `source` when the content is an open file.
    fn file(
        &mut self,
        entry: Entry,
        source: Option<&OwnedFd>,
        content: &mut dyn Read,
    ) -> Result<(), CopyError>;
}

struct IntoLayer<'l, W> {
    layer: &'l mut LayerWriter<W>,
}

impl<W: Write> Target for IntoLayer<'_, W> {
    fn plain(&mut self, entry: Entry, _kept: bool) -> Result<(), CopyError> {
        Ok(self.layer.append(entry)?)
    }

    fn file(
        &mut self,
        entry: Entry,
        _source: Option<&OwnedFd>,
        content: &mut dyn Read,
    ) -> Result<(), CopyError> {
        Ok(self.layer.append_stream(entry, content)?)
    }
}

struct IntoTree<'r> {
    root: &'r Root,
    ownership: Ownership,
    form: Form,
    recent: Option<(TreePath, OwnedFd)>,
    notes: Vec<Note>,
    stop: &'r Stop,
}

impl IntoTree<'_> {
    fn parent(&mut self, path: &TreePath) -> Result<OwnedFd, CopyError> {
        let parent = path.parent();
        let handle = match self.recent.take() {
            Some((recent, handle)) if recent == parent => handle,
            _ => self.root.canonical_directory(&parent)?,
        };
        let clone = handle.try_clone().map_err(|source| CopyError::Content {
            path: path.clone(),
            source,
        })?;
        self.recent = Some((parent, handle));
        Ok(clone)
    }

    fn directory(&mut self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<(), CopyError> {
        let path = &entry.path;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(RootError::call(Call::MakeDir, path)(errno).into()),
        }
        let directory = match root::open_directory(parent.as_fd(), name) {
            Ok(directory) => directory,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(CopyError::DirectoryOverFile { path: path.clone() });
            }
            Err(errno) => return Err(RootError::call(Call::Open, path)(errno).into()),
        };
        Ok(settle(
            &directory,
            path,
            entry.mode,
            (entry.uid, entry.gid),
            &entry.xattrs,
            self.ownership,
            &mut self.notes,
        )?)
    }

    fn clear(parent: &OwnedFd, name: &[u8], path: &TreePath) -> Result<(), CopyError> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(CopyError::FileOverDirectory { path: path.clone() }),
            Err(errno) => Err(RootError::call(Call::Remove, path)(errno).into()),
        }
    }

    /// Writing cleared set-id bits and capabilities, so mode and attributes come last.
    fn finish_file(&mut self, file: &OwnedFd, entry: &Entry) -> Result<(), CopyError> {
        settle(
            file,
            &entry.path,
            entry.mode,
            (entry.uid, entry.gid),
            &entry.xattrs,
            self.ownership,
            &mut self.notes,
        )?;
        Ok(rustix::fs::futimens(file, &times(entry.mtime))
            .map_err(RootError::call(Call::SetTimes, &entry.path))?)
    }

    /// Owner and time of what is known only by name.
    fn finish_name(&self, parent: &OwnedFd, entry: &Entry) -> Result<(), CopyError> {
        let path = &entry.path;
        let name = path.file_name().unwrap_or(b".");
        let uid = self.ownership.to_disk(entry.uid, path)?.map(Uid::from_raw);
        let gid = self.ownership.to_disk(entry.gid, path)?.map(Gid::from_raw);
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootError::call(Call::Chown, path))?;
        if self.ownership == Ownership::Noted {
            noted::set_link_owner(parent, name, (entry.uid, entry.gid))
                .map_err(RootError::io(Call::SetXattr, path))?;
        }
        Ok(set_times_of_name(parent, path, entry.mtime)?)
    }

    /// A second name; beyond the file system's limit of links, a copy (F30).
    fn link(&mut self, first: &TreePath, parent: &OwnedFd, entry: &Entry) -> Result<(), CopyError> {
        let path = &entry.path;
        let (from, old) = (
            self.root.canonical_directory(&first.parent())?,
            first.file_name().unwrap_or(b"."),
        );
        match rustix::fs::linkat(
            &from,
            old,
            parent,
            path.file_name().unwrap_or(b"."),
            AtFlags::empty(),
        ) {
            Ok(()) => Ok(()),
            Err(Errno::MLINK) => {
                let file = root::open_regular(from.as_fd(), old)
                    .map_err(RootError::call(Call::Open, first))?;
                let stat = root::regular(&file, first)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let copy = Entry {
                    kind: Kind::File { size },
                    xattrs: Xattrs::new(),
                    ..entry.clone()
                };
                self.file(copy, Some(&file), &mut Descriptor(file.as_fd()))
            }
            Err(errno) => Err(RootError::call(Call::Link, path)(errno).into()),
        }
    }
}

impl Target for IntoTree<'_> {
    fn wants_redirects(&self) -> bool {
        self.form == Form::Redirects
    }

    fn redirect(&mut self, entry: &Entry, from: &TreePath) -> Result<(), CopyError> {
        self.stop.check().map_err(|source| CopyError::Content {
            path: entry.path.clone(),
            source,
        })?;
        let path = &entry.path;
        let name = path.file_name().unwrap_or(b".");
        let parent = self.parent(path)?;
        let file =
            root::create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))?;
        redirect(&file, entry.size(), &[b"/", from.as_bytes()].concat()).map_err(|errno| {
            CopyError::Redirect {
                path: path.clone(),
                source: errno.into(),
            }
        })?;
        self.finish_file(&file, entry)
    }

    fn plain(&mut self, entry: Entry, kept: bool) -> Result<(), CopyError> {
        let entry = &entry;
        let path = &entry.path;
        let Some(name) = path.file_name().filter(|_| !kept) else {
            return Ok(());
        };
        let parent = self.parent(path)?;
        if entry.kind == Kind::Dir {
            return self.directory(entry, &parent, name);
        }
        Self::clear(&parent, name, path)?;
        match &entry.kind {
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(target.as_slice(), &parent, name)
                    .map_err(RootError::call(Call::MakeSymlink, path))?;
                self.finish_name(&parent, entry)
            }
            Kind::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0)
                    .map_err(RootError::call(Call::MakeNode, path))?;
                self.finish_name(&parent, entry)?;
                let mode = Mode::from_raw_mode(entry.mode);
                Ok(rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())
                    .map_err(RootError::call(Call::Chmod, path))?)
            }
            Kind::Hardlink(first) => self.link(first, &parent, entry),
            _ => {
                self.notes.push(Note::Device { path: path.clone() });
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        entry: Entry,
        source: Option<&OwnedFd>,
        content: &mut dyn Read,
    ) -> Result<(), CopyError> {
        let path = &entry.path;
        let name = path.file_name().unwrap_or(b".");
        let parent = self.parent(path)?;
        Self::clear(&parent, name, path)?;
        let file =
            root::create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))?;
        let (uid, gid) = (
            self.ownership.to_disk(entry.uid, path)?,
            self.ownership.to_disk(entry.gid, path)?,
        );
        if let (Some(uid), Some(gid)) = (uid, gid) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(RootError::call(Call::Chown, path))?;
        }
        let fail = |source| CopyError::Content {
            path: path.clone(),
            source,
        };
        let copied = copy_content(source, content, &file, entry.size(), self.stop).map_err(fail)?;
        if copied != entry.size() {
            return Err(CopyError::Changed { path: path.clone() });
        }
        self.finish_file(&file, &entry)
    }
}

/// Copies up to `size` bytes: by copy_file_range(2), which shares blocks where the file system can, else through memory.
fn copy_content(
    source: Option<&OwnedFd>,
    content: &mut dyn Read,
    file: &OwnedFd,
    size: u64,
    stop: &Stop,
) -> io::Result<u64> {
    /// The kernel does not come back before the piece is copied.
    const PIECE: usize = 256 << 20;
    let mut copied = 0;
    while let Some(source) = source.filter(|_| copied < size) {
        stop.check()?;
        let wanted = usize::try_from(size - copied)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        match rustix::fs::copy_file_range(source, None, file, None, wanted) {
            Ok(0) => break,
            Ok(length) => copied += length as u64,
            Err(Errno::INTR) => {}
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::BADF,
            ) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut out = std::fs::File::from(file.try_clone()?);
    Ok(copied + io::copy(&mut content.take(size - copied), &mut out)?)
}
