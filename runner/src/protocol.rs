//! What the main process and its session tell each other: one JSON document a line. The invariant: a line is bounded and
//! complete, or an error; no descriptor travels here.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::request::RunRequest;

/// The largest line: a configuration is at most a few megabytes, as are arguments and environment (execve(2)).
const MAX_LINE: u64 = 64 << 20;

/// Everything that the session needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunJob {
    /// The store's directory.
    pub(crate) store: PathBuf,
    /// What is asked for.
    pub(crate) request: RunRequest,
    /// Whether the program starts; else everything is only made ready for a later start.
    pub(crate) start: bool,
}

/// From the main process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSession {
    /// Comes first, once, where the session was executed; a forked one knows it.
    Run(Box<RunJob>),
    /// Pass this signal on.
    Signal(i32),
}

/// From the session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSession {
    /// The user should know this.
    Notice(String),
    /// The program ended; nothing follows.
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

pub(crate) fn send<T: Serialize>(mut socket: &UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// The receiving half of a socket.
#[derive(Debug)]
pub(crate) struct Receiver<'s>(BufReader<&'s UnixStream>);

impl<'s> Receiver<'s> {
    pub(crate) fn new(socket: &'s UnixStream) -> Self {
        Self(BufReader::new(socket))
    }

    /// To be polled, unless a message [is here](Receiver::is_waiting) already.
    pub(crate) fn socket(&self) -> &'s UnixStream {
        self.0.get_ref()
    }

    /// Whether the next message, or its beginning, has been received.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.buffer().is_empty()
    }

    /// The next message, or `None` at the end of the stream.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        self.0
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => serde_json::from_slice(&line)
                .map(Some)
                .map_err(io::Error::other),
            Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_until_the_end() {
        let (a, b) = UnixStream::pair().unwrap();
        send(&a, &ToSession::Signal(15)).unwrap();
        send(&a, &ToSession::Signal(2)).unwrap();
        drop(a);
        let mut receiver = Receiver::new(&b);
        assert!(matches!(
            receiver.next().unwrap(),
            Some(ToSession::Signal(15))
        ));
        assert!(matches!(
            receiver.next().unwrap(),
            Some(ToSession::Signal(2))
        ));
        assert!(receiver.next::<ToSession>().unwrap().is_none());
    }

    #[test]
    fn half_a_message_is_an_error() {
        let (a, b) = UnixStream::pair().unwrap();
        (&a).write_all(b"{\"Sig").unwrap();
        drop(a);
        assert!(Receiver::new(&b).next::<ToSession>().is_err());
    }

    #[test]
    fn an_error_keeps_its_causes_on_the_way() {
        let inner = io::Error::other("the disk is full");
        let outer = io::Error::other(inner);
        let text = serde_json::to_string(&Cause::of(&outer)).unwrap();
        let cause: Cause = serde_json::from_str(&text).unwrap();
        assert_eq!(cause.to_string(), "the disk is full");
    }
}
