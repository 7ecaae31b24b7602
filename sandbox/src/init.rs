//! The first process of a process namespace where the program is not to be it. The invariant: it does nothing but pass signals
//! on and reap, nothing can look into it, and it ends as the program ends, with which the kernel ends all others.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys;

/// Forks; returns in the child, which is to become the program. The process is confined already, and so is what it does here.
pub(crate) fn below() -> Result<(), Errno> {
    // The program runs as the same user: without this it could trace its init. execve(2) makes the program's own process
    // readable again.
    nix::sys::prctl::set_dumpable(false)?;
    let all = SigSet::all();
    all.thread_block()?;
    match sys::fork()? {
        sys::Forked::Child => all.thread_unblock(),
        sys::Forked::Parent(program) => {
            // The pipe that tells of a failure, and the program's streams, are the program's alone.
            let _ = sys::close_from(0);
            std::process::exit(serve(program, &all))
        }
    }
}

/// Waits for signals until the program has ended; returns its exit code, or 128 + the signal's number.
fn serve(program: Pid, signals: &SigSet) -> i32 {
    loop {
        if let Some(code) = reap(program) {
            return code;
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            // It may have ended; then the next turn sees it.
            Ok(signal) => {
                let _ = kill(program, signal);
            }
        }
    }
}

/// Reaps whatever has ended; the exit code when the program is among it.
fn reap(program: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                return Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) => return None,
            Err(Errno::EINTR) | Ok(_) => {}
            // Without a child there is no program either.
            Err(_) => return Some(125),
        }
    }
}
