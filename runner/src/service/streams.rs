//! The standard streams of a container in the background. The invariant: while its session is started they are those of the
//! supervisor's own process, and afterwards the supervisor has nothing but their other ends.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

use super::log::LogStream;

/// The supervisor's ends.
#[derive(Debug)]
pub struct ServiceStreams {
    /// Of standard input, where it is kept open.
    pub(crate) input: Option<OwnedFd>,
    pub(crate) outputs: Vec<(LogStream, OwnedFd)>,
}

impl ServiceStreams {
    /// Makes them the standard streams of this process. Standard input is /dev/null unless it is kept `open`.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn take(open: bool) -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let input = if open {
            let (read, write) = pipe()?;
            rustix::stdio::dup2_stdin(read)?;
            Some(write)
        } else {
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            None
        };
        let (stdout, write) = pipe()?;
        rustix::stdio::dup2_stdout(write)?;
        let (stderr, write) = pipe()?;
        rustix::stdio::dup2_stderr(write)?;
        Ok(Self {
            input,
            outputs: vec![(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)],
        })
    }

    /// Leaves them to the session that was started meanwhile.
    pub(crate) fn leave(&self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(rustix::stdio::dup2_stderr(&null)?)
    }
}
