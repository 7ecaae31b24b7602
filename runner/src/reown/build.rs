//! Makes the re-owned files of one image. The invariant: what is made is, under the final overlay, the image's own tree but
//! for owners; directories on the way to an affected file keep their mode, owner and time. Only the directories on the way are in memory.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rootfs::entry::{Time, Xattrs};
use rootfs::tree::{Meta, NodeKind, Tree, TreeError};
use rootfs::{FirstNames, Names, Root, RootError, Scratch, TreePath, View};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{ReownError, Wanted, at};
use crate::userns::Owners;

/// How content gets its new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Empty files that redirect to hard links.
    Redirects,
    /// Copies; file systems that can share their blocks do.
    Copies,
}

const ACL_PREFIX: &[u8] = b"system.posix_acl_";

/// A directory that is being looked through.
struct Frame {
    path: TreePath,
    meta: Meta,
    names: Names,
    /// Whether it was made: only those that lead to an affected file are.
    made: bool,
}

pub(super) struct Builder<'b> {
    form: Form,
    owners: Owners,
    view: &'b View,
    /// The layers' directories, topmost first.
    layers: Vec<Root>,
    made: Root,
    data: Option<Root>,
    names: FirstNames,
    linked: u64,
    copied: u64,
}

impl<'b> Builder<'b> {
    pub(super) fn new(
        home: &Path,
        form: Form,
        wanted: &Wanted<'_>,
        (view, scratch): (&'b View, &Scratch),
    ) -> Result<Self, ReownError> {
        let open = |name: &str| {
            let path = home.join(name);
            fs::create_dir(&path).map_err(at("create", &path))?;
            Ok::<_, ReownError>(Root::open(&path)?)
        };
        let (made, data) = match form {
            Form::Redirects => (open("meta")?, Some(open("data")?)),
            Form::Copies => (open("tree")?, None),
        };
        let layers = wanted
            .layers
            .iter()
            .rev()
            .map(|layer| Root::open(&layer.directory));
        Ok(Self {
            form,
            owners: wanted.owners.clone(),
            view,
            layers: layers.collect::<Result<_, _>>()?,
            made,
            data,
            names: FirstNames::in_scratch(scratch),
            linked: 0,
            copied: 0,
        })
    }

    /// Makes everything; returns how many bytes were copied.
    pub(super) fn build(mut self) -> Result<u64, ReownError> {
        let root = TreePath::root();
        let mut way = Vec::new();
        if let Some(meta) = self.view.node(&root)? {
            way.push(self.frame(root, meta, true)?);
        }
        while let Some(frame) = way.last_mut() {
            let Some(name) = frame.names.next() else {
                let frame = way.pop().filter(|frame| frame.made);
                frame.map_or(Ok(()), |frame| self.settle(&frame))?;
                continue;
            };
            let path = frame.path.child(&name);
            let Some(meta) = self.view.node(&path)? else {
                continue;
            };
            let affected = self.is_affected(&path, &meta)?;
            if affected {
                self.make_way(&mut way)?;
                self.make(&path, &meta)?;
            }
            if meta.is_dir() {
                way.push(self.frame(path, meta, affected)?);
            }
        }
        Ok(self.copied)
    }

    fn frame(&self, path: TreePath, meta: Meta, made: bool) -> Result<Frame, ReownError> {
        let names = self.view.names(&path)?;
        Ok(Frame {
            path,
            meta,
            names,
            made,
        })
    }

    /// Makes the directories on the way that are not there yet.
    fn make_way(&self, way: &mut [Frame]) -> Result<(), ReownError> {
        for frame in way.iter_mut().filter(|frame| !frame.made) {
            self.made.make_dir(&frame.path, 0o700)?;
            frame.made = true;
        }
        Ok(())
    }

    fn is_affected(&self, path: &TreePath, meta: &Meta) -> Result<bool, ReownError> {
        let moved = |id: u32, to: u32| to != id.saturating_add(1);
        let owners = &self.owners;
        if moved(meta.uid, owners.uid(meta.uid)) || moved(meta.gid, owners.gid(meta.gid)) {
            return Ok(true);
        }
        // A link's attributes are never looked at; only files and directories carry ACLs.
        if !matches!(meta.kind, NodeKind::File | NodeKind::Dir) {
            return Ok(false);
        }
        let xattrs = self.view.xattrs(path)?;
        let mut acls = xattrs
            .iter()
            .filter(|(name, _)| name.starts_with(ACL_PREFIX));
        let shifted = |id: u32| id.saturating_add(1);
        Ok(acls.any(|(_, value)| {
            remapped(value, &|id| owners.uid(id), &|id| owners.gid(id))
                != remapped(value, &shifted, &shifted)
        }))
    }

    fn make(&mut self, path: &TreePath, meta: &Meta) -> Result<(), ReownError> {
        match meta.kind {
            NodeKind::Dir => Ok(self.made.make_dir(path, 0o700)?),
            NodeKind::File => self.file(path, meta),
            NodeKind::Symlink => {
                self.made.make_symlink(&self.view.read_link(path)?, path)?;
                self.own_name(path, meta)
            }
            NodeKind::Fifo => {
                let (parent, name) = self.made.parent(path)?;
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0)
                    .map_err(entry("create", path))?;
                self.own_name(path, meta)?;
                let mode = Mode::from_raw_mode(meta.mode);
                rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())
                    .map_err(entry("chmod", path))
            }
            // Devices are not unpacked either.
            NodeKind::Socket | NodeKind::Char(_) | NodeKind::Block(_) => Ok(()),
        }
    }

    fn file(&mut self, path: &TreePath, meta: &Meta) -> Result<(), ReownError> {
        if meta.links > 1
            && let Some(first) = self.names.get(meta.inode).map_err(TreeError::from)?
        {
            match self.made.link(&first, path) {
                Ok(()) => return Ok(()),
                Err(error) if error.errno() == Some(Errno::MLINK.raw_os_error()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (parent, name) = self.content(path)?;
        let file = self.made.create_file(path)?;
        match self.form {
            Form::Redirects => self.redirect(path, meta, &parent, name, &file)?,
            Form::Copies => {
                self.copied += copy(&parent, name, &file).map_err(entry("copy", path))?
            }
        }
        self.own(&file, path, meta)?;
        if meta.links > 1 {
            self.names.put(meta.inode, path).map_err(TreeError::from)?;
        }
        Ok(())
    }

    /// The directory that holds a file's content: in the topmost layer that has the name, the tree's rule.
    fn content<'p>(&self, path: &'p TreePath) -> Result<(OwnedFd, &'p [u8]), ReownError> {
        let lost = || ReownError::Lost(path.to_string());
        let name = path.file_name().ok_or_else(lost)?;
        for layer in &self.layers {
            let parent = match layer.canonical_directory(&path.parent()) {
                Err(error) if is_absent(&error) => continue,
                other => other?,
            };
            match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                    return Ok((parent, name));
                }
                Ok(_) => return Err(lost()),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(entry("look at", path)(errno)),
            }
        }
        Err(lost())
    }

    /// An empty file that overlayfs fills from the data directory.
    fn redirect(
        &mut self,
        path: &TreePath,
        meta: &Meta,
        parent: &OwnedFd,
        name: &[u8],
        file: &OwnedFd,
    ) -> Result<(), ReownError> {
        let data = self
            .data
            .as_ref()
            .ok_or_else(|| ReownError::Lost(path.to_string()))?;
        self.linked += 1;
        let number = self.linked.to_string();
        match rustix::fs::linkat(parent, name, data, number.as_str(), AtFlags::empty()) {
            // ext4 allows 65,000 names (F30).
            Err(Errno::MLINK) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let to =
                    rustix::fs::openat(data, number.as_str(), flags, Mode::from_raw_mode(0o600))
                        .map_err(entry("copy", path))?;
                self.copied += copy(parent, name, &to).map_err(entry("copy", path))?;
            }
            other => other.map_err(entry("link", path))?,
        }
        rootfs::redirect(file, meta.size, format!("/{number}").as_bytes())
            .map_err(entry("redirect", path))
    }

    /// Gives a directory its attributes, now that nothing touches its time any more.
    fn settle(&self, frame: &Frame) -> Result<(), ReownError> {
        let directory = self.made.canonical_directory(&frame.path)?;
        self.own(&directory, &frame.path, &frame.meta)
    }

    fn ids(&self, meta: &Meta) -> (Option<Uid>, Option<Gid>) {
        let (uid, gid) = (self.owners.uid(meta.uid), self.owners.gid(meta.gid));
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    /// Owner, mode, attributes and time. chown(2) clears set-user-ID, so the mode comes after it, and the time last.
    fn own(&self, file: &OwnedFd, path: &TreePath, meta: &Meta) -> Result<(), ReownError> {
        let (uid, gid) = self.ids(meta);
        rustix::fs::fchown(file, uid, gid).map_err(entry("chown", path))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode)).map_err(entry("chmod", path))?;
        self.attributes(file, path, &self.view.xattrs(path)?)?;
        rustix::fs::futimens(file, &times(meta.mtime)).map_err(entry("set the time of", path))
    }

    fn own_name(&self, path: &TreePath, meta: &Meta) -> Result<(), ReownError> {
        let (parent, name) = self.made.parent(path)?;
        let (uid, gid) = self.ids(meta);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&parent, name, uid, gid, flags).map_err(entry("chown", path))?;
        rustix::fs::utimensat(&parent, name, &times(meta.mtime), flags)
            .map_err(entry("set the time of", path))
    }

    /// File capabilities are left out: a container always runs with no_new_privs, under which they mean nothing.
    fn attributes(
        &self,
        file: &OwnedFd,
        path: &TreePath,
        xattrs: &Xattrs,
    ) -> Result<(), ReownError> {
        for (name, value) in xattrs {
            let value = if name.starts_with(ACL_PREFIX) {
                remapped(value, &|id| self.owners.uid(id), &|id| self.owners.gid(id))
            } else if name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") {
                value.clone()
            } else {
                continue;
            };
            match rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty()) {
                // What the file system has no room for was left out, with a note, when the layer was unpacked.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(entry("set an attribute of", path)(errno)),
            }
        }
        Ok(())
    }
}

fn is_absent(error: &RootError) -> bool {
    let absent = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error.errno().is_some_and(|errno| absent.contains(&errno))
}

fn entry(call: &'static str, path: &TreePath) -> impl FnOnce(Errno) -> ReownError {
    let path = path.to_string();
    move |errno| ReownError::Entry {
        call,
        path,
        source: errno.into(),
    }
}

fn times(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// The standard library copies with copy_file_range(2), which shares blocks where the file system can.
fn copy(parent: &OwnedFd, name: &[u8], to: &OwnedFd) -> Result<u64, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut from = File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?);
    let copied = to
        .as_fd()
        .try_clone_to_owned()
        .and_then(|to| io::copy(&mut from, &mut File::from(to)));
    copied.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// The ACL with every id as the session stores it (linux/posix_acl_xattr.h: a u32 version, then entries of u16 tag, u16
/// permissions, u32 id, all little endian).
fn remapped(acl: &[u8], uids: &dyn Fn(u32) -> u32, gids: &dyn Fn(u32) -> u32) -> Vec<u8> {
    const HEADER: usize = 4;
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let mut acl = acl.to_vec();
    let Some(entries) = acl.get_mut(HEADER..) else {
        return acl;
    };
    for entry in entries.as_chunks_mut::<8>().0 {
        let [tag_low, tag_high, _, _, id @ ..] = entry;
        let ids = match u16::from_le_bytes([*tag_low, *tag_high]) {
            USER => uids,
            GROUP => gids,
            _ => continue,
        };
        *id = ids(u32::from_le_bytes(*id)).to_le_bytes();
    }
    acl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::userns::Ids;

    #[test]
    fn acls_name_session_ids() {
        let entry =
            |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[4, 0], &id.to_le_bytes()].concat();
        let acl = |user: u32, group: u32| {
            [
                vec![2, 0, 0, 0],
                entry(1, u32::MAX),
                entry(2, user),
                entry(8, group),
            ]
            .concat()
        };
        let kept = |acl: &[u8], uid: u32, gid: u32| {
            let owners = Owners::Kept(Ids { uid, gid });
            remapped(acl, &|id| owners.uid(id), &|id| owners.gid(id))
        };
        assert_eq!(kept(&acl(5, 5), 5, 9), acl(0, 6));
        assert_eq!(kept(&acl(7, 2), 5, 1), acl(7, 2));
        assert_eq!(kept(b"xy", 0, 0), b"xy", "what is no ACL stays as it is");
    }
}
