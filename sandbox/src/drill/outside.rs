//! Where probes of protections are tried without these: in a session, which has every capability, over namespaces of its own.
//! The invariant: nothing of the machine can be harmed from there, only the session's own namespaces.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use std::os::unix::process::CommandExt;

use nix::sched::{CloneFlags, unshare};

use super::{Canary, PROGRAM, Probe, Results, arguments, results};
use crate::session::{Ground, Session, SessionContext, SessionError, SessionPlan};

/// The name of the session's entry, for [`crate::divert`].
pub const ENTRY: &str = "drill";

/// Tries probes in a session.
///
/// # Errors
/// Why there is no session, or that it was lost.
pub fn in_session<'p>(
    plan: &SessionPlan,
    canary: &Canary,
    probes: impl IntoIterator<Item = &'p Probe>,
) -> Result<Results, SessionError> {
    let mut session = Session::start(ENTRY, plan, Ground::Background)?;
    let order = serde_json::to_string(&arguments(canary, probes)).unwrap_or_default();
    let mut socket = session.socket();
    let mut printed = String::new();
    let heard = writeln!(socket, "{order}").and_then(|()| socket.read_to_string(&mut printed));
    session.kill();
    heard.map_err(SessionError::Lost)?;
    Ok(results(&printed))
}

/// What [`crate::divert`] calls in the session.
pub fn session_entry(context: SessionContext) -> ExitCode {
    match answer(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(125),
    }
}

fn answer(context: &SessionContext) -> io::Result<()> {
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(&context.socket), &mut line)?;
    let arguments: Vec<String> = serde_json::from_str(&line)?;
    let own = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET;
    unshare(own).map_err(io::Error::from)?;
    let output = Command::new(context.executable.path())
        .arg0(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    (&context.socket).write_all(&output.stdout)
}
