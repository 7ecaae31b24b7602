//! A trial: a program is started inside a container, looked at while it runs, asked for its health, and stopped. The invariant: what
//! happens is written down in one [`Record`], whatever the program does, and the trial ends when its script does.
//!
//! The trial is rbuild itself under another name, so it needs nothing of an image. It is the first process of the container; what it
//! starts is not, which matters to signals only. It has no power that the program lacks: it observes with ptrace(2), which
//! needs none over one's own children, and sees results as the kernel gave them. A notifying seccomp filter would see calls before
//! their results and had to guess them, and a program may change what a pointer points to between the two looks.

mod calls;
mod fetch;
mod listening;
mod process;
mod stage;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use listening::Listener;
pub use watch::Observation;

/// The last part of `argv[0]` of a process that is a trial; [`crate::divert`] looks for it.
pub const PROGRAM: &str = "rbuild-trial";

/// The longest script, as JSON: one argument of a program cannot be longer (MAX_ARG_STRLEN, execve(2)).
pub const MAX_SCRIPT: usize = 120 << 10;

/// What is to happen, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Whether the started program's calls are observed.
    pub observe: bool,
    /// The acts.
    pub acts: Vec<Act>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Runs a command to its end.
    Run(Command),
    /// Starts the program, which goes on beside what follows.
    Start(Command),
    /// Lets the program run until it has ended, until it listens at all of these TCP ports, or for so long.
    Settle {
        /// Milliseconds.
        millis: u64,
        /// The ports; without any the whole time passes.
        ports: Vec<u16>,
    },
    /// Runs a command until it succeeds.
    Until {
        /// The command.
        command: Command,
        /// How often at most.
        tries: u32,
        /// Milliseconds between two tries.
        interval: u64,
    },
    /// Asks the program for a document, by HTTP over the loopback; what comes is its body, and its status as exit code. Only of one
    /// that is not observed, which would stand still meanwhile.
    Fetch {
        /// The port.
        port: u16,
        /// The path, with its question.
        path: String,
        /// Milliseconds.
        millis: u64,
    },
    /// Signals the program, and kills it when it still runs after so long.
    Stop {
        /// The signal's number.
        signal: i32,
        /// Milliseconds.
        millis: u64,
    },
}

/// A program with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program, which is looked for in PATH, and its arguments.
    pub argv: Vec<String>,
    /// Variables over those of the container.
    pub env: Vec<(String, String)>,
    /// Milliseconds until it is killed; 0 for a program that is only started.
    pub millis: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// A signal with this number killed it.
    Signaled(i32),
    /// It could not be executed, for this error number.
    NotStarted(i32),
    /// It was killed because its time had passed.
    TimedOut,
    /// It still runs.
    Running,
}

/// What came of an act, or of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How it ended.
    pub ended: Ended,
    /// What it wrote, as far as it is kept.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// How often it was tried.
    pub tries: u32,
    /// Where something listens afterwards.
    pub listening: Vec<Listener>,
}

/// Everything that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// One for each act.
    pub done: Vec<Done>,
    /// The started program.
    pub program: Option<Done>,
    /// Calls of it that failed, or wrote.
    pub observed: Vec<Observation>,
    /// Why it was not observed, where it was to be.
    pub blind: Option<String>,
    /// Who the container's processes are.
    pub identity: Identity,
}

/// Who a process is, as the container counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Its user namespace's map of user ids, and of group ids (user_namespaces(7)).
    pub maps: [String; 2],
    /// Ports below this one need a capability (ip(7)).
    pub first_port: u16,
    /// Whether the home directory, if there is one, can be written.
    pub home_writable: Option<bool>,
}

/// What a trial wrote to standard output; `None` where that is no record.
pub fn record(printed: &[u8]) -> Option<Record> {
    serde_json::from_slice(printed).ok()
}

/// The argument that tells a trial its script.
pub fn argument(script: &Script) -> String {
    // Numbers, texts and lists of them.
    serde_json::to_string(script).unwrap_or_default()
}

/// The whole life of a process that is a trial.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let script = arguments.first().map(|text| serde_json::from_str(text));
    let Some(Ok(script)) = script else {
        return ExitCode::from(125);
    };
    let performed = stage::perform(&script, identity()).map_err(io::Error::from);
    let written = performed.and_then(|record| {
        let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
        io::stdout().write_all(&text)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(125)
        }
    }
}

fn identity() -> Identity {
    let groups = rustix::process::getgroups().unwrap_or_default();
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    Identity {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        groups: groups.into_iter().map(rustix::fs::Gid::as_raw).collect(),
        maps: ["/proc/self/uid_map", "/proc/self/gid_map"]
            .map(|map| std::fs::read_to_string(map).unwrap_or_default()),
        first_port: first
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1024),
        home_writable: process::variable("HOME")
            .map(|home| rustix::fs::access(home, rustix::fs::Access::WRITE_OK).is_ok()),
    }
}
