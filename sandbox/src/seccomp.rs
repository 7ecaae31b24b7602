//! The system call filter of steps and containers. The invariant: a call that is on no list fails with ENOSYS, so that a
//! libc falls back as on an older kernel; what makes namespaces, mounts or reaches rarely tested kernel code fails with
//! EPERM; 32-bit entry points, for which the lists say nothing, end the process.

mod calls;
mod search;

use std::sync::OnceLock;

use nix::errno::Errno;
use seccompiler::BpfProgram;

use crate::sys;
use calls::{ALLOWED, ALLOWED_HERE, DENIED};
use search::{Answer, program};

/// Flags of clone(2) that make a namespace; CLONE_NEWTIME shares its bit with the exit signal and has no effect there.
const CLONE_NEW: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The socket families that a build or a service needs; all others are rarely tested kernel code (CVE-2026-31431 is one of
/// AF_ALG) or reach past the network namespace (AF_VSOCK).
const FAMILIES: [i32; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// Execution domains that Docker and Podman allow: Linux and Linux32, each with and without UNAME26, and the query.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filter, made once in a process and those that it forks.
///
/// # Errors
/// On an architecture without lists.
pub(crate) fn filter() -> Result<&'static BpfProgram, Errno> {
    static FILTER: OnceLock<BpfProgram> = OnceLock::new();
    if let Some(made) = FILTER.get() {
        return Ok(made);
    }
    let made = program(&answers()?, Answer::Unknown)?;
    Ok(FILTER.get_or_init(|| made))
}

/// Installs the filter for the calling thread and whatever it executes.
pub(crate) fn install() -> Result<(), Errno> {
    sys::install_filter(filter()?)
}

/// A filter that has a tracer look at these calls and lets all others pass.
///
/// # Errors
/// On an architecture without filters.
pub(crate) fn tracing(calls: impl Iterator<Item = i64>) -> Result<BpfProgram, Errno> {
    let traced = calls.map(|call| Ok((number(call)?, Answer::Trace)));
    program(&traced.collect::<Result<Vec<_>, _>>()?, Answer::Allow)
}

/// What each call that is on a list gets.
fn answers() -> Result<Vec<(u32, Answer)>, Errno> {
    // clone3(2) passes its flags in memory, where no filter sees them: it is on no list, and ENOSYS sends libc back to clone(2).
    let allowed = ALLOWED.iter().chain(ALLOWED_HERE);
    let allowed = allowed.map(|call| Ok((number(*call)?, examined(*call))));
    let denied = DENIED.iter();
    let denied = denied.map(|call| Ok((number(*call)?, Answer::Deny)));
    allowed.chain(denied).collect()
}

fn number(call: i64) -> Result<u32, Errno> {
    u32::try_from(call).map_err(|_| Errno::EINVAL)
}

/// The answer to a call that is allowed, for some arguments only.
fn examined(call: i64) -> Answer {
    let bits = |all: u32, flag: &i32| all | flag.cast_unsigned();
    match call {
        libc::SYS_clone => Answer::UnlessBits(CLONE_NEW.iter().fold(0, bits)),
        libc::SYS_socket => Answer::OnlyFor(FAMILIES.map(i32::cast_unsigned).to_vec()),
        libc::SYS_personality => Answer::OnlyFor(PERSONALITIES.to_vec()),
        _ => Answer::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_fits_the_kernels_limit() {
        let filter = filter().unwrap();
        assert!(
            !filter.is_empty() && filter.len() <= 4096,
            "BPF_MAXINSNS, linux/bpf_common.h"
        );
    }

    #[test]
    fn calls_whose_arguments_matter_are_allowed_at_all() {
        let examined = [libc::SYS_clone, libc::SYS_socket, libc::SYS_personality];
        for call in examined {
            let number = u32::try_from(call).unwrap();
            let answers: Vec<_> = answers().unwrap();
            let found = answers.iter().find(|(each, _)| *each == number);
            let found = found.map(|(_, answer)| answer);
            assert!(!matches!(found, None | Some(Answer::Allow)), "{call}");
        }
    }

    #[test]
    fn nothing_is_on_both_lists() {
        assert!(
            DENIED
                .iter()
                .all(|call| !ALLOWED.contains(call) && !ALLOWED_HERE.contains(call))
        );
    }
}
