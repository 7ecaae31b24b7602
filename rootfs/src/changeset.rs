//! What a step changed: an overlay's upper directory as entries of a layer.
//!
//! Invariant: an upper directory that belongs to nobody of the image (session id 0 under a shifted map) is an error, never a
//! wrong owner; the walk goes by handles, in the order of the names' bytes, and opens nothing but directories and regular files.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;
use thiserror::Error;

use crate::entry::{Device, Entry, Kind, Time, Xattrs};
use crate::layer::{LayerWriter, WriteError};
use crate::names::Names;
use crate::note::Note;
use crate::noted;
use crate::ownership::{Ownership, OwnershipError};
use crate::path::TreePath;
use crate::root::{self, Call, Root, RootError};
use crate::sorted::{ScratchError, SortedMap};
use crate::tree::{NodeKind, kind};
use crate::walk::{self, Descent};
use crate::xattr;

/// Why a changeset was not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChangesetError {
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The upper directory refused.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An entry belongs to nobody of the image.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// The layer refused.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the upper directory `upper` as entries; returns what was left out. The root directory itself is no entry.
pub fn write<W: Write>(
    upper: &Root,
    ownership: Ownership,
    layer: &mut LayerWriter<W>,
) -> Result<Vec<Note>, ChangesetError> {
    let start = upper.try_clone()?.into_fd();
    let descent = Descent::new(start).map_err(RootError::call(Call::Open, &TreePath::root()))?;
    let mut walk = Walk {
        descent,
        path: TreePath::root(),
        ownership,
        links: SortedMap::new(layer.scratch()),
        layer,
        notes: Vec::new(),
    };
    walk.run()?;
    Ok(walk.notes)
}

struct Walk<'w, W> {
    descent: Descent,
    path: TreePath,
    ownership: Ownership,
    layer: &'w mut LayerWriter<W>,
    /// First names of files with several, by what identifies the file.
    links: SortedMap<Vec<u8>>,
    notes: Vec<Note>,
}

impl<W: Write> Walk<'_, W> {
    fn run(&mut self) -> Result<(), ChangesetError> {
        let mut waiting = vec![self.enter()?];
        while let Some(names) = waiting.last_mut() {
            let Some(name) = names.next() else {
                waiting.pop();
                self.leave()?;
                continue;
            };
            if self.visit(&name)? {
                self.path = self.path.child(&name);
                self.descent
                    .down(&name)
                    .map_err(RootError::call(Call::Open, &self.path))?;
                waiting.push(self.enter()?);
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), ChangesetError> {
        match self.descent.up() {
            Ok(true) => self.path = self.path.parent(),
            Ok(false) => {}
            Err(Errno::STALE) => {
                return Err(RootError::Swapped {
                    path: self.path.clone(),
                }
                .into());
            }
            Err(errno) => return Err(RootError::call(Call::Open, &self.path)(errno).into()),
        }
        Ok(())
    }

    /// Starts the directory where the walk is: writes its entry, and returns its names.
    fn enter(&mut self) -> Result<Names, ChangesetError> {
        let path = self.path.clone();
        let here = root::open_directory(self.descent.here(), b".")
            .map_err(RootError::call(Call::Open, &path))?;
        let raw = xattr::read_raw(&here, &path)?;
        let opaque = raw
            .get(xattr::OPAQUE.as_bytes())
            .is_some_and(|value| value == b"y");
        if !path.is_root() {
            let stat = rustix::fs::fstat(&here).map_err(RootError::call(Call::Stat, &path))?;
            let entry = self.entry(path.clone(), Kind::Dir, &stat, raw)?;
            self.layer.append(entry)?;
        }
        if opaque {
            self.layer
                .append(Entry::new(path.clone(), Kind::Opaque, 0o644))?;
        }
        Ok(walk::list(here.as_fd()).map_err(RootError::call(Call::List, &path))?)
    }

    /// Writes one entry; true for a directory, which is written when it is entered.
    fn visit(&mut self, name: &[u8]) -> Result<bool, ChangesetError> {
        let path = self.path.child(name);
        let stat = rustix::fs::statat(self.descent.here(), name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootError::call(Call::Stat, &path))?;
        let kind = match kind(&stat) {
            NodeKind::Dir => return Ok(true),
            NodeKind::File => return self.file(path, name, &stat).map(|()| false),
            NodeKind::Char(Device { major: 0, minor: 0 }) => {
                self.layer.append(Entry::new(path, Kind::Whiteout, 0o644))?;
                return Ok(false);
            }
            NodeKind::Socket => {
                self.notes.push(Note::Socket { path });
                return Ok(false);
            }
            NodeKind::Symlink => {
                let target = root::read_link(self.descent.here(), name)
                    .map_err(RootError::call(Call::ReadLink, &path))?;
                Kind::Symlink(target)
            }
            NodeKind::Fifo => Kind::Fifo,
            NodeKind::Char(device) => Kind::Char(device),
            NodeKind::Block(device) => Kind::Block(device),
        };
        let entry = self.entry(path, kind, &stat, Xattrs::new())?;
        self.linked(entry, &stat)?;
        Ok(false)
    }

    /// Appends an entry without content, or a link to its first name.
    fn linked(&mut self, mut entry: Entry, stat: &Stat) -> Result<(), ChangesetError> {
        if let Some(first) = self.first_name(&entry.path, stat)? {
            entry.kind = Kind::Hardlink(first);
        }
        Ok(self.layer.append(entry)?)
    }

    fn first_name(
        &mut self,
        path: &TreePath,
        stat: &Stat,
    ) -> Result<Option<TreePath>, ScratchError> {
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        let identity = [stat.st_dev, stat.st_ino].map(u64::to_be_bytes);
        let identity = identity.as_flattened();
        if let Some(first) = self.links.get(identity)? {
            return Ok(Some(TreePath::kept(first)));
        }
        self.links.insert(identity, path.as_bytes().to_vec())?;
        Ok(None)
    }

    fn file(&mut self, path: TreePath, name: &[u8], listed: &Stat) -> Result<(), ChangesetError> {
        let file = self.open(&path, name, listed)?;
        let stat = root::regular(&file, &path)?;
        let raw = xattr::read_raw(&file, &path)?;
        if stat.st_size == 0 && raw.contains_key(&b"user.overlay.whiteout"[..]) {
            return Ok(self.layer.append(Entry::new(path, Kind::Whiteout, 0o644))?);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = self.entry(path, Kind::File { size }, &stat, raw)?;
        if let Some(first) = self.first_name(&entry.path, &stat)? {
            entry.kind = Kind::Hardlink(first);
            entry.xattrs.clear();
            return Ok(self.layer.append(entry)?);
        }
        Ok(self.layer.append_file(entry, &file)?)
    }

    fn open(&self, path: &TreePath, name: &[u8], listed: &Stat) -> Result<OwnedFd, RootError> {
        let file = root::open_regular(self.descent.here(), name)
            .map_err(RootError::call(Call::Open, path))?;
        let stat = rustix::fs::fstat(&file).map_err(RootError::call(Call::Stat, path))?;
        if (stat.st_dev, stat.st_ino) == (listed.st_dev, listed.st_ino) {
            Ok(file)
        } else {
            Err(RootError::Swapped { path: path.clone() })
        }
    }

    /// Whom an entry of the directory where the walk is belongs to.
    fn owner(
        &self,
        path: &TreePath,
        kind: &Kind,
        stat: &Stat,
        raw: &Xattrs,
    ) -> Result<(u32, u32), ChangesetError> {
        if self.ownership != Ownership::Noted {
            let id = |disk| self.ownership.from_disk(disk, path);
            return Ok((id(stat.st_uid)?, id(stat.st_gid)?));
        }
        let owner = match kind {
            Kind::Dir | Kind::File { .. } => noted::owner_of(raw),
            _ => noted::of_handle(&self.descent.here(), |notes| notes.links())
                .map(|links| links.get(&stat.st_ino).copied()),
        };
        let owner = owner.map_err(RootError::io(Call::ReadXattr, path))?;
        Ok(owner.unwrap_or((0, 0)))
    }

    fn entry(
        &self,
        path: TreePath,
        kind: Kind,
        stat: &Stat,
        raw: Xattrs,
    ) -> Result<Entry, ChangesetError> {
        let (uid, gid) = self.owner(&path, &kind, stat, &raw)?;
        Ok(Entry {
            mode: if matches!(kind, Kind::Symlink(_)) {
                0o777
            } else {
                stat.st_mode & 0o7777
            },
            uid,
            gid,
            mtime: Time {
                secs: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            xattrs: xattr::to_image(raw, &path, self.ownership)?,
            path,
            kind,
        })
    }
}
