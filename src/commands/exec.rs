//! `rbuild exec`. The invariant: the process ends when this command does, and everything that it wrote was passed on before its exit
//! code is.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::thread::JoinHandle;

use runner::Signals as _;
use runner::service::{Exec, ExecSignals};
use signal_hook::consts::SIGWINCH;

use super::run::as_docker;
use super::service::{failure, living};
use crate::args::containers::ExecArgs;
use crate::failure::{Failure, Kind};
use crate::signals::ForContainer;
use crate::surroundings::Surroundings;
use crate::terminal::{Raw, carry_input, carry_output, resize};

/// Runs a program in a container and passes its exit code on.
pub(super) fn exec(args: ExecArgs, here: &Surroundings) -> Result<ExitCode, Failure> {
    let (name, request) = args.settings(here)?;
    let perform = || {
        let container = living(here)?.find(&name).map_err(failure)?;
        let connection = container.connect().map_err(failure)?;
        let mut process = connection.exec(&request).map_err(explain)?;
        let streams = process.take_streams();
        let signals = process.signals().map_err(broken)?;
        match request.terminal {
            true => with_terminal(&process, streams, signals, request.stdin),
            false => with_streams(&process, streams, signals, request.stdin),
        }
    };
    let code = perform().map_err(as_docker)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(125)))
}

fn explain(error: runner::RunError) -> Failure {
    let code = u8::try_from(error.exit_code()).unwrap_or(125);
    Failure::new(Kind::Code(code), error)
}

fn broken(error: io::Error) -> Failure {
    let error = anyhow::Error::new(error).context("connect the program's streams");
    Failure::new(Kind::Code(125), error)
}

fn with_streams(
    process: &Exec,
    streams: Vec<OwnedFd>,
    signals: ExecSignals,
    stdin: bool,
) -> Result<i32, Failure> {
    let mut streams = streams.into_iter();
    if let Some(input) = stdin.then(|| streams.next()).flatten() {
        carry_input(input, None, || ()).map_err(broken)?;
    }
    let mut carried: Vec<JoinHandle<()>> = Vec::new();
    if let Some(output) = streams.next() {
        carried.push(carry_output(output, io::stdout()).map_err(broken)?);
    }
    if let Some(errors) = streams.next() {
        carried.push(carry_output(errors, io::stderr()).map_err(broken)?);
    }
    pass_signals(signals, None)?;
    let code = process.wait().map_err(explain)?;
    for thread in carried {
        let _ = thread.join();
    }
    Ok(code)
}

fn with_terminal(
    process: &Exec,
    streams: Vec<OwnedFd>,
    signals: ExecSignals,
    stdin: bool,
) -> Result<i32, Failure> {
    let gone = || broken(io::ErrorKind::UnexpectedEof.into());
    let terminal = streams.into_iter().next().ok_or_else(gone)?;
    let copy = || terminal.as_fd().try_clone_to_owned().map_err(broken);
    resize(&terminal);
    let raw = match stdin {
        true => Some(Raw::enter().map_err(broken)?),
        false => None,
    };
    if stdin {
        carry_input(copy()?, None, || ()).map_err(broken)?;
    }
    let output = carry_output(copy()?, io::stdout()).map_err(broken)?;
    pass_signals(signals, Some(terminal))?;
    let code = process.wait();
    let _ = output.join();
    drop(raw);
    code.map_err(explain)
}

/// In a thread of its own: this process waits for the program.
fn pass_signals(to: ExecSignals, terminal: Option<OwnedFd>) -> Result<(), Failure> {
    let mut signals = ForContainer::catch()?;
    let pass = move || loop {
        let mut ready = [rustix::event::PollFd::new(
            &signals,
            rustix::event::PollFlags::IN,
        )];
        let _ = rustix::event::poll(&mut ready, None);
        for signal in signals.take() {
            match &terminal {
                Some(terminal) if signal == SIGWINCH => resize(terminal),
                _ => to.send(signal),
            }
        }
    };
    std::thread::Builder::new()
        .spawn(pass)
        .map(drop)
        .map_err(broken)
}
