//! What the main process and its session tell each other. The invariant: a message is bounded and complete, or an error
//! ([`sandbox::send_message`]).

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::request::{ExecRequest, RunRequest};

/// Everything that the session needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunJob {
    /// The store's directory.
    pub(crate) store: PathBuf,
    /// What is asked for.
    pub(crate) request: RunRequest,
    /// What is to happen.
    pub(crate) purpose: Purpose,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Everything is only made ready for a later start.
    Prepare,
    /// The program runs once.
    Run,
    /// It may be started again, and others may join it.
    Serve,
}

/// From the main process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSession {
    /// Comes first, once, where the session was executed; a forked one knows it.
    Run(Box<RunJob>),
    /// Pass this signal on; SIGTERM becomes the container's own stop signal.
    Signal(i32),
    /// Pass this signal on as it is.
    Kill(i32),
    /// Ask it to end, and kill it after so many seconds; else as it was asked for when it was started.
    Stop(Option<u32>),
    /// Have a process join it; the connection to who asks travels along.
    Exec(ExecRequest),
    /// Tell the network and its namespaces; the connection to who asks travels along.
    Network,
    /// After it has ended: start it again.
    Again,
}

/// From the session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSession {
    /// The user should know this.
    Notice(String),
    /// The program runs. Its terminal, if it has one, travels along.
    Started {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// The program ended. Nothing follows unless it is started again.
    Ended {
        /// Its exit code, or 128 + the signal.
        code: i32,
    },
    /// It did not run; nothing follows.
    Failed {
        /// Whether everything was ready and only the program could not be executed: its error number.
        program: Option<i32>,
        /// Why.
        cause: Cause,
    },
}

/// An error that happened in another process, with its causes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    /// The error and its sources as text.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }

    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {}", self.text, source.chain()),
            None => self.text.clone(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

pub(crate) fn send<T: Serialize>(socket: &UnixStream, message: &T) -> io::Result<()> {
    sandbox::send_message(socket, message, &[])
}

/// The next message with its descriptors, or `None` at the end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    sandbox::receive_message(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_causes_on_the_way() {
        let inner = io::Error::other("the disk is full");
        let outer = io::Error::other(inner);
        let text = serde_json::to_string(&Cause::of(&outer)).unwrap();
        let cause: Cause = serde_json::from_str(&text).unwrap();
        assert_eq!(cause.to_string(), "the disk is full");
    }
}
