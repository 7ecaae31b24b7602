//! Overlay mounts through the new mount API, so that no option string is ever built from a path. The invariant: what comes
//! back is a detached mount, which disappears with its descriptor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::failure::{During, SetupFailure};

/// The most lower layers that the kernel takes: the 501st is EINVAL (OVL_MAX_STACK, fs/overlayfs/params.h).
pub const MAX_LOWERS: usize = 500;

/// The writable part of an overlay.
#[derive(Clone, Debug)]
pub struct Upper {
    /// Receives the changes.
    pub upper: PathBuf,
    /// An empty directory on the same file system.
    pub work: PathBuf,
}

/// An overlay to be mounted.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Lower directories whose files are reached only through redirects of the ones above.
    pub data_only: Vec<PathBuf>,
    /// Where changes go; without it the mount is read-only.
    pub upper: Option<Upper>,
}

impl Overlay {
    /// Mounts it, detached.
    ///
    /// # Errors
    /// The step that the kernel refused, with the directory it was about.
    pub fn mount(&self) -> Result<OwnedFd, SetupFailure> {
        if self.lowers.len() + self.data_only.len() > MAX_LOWERS {
            return Err(self.too_many("the kernel takes 500"));
        }
        match self.mount_one_by_one() {
            // Before Linux 6.8 the kernel knows no `lowerdir+`; the oldest say so only when the mount is made.
            Err(failure) if failure.errno() == Errno::EINVAL && self.data_only.is_empty() => {
                self.mount_in_one_string()
            }
            other => other,
        }
    }

    fn mount_one_by_one(&self) -> Result<OwnedFd, SetupFailure> {
        let fs = Context::open()?;
        for lower in &self.lowers {
            fs.set("lowerdir+", lower)?;
        }
        for data in &self.data_only {
            fs.set("datadir+", data)?;
        }
        if let Some(Upper { upper, work }) = &self.upper {
            fs.set_upper(upper, work)?;
        }
        fs.mount()
    }

    /// As [`Overlay::mount`] does before Linux 6.8. A value has at most 255 bytes, fsconfig(2), so the directories are opened
    /// and named by the numbers of their descriptors: some 60 layers fit.
    ///
    /// # Errors
    /// As [`Overlay::mount`]; also where there are more.
    pub fn mount_in_one_string(&self) -> Result<OwnedFd, SetupFailure> {
        let mount = || {
            // The names are relative to a working directory that is this thread's own, clone(2), CLONE_FS.
            unshare(CloneFlags::CLONE_FS).during(|| "have an own working directory".into())?;
            rustix::process::chdir("/proc/self/fd").during(|| "enter /proc/self/fd".into())?;
            let lowers = self.lowers.iter().map(|lower| handle(lower));
            let lowers: Vec<OwnedFd> = lowers.collect::<Result<_, _>>()?;
            let names: Vec<String> = lowers.iter().map(number).collect();
            let names = names.join(":");
            if names.len() > MAX_VALUE {
                return Err(self.too_many("this kernel, older than 6.8, takes fewer"));
            }
            let fs = Context::open()?;
            fs.set("lowerdir", Path::new(&names))?;
            let upper = self.upper.as_ref();
            let upper = upper.map(|it| Ok((handle(&it.upper)?, handle(&it.work)?)));
            let upper = upper.transpose()?;
            if let Some((upper, work)) = &upper {
                fs.set_upper(Path::new(&number(upper)), Path::new(&number(work)))?;
            }
            fs.mount()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, mount);
            let thread = thread.during(|| "start a thread".into())?;
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn too_many(&self, limit: &str) -> SetupFailure {
        let layers = self.lowers.len();
        SetupFailure::new(
            format!("mount an overlay of {layers} layers ({limit})"),
            Errno::E2BIG,
        )
    }
}

/// The longest value of fsconfig(2), in bytes.
const MAX_VALUE: usize = 255;

fn handle(path: &Path) -> Result<OwnedFd, SetupFailure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during(|| format!("open {}", path.display()))
}

fn number(handle: &OwnedFd) -> String {
    handle.as_raw_fd().to_string()
}

/// An overlay that is being put together.
struct Context(OwnedFd);

impl Context {
    fn open() -> Result<Self, SetupFailure> {
        let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .during(|| "open the overlay file system".into())?;
        let context = Self(fs);
        context.set("source", Path::new("rbuild"))?;
        // Without privilege in the initial namespace the attributes live in user.overlay.*, kernel 5.11.
        context.flag("userxattr")?;
        Ok(context)
    }

    fn set(&self, key: &str, path: &Path) -> Result<(), SetupFailure> {
        rustix::mount::fsconfig_set_string(&self.0, key, path)
            .during(|| format!("add {} to an overlay as {key}", path.display()))
    }

    fn flag(&self, key: &str) -> Result<(), SetupFailure> {
        rustix::mount::fsconfig_set_flag(&self.0, key)
            .during(|| format!("set the overlay option {key}"))
    }

    fn set_upper(&self, upper: &Path, work: &Path) -> Result<(), SetupFailure> {
        self.set("upperdir", upper)?;
        self.set("workdir", work)?;
        // A step that a crash interrupts is thrown away, so nothing in it needs to reach the disk by itself.
        self.flag("volatile")
    }

    fn mount(self) -> Result<OwnedFd, SetupFailure> {
        rustix::mount::fsconfig_create(&self.0).during(|| "create an overlay".into())?;
        rustix::mount::fsmount(
            &self.0,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .during(|| "mount an overlay".into())
    }
}
