//! An observed program: its calls, and what they came to. The invariant: every stop of a process is answered by resuming it, with
//! whatever signal it was stopped for, so the program runs as it would alone; memory does not grow with what it does.
//!
//! A filter stops the program at the calls of interest only (SECCOMP_RET_TRACE, seccomp(2)); then it runs on to the end of that call,
//! where its result is known (ptrace(2)).

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Component, PathBuf};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};

use super::calls::{self, Call, Change, Subject};
use crate::{foreign_memory, seccomp, sys};

/// So many different observations are kept.
const MOST: usize = 20_000;

/// A call that failed, or that wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Observation {
    /// What was done, as a verb: "open".
    pub call: String,
    /// With what: a path, an address, or nothing.
    pub subject: String,
    /// The error number, 0 for success.
    pub errno: i32,
    /// Whether it changes the file system.
    pub writes: bool,
}

/// Begins to observe a child that waits to be executed.
pub(super) fn attach(child: Pid) -> Result<(), Errno> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(child, options)
}

/// Has the calling process stop at the calls of interest.
pub(super) fn report() -> Result<(), Errno> {
    sys::install_filter(&seccomp::tracing(calls::numbers())?)
}

/// A call that has begun.
struct Begun {
    call: &'static Call,
    arguments: [u64; 6],
}

#[derive(Default)]
pub(super) struct Watch {
    begun: HashMap<Pid, Begun>,
    /// In the order in which they were seen first.
    observed: BTreeMap<Observation, usize>,
}

impl Watch {
    /// What was observed, in order.
    pub(super) fn into_observed(self) -> Vec<Observation> {
        let mut all: Vec<_> = self.observed.into_iter().collect();
        all.sort_by_key(|(_, place)| *place);
        all.into_iter()
            .map(|(observation, _)| observation)
            .collect()
    }

    /// A process is gone.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.begun.remove(&pid);
    }

    /// Answers a stop.
    pub(super) fn stopped(&mut self, pid: Pid, status: WaitStatus) {
        let raw = status.as_raw();
        let (signal, event) = (raw >> 8 & 0xff, raw >> 16);
        // A process may be killed at any time; then it no longer stands still, which is no error here.
        let _ = match (event, signal) {
            (libc::PTRACE_EVENT_SECCOMP, _) => {
                self.begin(pid);
                sys::resume(pid, libc::PTRACE_SYSCALL, 0)
            }
            (0, signal) if signal == libc::SIGTRAP | 0x80 => {
                self.end(pid);
                sys::resume(pid, libc::PTRACE_CONT, 0)
            }
            // Stopped as it would be alone: it stands still until somebody continues it.
            (
                libc::PTRACE_EVENT_STOP,
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU,
            ) => sys::resume(pid, libc::PTRACE_LISTEN, 0),
            (0, signal) => sys::resume(pid, libc::PTRACE_CONT, signal),
            _ => sys::resume(pid, libc::PTRACE_CONT, 0),
        };
    }

    fn begin(&mut self, pid: Pid) {
        let Ok(registers) = Registers::of(pid) else {
            return;
        };
        if let Some(call) = calls::numbered(registers.number) {
            let arguments = registers.arguments;
            self.begun.insert(pid, Begun { call, arguments });
        }
    }

    fn end(&mut self, pid: Pid) {
        let (Some(begun), Ok(registers)) = (self.begun.remove(&pid), Registers::of(pid)) else {
            return;
        };
        let errno = match registers.result {
            result @ -4095..=-1 => i32::try_from(-result).unwrap_or(libc::EINVAL),
            _ => 0,
        };
        let writes = match begun.call.change {
            Change::Never => false,
            Change::Always => true,
            Change::Flags(at) => is_for_writing(begun.arguments[at]),
        };
        let is_bind = begun.call.number == libc::SYS_bind;
        if !is_telling(errno) && !(errno == 0 && (writes || is_bind)) {
            return;
        }
        let Some(subject) = begun.subject(pid) else {
            return;
        };
        let place = self.observed.len();
        if place < MOST {
            let observation = Observation {
                call: begun.call.name.to_owned(),
                subject,
                errno,
                writes,
            };
            self.observed.entry(observation).or_insert(place);
        }
    }
}

/// Errors that say what an image or its container lacks; EINVAL is that of an id without a mapping (user_namespaces(7)).
fn is_telling(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOENT
            | libc::EACCES
            | libc::EPERM
            | libc::EROFS
            | libc::EINVAL
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EAFNOSUPPORT
            | libc::ENOSPC
            | libc::ECONNREFUSED
            | libc::ENETUNREACH
    )
}

fn is_for_writing(flags: u64) -> bool {
    let flags = i32::try_from(flags & 0x7fff_ffff).unwrap_or(0);
    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0
}

impl Begun {
    /// What it is about, as text; `None` where that cannot be read.
    fn subject(&self, pid: Pid) -> Option<String> {
        match self.call.subject {
            Subject::None => Some(String::new()),
            Subject::Path { directory, path } => {
                let text = text(pid, self.arguments[path])?;
                let directory = directory.map(|at| self.arguments[at]);
                absolute(pid, directory, &text)
            }
            Subject::Address(at) => {
                let length = usize::try_from(self.arguments[at + 1]).ok()?.min(128);
                address(&foreign_memory::read(pid, self.arguments[at], length).ok()?)
            }
        }
    }
}

/// What it means by a path. An empty one is about a descriptor: that is nothing that an image lacks.
fn absolute(pid: Pid, directory: Option<u64>, path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let from = match directory {
        _ if path.starts_with('/') => PathBuf::from("/"),
        None => std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?,
        Some(number) => {
            // The low half of the argument, as a number that may be negative.
            let number =
                i32::from_ne_bytes(u32::try_from(number & 0xffff_ffff).ok()?.to_ne_bytes());
            match number {
                libc::AT_FDCWD => std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?,
                number => std::fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?,
            }
        }
    };
    let mut clean = PathBuf::from("/");
    for part in from.join(path).components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    Some(clean.to_string_lossy().into_owned())
}

/// A socket's address, ip(7), ipv6(7), unix(7); `None` for families that have none to show.
fn address(raw: &[u8]) -> Option<String> {
    let family = i32::from(u16::from_ne_bytes(*raw.first_chunk()?));
    let rest = &raw[2..];
    match family {
        libc::AF_INET => {
            let port = u16::from_be_bytes(*rest.first_chunk()?);
            let address: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
            Some(format!("{}:{port}", Ipv4Addr::from(address)))
        }
        libc::AF_INET6 => {
            let port = u16::from_be_bytes(*rest.first_chunk()?);
            let address: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
            Some(format!("[{}]:{port}", Ipv6Addr::from(address)))
        }
        libc::AF_UNIX if rest.first().is_some_and(|byte| *byte == b'/') => {
            let end = rest.iter().position(|byte| *byte == 0);
            let path = &rest[..end.unwrap_or(rest.len())];
            Some(String::from_utf8_lossy(path).into_owned())
        }
        _ => None,
    }
}

/// A text of its memory.
fn text(pid: Pid, address: u64) -> Option<String> {
    let raw = foreign_memory::text(pid, address).ok()?;
    Some(String::from_utf8_lossy(&raw).into_owned())
}

/// What a system call left in the registers, syscall(2).
struct Registers {
    number: i64,
    arguments: [u64; 6],
    result: i64,
}

impl Registers {
    #[cfg(target_arch = "x86_64")]
    fn of(pid: Pid) -> Result<Self, Errno> {
        let all = ptrace::getregs(pid)?;
        Ok(Self {
            number: all.orig_rax.cast_signed(),
            arguments: [all.rdi, all.rsi, all.rdx, all.r10, all.r8, all.r9],
            result: all.rax.cast_signed(),
        })
    }

    #[cfg(target_arch = "aarch64")]
    fn of(pid: Pid) -> Result<Self, Errno> {
        let all = ptrace::getregs(pid)?.regs;
        Ok(Self {
            number: all[8].cast_signed(),
            arguments: [all[0], all[1], all[2], all[3], all[4], all[5]],
            result: all[0].cast_signed(),
        })
    }
}
