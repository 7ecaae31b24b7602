//! Overlay mounts through the new mount API, so that no option string is ever built from a path. The invariant: what comes
//! back is a detached mount, which disappears with its descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
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
        if BEFORE_6_8.load(Ordering::Relaxed) && self.data_only.is_empty() {
            return self.mount_in_one_string();
        }
        match self.mount_one_by_one() {
            // Before Linux 6.8 the kernel knows no `lowerdir+`, and before 6.5 it says so only when the mount is made. It writes a
            // line into its log each time.
            Err(failure) if failure.errno() == Errno::EINVAL && self.data_only.is_empty() => {
                let mounted = self.mount_in_one_string()?;
                BEFORE_6_8.store(true, Ordering::Relaxed);
                Ok(mounted)
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
        fs.mount(self.work())
    }

    /// As [`Overlay::mount`] does before Linux 6.8. A value has at most 255 bytes, fsconfig(2), so the directories are named by
    /// short links, relative to the directory of the links: 106 layers fit.
    ///
    /// # Errors
    /// As [`Overlay::mount`]; also where there are more.
    pub fn mount_in_one_string(&self) -> Result<OwnedFd, SetupFailure> {
        let names: Vec<String> = (0..self.lowers.len()).map(short_name).collect();
        let value = names.join(":");
        if value.len() > MAX_VALUE {
            return Err(self.too_many("this kernel, older than 6.8, takes 106"));
        }
        let mount = || {
            // The working directory becomes this thread's own, clone(2), CLONE_FS.
            unshare(CloneFlags::CLONE_FS).during(|| "have an own working directory".into())?;
            let links = Links::enter()?;
            for (name, lower) in names.iter().zip(&self.lowers) {
                links.add(name, lower)?;
            }
            let fs = Context::open()?;
            fs.set("lowerdir", Path::new(&value))?;
            if let Some(Upper { upper, work }) = &self.upper {
                let (names, paths) = (["upper", "work"], [upper, work]);
                for (name, path) in names.iter().zip(paths) {
                    links.add(name, path)?;
                }
                fs.set_upper(Path::new(names[0]), Path::new(names[1]))?;
            }
            fs.mount(self.work())
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, mount);
            let thread = thread.during(|| "start a thread".into())?;
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn work(&self) -> Option<&Path> {
        self.upper.as_ref().map(|upper| upper.work.as_path())
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

/// Whether this kernel has turned out to be older than 6.8.
static BEFORE_6_8: AtomicBool = AtomicBool::new(false);

/// Another name for each number: one letter or digit, from the 63rd on two.
fn short_name(number: usize) -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let (tens, ones) = (number / digits.len(), number % digits.len());
    let tens = tens.checked_sub(1).map(|tens| digits[tens % digits.len()]);
    tens.into_iter()
        .chain([digits[ones]])
        .map(char::from)
        .collect()
}

/// A directory in memory, mounted nowhere, of links to directories.
struct Links(OwnedFd);

impl Links {
    /// Makes it the thread's working directory.
    fn enter() -> Result<Self, SetupFailure> {
        let here = || "make a directory in memory".to_owned();
        let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(here)?;
        rustix::mount::fsconfig_set_string(&fs, "mode", "0700").during(here)?;
        rustix::mount::fsconfig_create(&fs).during(here)?;
        let (flags, attributes) = (FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty());
        let mount = rustix::mount::fsmount(&fs, flags, attributes).during(here)?;
        rustix::process::fchdir(&mount).during(here)?;
        Ok(Self(mount))
    }

    fn add(&self, name: &str, directory: &Path) -> Result<(), SetupFailure> {
        rustix::fs::symlinkat(directory, &self.0, name)
            .during(|| format!("link to {}", directory.display()))
    }
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

    /// `work` is the working directory of one that is to be written.
    fn mount(self, work: Option<&Path>) -> Result<OwnedFd, SetupFailure> {
        rustix::mount::fsconfig_create(&self.0).during(|| "create an overlay".into())?;
        let mount = rustix::mount::fsmount(
            &self.0,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .during(|| "mount an overlay".into())?;
        if let Some(work) = work {
            can_be_written(&mount, work)?;
        }
        Ok(mount)
    }
}

/// The kernel mounts read-only where it cannot make its own directory below the working directory, and tells its log alone why
/// (ovl_get_workdir in fs/overlayfs/super.c).
fn can_be_written(mount: &OwnedFd, work: &Path) -> Result<(), SetupFailure> {
    let here = || format!("make an overlay's directory in {}", work.display());
    let status = rustix::fs::fstatvfs(mount).during(here)?;
    if !status
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::RDONLY)
    {
        return Ok(());
    }
    let probe = work.join("probe");
    rustix::fs::mkdir(&probe, rustix::fs::Mode::RWXU).during(here)?;
    let _ = rustix::fs::rmdir(&probe);
    // What was missing is there again: most likely room.
    Err(SetupFailure::new(here(), Errno::ENOSPC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_106_layers_are_distinct_and_fit_into_a_value() {
        let names: Vec<String> = (0..106).map(short_name).collect();
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), 106);
        assert_eq!(names.join(":").len(), MAX_VALUE);
    }
}
