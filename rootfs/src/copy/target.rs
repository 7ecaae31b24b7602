//! Where a plan is written to: a layer, or a tree.
//!
//! Invariant: in a tree, a file belongs to its owner before it has content, and no destination is ever followed through a link.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use image::Stop;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::codec::{Decoder, Encoder};
use crate::copy::{CopyError, CopyPlan};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::layer::{Descriptor, LayerWriter};
use crate::metadata::{set_times_of_name, settle, times};
use crate::note::Note;
use crate::noted;
use crate::ownership::Ownership;
use crate::path::TreePath;
use crate::redirect::redirect;
use crate::root::{self, Call, Root, RootError};
use crate::sorted::{SortedMap, Value, reversed, unreversed};

/// What becomes of the files of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Redirects,
}

/// Something that entries are written to.
pub(super) trait Target {
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

pub(super) struct IntoLayer<'l, W> {
    pub(super) layer: &'l mut LayerWriter<W>,
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

pub(super) struct IntoTree<'r> {
    root: &'r Root,
    ownership: Ownership,
    form: Form,
    recent: Option<(TreePath, Rc<OwnedFd>)>,
    notes: Vec<Note>,
    stop: &'r Stop,
    /// The times of directories, in reverse.
    directories: SortedMap<Time>,
}

impl Value for Time {
    fn write(&self, out: &mut Encoder) {
        out.number(self.secs.cast_unsigned());
        out.number(self.nanos.into());
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            secs: input.number()?.cast_signed(),
            nanos: input.small()?,
        })
    }
}

impl<'r> IntoTree<'r> {
    pub(super) fn new(
        root: &'r Root,
        ownership: Ownership,
        form: Form,
        plan: &'r CopyPlan<'_>,
    ) -> Self {
        Self {
            root,
            ownership,
            form,
            recent: None,
            notes: plan.notes.clone(),
            stop: plan.stop(),
            directories: SortedMap::new(&plan.parts.scratch),
        }
    }

    /// Gives the directories their times, when nothing is written into them any more.
    pub(super) fn finish(self) -> Result<Vec<Note>, CopyError> {
        for directory in self.directories.iter() {
            let (path, time) = directory?;
            let path = TreePath::kept(unreversed(&path));
            let directory = self.root.canonical_directory(&path)?;
            rustix::fs::futimens(&directory, &times(time))
                .map_err(RootError::call(Call::SetTimes, &path))?;
        }
        Ok(self.notes)
    }

    fn parent(&mut self, path: &TreePath) -> Result<Rc<OwnedFd>, CopyError> {
        let parent = path.parent();
        if let Some((recent, handle)) = &self.recent
            && *recent == parent
        {
            return Ok(Rc::clone(handle));
        }
        let handle = Rc::new(self.root.canonical_directory(&parent)?);
        self.recent = Some((parent, Rc::clone(&handle)));
        Ok(handle)
    }

    /// Makes a file in the place of what is there, which mostly is nothing.
    fn create(parent: &OwnedFd, name: &[u8], path: &TreePath) -> Result<OwnedFd, CopyError> {
        let created = match root::create_file(parent.as_fd(), name) {
            Err(Errno::EXIST) => {
                Self::clear(parent, name, path)?;
                root::create_file(parent.as_fd(), name)
            }
            other => other,
        };
        Ok(created.map_err(RootError::call(Call::Create, path))?)
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
        if entry.kind == Kind::Dir {
            self.directories
                .insert(&reversed(path.as_bytes()), entry.mtime)?;
        }
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
        let file = Self::create(&parent, name, path)?;
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
    let mut out = Writing(file);
    Ok(copied + io::copy(&mut content.take(size - copied), &mut out)?)
}

/// Writes to a descriptor that somebody else owns.
struct Writing<'f>(&'f OwnedFd);

impl Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
