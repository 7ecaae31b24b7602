//! Signals. The invariant: of those that mean "end", the first asks the work to end in order and is remembered for the exit
//! code; the second ends the process at once, and the kernel takes the session and its steps with it (their parent-death signal).
//! A container gets every signal instead, and decides itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::{Failure, Kind};

/// The signals that can be passed on to a container. From now on they wait for somebody to take them.
///
/// # Errors
/// When signals cannot be caught.
pub(crate) fn for_container() -> Result<Waiting, Failure> {
    let caught = catch(&[
        SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
    ])?;
    Ok(Waiting(caught))
}

/// Signals that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Waiting(Signals);

impl Waiting {
    /// Hands every signal to `pass`, from a thread of its own.
    ///
    /// # Errors
    /// When there is no thread.
    pub(crate) fn pass_on(mut self, pass: impl Fn(i32) + Send + 'static) -> std::io::Result<()> {
        let take = move || self.0.forever().for_each(pass);
        std::thread::Builder::new().spawn(take).map(drop)
    }
}

fn catch(signals: &[i32]) -> Result<Signals, Failure> {
    Signals::new(signals).map_err(|error| {
        Failure::new(
            Kind::Host,
            anyhow::Error::new(error).context("catch signals"),
        )
    })
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
        let mut signals = catch(&[SIGINT, SIGTERM, SIGHUP])?;
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
