//! A process that outlives its caller. The invariant: it has nothing of the caller's but standard output, standard error and a socket
//! to it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::sys;

/// The process that [`detach`] returns in.
#[derive(Debug)]
pub enum Detached {
    /// The caller, with a stream to the other one.
    Caller(UnixStream),
    /// The new process, with a stream to its caller: the leader of a session of its own, without the caller's terminal, and with
    /// /dev/null as standard input.
    Own(UnixStream),
}

/// Forks the calling process, which must have one thread; the new process must not use any descriptor that was opened before.
///
/// # Errors
/// Those of fork(2); more than one thread.
pub fn detach() -> io::Result<Detached> {
    let (callers, own) = UnixStream::pair()?;
    match sys::fork()? {
        sys::Forked::Parent(_) => Ok(Detached::Caller(callers)),
        sys::Forked::Child => {
            nix::unistd::setsid()?;
            rustix::stdio::dup2_stdin(&own)?;
            // They are closed with all others, not once more.
            std::mem::forget((callers, own));
            sys::close_from(3)?;
            let own = io::stdin().as_fd().try_clone_to_owned()?;
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            Ok(Detached::Own(own.into()))
        }
    }
}
