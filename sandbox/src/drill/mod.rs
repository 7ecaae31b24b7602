//! The isolation drill: what a program can reach from inside a sandbox, tried and not believed. The invariant: an attempt is a
//! process of its own, changes nothing for good where it succeeds, and its result is the kernel's.
//!
//! The program is rbuild itself under another name, so that it needs nothing of an image. Each probe is also tried where it must
//! come to something else ([`Control`]): a probe that fails there too proves nothing.

mod acts;
mod canary;
mod outside;
mod probes;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use nix::errno::Errno;

pub use canary::{Cage, Canary};
pub use outside::{ENTRY, in_session, session_entry};
pub use probes::{Control, PROBES, Probe, Protection, named};

/// The last part of `argv[0]` of a process that is the drill; [`crate::divert`] looks for it.
pub const PROGRAM: &str = "rbuild-drill";

/// Results by the probes' names: `ok`, or the name of an error or a signal.
pub type Results = BTreeMap<String, String>;

/// A command that is the drill, outside of any sandbox.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(PROGRAM).args(arguments);
    command
}

/// The arguments with which the drill tries these probes.
pub fn arguments<'p>(canary: &Canary, probes: impl IntoIterator<Item = &'p Probe>) -> Vec<String> {
    // A canary has only numbers and texts.
    let canary = serde_json::to_string(canary).unwrap_or_default();
    let names = probes.into_iter().map(|probe| probe.name.to_owned());
    ["probe".to_owned(), canary]
        .into_iter()
        .chain(names)
        .collect()
}

/// What the drill printed.
pub fn results(printed: &str) -> Results {
    let lines = printed.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, result)| (name.to_owned(), result.to_owned()))
        .collect()
}

/// Tries probes of the host in this process's own surroundings, with whatever power it has.
///
/// # Errors
/// When the drill cannot be started.
pub fn on_the_host<'p>(
    canary: &Canary,
    probes: impl IntoIterator<Item = &'p Probe>,
) -> io::Result<Results> {
    let arguments = arguments(canary, probes);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = command(&arguments).output()?;
    Ok(results(&String::from_utf8_lossy(&output.stdout)))
}

/// The whole life of a process that is the drill.
pub fn main(arguments: &[String]) -> ExitCode {
    match arguments {
        [verb, canary, names @ ..] if verb == "probe" => probe(canary, names),
        [verb, canary, name] if verb == "attempt" => attempt(canary, name),
        [verb, name] if verb == "canary" => canary::sing(name),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Makes each attempt in a process of its own and prints one line about it: name and result.
fn probe(canary: &str, names: &[String]) {
    for name in names {
        let status = command(&["attempt", canary, name]).status();
        let result = status.map_or_else(|error| error.to_string(), result);
        // Nobody may be listening any more.
        let _ = writeln!(io::stdout(), "{name} {result}");
    }
}

/// The error number is the exit code, which has room for all of Linux's.
fn attempt(canary: &str, name: &str) {
    let canary = serde_json::from_str::<Canary>(canary);
    let (Ok(canary), Some(probe)) = (canary, named(name)) else {
        std::process::exit(Errno::EINVAL as i32)
    };
    if let Err(errno) = (probe.act)(&canary) {
        std::process::exit(errno as i32);
    }
}

fn result(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ok".to_owned(),
        (Some(code), _) => format!("{:?}", Errno::from_raw(code)),
        (None, Some(libc::SIGSYS)) => "SIGSYS".to_owned(),
        (None, signal) => format!("signal {signal:?}"),
    }
}

/// Signals a process, for tests of what a sandbox can reach.
///
/// # Errors
/// The kernel's.
pub fn signal(pid: i32, number: i32) -> Result<(), Errno> {
    acts::signal(pid, number)
}
