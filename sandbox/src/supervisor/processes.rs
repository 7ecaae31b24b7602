//! Where the processes of a session are seen. The invariant: a name that is given out is that of the process which the kernel means,
//! however the mounted /proc counts.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::caller::{errno, kernel};

/// linux/pidfd.h, Linux 6.9: a handle of a thread that need not be the first of its process.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());

/// A mounted /proc.
pub(super) struct Processes {
    root: OwnedFd,
    /// Whether it counts processes as the calling process does.
    counts_as_we_do: bool,
}

impl Processes {
    /// One of our own; else, where a container that masks its /proc gets no other (mount_namespaces(7)), that one.
    pub(super) fn of_session() -> Result<Self, Errno> {
        let mounted = || {
            let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            rustix::mount::fsconfig_create(&context)?;
            rustix::mount::fsmount(
                &context,
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::empty(),
            )
        };
        match mounted() {
            Ok(root) => Ok(Self {
                root,
                counts_as_we_do: true,
            }),
            Err(_) => Self::as_mounted(),
        }
    }

    fn as_mounted() -> Result<Self, Errno> {
        let own = rustix::fs::readlink("/proc/self", Vec::new()).map_err(kernel)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).map_err(kernel)?,
            counts_as_we_do: own.to_bytes() == std::process::id().to_string().as_bytes(),
        })
    }

    /// Makes it the working directory of the calling thread.
    pub(super) fn enter(&self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.root).map_err(kernel)
    }

    /// The name of a thread that the session calls `pid`. It must be the working directory.
    pub(super) fn name_of(&self, pid: u32) -> Result<String, Errno> {
        if self.counts_as_we_do {
            return Ok(pid.to_string());
        }
        let pid = Pid::from_raw(pid.cast_signed()).ok_or(Errno::ESRCH)?;
        let handle = pidfd_open(pid, PIDFD_THREAD)
            .or_else(|_| pidfd_open(pid, PidfdFlags::empty()))
            .map_err(kernel)?;
        // "Pid" there is what this /proc calls it, pidfd_open(2).
        let about = std::fs::read_to_string(format!("self/fdinfo/{}", handle.as_raw_fd()))
            .map_err(|error| errno(&error))?;
        let number = about.lines().find_map(|line| line.strip_prefix("Pid:"));
        let number = number.map(str::trim).filter(|number| *number != "-1");
        number.map(str::to_owned).ok_or(Errno::ESRCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_proc_names_processes_as_it_counts_them() {
        let mut processes = Processes::as_mounted().expect("/proc is mounted");
        assert!(processes.counts_as_we_do);
        processes.counts_as_we_do = false;
        // The working directory is the whole test program's, so a thread has its own.
        let named = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
                .expect("an own working directory");
            processes.enter().expect("/proc can be entered");
            processes.name_of(std::process::id())
        });
        let name = named.join().expect("it ends").expect("it has a name");
        assert_eq!(name, std::process::id().to_string());
    }
}
