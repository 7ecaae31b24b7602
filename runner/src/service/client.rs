//! What can be asked of a container's supervisor, and the side that asks. The invariant: a supervisor that is gone is an error of its
//! own, and never taken for the container's own end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox::Beside;
use serde::{Deserialize, Serialize};

use crate::guests::{ExecReply, ExecSignal};
use crate::protocol::{receive, send};
use crate::request::{ExecRequest, Network};
use crate::run::{RunError, failed};

/// To the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// End it: its stop signal, and after so many seconds SIGKILL. Its end is told.
    Stop(Option<u32>),
    /// Send it a signal.
    Kill(i32),
    /// Tell its end.
    Wait,
    /// Tell when more was written to its log than so many pieces, or its end.
    Next { seen: u64 },
    /// Give its standard input, or its terminal.
    Attach,
    /// Tell its network; the connection is the session's from now on.
    Network,
    /// Have a process join it; the connection is the session's from now on.
    Exec(ExecRequest),
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It was done.
    Done,
    /// So many pieces were written to the log.
    Wrote(u64),
    /// Whether what travels along is a terminal.
    Attached { terminal: bool },
    /// It ended; nothing follows.
    Ended { code: i32 },
}

/// Something that was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many pieces were written to the log.
    Wrote(u64),
    /// It ended with this exit code, and everything that it wrote is in the log.
    Ended(i32),
}

/// The standard input of a container.
#[derive(Debug)]
pub struct Attached {
    /// Whether it is a terminal.
    pub terminal: bool,
    /// To be written; nothing where it is /dev/null.
    pub input: Option<OwnedFd>,
}

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Connection(UnixStream);

impl Connection {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Has the container end, after so many seconds by force, and waits for it.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn stop(self, timeout: Option<u32>) -> io::Result<i32> {
        send(&self.0, &Request::Stop(timeout))?;
        self.ended()
    }

    /// Sends the container's program a signal.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn kill(self, signal: i32) -> io::Result<()> {
        send(&self.0, &Request::Kill(signal))?;
        self.reply().map(drop)
    }

    /// Waits for the container's end.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn wait(self) -> io::Result<i32> {
        send(&self.0, &Request::Wait)?;
        self.ended()
    }

    /// Waits until there is more than was `seen`.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn next(&self, seen: u64) -> io::Result<Progress> {
        send(&self.0, &Request::Next { seen })?;
        loop {
            match self.reply()?.0 {
                Reply::Wrote(count) => return Ok(Progress::Wrote(count)),
                Reply::Ended { code } => return Ok(Progress::Ended(code)),
                _ => {}
            }
        }
    }

    /// The container's standard input.
    ///
    /// # Errors
    /// When its supervisor is gone.
    pub fn attach(&self) -> io::Result<Attached> {
        send(&self.0, &Request::Attach)?;
        match self.reply()? {
            (Reply::Attached { terminal }, fds) => Ok(Attached {
                terminal,
                input: fds.into_iter().next(),
            }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Has a process join the container.
    ///
    /// # Errors
    /// Why it was not started.
    pub fn exec(self, request: &ExecRequest) -> Result<Exec, RunError> {
        let asked = Request::Exec(request.clone());
        send(&self.0, &asked).map_err(RunError::Lost)?;
        match exec_reply(&self.0)? {
            (ExecReply::Streams, streams) => Ok(Exec {
                socket: self.0,
                streams,
            }),
            _ => Err(RunError::Lost(io::ErrorKind::InvalidData.into())),
        }
    }

    /// What a container needs that is to be in this one's network; nothing where that is the host's.
    ///
    /// # Errors
    /// When the container does not run.
    pub fn neighbour(self) -> Result<Option<Neighbour>, RunError> {
        send(&self.0, &Request::Network).map_err(RunError::Lost)?;
        let lost = || RunError::Lost(io::ErrorKind::InvalidData.into());
        match exec_reply(&self.0)? {
            (ExecReply::Network(Network::Host), _) => Ok(None),
            (ExecReply::Network(network), fds) => {
                let namespaces = <[OwnedFd; 2]>::try_from(fds).map_err(|_| lost())?;
                let connected = match network {
                    Network::Joined { connected } => connected,
                    other => matches!(other, Network::Pasta { .. }),
                };
                Ok(Some(Neighbour {
                    namespaces,
                    network: Network::Joined { connected },
                }))
            }
            _ => Err(lost()),
        }
    }

    /// What ends this connection from another thread.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn hang_up(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let socket = self.0.try_clone()?;
        Ok(move || drop(socket.shutdown(std::net::Shutdown::Both)))
    }

    fn ended(self) -> io::Result<i32> {
        loop {
            if let Reply::Ended { code } = self.reply()?.0 {
                return Ok(code);
            }
        }
    }

    fn reply(&self) -> io::Result<(Reply, Vec<OwnedFd>)> {
        receive(&self.0)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn exec_reply(socket: &UnixStream) -> Result<(ExecReply, Vec<OwnedFd>), RunError> {
    match receive(socket).map_err(RunError::Lost)? {
        Some((ExecReply::Failed { program, cause }, _)) => Err(failed(program, cause)),
        Some(reply) => Ok(reply),
        None => Err(RunError::Lost(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The network of a container, for another one.
#[derive(Debug)]
pub struct Neighbour {
    /// Its user namespace, and its network namespace.
    namespaces: [OwnedFd; 2],
    /// For the other one's request.
    pub network: Network,
}

impl Neighbour {
    pub(crate) fn namespaces(&self) -> Beside<'_> {
        let [user, network] = self.namespaces.each_ref().map(AsFd::as_fd);
        Beside { user, network }
    }
}

/// A process that joined a container. Dropped, it ends.
#[derive(Debug)]
pub struct Exec {
    socket: UnixStream,
    streams: Vec<OwnedFd>,
}

/// Sends signals to a process that joined a container.
#[derive(Debug)]
pub struct ExecSignals(UnixStream);

impl ExecSignals {
    /// Passes one on.
    pub fn send(&self, signal: i32) {
        // One that ended takes none.
        let _ = send(&self.0, &ExecSignal(signal));
    }
}

impl Exec {
    /// Its streams: of a terminal the other side; else what is to be read as standard output and error, and before these, where it was
    /// asked for, what is to be written as standard input.
    pub fn take_streams(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.streams)
    }

    /// A way to send it signals.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn signals(&self) -> io::Result<ExecSignals> {
        self.socket.try_clone().map(ExecSignals)
    }

    /// Waits for its end; returns its exit code, 128 + n where signal n killed it.
    ///
    /// # Errors
    /// That its program could not be executed, or the container is gone.
    pub fn wait(&self) -> Result<i32, RunError> {
        match exec_reply(&self.socket)?.0 {
            ExecReply::Ended { code } => Ok(code),
            _ => Err(RunError::Lost(io::ErrorKind::InvalidData.into())),
        }
    }
}
