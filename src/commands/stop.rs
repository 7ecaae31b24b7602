//! `rbuild stop`, `rbuild kill` and `rbuild wait`. The invariant: every container that is named is tried, and the first failure is the
//! command's.

use std::io;

use runner::service::Container;

use super::service::{failure, living, lost};
use crate::args::containers::{KillArgs, StopArgs, WaitArgs};
use crate::failure::{Failure, Kind};
use crate::stdout;
use crate::surroundings::Surroundings;

/// What `wait` says of a container that was killed with its supervisor: 128 + SIGKILL.
const KILLED: i32 = 137;

/// Has containers end, and prints what they were called by.
pub(super) fn stop(args: &StopArgs, here: &Surroundings) -> Result<(), Failure> {
    each(&args.containers, args.all, here, |container| {
        let connection = container.connect().map_err(failure)?;
        ended(container, connection.stop(args.time)).map(|_| None)
    })
}

/// Sends containers a signal, and prints what they were called by.
pub(super) fn kill(args: &KillArgs, here: &Surroundings) -> Result<(), Failure> {
    each(&args.containers, args.all, here, |container| {
        let connection = container.connect().map_err(failure)?;
        let killed = connection.kill(args.signal.number());
        killed.map_err(|error| lost(container, error))?;
        Ok(None)
    })
}

/// Waits for the end of containers, and prints their exit codes.
pub(super) fn wait(args: &WaitArgs, here: &Surroundings) -> Result<(), Failure> {
    each(&args.containers, false, here, |container| {
        let connection = container.connect().map_err(failure)?;
        let code = ended(container, connection.wait())?;
        Ok(Some(code.to_string()))
    })
}

fn ended(container: &Container, code: io::Result<i32>) -> Result<i32, Failure> {
    match code {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(KILLED),
        other => other.map_err(|error| lost(container, error)),
    }
}

/// Does something to each, and prints what comes of it, or else what the container was called by.
fn each(
    names: &[String],
    all: bool,
    here: &Surroundings,
    act: impl Fn(&Container) -> Result<Option<String>, Failure>,
) -> Result<(), Failure> {
    let containers = living(here)?;
    let found: Vec<(String, Result<Container, Failure>)> = if all {
        let list = containers.list().map_err(failure)?;
        let named = list.into_iter().map(|one| (one.record.id.clone(), Ok(one)));
        named.collect()
    } else {
        let find = |name: &String| containers.find(name).map_err(failure);
        names
            .iter()
            .map(|name| (name.clone(), find(name)))
            .collect()
    };
    let mut first = None;
    for (name, container) in found {
        match container.and_then(|container| act(&container)) {
            Ok(text) => stdout::print(&format!("{}\n", text.unwrap_or(name)))?,
            Err(failure) if first.is_none() => first = Some(failure),
            Err(failure) => drop(failure.report()),
        }
    }
    first.map_or(Ok(()), |failure| Err(failure.with_kind(Kind::Code(125))))
}
