//! A cgroup by handle. The invariant: it is a directory of a cgroup2 file system, whatever its path said, and what is opened in
//! it is reached without links and never above it. Tests may give a plain directory that imitates one; only [`Nature`] differs.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// linux/magic.h.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// How long the kernel may take to let go of the processes of a killed cgroup: tries, and the time between two.
const REMOVAL: (u32, Duration) = (100, Duration::from_millis(10));

/// Whether the kernel makes a cgroup's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// It does.
    Kernel,
    /// They are made when they are written, and removed with their directory.
    Imitation,
}

/// An open cgroup.
#[derive(Debug)]
pub(super) struct Directory {
    handle: OwnedFd,
    nature: Nature,
}

impl Directory {
    /// Opens one by its absolute path.
    pub(super) fn open(path: &Path, nature: Nature) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty())?;
        let kind = u64::try_from(rustix::fs::fstatfs(&handle)?.f_type);
        if nature == Nature::Kernel && kind != Ok(CGROUP2_SUPER_MAGIC) {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(Self { handle, nature })
    }

    /// A plain directory that is treated as the kernel's.
    #[cfg(test)]
    pub(super) fn unverified(path: &Path) -> Self {
        let mut directory = Self::open(path, Nature::Imitation).unwrap();
        directory.nature = Nature::Kernel;
        directory
    }

    /// Opens one below it; an empty path is itself.
    pub(super) fn below(&self, path: &Path) -> Result<Self, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        Ok(Self {
            handle: self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?,
            nature: self.nature,
        })
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let mode = if flags.contains(OFlags::CREATE) {
            Mode::from_raw_mode(0o644)
        } else {
            Mode::empty()
        };
        loop {
            // EAGAIN: a rename elsewhere raced the resolution, openat2(2).
            match rustix::fs::openat2(&self.handle, path, flags | OFlags::CLOEXEC, mode, how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Makes a cgroup in it.
    pub(super) fn create(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o755))
    }

    /// The text of one of its files.
    pub(super) fn read(&self, file: &str) -> Result<String, Errno> {
        let handle = self.resolve(Path::new(file), OFlags::RDONLY)?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(handle), &mut text)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(text)
    }

    /// One of its files, to be written by somebody else: who opened it decides what may be written (kernel commit 1756d7994ad8).
    pub(super) fn writable(&self, file: &str) -> Result<OwnedFd, Errno> {
        let flags = match self.nature {
            Nature::Kernel => OFlags::WRONLY,
            Nature::Imitation => OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
        };
        self.resolve(Path::new(file), flags)
    }

    /// Writes one value, in one call as the kernel wants it.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        rustix::io::write(self.writable(file)?, value.as_bytes()).map(drop)
    }

    /// Whether it has a file of that name.
    pub(super) fn has(&self, file: &str) -> bool {
        rustix::fs::accessat(
            &self.handle,
            file,
            rustix::fs::Access::EXISTS,
            AtFlags::empty(),
        )
        .is_ok()
    }

    /// Whether its user may make cgroups in it and move processes into it.
    pub(super) fn check_delegated(&self) -> Result<(), Errno> {
        use rustix::fs::Access;
        for (path, access) in [
            (".", Access::WRITE_OK | Access::EXEC_OK),
            ("cgroup.procs", Access::WRITE_OK),
            ("cgroup.subtree_control", Access::WRITE_OK),
        ] {
            rustix::fs::accessat(&self.handle, path, access, AtFlags::EACCESS)?;
        }
        Ok(())
    }

    /// The names of the cgroups in it.
    pub(super) fn children(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type() == FileType::Directory && name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Locks it: until the lock is free, or only if it is.
    pub(super) fn lock(&self, wait: bool) -> Result<(), Errno> {
        let operation = if wait {
            FlockOperation::LockExclusive
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        loop {
            match rustix::fs::flock(&self.handle, operation) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Kills what runs in a cgroup of it, and removes that with all below.
    pub(super) fn clear(&self, name: &str) -> Result<(), Errno> {
        let doomed = self.below(Path::new(name))?;
        for child in doomed.children()? {
            doomed.clear(&child)?;
        }
        if doomed
            .read("cgroup.procs")
            .is_ok_and(|text| !text.is_empty())
        {
            // Linux before 5.14 has no such file; what is in it ends with the process namespace of its step then.
            let _ = doomed.write("cgroup.kill", "1");
        }
        self.remove(name)
    }

    /// Removes a cgroup of it, in which nothing may be; the kernel may take a moment to let go of what has ended.
    pub(super) fn remove(&self, name: &str) -> Result<(), Errno> {
        if self.nature == Nature::Imitation {
            self.below(Path::new(name))?.forget_files()?;
        }
        let (tries, pause) = REMOVAL;
        for _ in 1..tries {
            match self.remove_empty(name) {
                Err(Errno::BUSY) => std::thread::sleep(pause),
                other => return other,
            }
        }
        self.remove_empty(name)
    }

    fn remove_empty(&self, name: &str) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn forget_files(&self) -> Result<(), Errno> {
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            if entry.file_type() == FileType::RegularFile {
                rustix::fs::unlinkat(&self.handle, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(())
    }
}
