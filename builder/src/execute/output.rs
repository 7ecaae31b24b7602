//! What a RUN prints. The invariant: memory stays bounded whatever is printed, and the pipes belong to the step's user, so that
//! /dev/stdout can be opened again in it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rootfs::accounts::Account;
use rustix::event::{PollFd, PollFlags};

use super::SessionTools;
use crate::job::StepFailure;

/// The step's standard output and error: pipes of the step's user, so that /dev/stdout can be opened again in it.
pub(super) struct Pipes {
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
}

impl Pipes {
    /// Makes them.
    pub(super) fn new(session: &SessionTools<'_>, account: &Account) -> Result<Self, StepFailure> {
        let make = || -> Result<(OwnedFd, OwnedFd), StepFailure> {
            let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                .map_err(|error| StepFailure::of_build(&error))?;
            let uid = session
                .ids
                .uids
                .outside(account.uid)
                .map(rustix::fs::Uid::from_raw);
            let gid = session
                .ids
                .gids
                .outside(account.gid)
                .map(rustix::fs::Gid::from_raw);
            rustix::fs::fchown(&pipe.1, uid, gid).map_err(|error| StepFailure::of_build(&error))?;
            Ok(pipe)
        };
        Ok(Self {
            stdout: make()?,
            stderr: make()?,
        })
    }

    /// The ends that the program writes to: standard output and standard error.
    pub(super) fn program_ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.stdout.1.as_fd(), self.stderr.1.as_fd()]
    }

    /// Reads both until their ends; the flag tells standard error.
    pub(super) fn read(self, mut line: impl FnMut(bool, String)) -> std::io::Result<()> {
        let Self { stdout, stderr } = self;
        drop((stdout.1, stderr.1));
        let mut open = vec![
            (false, File::from(stdout.0), Lines::default()),
            (true, File::from(stderr.0), Lines::default()),
        ];
        let mut buffer = vec![0; 64 << 10];
        while !open.is_empty() {
            let ready: Vec<bool> = {
                let mut watched: Vec<PollFd<'_>> = open
                    .iter()
                    .map(|(_, file, _)| PollFd::from_borrowed_fd(borrow(file), PollFlags::IN))
                    .collect();
                match rustix::event::poll(&mut watched, None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    other => other?,
                };
                watched.iter().map(|fd| !fd.revents().is_empty()).collect()
            };
            let mut index = 0;
            for ready in ready {
                let (stderr, file, lines) = &mut open[index];
                if !ready {
                    index += 1;
                    continue;
                }
                let count = file.read(&mut buffer)?;
                if let Some(text) = lines.take(&buffer[..count], count == 0) {
                    line(*stderr, text);
                }
                if count == 0 {
                    open.remove(index);
                } else {
                    index += 1;
                }
            }
        }
        Ok(())
    }
}

fn borrow(file: &File) -> BorrowedFd<'_> {
    file.as_fd()
}

/// Cuts a byte stream at line ends; a line without an end is passed on in pieces, so memory stays bounded.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    const LONGEST: usize = 16 << 10;

    fn take(&mut self, bytes: &[u8], last: bool) -> Option<String> {
        self.0.extend_from_slice(bytes);
        let end = match self.0.iter().rposition(|byte| *byte == b'\n') {
            Some(position) => position + 1,
            None if last || self.0.len() > Self::LONGEST => self.0.len(),
            None => 0,
        };
        let end = if last { self.0.len() } else { end };
        if end == 0 {
            return None;
        }
        let whole: Vec<u8> = self.0.drain(..end).collect();
        Some(String::from_utf8_lossy(&whole).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_passed_on_at_line_ends() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\ntw", false).as_deref(), Some("one\n"));
        assert_eq!(lines.take(b"o", false), None);
        assert_eq!(lines.take(b"", true).as_deref(), Some("two"));
    }

    #[test]
    fn d24_a_line_without_an_end_does_not_fill_the_memory() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; Lines::LONGEST + 1];
        assert_eq!(
            lines.take(&piece, false).map(|text| text.len()),
            Some(piece.len())
        );
        assert!(lines.0.is_empty());
    }
}
