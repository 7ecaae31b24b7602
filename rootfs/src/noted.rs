//! Owners as extended attributes, for sessions that have a single id.
//!
//! Invariant: a note belongs to its inode: it survives renames and hard links, is copied up by an overlay, and is gone when the inode
//! is. No note means image root. Notes are no part of the image: they are never read as attributes, and no layer can bring any.
//!
//! Only regular files and directories can hold one, xattr(7). The owners of all else in a directory that are not image root's stand
//! in a second note on the directory, by inode number.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, Statx, StatxFlags, XattrFlags};
use rustix::io::Errno;

use crate::entry::Xattrs;
use crate::ownership::OwnerId;
use crate::path::TreePath;
use crate::root::{Call, Root, RootError};
use crate::tree::{NodeKind, kind};
use crate::walk;

/// The attribute of a regular file or directory: its user and group id, little endian.
const OWNER: &str = "user.rbuild.owner";
/// The attribute of a directory about what else is in it.
const LINKS: &str = "user.rbuild.links";
/// What begins so is ours.
const OURS: &[u8] = b"user.rbuild.";

/// A user and a group.
pub type Owner = (OwnerId, OwnerId);

/// Whether an attribute is a note, which only rbuild may write.
pub(crate) fn is_note(name: &[u8]) -> bool {
    name.starts_with(OURS)
}

/// Reads and writes the notes of one open file or directory, by a path that leads to it.
#[derive(Clone, Copy, Debug)]
pub struct NotesOf<'p>(pub &'p Path);

impl NotesOf<'_> {
    /// The owner of the file itself; `None` for image root.
    ///
    /// # Errors
    /// Those of getxattr(2).
    pub fn owner(self) -> io::Result<Option<Owner>> {
        owner_by(|value| rustix::fs::getxattr(self.0, OWNER, value))
    }

    /// Notes the owner of the file itself.
    ///
    /// # Errors
    /// Those of setxattr(2).
    pub fn set_owner(self, owner: Owner) -> io::Result<()> {
        if owner == (0, 0) {
            return match rustix::fs::removexattr(self.0, OWNER) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        }
        rustix::fs::setxattr(self.0, OWNER, &encode(owner), XattrFlags::empty())?;
        Ok(())
    }

    /// Gives another directory the same notes.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn copy_to(self, other: NotesOf<'_>) -> io::Result<()> {
        other.set_owner(self.owner()?.unwrap_or((0, 0)))?;
        other.set_links(&self.links()?)
    }

    /// The owners of what is in the directory and cannot hold notes, by inode number.
    ///
    /// # Errors
    /// Those of getxattr(2), or that the note is damaged.
    pub fn links(self) -> io::Result<BTreeMap<u64, Owner>> {
        let mut value = vec![0; 64 * 1024];
        match rustix::fs::getxattr(self.0, LINKS, &mut value[..]) {
            Ok(length) => {
                decode_links(&value[..length]).ok_or_else(|| io::ErrorKind::InvalidData.into())
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(BTreeMap::new()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Notes them.
    ///
    /// # Errors
    /// Those of setxattr(2); `ENOSPC` where there are more than the file system has room for beside an inode.
    pub fn set_links(self, links: &BTreeMap<u64, Owner>) -> io::Result<()> {
        if links.is_empty() {
            return match rustix::fs::removexattr(self.0, LINKS) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        }
        rustix::fs::setxattr(self.0, LINKS, &encode_links(links), XattrFlags::empty())?;
        Ok(())
    }
}

fn owner_by(get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Option<Owner>> {
    let mut value = [0; 8];
    match get(&mut value) {
        Ok(8) => Ok(Some(decode(value))),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The owner of a file or directory with these attributes.
///
/// # Errors
/// When the note is damaged.
pub(crate) fn owner_of(raw: &Xattrs) -> io::Result<Option<Owner>> {
    match raw
        .get(OWNER.as_bytes())
        .map(|value| <[u8; 8]>::try_from(value.as_slice()))
    {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(decode(value))),
        Some(Err(_)) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The notes of an open file or directory, whatever it was opened for.
pub(crate) fn of_handle<T>(file: &impl AsFd, act: impl FnOnce(NotesOf<'_>) -> T) -> T {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    act(NotesOf(Path::new(&link)))
}

/// The owner of `name` in `directory`, which is what its status says.
///
/// # Errors
/// When a note cannot be read.
pub(crate) fn owner_in(directory: &impl AsFd, name: &[u8], stat: &Stat) -> io::Result<Owner> {
    let link = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let owner = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => {
            let path = Path::new(&link).join(std::ffi::OsStr::from_bytes(name));
            owner_by(|value| rustix::fs::lgetxattr(&path, OWNER, value))?
        }
        _ => NotesOf(Path::new(&link))
            .links()?
            .get(&stat.st_ino)
            .copied(),
    };
    Ok(owner.unwrap_or((0, 0)))
}

/// Notes the owner of something in `directory` that cannot hold a note itself.
///
/// # Errors
/// When the directory cannot hold it.
pub(crate) fn set_link_owner(directory: &impl AsFd, name: &[u8], owner: Owner) -> io::Result<()> {
    let inode = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
    of_handle(directory, |notes| {
        let mut links = notes.links()?;
        let known = match owner {
            (0, 0) => links.remove(&inode),
            owner => links.insert(inode, owner),
        };
        if known == Some(owner) || (known.is_none() && owner == (0, 0)) {
            return Ok(());
        }
        notes.set_links(&links)
    })
}

/// Notes the owners that a step gave to links and the like in its changes: `upper` holds these, `merged` shows them as the step saw
/// them, and `given` knows the owners by what the step saw. An inode that was copied up meanwhile has another number below.
///
/// # Errors
/// When a tree cannot be read, or a directory cannot hold the note.
pub fn keep_links(
    upper: &Root,
    merged: &Root,
    given: &dyn Fn(&Statx) -> Option<Owner>,
) -> Result<(), RootError> {
    let mut shown: Option<(TreePath, OwnedFd)> = None;
    walk::each(upper, Call::SetXattr, |parent, path, stat| {
        if !matches!(
            kind(stat),
            NodeKind::Symlink | NodeKind::Fifo | NodeKind::Socket
        ) {
            return Ok(());
        }
        let directory = path.parent();
        let merged = match &shown {
            Some((known, handle)) if *known == directory => handle,
            _ => {
                &shown
                    .insert((directory.clone(), merged.canonical_directory(&directory)?))
                    .1
            }
        };
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
        let name = path.file_name().unwrap_or(b".");
        let status = rustix::fs::statx(merged, name, AtFlags::SYMLINK_NOFOLLOW, wanted)
            .map_err(RootError::call(Call::Stat, path))?;
        let noted = of_handle(merged, |notes| notes.links())
            .map_err(RootError::io(Call::ReadXattr, &directory))?;
        let owner = given(&status).or_else(|| noted.get(&status.stx_ino).copied());
        set_link_owner(&parent, name, owner.unwrap_or((0, 0)))
            .map_err(RootError::io(Call::SetXattr, path))
    })
}

fn encode((uid, gid): Owner) -> [u8; 8] {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&uid.to_le_bytes());
    value[4..].copy_from_slice(&gid.to_le_bytes());
    value
}

fn decode(value: [u8; 8]) -> Owner {
    let [a, b, c, d, e, f, g, h] = value;
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

/// For each owner its ids, how many, and the numbers as differences: most of a directory's inodes are neighbours, and an
/// attribute has about 4,000 bytes on ext4.
fn encode_links(links: &BTreeMap<u64, Owner>) -> Vec<u8> {
    let mut of_owner: BTreeMap<Owner, Vec<u64>> = BTreeMap::new();
    for (inode, owner) in links {
        of_owner.entry(*owner).or_default().push(*inode);
    }
    let mut value = Vec::new();
    for (owner, inodes) in of_owner {
        value.extend(encode(owner));
        number(&mut value, inodes.len() as u64);
        let mut last = 0;
        for inode in inodes {
            number(&mut value, inode - last);
            last = inode;
        }
    }
    value
}

fn decode_links(mut value: &[u8]) -> Option<BTreeMap<u64, Owner>> {
    let mut links = BTreeMap::new();
    while let Some((owner, rest)) = value.split_first_chunk::<8>() {
        value = rest;
        let mut inode = 0_u64;
        for _ in 0..take_number(&mut value)? {
            inode = inode.checked_add(take_number(&mut value)?)?;
            links.insert(inode, decode(*owner));
        }
    }
    value.is_empty().then_some(links)
}

/// Seven bits a byte, the lowest first (LEB128).
fn number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push((number & 0x7f) as u8);
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_links_of_two_users_fit_beside_an_inode_of_ext4() {
        let links: BTreeMap<u64, Owner> = (0..1000_u32)
            .map(|n| (u64::from(5_000_000 + 3 * n), (1000 + n % 2, 1000)))
            .collect();
        let value = encode_links(&links);
        assert!(value.len() < 2500, "{}", value.len());
        assert_eq!(decode_links(&value), Some(links));
    }

    #[test]
    fn a_damaged_note_is_no_note() {
        let links = BTreeMap::from([(7, (1, 2)), (u64::MAX, (3, 4))]);
        let value = encode_links(&links);
        assert_eq!(decode_links(&value), Some(links));
        assert_eq!(decode_links(&value[..value.len() - 1]), None);
        assert_eq!(decode_links(&[0xff; 20]), None);
    }
}
