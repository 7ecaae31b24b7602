//! A program's terminal, shown in the caller's. The invariant: the caller's terminal is as it was when this is over, and what is typed
//! reaches the program as bytes, but for the keys that leave it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use runner::Signals;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use signal_hook::consts::SIGWINCH;

/// The caller's terminal, which passes every key on. Dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Where standard input is a terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Ok(Self(None));
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Gives a program's terminal the size of the caller's, where that has one.
pub(crate) fn resize(terminal: impl AsFd) {
    if let Ok(size) = tcgetwinsize(io::stdin()) {
        let _ = tcsetwinsize(terminal, size);
    }
}

/// Keys that leave a program. Podman's notation: letters, and `ctrl-LETTER`, between commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed just now.
    typed: usize,
}

impl DetachKeys {
    /// `None` where the text means nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let key = |word: &str| match word.strip_prefix("ctrl-").unwrap_or(word).as_bytes() {
            // Control characters are the letter's number, ascii(7).
            [letter @ (b'a'..=b'z' | b'@' | b'['..=b'_')] if word.len() > 1 => Some(letter & 0x1f),
            [letter] if word.len() == 1 => Some(*letter),
            _ => None,
        };
        let words = text.split(',').filter(|_| !text.is_empty());
        let keys = words.map(key).collect::<Option<Vec<_>>>()?;
        Some(Self { keys, typed: 0 })
    }

    /// What of the typed bytes goes on to the program; `None` where the keys were typed.
    fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(bytes.len() + self.keys.len());
        for byte in bytes {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return None;
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(self.keys.first() == Some(byte));
            if self.typed == 0 {
                passed.push(*byte);
            }
        }
        Some(passed)
    }
}

/// Carries standard input to a program until its end; what is typed last of all is `left`'s business. Not waited for: it may sit in a
/// read when the program is long gone.
pub(crate) fn carry_input(
    to: OwnedFd,
    mut keys: Option<DetachKeys>,
    left: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let carry = move || {
        let (mut to, mut piece) = (File::from(to), [0; 4096]);
        let mut stdin = io::stdin();
        loop {
            let length = match stdin.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let passed = match &mut keys {
                Some(keys) => keys.pass(&piece[..length]),
                None => Some(piece[..length].to_vec()),
            };
            let Some(passed) = passed else {
                return left();
            };
            if to.write_all(&passed).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().spawn(carry).map(drop)
}

/// Carries a program's output to one of the caller's streams until its end.
pub(crate) fn carry_output(
    from: OwnedFd,
    mut to: impl io::Write + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let carry = move || {
        let (mut from, mut piece) = (File::from(from), vec![0; 64 << 10]);
        loop {
            match from.read(&mut piece) {
                // EIO: nobody has the other side of a terminal any more, tty_ioctl(4).
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
                Ok(length) => {
                    if to
                        .write_all(&piece[..length])
                        .and_then(|()| to.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    };
    std::thread::Builder::new().spawn(carry)
}

/// The terminal of a container in the foreground, once there is one.
#[derive(Default)]
pub(crate) struct Shown(RefCell<Option<Showing>>);

struct Showing {
    terminal: OwnedFd,
    output: JoinHandle<()>,
    _raw: Raw,
}

impl Shown {
    /// Shows it from now on.
    pub(crate) fn show(&self, terminal: OwnedFd) -> io::Result<()> {
        resize(&terminal);
        let raw = Raw::enter()?;
        carry_input(terminal.try_clone()?, None, || ())?;
        let output = carry_output(terminal.try_clone()?, io::stdout())?;
        *self.0.borrow_mut() = Some(Showing {
            terminal,
            output,
            _raw: raw,
        });
        Ok(())
    }

    /// Waits until everything that the program wrote is shown.
    pub(crate) fn finish(&self) {
        if let Some(showing) = self.0.take() {
            let _ = showing.output.join();
        }
    }

    /// The same signals, but for those that tell of a new size, which the terminal gets.
    pub(crate) fn resized_by<'s>(&'s self, signals: &'s mut dyn Signals) -> impl Signals + 's {
        Resizing {
            shown: self,
            signals,
        }
    }
}

struct Resizing<'s> {
    shown: &'s Shown,
    signals: &'s mut dyn Signals,
}

impl AsFd for Resizing<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Signals for Resizing<'_> {
    fn take(&mut self) -> Vec<i32> {
        let mut signals = self.signals.take();
        if let Some(showing) = self.shown.0.borrow().as_ref()
            && signals.contains(&SIGWINCH)
        {
            resize(&showing.terminal);
            signals.retain(|signal| *signal != SIGWINCH);
        }
        signals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        DetachKeys::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn detach_keys_are_podmans() {
        assert_eq!(keys("ctrl-p,ctrl-q").keys, [16, 17]);
        assert_eq!(keys("a,ctrl-@,ctrl-[,ctrl-_").keys, [b'a', 0, 27, 31]);
        assert!(keys("").keys.is_empty());
        for wrong in ["ctrl-", "ctrl-pq", "ab", "a,,b", "ctrl-!"] {
            assert!(DetachKeys::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn only_the_whole_sequence_leaves_and_everything_else_arrives() {
        let mut typed = keys("ctrl-p,ctrl-q");
        assert_eq!(typed.pass(b"ls\x10").unwrap(), b"ls");
        assert_eq!(typed.pass(b"x").unwrap(), b"\x10x");
        assert_eq!(typed.pass(b"\x10\x10").unwrap(), b"\x10");
        assert_eq!(typed.pass(b"\x11"), None);
        let mut none = keys("");
        assert_eq!(none.pass(b"\x10\x11").unwrap(), b"\x10\x11");
    }
}
