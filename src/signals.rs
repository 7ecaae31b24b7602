//! Signals. The invariant: of those that mean "end", the first asks the work to end in order and is remembered for the exit
//! code; the second ends the process at once, and the kernel takes the session and its steps with it (their parent-death signal).
//! A container gets every signal instead, and decides itself.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::failure::{Failure, Kind};

/// The signals that a container gets, caught from now on.
#[derive(Debug)]
pub(crate) struct ForContainer(SignalDelivery<UnixStream, SignalOnly>);

impl ForContainer {
    /// Starts to catch them.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let passed = [
            SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
        ];
        UnixStream::pair()
            .and_then(|(read, write)| SignalDelivery::with_pipe(read, write, SignalOnly, passed))
            .map(Self)
            .map_err(not_caught)
    }
}

impl AsFd for ForContainer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

impl runner::Signals for ForContainer {
    fn take(&mut self) -> Vec<i32> {
        self.0.pending().collect()
    }
}

fn not_caught(error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error).context("catch signals");
    Failure::new(Kind::Host, error)
}

/// The signals that arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupts(Arc<State>);

#[derive(Debug, Default)]
struct State {
    first: AtomicI32,
    count: AtomicUsize,
}

impl Interrupts {
    /// Starts to listen; `ask` is called once, on the first signal, from a thread of its own.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub(crate) fn listen(ask: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(not_caught)?;
        let heard = Self::default();
        let state = heard.0.clone();
        let listen = move || {
            for signal in signals.forever() {
                if state.count.fetch_add(1, Ordering::SeqCst) == 0 {
                    state.first.store(signal, Ordering::SeqCst);
                    ask();
                } else {
                    // The default action: it ends the process with the signal, as the caller expects to see.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        };
        match std::thread::Builder::new().spawn(listen) {
            Ok(_) => Ok(heard),
            Err(error) => {
                let error = anyhow::Error::new(error).context("start a thread");
                Err(Failure::new(Kind::Host, error))
            }
        }
    }

    /// The first signal, if there was one.
    pub(crate) fn first(&self) -> Option<u8> {
        u8::try_from(self.0.first.load(Ordering::SeqCst))
            .ok()
            .filter(|signal| *signal > 0)
    }

    /// What to end with when the work was interrupted: 128 + n.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let signal = self.first()?;
        let name = match i32::from(signal) {
            SIGINT => "SIGINT",
            SIGHUP => "SIGHUP",
            _ => "SIGTERM",
        };
        Some(Failure::new(
            Kind::Code(128 + signal),
            anyhow::anyhow!("interrupted by {name}"),
        ))
    }
}
