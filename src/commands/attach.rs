//! `rbuild attach`. The invariant: who leaves with the keys leaves the container as it is.

use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runner::Signals as _;
use runner::service::{Attached, Connection, Container, LogReader, Progress};

use super::logs::{Written, copy};
use super::service::{failure, living, lost};
use crate::args::containers::AttachArgs;
use crate::failure::Failure;
use crate::signals::ForContainer;
use crate::surroundings::Surroundings;
use crate::terminal::{DetachKeys, Raw, carry_input, resize};

/// Shows a container's output and gives it standard input; passes its exit code on.
pub(super) fn attach(args: &AttachArgs, here: &Surroundings) -> Result<ExitCode, Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--detach-keys {}: they are no keys",
            args.detach_keys
        ))
    };
    let keys = DetachKeys::parse(&args.detach_keys).ok_or_else(wrong)?;
    let keys = here.stdin_is_terminal.then_some(keys);
    let container = living(here)?.find(&args.container).map_err(failure)?;
    let broken = |error| lost(&container, error);
    let mut log = container.log_from_now_on().map_err(failure)?;
    let connection = container.connect().map_err(failure)?;
    let attached = connection.attach().map_err(broken)?;
    let left = Arc::new(AtomicBool::new(false));
    let _raw = match attached.terminal && !args.no_stdin {
        true => Some(Raw::enter().map_err(broken)?),
        false => None,
    };
    if !args.no_stdin {
        give_input(&attached, keys, &connection, Arc::clone(&left)).map_err(broken)?;
    }
    if args.sig_proxy {
        pass_signals(container.clone(), attached)?;
    }
    let code = follow(&connection, &container, &mut log);
    if left.load(Ordering::SeqCst) {
        return Ok(ExitCode::SUCCESS);
    }
    code.map(ExitCode::from)
}

fn give_input(
    attached: &Attached,
    keys: Option<DetachKeys>,
    connection: &Connection,
    left: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let Some(input) = &attached.input else {
        return Ok(());
    };
    if attached.terminal {
        resize(input);
    }
    let hang_up = connection.hang_up()?;
    let leave = move || {
        left.store(true, Ordering::SeqCst);
        hang_up();
    };
    carry_input(input.as_fd().try_clone_to_owned()?, keys, leave)
}

/// In a thread of its own: this process waits for the container's output.
fn pass_signals(container: Container, attached: Attached) -> Result<(), Failure> {
    let mut signals = ForContainer::catch()?;
    let terminal = attached.input.filter(|_| attached.terminal);
    let to = container.clone();
    let pass = move || {
        loop {
            let ready = rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN);
            let _ = rustix::event::poll(&mut [ready], None);
            for signal in signals.take() {
                match &terminal {
                    Some(terminal) if signal == signal_hook::consts::SIGWINCH => resize(terminal),
                    // One that ended takes none.
                    _ => drop(to.connect().map(|connection| connection.kill(signal))),
                }
            }
        }
    };
    let spawned = std::thread::Builder::new().spawn(pass);
    spawned.map(drop).map_err(|error| lost(&container, error))
}

fn follow(
    connection: &Connection,
    container: &Container,
    log: &mut LogReader,
) -> Result<u8, Failure> {
    let (mut seen, mut written) = (0, Written::default());
    loop {
        let progress = connection.next(seen);
        copy(log, &mut written)?;
        match progress.map_err(|error| lost(container, error))? {
            Progress::Wrote(count) => seen = count,
            Progress::Ended(code) => return Ok(u8::try_from(code).unwrap_or(125)),
        }
    }
}
