//! Program files of the host, as children execute them: rbuild's own and emulators. The invariant: whoever reaches one through
//! /proc/PID/exe of a child reaches a read-only mount, or a file that he may not write anyway, so that not even its owner can
//! overwrite the file on the host from inside a container (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{CWD, MemfdFlags, SealFlags};
use rustix::mount::OpenTreeFlags;

use crate::failure::{During, SetupFailure};
use crate::idmap::{Extent, ExtentMap};
use crate::sys;

/// A handle to rbuild's executable that can be executed but never written through.
#[derive(Debug)]
pub struct OwnExecutable(OwnedFd);

impl OwnExecutable {
    /// Opens the running program through a detached read-only mount of its own, or where the kernel or the mount's owner
    /// does not allow one, as a sealed copy in memory.
    pub(crate) fn open() -> Result<Self, SetupFailure> {
        Self::read_only_mount().or_else(|_| sealed_copy(Path::new("/proc/self/exe")).map(Self))
    }

    fn read_only_mount() -> Result<Self, SetupFailure> {
        // The process's own link leads to the mount namespace that it was started in, where nothing may be cloned from:
        // the path leads to the same file in this one.
        let link = "/proc/self/exe";
        let path = std::fs::read_link(link).during(|| format!("read {link}"))?;
        let tree = read_only_mount(&path)?;
        if file_id(&tree)? != file_id(&File::open(link).during(|| format!("open {link}"))?)? {
            let operation = format!("find rbuild's program at {}", path.display());
            return Err(SetupFailure::new(operation, Errno::ESTALE));
        }
        Ok(Self(tree))
    }

    /// A path that execve(2) in this process or a child that shares its descriptors takes.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd())
    }
}

/// Whether nobody with these user ids may write rbuild's own file, whatever leads him to it: it is another's, and only its owner may
/// write it. So it is where an administrator installed it.
pub(crate) fn is_out_of_reach(uids: &ExtentMap) -> bool {
    rustix::fs::stat("/proc/self/exe")
        .is_ok_and(|stat| only_others_write(stat.st_uid, stat.st_mode, uids))
}

fn only_others_write(owner: u32, mode: u32, uids: &ExtentMap) -> bool {
    // Owners that have no number in the caller's namespace have this one, user_namespaces(7).
    const OVERFLOW: u32 = 65_534;
    // Without the group's bit an access control list lets nobody write either, acl(5).
    const GROUP_AND_OTHERS: u32 = 0o022;
    let has = |extent: &Extent| {
        let place = owner.checked_sub(extent.outside);
        place.is_some_and(|place| place < extent.count)
    };
    owner != OVERFLOW && mode & GROUP_AND_OTHERS == 0 && !uids.extents().iter().any(has)
}

/// A handle to a program of the host that can be executed but never written through.
pub(crate) fn protected(path: &Path) -> Result<OwnedFd, SetupFailure> {
    read_only_mount(path).or_else(|_| sealed_copy(path))
}

fn read_only_mount(path: &Path) -> Result<OwnedFd, SetupFailure> {
    let tree = rustix::mount::open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .during(|| format!("clone the mount of {}", path.display()))?;
    sys::mount_setattr(&tree, false, libc::MOUNT_ATTR_RDONLY)
        .during(|| format!("make the mount of {} read-only", path.display()))?;
    Ok(tree)
}

fn sealed_copy(path: &Path) -> Result<OwnedFd, SetupFailure> {
    let copy = || -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = match rustix::fs::memfd_create("rbuild", flags | MemfdFlags::EXEC) {
            // Before Linux 6.3 the flag is unknown, and every such file can be executed, memfd_create(2).
            Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("rbuild", flags),
            other => other,
        }?;
        let mut to = File::from(memfd);
        io::copy(&mut File::open(path)?, &mut to)?;
        rustix::fs::fcntl_add_seals(
            &to,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        // A file that is open for writing cannot be executed (ETXTBSY): the handle is opened again.
        Ok(File::open(format!("/proc/self/fd/{}", to.as_raw_fd()))?.into())
    };
    copy().during(|| format!("make a sealed copy of {}", path.display()))
}

fn file_id(file: impl AsFd) -> Result<(u64, u64), SetupFailure> {
    let stat = rustix::fs::fstat(file).during(|| "look at rbuild's program".into())?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_out_of_reach_when_no_id_of_the_session_may_write_it() {
        let extent = |inside, outside, count| Extent {
            inside,
            outside,
            count,
        };
        let uids =
            ExtentMap::new(vec![extent(0, 1000, 1), extent(1, 100_000, 65_536)]).expect("a map");
        let cases = [
            (0, 0o755, true),
            (0, 0o775, false),
            (0, 0o757, false),
            (1000, 0o555, false),
            (1001, 0o755, true),
            (99_999, 0o755, true),
            (100_000, 0o755, false),
            (165_535, 0o755, false),
            (165_536, 0o755, true),
            (65_534, 0o755, false),
        ];
        for (owner, mode, expected) in cases {
            assert_eq!(
                only_others_write(owner, mode, &uids),
                expected,
                "{owner} {mode:o}"
            );
        }
    }

    #[test]
    fn a_sealed_copy_can_be_executed_and_not_written() {
        let copy = sealed_copy(Path::new("/bin/true")).expect("a copy");
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let status = std::process::Command::new(&path).status();
        assert!(status.expect("it starts").success());
        let opened = File::options().write(true).open(&path);
        let written = opened.and_then(|mut file| io::Write::write_all(&mut file, b"x"));
        assert!(written.is_err());
    }
}
