//! Overlay mounts through the new mount API, so that no option string is ever built from a path. The invariant: what comes
//! back is a detached mount, which disappears with its descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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
            return Err(SetupFailure::new(
                format!(
                    "mount an overlay of {} layers (the kernel takes {MAX_LOWERS})",
                    self.lowers.len()
                ),
                nix::errno::Errno::E2BIG,
            ));
        }
        let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .during(|| "open the overlay file system".into())?;
        let set = |key: &str, path: &Path| {
            rustix::mount::fsconfig_set_string(&fs, key, path)
                .during(|| format!("add {} to an overlay as {key}", path.display()))
        };
        let flag = |key: &str| {
            rustix::mount::fsconfig_set_flag(&fs, key)
                .during(|| format!("set the overlay option {key}"))
        };
        set("source", Path::new("rbuild"))?;
        for lower in &self.lowers {
            set("lowerdir+", lower)?;
        }
        for data in &self.data_only {
            set("datadir+", data)?;
        }
        // Without privilege in the initial namespace the attributes live in user.overlay.*, kernel 5.11.
        flag("userxattr")?;
        if let Some(upper) = &self.upper {
            set("upperdir", &upper.upper)?;
            set("workdir", &upper.work)?;
            // A step that a crash interrupts is thrown away, so nothing in it needs to reach the disk by itself.
            flag("volatile")?;
        }
        rustix::mount::fsconfig_create(&fs).during(|| "create an overlay".into())?;
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .during(|| "mount an overlay".into())
    }
}
