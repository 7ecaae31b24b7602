//! Users and owners for steps whose user namespace has a single id. The kernel sends the calls that one id cannot make, and those
//! that would show it, to a thread of the session, which answers them (seccomp_unotify(2)).
//!
//! The invariant: the supervisor decides nothing about the machine by what it reads from a step. It acts through handles that were
//! opened inside the step's root, in the step's mount namespace, and only on the step's own files; "continue" is answered only
//! where the kernel may do whatever the step asks for by then. So a step that lies to it deceives itself.

mod caller;
mod calls;
mod credentials;
mod filter;
mod identity;
mod owners;
mod processes;
mod request;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use thiserror::Error;

use crate::spec::UserSpec;
use crate::{sys, wire};
use caller::{Caller, errno, kernel};
use calls::{Answer, State};
pub use credentials::IMITATED_IDS;
use credentials::{Credentials, Table};
pub use owners::{FileOwner, LinkOwners, OwnerNotes};
use processes::Processes;

/// Why a step has no supervisor.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// The thread could not be made.
    #[error("start the supervisor of a step")]
    Start(#[source] io::Error),
    /// Its view of processes could not be made.
    #[error("look at the processes of a step, whose users and owners are to be imitated")]
    Processes(#[source] Errno),
}

/// A thread that answers the calls of one step. It ends when the last process of the step has ended.
#[derive(Debug)]
pub struct Supervisor {
    door: OwnedFd,
    thread: JoinHandle<LinkOwners>,
}

impl Supervisor {
    /// Starts a supervisor for a step that begins as `user`.
    ///
    /// # Errors
    /// See [`SupervisorError`].
    pub fn start(user: &UserSpec, notes: impl OwnerNotes) -> Result<Self, SupervisorError> {
        let (ours, theirs) = UnixStream::pair().map_err(SupervisorError::Start)?;
        let processes = Processes::of_session().map_err(SupervisorError::Processes)?;
        let credentials = Credentials::of(user);
        let serve = move || {
            let listener = match wire::receive::<()>(&ours) {
                Ok(Some(((), descriptors))) => descriptors.into_iter().next(),
                // The step ended before it had a program.
                _ => None,
            };
            drop(ours);
            // Where this fails the step's calls fail with ENOSYS, as without a supervisor.
            listener
                .and_then(|listener| {
                    serve(&listener, &processes, credentials, Box::new(notes)).ok()
                })
                .unwrap_or_default()
        };
        let thread = std::thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(serve)
            .map_err(SupervisorError::Start)?;
        Ok(Self {
            door: theirs.into(),
            thread,
        })
    }

    /// What the step's spec refers to as its [supervisor](crate::SandboxSpec::supervisor).
    pub fn door(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }

    /// Waits for the end of a step that has ended or is about to, and returns what is to be kept with its snapshot.
    pub fn join(self) -> LinkOwners {
        drop(self.door);
        // A thread that panicked has said so.
        self.thread.join().unwrap_or_default()
    }
}

/// The step's side: from here on the calling process is supervised, and is the first of the supervisor's users.
pub(crate) fn submit(door: &OwnedFd) -> Result<(), Errno> {
    let door = UnixStream::from(door.try_clone().map_err(|error| errno(&error))?);
    let own = nix::unistd::Pid::this();
    sys::lock_limit(own, Some(0))?;
    let listener = sys::install_listener(&filter::program())?;
    wire::send(&door, &(), &[listener.as_fd()]).map_err(|error| errno(&error))
}

fn serve(
    listener: &OwnedFd,
    processes: &Processes,
    first: Credentials,
    notes: Box<dyn OwnerNotes>,
) -> Result<LinkOwners, Errno> {
    // The thread's own root and working directory.
    unshare(CloneFlags::CLONE_FS)?;
    rustix::process::umask(Mode::empty());
    processes.enter()?;
    // Before Linux 6.6 an answer takes longer.
    let _ = sys::answer_on_the_callers_processor(listener);
    let mut table = Table::new(first);
    let mut notes = Some(notes);
    let mut state: Option<State> = None;
    while has_call(listener)? {
        let call = match sys::receive_notification(listener) {
            // Its thread was killed.
            Err(Errno::ENOENT | Errno::EINTR) => continue,
            other => other?,
        };
        if let Some(notes) = notes.take() {
            enter_mounts(call.pid, processes)?;
            state = Some(State::new(
                listener.try_clone().map_err(|error| errno(&error))?,
                notes,
            )?);
        }
        let Some(state) = &mut state else { break };
        let answer = match Caller::new(call.pid, processes) {
            Ok(caller) => state.answer(&caller, &call, &mut table),
            Err(errno) => Answer::Fail(errno),
        };
        reply(listener, call.id, answer);
    }
    Ok(state.map(State::into_links).unwrap_or_default())
}

/// Waits for a call; false when nobody is left who could make one.
fn has_call(listener: &OwnedFd) -> Result<bool, Errno> {
    loop {
        let mut watched = [PollFd::new(listener, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(kernel)?,
        };
        return Ok(watched[0].revents().contains(PollFlags::IN));
    }
}

/// Enters the mount namespace of a step's first process.
fn enter_mounts(pid: u32, processes: &Processes) -> Result<(), Errno> {
    let path = format!("{}/ns/mnt", processes.name_of(pid)?);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(kernel)?;
    setns(mounts, CloneFlags::CLONE_NEWNS)?;
    // Entering made the step's root the working directory.
    processes.enter()
}

fn reply(listener: &OwnedFd, id: u64, answer: Answer) {
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: 0,
        flags: 0,
    };
    match answer {
        Answer::Continue => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        Answer::Value(value) => response.val = value,
        Answer::Fail(errno) => response.error = -(errno as i32),
        Answer::Given => return,
    }
    // ENOENT: the caller was killed meanwhile.
    let _ = sys::answer_notification(listener, response);
}
