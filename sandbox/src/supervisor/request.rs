//! What a call about files asks for, whichever of several calls it is. The invariant: nothing of the caller's memory is read here.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::caller::Caller;

/// A file as a call names it.
pub(super) struct Named {
    pub(super) directory: i32,
    /// Where the path is in the caller's memory.
    pub(super) path: u64,
    pub(super) flags: i32,
}

impl Named {
    fn at(directory: u64, path: u64, flags: i32) -> Self {
        Self {
            directory: int(directory),
            path,
            flags,
        }
    }

    /// The file that a descriptor is.
    fn open_file(descriptor: u64) -> Self {
        Self::at(descriptor, 0, libc::AT_EMPTY_PATH)
    }

    /// Of a call without a descriptor.
    #[cfg(target_arch = "x86_64")]
    fn path(path: u64, flags: i32) -> Self {
        Self {
            directory: libc::AT_FDCWD,
            path,
            flags,
        }
    }

    /// Whether a link at the end of the path is followed.
    pub(super) fn follow(&self) -> bool {
        self.flags & libc::AT_SYMLINK_NOFOLLOW == 0
    }

    pub(super) fn open(&self, caller: &Caller) -> Result<OwnedFd, Errno> {
        let whole = self.flags & libc::AT_EMPTY_PATH != 0;
        if whole && (self.path == 0 || caller.text(self.path)?.is_empty()) {
            return caller.descriptor(self.directory);
        }
        caller.open(self.directory, &caller.text(self.path)?, self.follow())
    }
}

/// What is asked for.
pub(super) enum Request {
    /// stat(2)
    Status {
        named: Named,
        into: u64,
    },
    /// statx(2)
    Extended {
        named: Named,
        mask: u32,
        into: u64,
    },
    Chown {
        named: Named,
        owner: [u32; 2],
    },
    Mkdir {
        named: Named,
        mode: u32,
    },
    Symlink {
        named: Named,
        target: u64,
    },
    Mknod {
        named: Named,
        mode: u32,
    },
    /// open(2) with O_CREAT
    Create {
        named: Named,
        mode: u32,
    },
    /// rename(2), link(2): the source.
    Move {
        named: Named,
    },
    Execute {
        named: Named,
    },
}

/// The low half of an argument, as a number that may be negative.
pub(super) fn int(argument: u64) -> i32 {
    word(argument).cast_signed()
}

/// The low half of an argument, as an id or a mode.
pub(super) fn word(argument: u64) -> u32 {
    (argument & 0xffff_ffff) as u32
}

const NOFOLLOW: i32 = libc::AT_SYMLINK_NOFOLLOW;

impl Request {
    /// What the call `number` asks for; `None` for one that is about something else.
    pub(super) fn of(number: i64, args: &[u64; 6]) -> Option<Self> {
        Self::that_looks(number, args)
            .or_else(|| Self::that_makes(number, args))
            .or_else(|| Self::older(number, args))
    }

    /// Calls about files that are there.
    fn that_looks(number: i64, args: &[u64; 6]) -> Option<Self> {
        Some(match number {
            libc::SYS_newfstatat => Self::Status {
                named: Named::at(args[0], args[1], int(args[3])),
                into: args[2],
            },
            libc::SYS_fstat => Self::Status {
                named: Named::open_file(args[0]),
                into: args[1],
            },
            libc::SYS_statx => Self::Extended {
                named: Named::at(args[0], args[1], int(args[2])),
                mask: word(args[3]),
                into: args[4],
            },
            libc::SYS_fchownat => Self::Chown {
                named: Named::at(args[0], args[1], int(args[4])),
                owner: [word(args[2]), word(args[3])],
            },
            libc::SYS_fchown => Self::Chown {
                named: Named::open_file(args[0]),
                owner: [word(args[1]), word(args[2])],
            },
            libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => Self::Move {
                named: Named::at(args[0], args[1], NOFOLLOW),
            },
            libc::SYS_execve => Self::Execute {
                named: Named {
                    directory: libc::AT_FDCWD,
                    path: args[0],
                    flags: 0,
                },
            },
            libc::SYS_execveat => Self::Execute {
                named: Named::at(args[0], args[1], int(args[4])),
            },
            _ => return None,
        })
    }

    /// Calls that make something.
    fn that_makes(number: i64, args: &[u64; 6]) -> Option<Self> {
        Some(match number {
            libc::SYS_mkdirat => Self::Mkdir {
                named: Named::at(args[0], args[1], 0),
                mode: word(args[2]),
            },
            libc::SYS_symlinkat => Self::Symlink {
                named: Named::at(args[1], args[2], 0),
                target: args[0],
            },
            libc::SYS_mknodat => Self::Mknod {
                named: Named::at(args[0], args[1], 0),
                mode: word(args[2]),
            },
            libc::SYS_openat => Self::Create {
                named: Named::at(args[0], args[1], int(args[2])),
                mode: word(args[3]),
            },
            _ => return None,
        })
    }

    /// Calls that newer processors do without.
    #[cfg(not(target_arch = "x86_64"))]
    fn older(_: i64, _: &[u64; 6]) -> Option<Self> {
        None
    }

    /// Calls that newer processors do without.
    #[cfg(target_arch = "x86_64")]
    fn older(number: i64, args: &[u64; 6]) -> Option<Self> {
        let flags = match number {
            libc::SYS_lstat | libc::SYS_lchown | libc::SYS_rename | libc::SYS_link => NOFOLLOW,
            libc::SYS_open => int(args[1]),
            libc::SYS_creat => libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
            _ => 0,
        };
        let (named, second) = (Named::path(args[0], flags), word(args[1]));
        Some(match number {
            libc::SYS_stat | libc::SYS_lstat => Self::Status {
                named,
                into: args[1],
            },
            libc::SYS_chown | libc::SYS_lchown => Self::Chown {
                named,
                owner: [second, word(args[2])],
            },
            libc::SYS_rename | libc::SYS_link => Self::Move { named },
            libc::SYS_mkdir => Self::Mkdir {
                named,
                mode: second,
            },
            libc::SYS_mknod => Self::Mknod {
                named,
                mode: second,
            },
            libc::SYS_symlink => Self::Symlink {
                named: Named::path(args[1], 0),
                target: args[0],
            },
            libc::SYS_open => Self::Create {
                named,
                mode: word(args[2]),
            },
            libc::SYS_creat => Self::Create {
                named,
                mode: second,
            },
            _ => return None,
        })
    }
}
