//! The filter as classic BPF. The invariant: a call costs as many comparisons as the lists have bits, whatever its number, and
//! a call of another architecture ends the process before its number means anything.

use nix::errno::Errno;
use seccompiler::{BpfProgram, sock_filter};

/// What a call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is made.
    Allow,
    /// EPERM.
    Deny,
    /// ENOSYS.
    Unknown,
    /// A tracer looks at it.
    Trace,
    /// It is made where its first argument, of 32 bits, has none of these; else EPERM.
    UnlessBits(u32),
    /// It is made where its first argument, of 32 bits, is one of these; else EPERM.
    OnlyFor(Vec<u32>),
}

/// Consecutive calls that get one answer.
struct Range {
    first: u32,
    last: u32,
    answer: Answer,
}

/// A binary search over ranges of numbers; what is in none gets `otherwise`. seccompiler makes a chain of comparisons, which the kernel
/// walks for every system call number when a filter is installed (kernel/seccomp.c, `seccomp_cache_prepare`): 0.7 ms of every step.
/// One filter is also installed in half the time of two.
pub(super) fn program(answers: &[(u32, Answer)], otherwise: Answer) -> Result<BpfProgram, Errno> {
    let otherwise = answered(&otherwise);
    let mut answers = answers.to_vec();
    answers.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges: Vec<Range> = Vec::new();
    for (number, answer) in answers {
        match ranges.last_mut() {
            // A number has one answer.
            Some(range) if range.last >= number => return Err(Errno::EINVAL),
            Some(range) if range.last + 1 == number && range.answer == answer => {
                range.last = number;
            }
            _ => ranges.push(Range {
                first: number,
                last: number,
                answer,
            }),
        }
    }
    let lowest = ranges.first().ok_or(Errno::EINVAL)?.first;
    let mut program = vec![
        instruction(LOAD, 0, 0, ARCHITECTURE_OFFSET),
        instruction(JUMP_EQUAL, 1, 0, ARCHITECTURE),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        instruction(LOAD, 0, 0, NUMBER_OFFSET),
        instruction(JUMP_NOT_BELOW, jump_over(&otherwise), 0, lowest),
    ];
    program.extend_from_slice(&otherwise);
    program.extend(search(&ranges, &otherwise));
    Ok(program)
}

// Operation codes of classic BPF, linux/bpf_common.h, and offsets in `seccomp_data`, linux/seccomp.h.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_NOT_BELOW: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
/// The lower half of the first argument; both architectures are little-endian.
const ARGUMENT_OFFSET: u32 = 16;
const DENIED: u32 = libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32;
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32;
/// linux/audit.h
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Code that answers a loaded number which is not below the first range.
fn search(ranges: &[Range], otherwise: &[sock_filter]) -> BpfProgram {
    if let [range] = ranges {
        let mut program = vec![instruction(JUMP_ABOVE, 0, jump_over(otherwise), range.last)];
        program.extend_from_slice(otherwise);
        program.extend(answered(&range.answer));
        return program;
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = search(low, otherwise);
    // Conditional jumps reach 255 instructions, the unconditional one any distance.
    let distance = u32::try_from(below.len()).expect("a filter has at most 4096 instructions");
    let mut program = vec![
        instruction(JUMP_NOT_BELOW, 0, 1, high[0].first),
        instruction(JUMP, 0, 0, distance),
    ];
    program.extend(below);
    program.extend(search(high, otherwise));
    program
}

/// Conditional jumps reach 255 instructions; an answer has some ten at most.
fn jump_over(answer: &[sock_filter]) -> u8 {
    u8::try_from(answer.len()).expect("an answer is short")
}

/// The kernel truncates the arguments that are examined to 32 bits; comparing 64 would let set upper bits pass.
fn answered(answer: &Answer) -> BpfProgram {
    let (allow, deny) = (
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, 0, DENIED),
    );
    let argument = instruction(LOAD, 0, 0, ARGUMENT_OFFSET);
    match answer {
        Answer::Allow => vec![allow],
        Answer::Deny => vec![deny],
        Answer::Unknown => vec![instruction(RETURN, 0, 0, NOT_THERE)],
        Answer::Trace => vec![instruction(RETURN, 0, 0, libc::SECCOMP_RET_TRACE)],
        Answer::UnlessBits(bits) => {
            vec![
                argument,
                instruction(JUMP_ANY_BIT, 0, 1, *bits),
                deny,
                allow,
            ]
        }
        Answer::OnlyFor(values) => {
            let mut program = vec![argument];
            let compare = |value: &u32| [instruction(JUMP_EQUAL, 0, 1, *value), allow.clone()];
            program.extend(values.iter().flat_map(compare));
            program.push(deny);
            program
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel does.
    fn answer(program: &[sock_filter], architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1;
            match code {
                LOAD if k == NUMBER_OFFSET => loaded = number,
                LOAD if k == ARCHITECTURE_OFFSET => loaded = architecture,
                LOAD if k == ARGUMENT_OFFSET => loaded = argument,
                JUMP => at += k as usize,
                JUMP_EQUAL => at += jump(loaded == k),
                JUMP_ABOVE => at += jump(loaded > k),
                JUMP_NOT_BELOW => at += jump(loaded >= k),
                JUMP_ANY_BIT => at += jump(loaded & k != 0),
                RETURN => return k,
                other => panic!("operation {other:#x} with {k}"),
            }
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn calls() -> Vec<(u32, Answer)> {
        let mut calls: Vec<_> = [3, 4, 5, 9, 200, 201].map(|n| (n, Answer::Allow)).into();
        calls.extend([(6, Answer::Deny), (100, Answer::Deny)]);
        calls.push((7, Answer::UnlessBits(0b1010)));
        calls.push((150, Answer::OnlyFor(vec![1, 0xffff_ffff])));
        calls
    }

    #[test]
    fn the_search_answers_every_number_as_the_list_says() {
        let program = program(&calls(), Answer::Unknown).unwrap();
        for number in (0..1000).chain([0x4000_0000, u32::MAX]) {
            let listed = calls().into_iter().find(|(each, _)| *each == number);
            let wanted = match listed {
                None => NOT_THERE,
                Some((_, Answer::Allow | Answer::UnlessBits(_))) => ALLOW,
                Some((_, Answer::Deny | Answer::OnlyFor(_))) => DENIED,
                Some((_, other)) => panic!("{other:?} is on no list"),
            };
            assert_eq!(
                answer(&program, ARCHITECTURE, number, 0),
                wanted,
                "call {number}"
            );
        }
        // AUDIT_ARCH_I386
        assert_eq!(
            answer(&program, 0x4000_0003, 3, 0),
            libc::SECCOMP_RET_KILL_PROCESS
        );
    }

    #[test]
    fn arguments_decide_where_the_list_says_so() {
        let program = program(&calls(), Answer::Unknown).unwrap();
        let rows = [
            (7, 0b0101, ALLOW),
            (7, 0b0010, DENIED),
            (7, u32::MAX, DENIED),
            (150, 0, DENIED),
            (150, 1, ALLOW),
            (150, 2, DENIED),
            (150, u32::MAX, ALLOW),
        ];
        for (number, argument, wanted) in rows {
            assert_eq!(
                answer(&program, ARCHITECTURE, number, argument),
                wanted,
                "call {number} with {argument:#x}"
            );
        }
    }

    #[test]
    fn a_tracer_sees_what_is_listed_and_all_else_passes() {
        let program = program(&[(7, Answer::Trace)], Answer::Allow).unwrap();
        for number in [0, 6, 7, 8, u32::MAX] {
            let wanted = if number == 7 {
                libc::SECCOMP_RET_TRACE
            } else {
                ALLOW
            };
            assert_eq!(answer(&program, ARCHITECTURE, number, 0), wanted);
        }
    }

    #[test]
    fn a_call_with_two_answers_is_refused() {
        assert!(program(&[(1, Answer::Allow), (1, Answer::Deny)], Answer::Allow).is_err());
    }
}
