//! Files that overlayfs fills from somewhere else. Invariant: such a file has a size and no content; what it shows is the file at
//! the path in the data-only lower directory of the mount, and under its own owner, mode, attributes and time.
//!
//! From Linux 6.16 an ordinary user may mount `lowerdir=META::DATA,userxattr` (overlayfs documentation, "Data-only lower
//! layers"). The kernel looks the path up beneath the directory, and follows no link and enters no mount on the way
//! (fs/overlayfs/namei.c, `ovl_lookup_data_layer`).

use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The kernel takes the path as it takes those of system calls.
const PATH_MAX: usize = 4096;

/// Makes the empty `file` one of `size` bytes, whose content is that of the file at `path`, absolute in the data directory.
///
/// # Errors
/// What the kernel said; ENAMETOOLONG, or ENOSPC of some file systems, for a path that does not fit.
pub fn redirect(file: impl AsFd, size: u64, path: &[u8]) -> rustix::io::Result<()> {
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    rustix::fs::ftruncate(&file, size)?;
    // An attribute without a value is the first version of the format (fs/overlayfs/util.c, `ovl_check_metacopy_xattr`).
    for (name, value) in [
        ("user.overlay.metacopy", b"".as_slice()),
        ("user.overlay.redirect", path),
    ] {
        rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())?;
    }
    Ok(())
}
