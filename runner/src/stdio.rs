//! Standard input, output and error of a container. The invariant: what the program gets can be opened again by it through
//! /dev/stdout, and nothing of the caller's ever changes its owner: only pipes made here do.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Gid, Uid};
use rustix::pipe::PipeFlags;

use crate::request::Stdin;
use crate::userns::Ids;

/// The size of a pipe, pipe(7).
const PIECE: usize = 64 << 10;

/// What the program gets, and what has to be carried between it and the caller.
#[derive(Debug)]
pub(crate) struct Streams {
    /// The program's descriptors 0, 1 and 2.
    pub(crate) program: [OwnedFd; 3],
    input: Option<Relay>,
    outputs: Vec<Relay>,
}

/// Bytes go from one descriptor to the other until either end is closed.
#[derive(Debug)]
struct Relay {
    from: File,
    to: File,
}

impl Streams {
    /// Makes them for a program that the session knows as `owner`. `caller_stdin` is the caller's standard input; its
    /// output and error are this process's own.
    pub(crate) fn new(stdin: Stdin, caller_stdin: &OwnedFd, owner: Ids) -> io::Result<Self> {
        let (mut input, mut outputs) = (None, Vec::new());
        let zero = match stdin {
            Stdin::Null => OwnedFd::from(File::open("/dev/null")?),
            Stdin::Caller { .. } if can_reopen(caller_stdin, owner)? => caller_stdin.try_clone()?,
            Stdin::Caller { .. } => {
                let (read, write) = owned_pipe(owner)?;
                let (from, to) = (caller_stdin.try_clone()?.into(), write.into());
                input = Some(Relay { from, to });
                read
            }
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let one = output(stdout.as_fd(), owner, &mut outputs)?;
        let two = output(stderr.as_fd(), owner, &mut outputs)?;
        Ok(Self {
            program: [zero, one, two],
            input,
            outputs,
        })
    }

    /// Those of a program with a terminal, which takes their place.
    pub(crate) fn none() -> io::Result<Self> {
        let null = || File::options().read(true).write(true).open("/dev/null");
        Ok(Self {
            program: [null()?.into(), null()?.into(), null()?.into()],
            input: None,
            outputs: Vec::new(),
        })
    }

    /// Starts carrying, and lets go of the program's ends, so that its end is seen.
    pub(crate) fn start(self) -> io::Result<Carrying> {
        drop(self.program);
        if let Some(relay) = self.input {
            // Not waited for: it may sit in a read of a terminal when the program is long gone.
            spawn("stdin", relay)?;
        }
        let mut carrying = Carrying::default();
        for relay in self.outputs {
            if relay.never_waits()? {
                carrying.files.push(relay);
            } else {
                carrying.threads.push(spawn("output", relay)?);
            }
        }
        Ok(carrying)
    }
}

/// The output on its way to the caller.
#[derive(Debug, Default)]
pub(crate) struct Carrying {
    /// What goes to readers that may be slow, each in a thread.
    threads: Vec<JoinHandle<()>>,
    /// What goes into files, whenever there is something.
    files: Vec<Relay>,
}

impl Carrying {
    /// To be polled: what can be [passed](Carrying::pass) when it is readable.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|relay| relay.from.as_fd())
    }

    /// Passes on what there is at the sources that are `ready`, one answer for each.
    pub(crate) fn pass(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        self.files
            .retain_mut(|relay| ready.next() != Some(&true) || relay.pass(&mut vec![0; PIECE]));
    }

    /// Waits until everything that the program wrote has reached the caller.
    pub(crate) fn finish(self) {
        self.files.into_iter().for_each(Relay::run);
        for thread in self.threads {
            // A panic there is a bug that loses output; the program's exit code still counts.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, relay: Relay) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 << 10)
        .spawn(move || relay.run())
}

fn output(caller: BorrowedFd<'_>, owner: Ids, outputs: &mut Vec<Relay>) -> io::Result<OwnedFd> {
    let to = caller.try_clone_to_owned()?;
    if can_reopen(&to, owner)? {
        return Ok(to);
    }
    let (read, write) = owned_pipe(owner)?;
    let (from, to) = (read.into(), to.into());
    outputs.push(Relay { from, to });
    Ok(write)
}

/// Whether the program may have the caller's own descriptor: a pipe that belongs to the same user, or /dev/null. A
/// terminal would let it type for the caller (TIOCSTI), a file would let it read what was written there before.
fn can_reopen(fd: &OwnedFd, owner: Ids) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => stat.st_uid == owner.uid && stat.st_mode & 0o600 == 0o600,
        // The null device, Documentation/admin-guide/devices.txt.
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        _ => false,
    })
}

/// A pipe that belongs to the program's user: opening /proc/self/fd/1 again asks for that.
pub(crate) fn owned_pipe(owner: Ids) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ids = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::fchown(&write, Some(ids.0), Some(ids.1))?;
    Ok((read, write))
}

impl Relay {
    /// Whether its writes end soon, as those into a file do.
    fn never_waits(&self) -> io::Result<bool> {
        let stat = rustix::fs::fstat(&self.to)?;
        Ok(FileType::from_raw_mode(stat.st_mode).is_file())
    }

    fn run(mut self) {
        let mut piece = vec![0; PIECE];
        while self.pass(&mut piece) {}
    }

    /// Waits for something and passes it on; says whether there may be more.
    fn pass(&mut self, piece: &mut [u8]) -> bool {
        let length = loop {
            match self.from.read(piece) {
                Ok(0) => return false,
                Ok(length) => break length,
                Err(error) if wait(&error, &self.from, PollFlags::IN) => {}
                Err(_) => return false,
            }
        };
        let mut rest = &piece[..length];
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if wait(&error, &self.to, PollFlags::OUT) => {}
                // The reader is gone: closing our end tells the writer, as between two programs of a pipeline.
                Err(_) => return false,
            }
        }
        true
    }
}

/// Whether to try again, after waiting where the caller's descriptor does not block (F08).
fn wait(error: &io::Error, fd: &File, flags: PollFlags) -> bool {
    match error.kind() {
        io::ErrorKind::Interrupted => true,
        io::ErrorKind::WouldBlock => {
            let _ = rustix::event::poll(&mut [PollFd::new(fd, flags)], None);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Ids {
        let uid = rustix::process::geteuid().as_raw();
        Ids {
            uid,
            gid: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn a_pipe_of_the_same_user_is_passed_and_that_of_another_is_not() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        assert!(can_reopen(&read, own()).unwrap());
        let other = Ids {
            uid: own().uid + 1,
            gid: 0,
        };
        assert!(!can_reopen(&read, other).unwrap());
    }

    #[test]
    fn the_callers_files_are_never_handed_over() {
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        assert!(!can_reopen(&file, own()).unwrap());
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        assert!(can_reopen(&null, own()).unwrap());
        let zero = OwnedFd::from(File::open("/dev/zero").unwrap());
        assert!(!can_reopen(&zero, own()).unwrap());
    }

    #[test]
    fn f08_a_relay_carries_everything_to_a_slow_reader_that_does_not_block() {
        let (from, feed) = rustix::pipe::pipe().unwrap();
        let (drain, to) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK).unwrap();
        rustix::io::ioctl_fionbio(&drain, false).unwrap();
        let (from, to) = (from.into(), to.into());
        let relay = std::thread::spawn(move || Relay { from, to }.run());
        let sent = vec![7_u8; 300_000];
        let expected = sent.len();
        let feeder = std::thread::spawn(move || File::from(feed).write_all(&sent));
        let mut received = Vec::new();
        File::from(drain).read_to_end(&mut received).unwrap();
        feeder.join().unwrap().unwrap();
        relay.join().unwrap();
        assert_eq!(received.len(), expected);
    }
}
