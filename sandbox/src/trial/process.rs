//! A process that a trial starts. The invariant: its output is kept to a limit and the rest dropped, so that neither side ever waits
//! for the other.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::{Command, Done, Ended, watch};
use crate::perform::candidates;
use crate::sys;

/// How much of each stream is kept.
const KEPT: usize = 1 << 20;

/// The value of a variable of this process, as the container has it.
pub(super) fn variable(name: &str) -> Option<String> {
    let mut all = environment().into_iter();
    all.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The container's variables. Not the caller's surroundings: a trial's are those that a spec gave it.
fn environment() -> Vec<(String, String)> {
    let raw = std::fs::read("/proc/self/environ").unwrap_or_default();
    let texts = raw.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    texts
        .filter_map(|text| {
            text.split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// One stream of a process.
#[derive(Debug, Default)]
struct Stream {
    from: Option<File>,
    kept: Vec<u8>,
}

impl Stream {
    fn new(from: OwnedFd) -> Self {
        Self {
            from: Some(from.into()),
            kept: Vec::new(),
        }
    }

    /// Takes what there is.
    fn take(&mut self) {
        let Some(from) = &mut self.from else { return };
        let mut piece = [0; 16 << 10];
        loop {
            match from.read(&mut piece) {
                Ok(0) => break self.from = None,
                Ok(length) => {
                    let room = KEPT.saturating_sub(self.kept.len()).min(length);
                    self.kept.extend_from_slice(&piece[..room]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => break self.from = None,
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// A process, its streams, and the pipe that tells that it could not be executed.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    streams: [Stream; 3],
    pub(super) ended: Option<Ended>,
    started: Instant,
    /// Why it is not observed, where it was to be.
    pub(super) blind: Option<Errno>,
}

impl Process {
    /// Starts a command, which is observed or not.
    pub(super) fn start(command: &Command, observe: bool) -> Result<Self, Errno> {
        let (out, out_end) = pipe()?;
        let (err, err_end) = pipe()?;
        let (told, tell) = pipe()?;
        let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(errno)?;
        match sys::fork()? {
            sys::Forked::Child => {
                drop(go);
                let failure = become_it(command, [out_end, err_end], wait);
                let _ = File::from(tell).write_all(&(failure as i32).to_ne_bytes());
                std::process::exit(127)
            }
            sys::Forked::Parent(pid) => {
                let observed = observe.then(|| watch::attach(pid));
                let word: &[u8] = if observed == Some(Ok(())) { b"o" } else { b"-" };
                let _ = File::from(go).write_all(word);
                Ok(Self {
                    pid,
                    streams: [out, err, told].map(Stream::new),
                    ended: None,
                    started: Instant::now(),
                    blind: observed.and_then(Result::err),
                })
            }
        }
    }

    /// What is to be polled.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = self.streams.iter();
        streams.filter_map(|stream| stream.from.as_ref().map(AsFd::as_fd))
    }

    /// Takes what it wrote.
    pub(super) fn listen(&mut self) {
        self.streams.iter_mut().for_each(Stream::take);
    }

    /// Whether it has ended and all its output is here. What it left behind may hold the output open: that is not waited for.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// What came of it.
    pub(super) fn done(&self) -> Done {
        let told = self.streams[2].kept.first_chunk();
        let ended = match (told, self.ended) {
            (Some(number), _) => Ended::NotStarted(i32::from_ne_bytes(*number)),
            (None, Some(ended)) => ended,
            (None, None) => Ended::Running,
        };
        Done {
            ended,
            stdout: self.streams[0].text(),
            stderr: self.streams[1].text(),
            millis: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            tries: 1,
            listening: Vec::new(),
        }
    }
}

/// The reading end does not block.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(errno)?;
    rustix::io::ioctl_fionbio(&read, true).map_err(errno)?;
    Ok((read, write))
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The child's whole life until it is the program; returns only what failed.
fn become_it(command: &Command, [out, err]: [OwnedFd; 2], wait: OwnedFd) -> Errno {
    match try_to_become_it(command, [out, err], wait) {
        Ok(never) => match never {},
        Err(errno) => errno,
    }
}

fn try_to_become_it(
    command: &Command,
    [out, err]: [OwnedFd; 2],
    wait: OwnedFd,
) -> Result<std::convert::Infallible, Errno> {
    // A session of its own, so that all of it can be signalled, and there is no terminal.
    nix::unistd::setsid()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty()).map_err(errno)?;
    rustix::stdio::dup2_stdin(&null).map_err(errno)?;
    rustix::stdio::dup2_stdout(&out).map_err(errno)?;
    rustix::stdio::dup2_stderr(&err).map_err(errno)?;
    sys::reset_signals()?;
    let mut word = [0];
    // Without a word nobody observes.
    let _ = File::from(wait).read(&mut word);
    let mut env = environment();
    env.retain(|(key, _)| !command.env.iter().any(|(own, _)| own == key));
    env.extend(command.env.iter().cloned());
    let text = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let argv: Result<Vec<_>, _> = command.argv.iter().map(|word| text(word)).collect();
    let variables = env
        .iter()
        .map(|(key, value)| text(&format!("{key}={value}")));
    let variables: Result<Vec<_>, _> = variables.collect();
    let (argv, variables) = (argv?, variables?);
    let program = command.argv.first().map_or("", String::as_str);
    if word == *b"o" {
        watch::report()?;
    }
    let mut failure = Errno::ENOENT;
    for candidate in candidates(program, &env) {
        let Err(errno) = nix::unistd::execve(&text(&candidate)?, &argv, &variables);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => failure = errno,
            _ => return Err(errno),
        }
    }
    Err(failure)
}
