//! A process that waits for an answer: its memory, and the files that it names. The invariant: whatever it names is opened as a
//! handle without power (O_PATH), from its own root on; what it writes into its memory meanwhile can change which of its own
//! files that is, and nothing else.
//!
//! The calling thread's working directory is the session's own /proc, so that relative paths here begin there.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::processes::Processes;
use crate::foreign_memory;

pub(super) struct Caller {
    pid: Pid,
    /// How the mounted /proc calls it.
    proc_pid: String,
}

impl Caller {
    /// The thread `pid`, as the session counts.
    pub(super) fn new(pid: u32, processes: &Processes) -> Result<Self, Errno> {
        Ok(Self {
            pid: Pid::from_raw(pid.cast_signed()),
            proc_pid: processes.name_of(pid)?,
        })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// A text in its memory, which ends with a zero.
    pub(super) fn text(&self, address: u64) -> Result<Vec<u8>, Errno> {
        foreign_memory::text(self.pid, address)
    }

    /// Ids in its memory.
    pub(super) fn ids(&self, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
        let bytes = foreign_memory::read(self.pid, address, 4 * count)?;
        if bytes.len() < 4 * count {
            return Err(Errno::EFAULT);
        }
        let words = bytes.chunks_exact(4);
        Ok(words
            .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
            .collect())
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
        let part = RemoteIoVec {
            base,
            len: bytes.len(),
        };
        match process_vm_writev(self.pid, &[IoSlice::new(bytes)], &[part])? {
            written if written == bytes.len() => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Its file mode creation mask, proc_pid_status(5).
    pub(super) fn umask(&self) -> Result<u32, Errno> {
        let status = std::fs::read_to_string(format!("{}/status", self.proc_pid))
            .map_err(|error| errno(&error))?;
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        let mask = mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
        mask.ok_or(Errno::EPROTO)
    }

    /// What its descriptor refers to.
    pub(super) fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        let link = match number {
            libc::AT_FDCWD => format!("{}/cwd", self.proc_pid),
            number => format!("{}/fd/{number}", self.proc_pid),
        };
        rustix::fs::openat(CWD, link, HANDLE, Mode::empty()).map_err(kernel)
    }

    /// What it means by a path that begins at a descriptor; the last link is followed or not.
    pub(super) fn open(&self, directory: i32, path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
        let mut flags = HANDLE;
        flags.set(OFlags::NOFOLLOW, !follow);
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path[0] != b'/' {
            let from = self.descriptor(directory)?;
            return rustix::fs::openat(from, path, flags, Mode::empty()).map_err(kernel);
        }
        if let Some(number) = own_descriptor(path) {
            return match follow {
                true => self.descriptor(number),
                // The link itself: nobody can own it.
                false => Err(Errno::EPERM),
            };
        }
        let root = rustix::fs::openat(
            CWD,
            format!("{}/root", self.proc_pid),
            HANDLE,
            Mode::empty(),
        )
        .map_err(kernel)?;
        rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(kernel)
    }

    /// The directory in which something is to be made, and its name there.
    pub(super) fn parent(&self, directory: i32, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let trimmed = path.trim_ascii_end_slashes();
        let split = trimmed.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = match split {
            Some(at) => (&trimmed[..=at], &trimmed[at + 1..]),
            None => (&b"."[..], trimmed),
        };
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::EEXIST);
        }
        Ok((self.open(directory, parent, true)?, name.to_vec()))
    }
}

const HANDLE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The number in /proc/self/fd/N: `self` would be us, and not the caller.
fn own_descriptor(path: &[u8]) -> Option<i32> {
    let number = [&b"/proc/self/fd/"[..], b"/dev/fd/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(*prefix))?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// A path by which a handle's file can be named in calls that take no descriptor.
pub(super) fn path_of(handle: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("self/fd/{}", handle.as_raw_fd()))
}

pub(super) fn kernel(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

trait TrimSlashes {
    fn trim_ascii_end_slashes(&self) -> &Self;
}

impl TrimSlashes for [u8] {
    fn trim_ascii_end_slashes(&self) -> &Self {
        let end = self
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |at| at + 1);
        &self[..end]
    }
}
