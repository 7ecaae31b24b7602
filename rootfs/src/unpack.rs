//! A layer stream into a directory of its own, which becomes one lower directory of an overlay.
//!
//! Invariant: where an entry belongs is decided by a [`View`] of the layers below and this one so far; on disk, only canonical
//! paths beneath the directory's handle are touched, and never through a link.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use image::{DiffId, Hasher};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use thiserror::Error;

use crate::entry::{Kind, Time, Xattrs};
use crate::layer::{Dialect, LayerReader, Limits, ReadError, ReadIndex, Record, StoredIndex};
use crate::metadata::{set_times_of_name, settle, times};
use crate::note::Note;
use crate::noted;
use crate::ownership::{Ownership, OwnershipError};
use crate::path::TreePath;
use crate::root::{self, Call, Root, RootError};
use crate::sorted::{ScratchError, SortedMap, reversed, unreversed};
use crate::tree::{Meta, Tree, TreeError};
use crate::view::{Applied, ApplyError, View};
use crate::{walk, xattr};

/// Why a layer was not unpacked. What was written so far is the caller's to remove.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The stream is not a layer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry fits nowhere.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The directory refused.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The tree below could not be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An owner has no id on disk.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// Content stopped coming or could not be stored.
    #[error("write the content of '{path}'")]
    Content {
        /// Of which file.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
}

/// How deletions are written for overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhiteoutForm {
    /// A character device 0:0, which a user namespace may make from Linux 5.8 on; else the other form.
    Device,
    /// An empty file with `user.overlay.whiteout`.
    Xattr,
}

/// What unpacking gave.
#[derive(Debug)]
pub struct Unpacked {
    /// The layer's index; its diff id is of the bytes that were really read.
    pub index: StoredIndex,
    /// What was left out.
    pub notes: Vec<Note>,
    /// How many device nodes are in the layer but not on disk.
    pub devices: usize,
}

/// Unpacks `stream` (uncompressed) into the empty directory `root`; `lower` is the stack below.
pub fn unpack(
    stream: impl Read,
    root: &Root,
    lower: &View,
    ownership: Ownership,
    limits: Limits,
) -> Result<Unpacked, UnpackError> {
    Unpacking::new(root, lower, ownership, WhiteoutForm::Device).hash(stream, limits)
}

/// As [`unpack`], of a stream that verifies itself: its end is an error unless it was the layer `diff_id`. The layers below are
/// given as a view and, where owners are noted, as their directories, topmost first. Of an `indexed` layer no index is made.
pub fn unpack_verified(
    stream: impl Read,
    (diff_id, indexed): (DiffId, bool),
    root: &Root,
    (lower, lower_roots): (&View, &[Root]),
    ownership: Ownership,
) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking::new(root, lower, ownership, WhiteoutForm::Device);
    unpacking.indexed = indexed;
    unpacking.lower_roots = lower_roots;
    let mut reader = LayerReader::new(stream, Dialect::Layer, Limits::default());
    unpacking.run(&mut reader, |reader| {
        let size = reader.read_to_end()?;
        Ok((diff_id, size))
    })
}

/// As [`unpack`], with deletions in the given form.
pub fn unpack_with(
    stream: impl Read,
    root: &Root,
    lower: &View,
    ownership: Ownership,
    form: WhiteoutForm,
) -> Result<Unpacked, UnpackError> {
    Unpacking::new(root, lower, ownership, form).hash(stream, Limits::default())
}

struct Unpacking<'u> {
    root: &'u Root,
    lower: &'u View,
    merged: View,
    ownership: Ownership,
    form: WhiteoutForm,
    /// Directories that were made, in reverse: they get their mode, owner and time at the end, the deepest first.
    made: SortedMap<()>,
    recent: Option<(TreePath, Rc<OwnedFd>)>,
    /// The noted owners of what cannot hold a note, by directory and inode number.
    links: BTreeMap<TreePath, BTreeMap<u64, (u32, u32)>>,
    /// The directories of the layers below, topmost first, where owners are noted.
    lower_roots: &'u [Root],
    notes: Vec<Note>,
    devices: usize,
    indexed: bool,
}

impl<'u> Unpacking<'u> {
    fn new(root: &'u Root, lower: &'u View, ownership: Ownership, form: WhiteoutForm) -> Self {
        let mut merged = lower.clone();
        merged.begin_layer();
        Self {
            root,
            lower,
            made: SortedMap::new(merged.scratch()),
            merged,
            ownership,
            form,
            recent: None,
            links: BTreeMap::new(),
            lower_roots: &[],
            notes: Vec::new(),
            devices: 0,
            indexed: false,
        }
    }

    fn hash(self, stream: impl Read, limits: Limits) -> Result<Unpacked, UnpackError> {
        let hashed = Hashed {
            stream,
            hasher: Hasher::new(),
        };
        let mut reader = LayerReader::new(hashed, Dialect::Layer, limits);
        self.run(&mut reader, |reader| {
            let size = reader.read_to_end()?;
            let hasher = reader.input().hasher.clone();
            Ok((DiffId::new(hasher.finish()), size))
        })
    }

    /// Unpacks every entry; `end` reads to the end of the stream and says which layer it was.
    fn run<R: Read>(
        mut self,
        reader: &mut LayerReader<R>,
        end: impl FnOnce(&mut LayerReader<R>) -> Result<(DiffId, u64), ReadError>,
    ) -> Result<Unpacked, UnpackError> {
        let mut index = ReadIndex::new(self.merged.scratch());
        while let Some(record) = reader.next()? {
            self.ids(&record)?;
            if let Some(applied) = self.merged.apply(&record)? {
                self.place(&record, &applied, reader)?;
            }
            if !self.indexed {
                index.add(record, reader)?;
            }
        }
        self.notes.extend(reader.take_notes());
        let (diff_id, size) = end(reader)?;
        self.settle_directories()?;
        Ok(Unpacked {
            index: index.finish(reader, diff_id, size)?,
            notes: self.notes,
            devices: self.devices,
        })
    }

    /// Ids are checked before anything of the entry is written.
    fn ids(&self, record: &Record) -> Result<(), OwnershipError> {
        if !matches!(
            record.entry.kind,
            Kind::Whiteout | Kind::Opaque | Kind::Hardlink(_)
        ) {
            self.ownership
                .to_disk(record.entry.uid, &record.entry.path)?;
            self.ownership
                .to_disk(record.entry.gid, &record.entry.path)?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        record: &Record,
        applied: &Applied,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let path = &applied.path;
        let entry = &record.entry;
        let Some(name) = path.file_name().filter(|_| entry.kind != Kind::Opaque) else {
            let directory = self.directory(path)?;
            if entry.kind == Kind::Opaque {
                set_overlay(&directory, path, xattr::OPAQUE, b"y")?;
            }
            return Ok(());
        };
        let parent = self.directory(&path.parent())?;
        match &entry.kind {
            Kind::Dir => return self.directory(path).map(drop),
            // The same name twice: there is nothing to do, and removing it would lose the file.
            Kind::Hardlink(_) if applied.link.as_ref() == Some(path) => return Ok(()),
            _ => self.clear(&parent, name, path)?,
        }
        match &entry.kind {
            Kind::File { .. } => self.file(record, &parent, path, content),
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(target.as_slice(), &parent, name)
                    .map_err(RootError::call(Call::MakeSymlink, path))?;
                self.own_name(&parent, path, (entry.uid, entry.gid))?;
                Ok(set_times_of_name(&parent, path, entry.mtime)?)
            }
            Kind::Hardlink(_) => self.hard_link(applied, &parent, path),
            Kind::Fifo => {
                rustix::fs::mknodat(&parent, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(RootError::call(Call::MakeNode, path))?;
                self.own_name(&parent, path, (entry.uid, entry.gid))?;
                rustix::fs::chmodat(
                    &parent,
                    name,
                    Mode::from_raw_mode(entry.mode),
                    AtFlags::empty(),
                )
                .map_err(RootError::call(Call::Chmod, path))?;
                Ok(set_times_of_name(&parent, path, entry.mtime)?)
            }
            Kind::Char(_) | Kind::Block(_) => {
                // What was here before stays deleted, the node itself only counts.
                self.devices += 1;
                self.notes.push(Note::Device { path: path.clone() });
                self.whiteout(&parent, path)
            }
            Kind::Whiteout => self.whiteout(&parent, path),
            Kind::Dir | Kind::Opaque => Ok(()),
        }
    }

    /// Removes what this layer put at `path` before: the last entry of a name wins.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8], path: &TreePath) -> Result<(), UnpackError> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(_) => self.recent = None,
        }
        let parent = self.root.canonical_directory(&path.parent())?;
        Ok(walk::remove_all(parent, name, path)?)
    }

    fn file(
        &mut self,
        record: &Record,
        parent: &OwnedFd,
        path: &TreePath,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let name = path.file_name().expect("a file is not the root");
        let file =
            root::create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))?;
        let mut file = std::fs::File::from(file);
        let fail = |source| UnpackError::Content {
            path: path.clone(),
            source,
        };
        let mut at = 0;
        for extent in record.extents() {
            if extent.at != at {
                file.seek(SeekFrom::Start(extent.at)).map_err(fail)?;
            }
            let copied = copy(content, &mut file, extent.len).map_err(fail)?;
            at = extent.at + copied;
        }
        if at != record.entry.size() {
            // The end is a hole (F32).
            file.set_len(record.entry.size()).map_err(fail)?;
        }
        let entry = &record.entry;
        self.finish_file(
            &OwnedFd::from(file),
            path,
            entry.mode,
            (entry.uid, entry.gid),
            &entry.xattrs,
            entry.mtime,
        )
    }

    fn finish_file(
        &mut self,
        file: &OwnedFd,
        path: &TreePath,
        mode: u32,
        owner: (u32, u32),
        xattrs: &Xattrs,
        mtime: Time,
    ) -> Result<(), UnpackError> {
        settle(
            file,
            path,
            mode,
            owner,
            xattrs,
            self.ownership,
            &mut self.notes,
        )?;
        rustix::fs::futimens(file, &times(mtime)).map_err(RootError::call(Call::SetTimes, path))?;
        Ok(())
    }

    /// Within the layer a link; to a file of a lower layer, or beyond the file system's limit of links, a copy (F30).
    fn hard_link(
        &mut self,
        applied: &Applied,
        parent: &OwnedFd,
        path: &TreePath,
    ) -> Result<(), UnpackError> {
        let name = path.file_name().expect("a link is not the root");
        let target = applied.link.as_ref().expect("a hard link has a target");
        let from = self.root.canonical_directory(&target.parent());
        if let (Ok(from), Some(old)) = (from, target.file_name()) {
            match rustix::fs::linkat(&from, old, parent, name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT | Errno::MLINK) => {}
                Err(errno) => return Err(RootError::call(Call::Link, path)(errno).into()),
            }
        }
        let meta = self
            .merged
            .node(path)?
            .ok_or_else(|| TreeError::Missing { path: path.clone() })?;
        let file =
            root::create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))?;
        let xattrs = self.copy_of(target, path, &file)?;
        self.finish_file(
            &file,
            path,
            meta.mode,
            (meta.uid, meta.gid),
            &xattrs,
            meta.mtime,
        )
    }

    fn copy_of(
        &self,
        target: &TreePath,
        path: &TreePath,
        file: &OwnedFd,
    ) -> Result<Xattrs, UnpackError> {
        let fail = |source| UnpackError::Content {
            path: path.clone(),
            source,
        };
        let mut out = std::fs::File::from(file.try_clone().map_err(fail)?);
        if let Ok(mut own) = self.root.open_file(target).map(std::fs::File::from) {
            io::copy(&mut own, &mut out).map_err(fail)?;
            return Ok(self.merged.xattrs(target)?);
        }
        let mut lower = self.lower.open(target)?;
        io::copy(&mut lower.content, &mut out).map_err(fail)?;
        Ok(lower.xattrs)
    }

    /// Marks `path` as deleted, if a lower layer has it.
    fn whiteout(&mut self, parent: &OwnedFd, path: &TreePath) -> Result<(), UnpackError> {
        let name = path.file_name().expect("a whiteout is not the root");
        if self.lower.node(path)?.is_none() {
            return Ok(());
        }
        if self.form == WhiteoutForm::Device {
            match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) => return Ok(()),
                Err(Errno::PERM) => self.form = WhiteoutForm::Xattr,
                Err(errno) => return Err(RootError::call(Call::MakeNode, path)(errno).into()),
            }
        }
        let file =
            root::create_file(parent.as_fd(), name).map_err(RootError::call(Call::Create, path))?;
        set_overlay(&file, path, "user.overlay.whiteout", b"")?;
        // overlayfs.rst: the directory says that it has such whiteouts; Linux 6.7 and 6.8 differ in how.
        let directory = path.parent();
        set_overlay(parent, &directory, "user.overlay.whiteouts", b"")?;
        if rustix::fs::fgetxattr(parent, xattr::OPAQUE, &mut [0_u8; 4][..]).is_err() {
            set_overlay(parent, &directory, xattr::OPAQUE, b"x")?;
        }
        Ok(())
    }

    fn own_name(
        &mut self,
        parent: &OwnedFd,
        path: &TreePath,
        owner: (u32, u32),
    ) -> Result<(), UnpackError> {
        let name = path.file_name().expect("not the root");
        let uid = self.ownership.to_disk(owner.0, path)?.map(Uid::from_raw);
        let gid = self.ownership.to_disk(owner.1, path)?.map(Gid::from_raw);
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootError::call(Call::Chown, path))?;
        if self.ownership == Ownership::Noted && owner != (0, 0) {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(RootError::call(Call::Stat, path))?;
            let links = self.links.entry(path.parent()).or_default();
            links.insert(stat.st_ino, owner);
        }
        Ok(())
    }

    /// Notes whom the links of a directory belong to: its own, and those of the directory of the same name in the layers below,
    /// which an overlay hides.
    fn note_links(&mut self, directory: &OwnedFd, path: &TreePath) -> Result<(), UnpackError> {
        let mut links = self.links.remove(path).unwrap_or_default();
        for below in self.lower_roots {
            let Ok(below) = below.canonical_directory(path) else {
                continue;
            };
            let noted = noted::of_handle(&below, |notes| notes.links());
            links.extend(noted.map_err(RootError::io(Call::ReadXattr, path))?);
            break;
        }
        if !links.is_empty() {
            noted::of_handle(directory, |notes| notes.set_links(&links))
                .map_err(RootError::io(Call::SetXattr, path))?;
        }
        Ok(())
    }

    /// The handle of the directory `path`, made with all its parents where this layer does not have them yet.
    fn directory(&mut self, path: &TreePath) -> Result<Rc<OwnedFd>, UnpackError> {
        if let Some((recent, handle)) = &self.recent
            && recent == path
        {
            return Ok(Rc::clone(handle));
        }
        let mut here = self.root.try_clone()?.into_fd();
        let mut at = TreePath::root();
        for name in path.components() {
            at = at.child(name);
            here = self.enter_or_make(here, name, &at)?;
        }
        let handle = Rc::new(here);
        self.recent = Some((path.clone(), Rc::clone(&handle)));
        Ok(handle)
    }

    fn enter_or_make(
        &mut self,
        parent: OwnedFd,
        name: &[u8],
        path: &TreePath,
    ) -> Result<OwnedFd, UnpackError> {
        match root::open_directory(parent.as_fd(), name) {
            Ok(directory) => return Ok(directory),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let above = parent.try_clone().map_err(|source| UnpackError::Content {
                    path: path.clone(),
                    source,
                })?;
                walk::remove_all(above, name, path)?;
                let directory = self.make(&parent, name, path)?;
                // What stood here hid the directory of the layers below, and goes on hiding it.
                set_overlay(&directory, path, xattr::OPAQUE, b"y")?;
                return Ok(directory);
            }
            Err(errno) => return Err(RootError::call(Call::Open, path)(errno).into()),
        }
        self.make(&parent, name, path)
    }

    fn make(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &TreePath,
    ) -> Result<OwnedFd, UnpackError> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU)
            .map_err(RootError::call(Call::MakeDir, path))?;
        self.made.insert(&reversed(path.as_bytes()), ())?;
        Ok(
            root::open_directory(parent.as_fd(), name)
                .map_err(RootError::call(Call::Open, path))?,
        )
    }

    /// Owners, modes, attributes and times of directories, when nothing is written into them any more; deepest first.
    fn settle_directories(&mut self) -> Result<(), UnpackError> {
        self.made.insert(&reversed(b""), ())?;
        for made in std::mem::take(&mut self.made).iter() {
            let path = TreePath::kept(unreversed(&made?.0));
            let Some(meta) = self.merged.node(&path)?.filter(Meta::is_dir) else {
                continue;
            };
            let directory = match self.root.canonical_directory(&path) {
                // Made, then removed by a later entry of this layer.
                Err(error) if error.is_absent() => continue,
                other => other?,
            };
            if self.ownership == Ownership::Noted {
                self.note_links(&directory, &path)?;
            }
            let xattrs = self.merged.xattrs(&path)?;
            self.finish_file(
                &directory,
                &path,
                meta.mode,
                (meta.uid, meta.gid),
                &xattrs,
                meta.mtime,
            )?;
        }
        Ok(())
    }
}

fn set_overlay(file: &OwnedFd, path: &TreePath, name: &str, value: &[u8]) -> Result<(), RootError> {
    rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())
        .map_err(RootError::call(Call::SetXattr, path))
}

/// Copies exactly `length` bytes.
fn copy(from: &mut impl Read, to: &mut impl Write, length: u64) -> io::Result<u64> {
    let mut buffer = [0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match from.read(&mut buffer[..wanted]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                to.write_all(&buffer[..length])?;
                left -= length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Hashes what is read.
struct Hashed<R> {
    stream: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
