//! The allow-list as classic BPF. The invariant: a call costs as many comparisons as the list has bits, whatever its number, and
//! a call of another architecture ends the process before its number means anything.

use nix::errno::Errno;
use seccompiler::{BpfProgram, sock_filter};

use super::calls::{ALLOWED, ALLOWED_HERE, DENIED};

/// The allow-list is a binary search over ranges of numbers. seccompiler makes a chain of comparisons, which the kernel walks
/// for every system call number when a filter is installed (kernel/seccomp.c, `seccomp_cache_prepare`): 0.7 ms of every step.
pub(super) fn allow_list() -> Result<BpfProgram, Errno> {
    // clone3(2) passes its flags in memory, where no filter sees them: ENOSYS sends libc back to clone(2).
    let calls = ALLOWED.iter().chain(ALLOWED_HERE).chain(DENIED);
    let mut numbers: Vec<u32> = calls
        .map(|call| u32::try_from(*call).map_err(|_| Errno::EINVAL))
        .collect::<Result<_, _>>()?;
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let lowest = ranges.first().ok_or(Errno::EINVAL)?.0;
    let mut program = vec![
        instruction(LOAD, 0, 0, ARCHITECTURE_OFFSET),
        instruction(JUMP_EQUAL, 1, 0, ARCHITECTURE),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        instruction(LOAD, 0, 0, NUMBER_OFFSET),
        instruction(JUMP_NOT_BELOW, 1, 0, lowest),
        instruction(RETURN, 0, 0, NOT_THERE),
    ];
    program.extend(search(&ranges));
    Ok(program)
}

// Operation codes of classic BPF, linux/bpf_common.h, and offsets in `seccomp_data`, linux/seccomp.h.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_NOT_BELOW: u16 = 0x35;
const RETURN: u16 = 0x06;
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32;
/// linux/audit.h
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Code that allows a loaded number which is in one of the ranges, given that it is not below the first.
fn search(ranges: &[(u32, u32)]) -> BpfProgram {
    if let [(_, last)] = ranges {
        return vec![
            instruction(JUMP_ABOVE, 0, 1, *last),
            instruction(RETURN, 0, 0, NOT_THERE),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = search(low);
    // Conditional jumps reach 255 instructions, the unconditional one any distance.
    let distance = u32::try_from(below.len()).expect("a filter has at most 4096 instructions");
    let mut program = vec![
        instruction(JUMP_NOT_BELOW, 0, 1, high[0].0),
        instruction(JUMP, 0, 0, distance),
    ];
    program.extend(below);
    program.extend(search(high));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel does, for a call without arguments.
    fn answer(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1;
            match code {
                LOAD if k == NUMBER_OFFSET => loaded = number,
                LOAD => loaded = architecture,
                JUMP => at += k as usize,
                JUMP_EQUAL => at += jump(loaded == k),
                JUMP_ABOVE => at += jump(loaded > k),
                JUMP_NOT_BELOW => at += jump(loaded >= k),
                RETURN => return k,
                other => panic!("operation {other:#x}"),
            }
        }
    }

    #[test]
    fn the_search_allows_exactly_what_is_on_the_lists() {
        let program = allow_list().unwrap();
        for number in (0..1000).chain([0x4000_0000, u32::MAX]) {
            let listed = [ALLOWED, ALLOWED_HERE, DENIED]
                .concat()
                .contains(&i64::from(number));
            let wanted = if listed {
                libc::SECCOMP_RET_ALLOW
            } else {
                NOT_THERE
            };
            assert_eq!(
                answer(&program, ARCHITECTURE, number),
                wanted,
                "call {number}"
            );
        }
        // AUDIT_ARCH_I386
        assert_eq!(
            answer(&program, 0x4000_0003, 0),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }
}
