//! The network namespace that one step has for itself. Making it takes the kernel about as long as all the rest of a step's set-up,
//! so the step's supervising process makes it while its child does that rest. The invariant: the namespace belongs to the step's
//! user namespace, and a step that is to have one never goes on without it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags};

use crate::failure::{During, SetupFailure};
use crate::{sys, wire};

/// The side of the process that makes the namespace, in which it stays.
pub(crate) struct Maker(UnixStream);

/// The side of the process that joins it.
pub(crate) struct Joiner(UnixStream);

/// The two sides, for before the fork.
pub(crate) fn pair() -> io::Result<(Maker, Joiner)> {
    let (maker, joiner) = UnixStream::pair()?;
    Ok((Maker(maker), Joiner(joiner)))
}

impl Maker {
    /// Makes the namespace; what the kernel refuses is said by the other side.
    pub(crate) fn make(self) {
        let made = make();
        let handles: Vec<_> = made.iter().map(AsFd::as_fd).collect();
        // A child that is gone needs no network.
        let _ = wire::send(&self.0, &made.as_ref().map(drop), &handles);
    }
}

impl Joiner {
    /// Waits for the namespace and joins it.
    pub(crate) fn join(self) -> Result<(), SetupFailure> {
        let here = || "join the step's network namespace".to_owned();
        type Made = Result<(), SetupFailure>;
        let received = wire::receive::<Made>(&self.0).during(here)?;
        let (made, handles) = received.ok_or(Errno::ECONNRESET).during(here)?;
        made?;
        let namespace = handles.into_iter().next();
        let namespace = namespace.ok_or(Errno::EBADF).during(here)?;
        setns(namespace, CloneFlags::CLONE_NEWNET).during(here)
    }
}

fn make() -> Result<OwnedFd, SetupFailure> {
    unshare(CloneFlags::CLONE_NEWNET).during(|| "create a network namespace".into())?;
    sys::loopback_up().during(|| "bring the loopback interface up".into())?;
    let path = "/proc/self/ns/net";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during(|| format!("open {path}"))
}
