//! Owners on disk that become others while all else stays.
//!
//! Invariant: what chown(2) takes away with the owner (set-id bits, a capability) is there again afterwards, and no time of a
//! file changes; whiteouts, which have no owner of their own, are left alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::path::TreePath;
use crate::root::{Call, Root, RootError};
use crate::tree::{NodeKind, kind};
use crate::walk;
use crate::xattr::CAPABILITY;

/// A user and a group id on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskIds {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What becomes what: the user id and the group id of `from`, each for itself, those of `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The ids that are looked for.
    pub from: DiskIds,
    /// What they become.
    pub to: DiskIds,
}

impl Exchange {
    /// The way back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }

    /// What an owner becomes.
    #[must_use]
    pub fn of(self, owner: DiskIds) -> DiskIds {
        let Self { from, to } = self;
        DiskIds {
            uid: if owner.uid == from.uid {
                to.uid
            } else {
                owner.uid
            },
            gid: if owner.gid == from.gid {
                to.gid
            } else {
                owner.gid
            },
        }
    }
}

fn owner(stat: &Stat) -> DiskIds {
    DiskIds {
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

fn concerns(exchange: Exchange, stat: &Stat) -> bool {
    let whiteout =
        matches!(kind(stat), NodeKind::Char(device) if device.major == 0 && device.minor == 0);
    exchange.of(owner(stat)) != owner(stat) && !whiteout
}

/// The entries of a tree that an exchange concerns, the root among them.
///
/// # Errors
/// When the tree cannot be read.
pub fn concerned(root: &Root, exchange: Exchange) -> Result<Vec<TreePath>, RootError> {
    let mut found = Vec::new();
    let top = TreePath::root();
    if concerns(exchange, &root.stat(&top)?) {
        found.push(top);
    }
    walk::each(root, Call::Stat, |_, path, stat| {
        if concerns(exchange, stat) {
            found.push(path.clone());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Exchanges the owner of one entry, if it is there and concerned.
///
/// # Errors
/// When the owner, or what goes with it, cannot be set.
pub fn exchange(root: &Root, path: &TreePath, exchange: Exchange) -> Result<(), RootError> {
    let (parent, name) = match root.parent(path) {
        Err(error) if error.is_absent() => return Ok(()),
        other => other?,
    };
    let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other.map_err(RootError::call(Call::Stat, path))?,
    };
    give(parent.as_fd(), name, path, &stat, exchange)
}

/// Exchanges the owners of all entries of a tree, the root among them.
///
/// # Errors
/// As [`exchange`].
pub fn exchange_all(root: &Root, exchange: Exchange) -> Result<(), RootError> {
    self::exchange(root, &TreePath::root(), exchange)?;
    walk::each(root, Call::Chown, |parent, path, stat| {
        let name = path.file_name().unwrap_or(b".");
        give(parent, name, path, stat, exchange)
    })
}

fn give(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &TreePath,
    stat: &Stat,
    exchange: Exchange,
) -> Result<(), RootError> {
    if !concerns(exchange, stat) {
        return Ok(());
    }
    let DiskIds { uid, gid } = exchange.of(owner(stat));
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let chown = RootError::call(Call::Chown, path);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(chown);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(RootError::call(Call::Open, path))?;
    let capability = capability(&file, path)?;
    rustix::fs::fchown(&file, uid, gid).map_err(chown)?;
    if stat.st_mode & 0o6000 != 0 {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))
            .map_err(RootError::call(Call::Chmod, path))?;
    }
    match capability {
        Some(value) => rustix::fs::fsetxattr(&file, CAPABILITY, &value, XattrFlags::empty())
            .map_err(RootError::call(Call::SetXattr, path)),
        None => Ok(()),
    }
}

fn capability(file: &OwnedFd, path: &TreePath) -> Result<Option<Vec<u8>>, RootError> {
    let mut value = vec![0; 64];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(RootError::call(Call::ReadXattr, path)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: Exchange = Exchange {
        from: DiskIds { uid: 0, gid: 0 },
        to: DiskIds { uid: 7, gid: 8 },
    };

    #[test]
    fn user_and_group_are_exchanged_each_for_itself() {
        let ids = |uid, gid| DiskIds { uid, gid };
        assert_eq!(CHANGE.of(ids(0, 0)), ids(7, 8));
        assert_eq!(CHANGE.of(ids(0, 5)), ids(7, 5));
        assert_eq!(CHANGE.of(ids(5, 0)), ids(5, 8));
        assert_eq!(CHANGE.of(ids(7, 8)), ids(7, 8));
        assert_eq!(CHANGE.reversed().of(ids(7, 8)), ids(0, 0));
    }
}
