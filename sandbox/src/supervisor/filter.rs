//! Which calls of a supervised program wait for the supervisor. The invariant: all other calls cost a few comparisons of numbers
//! and nothing else, and a call of another architecture is left to the filters that forbid it.

use seccompiler::{BpfProgram, sock_filter};

/// Calls that are answered whatever their arguments are.
const ALWAYS: &[i64] = &[
    // Owners.
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    // Files that get the owner of who makes them, or the group of their directory.
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
    // What leaves its directory, and with it the note about it.
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    // Who a process is.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    // Set-user-ID programs.
    libc::SYS_execve,
    libc::SYS_execveat,
];

/// Older calls, which only some processors have.
#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[i64] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_creat,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[i64] = &[];

/// Calls that are answered where one argument, by its position, has O_CREAT.
#[cfg(target_arch = "x86_64")]
const CREATING: &[(i64, u32)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const CREATING: &[(i64, u32)] = &[(libc::SYS_openat, 2)];

/// Calls that are answered where one argument, by its position, has this value.
const ABOUT: &[(i64, u32, u32)] = &[
    // Where credentials are remembered: nobody else may write there, and Debian's pam_limits would.
    (libc::SYS_prlimit64, 1, libc::RLIMIT_LOCKS),
    (libc::SYS_setrlimit, 0, libc::RLIMIT_LOCKS),
    (libc::SYS_getrlimit, 0, libc::RLIMIT_LOCKS),
    (libc::SYS_prctl, 0, libc::PR_SET_KEEPCAPS.cast_unsigned()),
];

// Operation codes of classic BPF, linux/bpf_common.h, and offsets in `seccomp_data`, linux/seccomp.h.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// linux/audit.h
#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The filter. openat2(2) takes its flags in memory: it fails with ENOSYS, and libc has no use for it.
pub(super) fn program() -> BpfProgram {
    let number = |call: &i64| u32::try_from(*call).expect("numbers of calls are small");
    let mut program = vec![
        instruction(LOAD, 0, 0, ARCHITECTURE),
        instruction(JUMP_EQUAL, 1, 0, HERE),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(LOAD, 0, 0, NUMBER),
    ];
    for call in ALWAYS.iter().chain(ALWAYS_HERE) {
        program.push(instruction(JUMP_EQUAL, 0, 1, number(call)));
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    let creating = CREATING
        .iter()
        .map(|(call, position)| (call, position, JUMP_ANY_BIT, libc::O_CREAT.cast_unsigned()));
    let about = ABOUT
        .iter()
        .map(|(call, position, value)| (call, position, JUMP_EQUAL, *value));
    for (call, position, test, value) in creating.chain(about) {
        program.extend([
            instruction(JUMP_EQUAL, 0, 4, number(call)),
            // Little endian: the lower half of an argument comes first.
            instruction(LOAD, 0, 0, ARGUMENTS + 8 * position),
            instruction(test, 0, 1, value),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]);
    }
    program.extend([
        instruction(JUMP_EQUAL, 0, 1, number(&libc::SYS_openat2)),
        instruction(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        ),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
    program
}
