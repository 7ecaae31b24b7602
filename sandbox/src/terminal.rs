//! The terminal of a program in a sandbox. The invariant: it belongs to the sandbox's own devpts, so that the program can open it by its
//! name and knows no terminal of the host's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;

use crate::{join, sys};

/// Where the kernel makes new ones, Documentation/filesystems/devpts.rst.
const MULTIPLEXER: &str = "/dev/pts/ptmx";

/// Makes one for `uid`, sends its other side through the door, and takes it as standard input, output and error.
pub(crate) fn make(door: &OwnedFd, uid: u32) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let ours = rustix::fs::openat(CWD, MULTIPLEXER, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&ours)?;
    // Character device 5:2, Documentation/admin-guide/devices.txt: what a volume put there is none.
    let device = FileType::from_raw_mode(stat.st_mode).is_char_device();
    if !device || stat.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    rustix::pty::unlockpt(&ours)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    if rustix::fs::fstat(&theirs)?.st_uid != uid {
        rustix::fs::fchown(&theirs, Some(Uid::from_raw(uid)), None::<Gid>)?;
    }
    join::send(door, &[ours])?;
    let theirs = theirs.as_fd();
    rustix::stdio::dup2_stdin(theirs)?;
    rustix::stdio::dup2_stdout(theirs)?;
    rustix::stdio::dup2_stderr(theirs)?;
    Ok(sys::take_terminal()?)
}
