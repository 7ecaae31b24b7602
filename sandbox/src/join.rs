//! Processes that join a running sandbox. The invariant: a namespace is known by a handle that the sandbox's own first process opened
//! before anything of the image ran in it; no process is ever looked up by its number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};

use crate::failure::{During, SetupFailure};
use crate::plan::Namespace;
use crate::wire;

/// A way for descriptors out of a sandbox that is being set up.
#[derive(Debug)]
pub struct Door {
    here: UnixStream,
    there: OwnedFd,
}

impl Door {
    /// A new one.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn new() -> io::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let there = there.into();
        Ok(Self { here, there })
    }

    /// The side for the sandbox, to be sent along with its spec.
    pub fn outer(&self) -> BorrowedFd<'_> {
        self.there.as_fd()
    }

    /// What came through, once the sandbox's program runs.
    fn take(self) -> Result<Vec<OwnedFd>, SetupFailure> {
        let here = || "hear from the sandbox".to_owned();
        // So that nothing is waited for that nobody sends.
        drop(self.there);
        let received = wire::receive::<()>(&self.here).during(here)?;
        Ok(received.ok_or(Errno::ECONNRESET).during(here)?.1)
    }

    /// The namespaces that it told.
    ///
    /// # Errors
    /// When it did not.
    pub fn namespaces(self) -> Result<Namespaces, SetupFailure> {
        let all = <[OwnedFd; 7]>::try_from(self.take()?);
        let all = all.map_err(|_| SetupFailure::new("take the namespaces", Errno::EBADF))?;
        Ok(Namespaces(all))
    }

    /// The other side of the terminal that it made.
    ///
    /// # Errors
    /// When it made none.
    pub fn terminal(self) -> Result<OwnedFd, SetupFailure> {
        let terminal = self.take()?.into_iter().next();
        terminal.ok_or_else(|| SetupFailure::new("take the terminal", Errno::EBADF))
    }
}

/// The namespaces of a sandbox.
#[derive(Debug)]
pub struct Namespaces([OwnedFd; 7]);

impl Namespaces {
    /// Their handles, for [`crate::SetupPlan::joining`].
    pub fn handles(&self) -> [BorrowedFd<'_>; 7] {
        self.0.each_ref().map(AsFd::as_fd)
    }
}

/// In the sandbox: sends the namespaces that this process is in.
pub(crate) fn tell(door: &OwnedFd) -> io::Result<()> {
    let open = |namespace: Namespace| {
        let path = format!("/proc/self/ns/{}", namespace.file());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let all: Vec<OwnedFd> = Namespace::ALL
        .into_iter()
        .map(open)
        .collect::<Result<_, _>>()?;
    send(door, &all)
}

/// Sends descriptors through a door.
pub(crate) fn send(door: &OwnedFd, descriptors: &[OwnedFd]) -> io::Result<()> {
    let socket = UnixStream::from(door.try_clone()?);
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    wire::send(&socket, &(), &descriptors)
}

/// Joins a namespace; the process one only for children, setns(2).
pub(crate) fn enter(namespace: Namespace, handle: &OwnedFd) -> Result<(), Errno> {
    let kind = match namespace {
        Namespace::Network => CloneFlags::CLONE_NEWNET,
        Namespace::User => CloneFlags::CLONE_NEWUSER,
        Namespace::Process => CloneFlags::CLONE_NEWPID,
        Namespace::Ipc => CloneFlags::CLONE_NEWIPC,
        Namespace::Uts => CloneFlags::CLONE_NEWUTS,
        Namespace::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        Namespace::Mount => CloneFlags::CLONE_NEWNS,
    };
    setns(handle, kind)
}
