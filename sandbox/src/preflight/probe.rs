//! What can only be known by trying or by asking the kernel. Invariant: a probe leaves nothing behind, and each can be
//! replaced by a closure, so that every check has a test on every machine.

use std::path::Path;

use rustix::fs::{self, Access, AtFlags, CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::{self, Errno};
use serde::Serialize;

/// Tries one thing.
pub type Probe<'a> = &'a dyn Fn() -> Result<(), Errno>;

/// How the checks try things and ask the kernel about files.
pub struct Probes<'a> {
    /// Makes a user namespace in a child and there something that needs a capability, such as a private mount: Ubuntu's
    /// AppArmor restriction allows the namespace and withholds the capabilities. `None`: not tried.
    pub userns: Option<Probe<'a>>,
    /// Mounts an overlay with `userxattr` in a user namespace, its upper directory in the store. `None`: not tried.
    pub overlay: Option<Probe<'a>>,
    /// Opens the tun device at the path for reading and writing.
    pub open_tun: &'a dyn Fn(&Path) -> Result<(), Errno>,
    /// Looks at a file, following links.
    pub file: &'a dyn Fn(&Path) -> Result<FileFacts, Errno>,
    /// Looks at the filesystem that a path lies on.
    pub filesystem: &'a dyn Fn(&Path) -> Result<FilesystemFacts, Errno>,
}

impl<'a> Probes<'a> {
    /// The real ones; the caller supplies the two that need a process of their own.
    pub fn of_this_host(userns: Probe<'a>, overlay: Probe<'a>) -> Self {
        Self {
            userns: Some(userns),
            overlay: Some(overlay),
            ..Self::without_trials()
        }
    }

    /// The real ones without those that need a process.
    pub fn without_trials() -> Self {
        Self {
            userns: None,
            overlay: None,
            open_tun: &open_tun,
            file: &file_facts,
            filesystem: &filesystem_facts,
        }
    }
}

/// What the checks want to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Whether it is a directory.
    pub directory: bool,
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The permitted set of its file capabilities (capabilities(7)), 0 without any.
    pub capabilities: u64,
    /// Whether this process may write to it.
    pub writable: bool,
}

/// What the checks want to know of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemFacts {
    /// Its type.
    pub kind: Filesystem,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mounted nosuid: the kernel ignores setuid bits and file capabilities.
    pub nosuid: bool,
    /// Bytes that the caller may still write.
    pub free: u64,
}

/// Filesystem types that matter to a store, told apart by statfs(2)'s magic number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// bcachefs.
    Bcachefs,
    /// ZFS.
    Zfs,
    /// tmpfs.
    Tmpfs,
    /// An overlay, as in a container.
    Overlay,
    /// NFS.
    Nfs,
    /// SMB or CIFS.
    Smb,
    /// 9P, as in virtual machines and WSL's /mnt.
    Plan9,
    /// Any FUSE filesystem.
    Fuse,
    /// eCryptfs, as in encrypted homes of old Ubuntu.
    Ecryptfs,
    /// FAT or exFAT.
    Fat,
    /// Anything else.
    Other(u32),
}

impl Filesystem {
    /// From `f_type`: the numbers are in linux/magic.h and statfs(2).
    pub fn from_magic(magic: u32) -> Self {
        match magic {
            0xef53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0x9123_683e => Self::Btrfs,
            0xf2f5_2010 => Self::F2fs,
            0xca45_1a4e => Self::Bcachefs,
            0x2fc1_2fc1 => Self::Zfs,
            0x0102_1994 => Self::Tmpfs,
            0x794c_7630 => Self::Overlay,
            0x6969 => Self::Nfs,
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Self::Smb,
            0x0102_1997 => Self::Plan9,
            0x6573_5546 => Self::Fuse,
            0xf15f => Self::Ecryptfs,
            0x4d44 | 0x2011_bab0 => Self::Fat,
            other => Self::Other(other),
        }
    }

    /// As in mount(8).
    pub fn name(self) -> String {
        match self {
            Self::Ext => "ext4".to_owned(),
            Self::Xfs => "xfs".to_owned(),
            Self::Btrfs => "btrfs".to_owned(),
            Self::F2fs => "f2fs".to_owned(),
            Self::Bcachefs => "bcachefs".to_owned(),
            Self::Zfs => "zfs".to_owned(),
            Self::Tmpfs => "tmpfs".to_owned(),
            Self::Overlay => "overlay".to_owned(),
            Self::Nfs => "nfs".to_owned(),
            Self::Smb => "cifs".to_owned(),
            Self::Plan9 => "9p".to_owned(),
            Self::Fuse => "fuse".to_owned(),
            Self::Ecryptfs => "ecryptfs".to_owned(),
            Self::Fat => "vfat".to_owned(),
            Self::Other(magic) => format!("a filesystem of type {magic:#x}"),
        }
    }
}

/// O_NONBLOCK: opening makes no interface (that takes TUNSETIFF), but a path that is no device must not block either.
fn open_tun(path: &Path) -> Result<(), Errno> {
    fs::open(
        path,
        OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )
    .map(drop)
}

fn file_facts(path: &Path) -> Result<FileFacts, Errno> {
    let stat = fs::statat(CWD, path, AtFlags::empty())?;
    Ok(FileFacts {
        directory: fs::FileType::from_raw_mode(stat.st_mode).is_dir(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        capabilities: file_capabilities(path),
        writable: fs::access(path, Access::WRITE_OK).is_ok(),
    })
}

/// Anything unreadable counts as no capability.
fn file_capabilities(path: &Path) -> u64 {
    let mut buffer = [0_u8; 24];
    match fs::getxattr(path, c"security.capability", &mut buffer[..]) {
        Ok(length) => permitted(&buffer[..length]).unwrap_or(0),
        Err(_) => 0,
    }
}

/// The permitted set of struct vfs_cap_data (linux/capability.h): a magic word, then permitted and inheritable words, the
/// low halves first.
fn permitted(xattr: &[u8]) -> Option<u64> {
    let word = |at: usize| {
        Some(u64::from(u32::from_le_bytes(
            xattr.get(at..at + 4)?.try_into().ok()?,
        )))
    };
    Some(word(4)? | word(12)? << 32)
}

fn filesystem_facts(path: &Path) -> io::Result<FilesystemFacts> {
    let magic = fs::statfs(path)?.f_type;
    let mount = fs::statvfs(path)?;
    Ok(FilesystemFacts {
        // The magic numbers have 32 bits; the field's width and sign differ between architectures.
        kind: Filesystem::from_magic((magic as u64 & 0xffff_ffff) as u32),
        read_only: mount.f_flag.contains(StatVfsMountFlags::RDONLY),
        nosuid: mount.f_flag.contains(StatVfsMountFlags::NOSUID),
        free: mount.f_bavail.saturating_mul(mount.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn file_capabilities_are_read_as_setcap_writes_them() {
        let cap_setuid_ep = [
            1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(permitted(&cap_setuid_ep), Some(1 << 7));
        let cap_bpf_p = [
            0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(permitted(&cap_bpf_p), Some(1 << 39));
        assert_eq!(permitted(&cap_setuid_ep[..12]), None);
    }

    #[test]
    fn facts_of_a_real_file_are_those_of_stat() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o4750))
            .unwrap();
        let facts = file_facts(file.path()).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let expected = FileFacts {
            directory: false,
            mode: 0o4750,
            uid,
            capabilities: 0,
            writable: true,
        };
        assert_eq!(facts, expected);
        assert!(filesystem_facts(file.path()).unwrap().free > 0);
        assert_eq!(file_facts(&file.path().join("below")), Err(Errno::NOTDIR));
    }

    #[test]
    fn proc_is_no_filesystem_for_a_store() {
        let kind = filesystem_facts(Path::new("/proc")).unwrap().kind;
        assert_eq!(kind, Filesystem::Other(0x9fa0));
        assert_eq!(kind.name(), "a filesystem of type 0x9fa0");
    }

    #[test]
    fn a_tun_device_that_is_missing_is_reported_as_such() {
        assert_eq!(
            open_tun(Path::new("/dev/net/no-such-tun")),
            Err(Errno::NOENT)
        );
    }
}
