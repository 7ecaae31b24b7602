//! Targets inside a root that somebody else wrote. The invariant: every path is resolved by openat2(2) with
//! RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, and what the caller gets is the handle, never a path (CVE-2026-41579,
//! CVE-2025-31133).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno as RErrno;

use crate::failure::{During, SetupFailure};

/// The root of a sandbox under construction.
#[derive(Debug)]
pub(crate) struct TargetRoot(OwnedFd);

impl TargetRoot {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    fn resolve(&self, path: &str, flags: OFlags, more: ResolveFlags) -> Result<OwnedFd, RErrno> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        loop {
            // EAGAIN: a rename elsewhere raced the resolution of `..`, openat2(2).
            match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), how) {
                Err(RErrno::AGAIN | RErrno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Whatever `path` leads to, or `None` where there is nothing.
    pub(crate) fn existing(&self, path: &str) -> Result<Option<OwnedFd>, RErrno> {
        match self.resolve(path, OFlags::empty(), ResolveFlags::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(RErrno::NOENT | RErrno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory that `path` leads to.
    pub(crate) fn directory(&self, path: &str) -> Result<OwnedFd, RErrno> {
        self.resolve(path, OFlags::DIRECTORY, ResolveFlags::empty())
    }

    /// A directory that a kernel file system is mounted on. It must be a real one all the way: a symbolic link at /proc
    /// would send every later write elsewhere (CVE-2025-52881).
    pub(crate) fn real_directory(&self, path: &str) -> Result<OwnedFd, SetupFailure> {
        let open = || self.resolve(path, OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS);
        match open() {
            Err(RErrno::NOENT) => {
                self.make_directories(path)?;
                open()
            }
            other => other,
        }
        .during(|| format!("open {path} in the image, which must be a directory and no link"))
    }

    /// A directory or file to attach something to, made where it is missing.
    pub(crate) fn mount_point(&self, path: &str, directory: bool) -> Result<OwnedFd, SetupFailure> {
        if let Some(fd) = self
            .existing(path)
            .during(|| format!("open the mount point {path}"))?
        {
            return Ok(fd);
        }
        if directory {
            return self.make_directories(path);
        }
        let (parent, name) = split(path);
        let parent = match self.directory(parent) {
            Ok(parent) => parent,
            Err(_) => self.make_directories(parent)?,
        };
        // A new file is what it is called: it need not be looked for again.
        match rustix::fs::openat(
            &parent,
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY,
            Mode::from_raw_mode(0o644),
        ) {
            Ok(file) => Ok(file),
            Err(RErrno::EXIST) => self
                .resolve(path, OFlags::empty(), ResolveFlags::empty())
                .during(|| format!("open the mount point {path}")),
            Err(error) => Err(error).during(|| format!("create the mount point {path}")),
        }
    }

    fn make_directories(&self, path: &str) -> Result<OwnedFd, SetupFailure> {
        let mut done = String::from("/");
        let mut at = self
            .resolve("/", OFlags::DIRECTORY, ResolveFlags::empty())
            .during(|| "open /".into())?;
        for name in path
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
        {
            if name == ".." {
                return Err(SetupFailure::new(
                    format!("create the mount point {path}"),
                    Errno::EINVAL,
                ));
            }
            done = format!("{done}{name}/");
            at = match self.directory(&done) {
                Err(RErrno::NOENT) => self.make_directory(&at, name, &done)?,
                other => other.during(|| format!("open {done} in the image"))?,
            };
        }
        Ok(at)
    }

    fn make_directory(
        &self,
        at: &OwnedFd,
        name: &str,
        path: &str,
    ) -> Result<OwnedFd, SetupFailure> {
        match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(RErrno::EXIST) => {}
            Err(error) => return Err(error).during(|| format!("create {path} in the image")),
        }
        self.directory(path)
            .during(|| format!("open {path} in the image"))
    }

    /// Makes a symbolic link in a directory that this set-up mounted itself.
    pub(crate) fn symlink(&self, path: &str, target: &str) -> Result<(), SetupFailure> {
        let (parent, name) = split(path);
        let parent = self
            .resolve(parent, OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
            .during(|| format!("open {parent}"))?;
        rustix::fs::symlinkat(target, &parent, name).during(|| format!("create {path}"))
    }
}

impl AsFd for TargetRoot {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn split(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(pair) => pair,
        None => ("/", path),
    }
}

/// Opens one of the host's devices and checks that it is the one its name promises, so that nothing else can be bound in
/// its place (CVE-2025-31133).
pub(crate) fn host_device(name: &str) -> Result<OwnedFd, SetupFailure> {
    // Numbers from the kernel's Documentation/admin-guide/devices.txt.
    let number = match name {
        "null" => (1, 3),
        "zero" => (1, 5),
        "full" => (1, 7),
        "random" => (1, 8),
        "urandom" => (1, 9),
        "tty" => (5, 0),
        _ => {
            return Err(SetupFailure::new(
                format!("bind the unknown device {name}"),
                Errno::ENODEV,
            ));
        }
    };
    let path = format!("/dev/{name}");
    let tree = rustix::mount::open_tree(
        CWD,
        path.as_str(),
        rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
            | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .during(|| format!("open {path}"))?;
    let stat = rustix::fs::fstat(&tree).during(|| format!("look at {path}"))?;
    let found = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || found != number {
        return Err(SetupFailure::new(
            format!(
                "trust {path}, which is not device {}:{}",
                number.0, number.1
            ),
            Errno::ENODEV,
        ));
    }
    Ok(tree)
}
