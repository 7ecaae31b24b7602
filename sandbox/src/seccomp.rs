//! The system call filter of steps and containers. The invariant: a call that is on no list fails with ENOSYS, so that a
//! libc falls back as on an older kernel; what makes namespaces, mounts or reaches rarely tested kernel code fails with
//! EPERM; 32-bit entry points, for which the lists say nothing, end the process.

mod calls;
mod search;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::sys;
use calls::DENIED;
use search::allow_list;

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
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filters, compiled once in a process and those that it forks.
///
/// # Errors
/// On an architecture without lists.
pub(crate) fn filters() -> Result<&'static [BpfProgram; 2], Errno> {
    static FILTERS: OnceLock<[BpfProgram; 2]> = OnceLock::new();
    if let Some(compiled) = FILTERS.get() {
        return Ok(compiled);
    }
    // Of two filters that return an error the one installed last names it (seccomp(2)), hence the order.
    let compiled = [allow_list()?, deny_list()?];
    Ok(FILTERS.get_or_init(|| compiled))
}

/// Installs the filters for the calling thread and whatever it executes.
pub(crate) fn install() -> Result<(), Errno> {
    filters()?
        .iter()
        .try_for_each(|filter| sys::install_filter(filter))
}

/// A filter that has a tracer look at these calls and lets all others pass.
///
/// # Errors
/// On an architecture without filters.
pub(crate) fn tracing(calls: impl Iterator<Item = i64>) -> Result<BpfProgram, Errno> {
    let rules = calls.map(|call| (call, Vec::new())).collect();
    compile(rules, SeccompAction::Allow, SeccompAction::Trace(0))
}

fn deny_list() -> Result<BpfProgram, Errno> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let mut clone = Vec::new();
    for flag in CLONE_NEW {
        let flag = u64::from(flag.cast_unsigned());
        clone.push(rule([condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])?);
    }
    rules.insert(libc::SYS_clone, clone);
    let families = FAMILIES.map(|family| u64::from(family.cast_unsigned()));
    rules.insert(libc::SYS_socket, vec![none_of(families)?]);
    rules.insert(libc::SYS_personality, vec![none_of(PERSONALITIES)?]);
    compile(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(Errno::EPERM as u32),
    )
}

fn none_of<const N: usize>(values: [u64; N]) -> Result<SeccompRule, Errno> {
    let conditions = values.map(|value| condition(0, SeccompCmpOp::Ne, value));
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?).map_err(|_| Errno::EINVAL)
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, Errno> {
    SeccompRule::new(conditions.to_vec()).map_err(|_| Errno::EINVAL)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Errno> {
    // The kernel truncates these arguments to 32 bits; comparing 64 would let set upper bits pass.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .map_err(|_| Errno::EINVAL)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, Errno> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|_| Errno::ENOSYS)?;
    SeccompFilter::new(rules, otherwise, matching, architecture)
        .and_then(BpfProgram::try_from)
        .map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::calls::{ALLOWED, ALLOWED_HERE};
    use super::*;

    #[test]
    fn both_filters_compile_and_fit_the_kernels_limit() {
        for filter in filters().unwrap() {
            assert!(
                !filter.is_empty() && filter.len() <= 4096,
                "BPF_MAXINSNS, linux/bpf_common.h"
            );
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
