//! Where the processes of steps come from. Executing rbuild costs about 2 ms, most of it spent in the dynamic start of its
//! runtime and the first touch of its pages; a forge is executed once and forks. The invariant: the forge has one thread,
//! knows nothing of any build, and runs nothing itself; what it forks has its own socket and no other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::executable::OwnExecutable;
use crate::failure::During;
use crate::step::{self, StepError};
use crate::{seccomp, sys, wire};

/// `argv[0]` of a re-executed forge; [`crate::divert`] looks for it.
pub(crate) const ARGV0: &str = "rbuild-forge";

/// A process that forks one process for each step. It ends when this is dropped; what it forked lives on.
#[derive(Debug)]
pub struct StepForge(Mutex<UnixStream>);

impl StepForge {
    /// Starts it.
    ///
    /// # Errors
    /// [`StepError::Spawn`].
    pub fn start(executable: &OwnExecutable) -> Result<Self, StepError> {
        let (socket, theirs) = UnixStream::pair().map_err(StepError::Spawn)?;
        // Nobody waits for it: it ends with its socket, or at the latest with the session, whose first process reaps.
        Command::new(executable.path())
            .arg0(ARGV0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .env_clear()
            .spawn()
            .map_err(StepError::Spawn)?;
        Ok(Self(Mutex::new(socket)))
    }

    /// Has a process forked that gets `socket`. That it failed is told through the socket's other end.
    pub(crate) fn fork(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let control = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&control, &(), &[socket])
    }
}

/// The whole life of the re-executed process.
pub(crate) fn main() -> ExitCode {
    let Ok(control) = step::take_socket() else {
        return ExitCode::from(125);
    };
    // Once for all that it forks.
    let _ = seccomp::filter();
    while let Ok(Some(((), handles))) = wire::receive::<()>(&control) {
        reap();
        let Some(socket) = handles.into_iter().next().and_then(out_of_the_way) else {
            continue;
        };
        match sys::fork().during(|| "fork a step's process".into()) {
            Ok(sys::Forked::Child) => {
                drop(control);
                return step::live(&socket);
            }
            Ok(sys::Forked::Parent(_)) => {}
            Err(failure) => step::stillborn(&socket, failure),
        }
    }
    ExitCode::SUCCESS
}

/// The lowest descriptors are those of the step's program.
fn out_of_the_way(socket: OwnedFd) -> Option<UnixStream> {
    let moved = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 10).ok()?;
    Some(UnixStream::from(moved))
}

/// Steps that ended leave a process number behind; how they ended was told to the session.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
