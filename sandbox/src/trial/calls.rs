//! The system calls that a trial looks at. The invariant: a call is here because its failure, or what it changes, tells something of
//! what an image lacks; everything else runs at its full speed.

/// Where a call has the path that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The argument that is a path, and the one that is the directory which it begins at.
    Path {
        directory: Option<usize>,
        path: usize,
    },
    /// The argument that is a socket's address; its length follows.
    Address(usize),
    /// Nothing but the call itself.
    None,
}

/// Whether a call changes the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Never,
    Always,
    /// Where these flags of open(2) say so.
    Flags(usize),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) number: i64,
    pub(super) name: &'static str,
    pub(super) subject: Subject,
    pub(super) change: Change,
}

const fn at(number: i64, name: &'static str, directory: usize, change: Change) -> Call {
    let subject = Subject::Path {
        directory: Some(directory),
        path: directory + 1,
    };
    Call {
        number,
        name,
        subject,
        change,
    }
}

const fn of(number: i64, name: &'static str, path: usize, change: Change) -> Call {
    let subject = Subject::Path {
        directory: None,
        path,
    };
    Call {
        number,
        name,
        subject,
        change,
    }
}

const fn alone(number: i64, name: &'static str) -> Call {
    Call {
        number,
        name,
        subject: Subject::None,
        change: Change::Never,
    }
}

const fn socket(number: i64, name: &'static str) -> Call {
    Call {
        number,
        name,
        subject: Subject::Address(1),
        change: Change::Never,
    }
}

use Change::{Always, Flags, Never};

/// Those of every architecture.
const EVERYWHERE: &[Call] = &[
    at(libc::SYS_openat, "open", 0, Flags(2)),
    at(libc::SYS_openat2, "open", 0, Never),
    of(libc::SYS_execve, "execute", 0, Never),
    at(libc::SYS_execveat, "execute", 0, Never),
    at(libc::SYS_faccessat, "look at", 0, Never),
    at(libc::SYS_faccessat2, "look at", 0, Never),
    at(libc::SYS_newfstatat, "look at", 0, Never),
    at(libc::SYS_statx, "look at", 0, Never),
    at(libc::SYS_readlinkat, "look at", 0, Never),
    at(libc::SYS_mkdirat, "make the directory", 0, Always),
    at(libc::SYS_mknodat, "make", 0, Always),
    at(libc::SYS_unlinkat, "remove", 0, Always),
    at(libc::SYS_symlinkat, "link", 1, Always),
    at(libc::SYS_linkat, "link", 2, Always),
    at(libc::SYS_renameat2, "rename to", 2, Always),
    at(libc::SYS_fchmodat, "change the mode of", 0, Always),
    at(libc::SYS_fchownat, "change the owner of", 0, Always),
    at(libc::SYS_utimensat, "change the times of", 0, Always),
    of(libc::SYS_truncate, "write", 0, Always),
    of(libc::SYS_chdir, "enter", 0, Never),
    of(libc::SYS_chroot, "chroot to", 0, Never),
    socket(libc::SYS_bind, "bind"),
    socket(libc::SYS_connect, "connect to"),
    alone(libc::SYS_setuid, "setuid"),
    alone(libc::SYS_setgid, "setgid"),
    alone(libc::SYS_setreuid, "setreuid"),
    alone(libc::SYS_setregid, "setregid"),
    alone(libc::SYS_setresuid, "setresuid"),
    alone(libc::SYS_setresgid, "setresgid"),
    alone(libc::SYS_setgroups, "setgroups"),
    alone(libc::SYS_socket, "socket"),
    alone(libc::SYS_kill, "kill"),
    alone(libc::SYS_capset, "capset"),
    alone(libc::SYS_prctl, "prctl"),
    of(libc::SYS_setxattr, "set an attribute of", 0, Always),
];

#[cfg(target_arch = "x86_64")]
const HERE: &[Call] = &[
    of(libc::SYS_open, "open", 0, Flags(1)),
    of(libc::SYS_creat, "open", 0, Always),
    of(libc::SYS_access, "look at", 0, Never),
    of(libc::SYS_stat, "look at", 0, Never),
    of(libc::SYS_lstat, "look at", 0, Never),
    of(libc::SYS_readlink, "look at", 0, Never),
    of(libc::SYS_mkdir, "make the directory", 0, Always),
    of(libc::SYS_mknod, "make", 0, Always),
    of(libc::SYS_rmdir, "remove", 0, Always),
    of(libc::SYS_unlink, "remove", 0, Always),
    of(libc::SYS_symlink, "link", 1, Always),
    of(libc::SYS_link, "link", 1, Always),
    of(libc::SYS_rename, "rename to", 1, Always),
    at(libc::SYS_renameat, "rename to", 2, Always),
    of(libc::SYS_chmod, "change the mode of", 0, Always),
    of(libc::SYS_chown, "change the owner of", 0, Always),
    of(libc::SYS_lchown, "change the owner of", 0, Always),
];

#[cfg(not(target_arch = "x86_64"))]
const HERE: &[Call] = &[];

/// The numbers of all of them.
pub(super) fn numbers() -> impl Iterator<Item = i64> {
    EVERYWHERE.iter().chain(HERE).map(|call| call.number)
}

/// The call of that number.
pub(super) fn numbered(number: i64) -> Option<&'static Call> {
    let mut all = EVERYWHERE.iter().chain(HERE);
    all.find(|call| call.number == number)
}
