//! Copies of an image's directories. The invariant: nothing is opened by a path of more than one name, and no link is ever followed, so
//! that a copy has nothing in it that was not in the directory.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// Files with several names, by their numbers: a name that the copy has, in which directory.
type Known = HashMap<(u64, u64), (OwnedFd, CString)>;

/// Directories deeper than that are an error: each needs descriptors.
const DEEPEST: usize = 128;

/// Files with several names that are remembered; of more the copies have one name each.
const MOST_KNOWN: usize = 256;

/// Copies all that is in a directory, and its owner, mode and times.
pub(super) fn tree(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    below(from, to, &mut Known::new(), 0)?;
    status(from, to)
}

/// Owner, attributes, mode and times alone.
pub(super) fn status(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    own(to, stat.st_uid, stat.st_gid)?;
    attributes(from, to)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(to, &times(&stat))?)
}

/// Changes an owner, unless it is the owner.
pub(super) fn own(to: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let now = rustix::fs::fstat(to)?;
    if (now.st_uid, now.st_gid) != (uid, gid) {
        rustix::fs::fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

fn below(from: &OwnedFd, to: &OwnedFd, known: &mut Known, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other("its directories are too deep"));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                let (from, to) = (open(from, name, true)?, open(to, name, true)?);
                below(&from, &to, known, depth + 1)?;
                status(&from, &to)?;
            }
            FileType::RegularFile => file(from, to, name, &stat, known)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target.as_c_str(), to, name)?;
                named(to, name, &stat)?;
            }
            FileType::Fifo => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)?;
                named(to, name, &stat)?;
            }
            // A device would be none without root, and nobody listens at a socket.
            _ => {}
        }
    }
    Ok(())
}

fn file(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    stat: &Stat,
    known: &mut Known,
) -> io::Result<()> {
    let identity = (stat.st_dev, stat.st_ino);
    if let Some((directory, first)) = known.get(&identity) {
        return Ok(rustix::fs::linkat(
            directory,
            first.as_c_str(),
            to,
            name,
            AtFlags::empty(),
        )?);
    }
    let source = open(from, name, false)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    io::copy(
        &mut File::from(source.try_clone()?),
        &mut File::from(target.try_clone()?),
    )?;
    status(&source, &target)?;
    if stat.st_nlink > 1 && known.len() < MOST_KNOWN {
        known.insert(identity, (to.try_clone()?, name.to_owned()));
    }
    Ok(())
}

fn open(directory: &OwnedFd, name: &CStr, is_directory: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    flags.set(OFlags::DIRECTORY, is_directory);
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Owner and times of what cannot be opened.
fn named(to: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let now = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid) {
        let ids = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, name, Some(ids.0), Some(ids.1), flags)?;
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(to, name, &times(stat), flags)?)
}

fn times(stat: &Stat) -> Timestamps {
    let nanoseconds = |value| i64::try_from(value).unwrap_or_default();
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    }
}

/// Attributes that users and access control lists have; others mean something to the kernel or to rbuild alone.
fn attributes(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let from = from.as_fd();
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        // A file system without them.
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    for name in names[..length].split(|byte| *byte == 0) {
        let wanted = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
        if !wanted || name.starts_with(b"user.overlay.") || name.starts_with(b"user.rbuild.") {
            continue;
        }
        let Ok(name) = CString::new(name) else {
            continue;
        };
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name.as_c_str(), &mut value)?;
        match rustix::fs::fsetxattr(&to, name.as_c_str(), &value[..length], XattrFlags::empty()) {
            // The volume's file system may have none.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
