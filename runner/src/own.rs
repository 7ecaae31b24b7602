//! Gives a volume to the container's user, `-v SOURCE:TARGET:U`. The invariant: no link is followed, and nothing is changed that
//! cannot be reached from the volume's own directory.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::userns::Ids;

/// Changes the owner of what `root` refers to, and of all below it, to these ids of the session.
pub(crate) fn give(root: &OwnedFd, owner: Ids) -> io::Result<()> {
    let ids = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    // A handle of a detached mount is for paths only: "." is the directory itself.
    let stat = rustix::fs::fstat(root)?;
    rustix::fs::chownat(root, "", Some(ids.0), Some(ids.1), AtFlags::EMPTY_PATH)?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Ok(());
    }
    let mut waiting = vec![directory(root, c".".to_owned())?];
    while let Some(parent) = waiting.pop() {
        for entry in Dir::read_from(&parent)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::chownat(&parent, name, Some(ids.0), Some(ids.1), flags) {
                // Somebody removes files at the same time.
                Err(Errno::NOENT) => continue,
                other => other?,
            }
            match directory(&parent, name.to_owned()) {
                Ok(below) => waiting.push(below),
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

fn directory(parent: impl AsFd, name: CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
