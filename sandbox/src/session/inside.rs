//! The session's own processes, from their first instruction to the entry function. The invariant: nothing of the caller's but
//! the standard streams is left in them, and they end when the caller does.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Mutex;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid};
use rustix::mount::MountPropagationFlags;

use super::{Beside, Entry, Ground, Hello, SessionContext, Setup, maps};
use crate::executable::OwnExecutable;
use crate::failure::{During, SetupFailure};
use crate::step::IdleStep;
use crate::{capabilities, seccomp, sys, wire};

/// What ends a process that has nobody to tell why.
const LOST: u8 = 125;

/// How this process came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// By execve(2).
    Executed,
    /// As a copy of its caller, in namespaces of its own.
    Forked,
    /// The same, in the user namespace of another session.
    ForkedBeside,
}

/// The whole life of the re-executed process.
pub(crate) fn main(entries: &[Entry]) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let entry = arguments.next().unwrap_or_default();
    let ground = Ground::of_argument(&arguments.next().unwrap_or_default());
    let Some((_, run)) = entries.iter().find(|(name, _)| *name == entry) else {
        return ExitCode::from(LOST);
    };
    let Ok(socket) = take_socket() else {
        return ExitCode::from(LOST);
    };
    let owner = Owner::of_this_process();
    live_apart(*run, socket, owner, (ground, Start::Executed))
}

/// The namespaces of a session, but for its user namespace.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS.union(CloneFlags::CLONE_NEWPID);

/// Forks the calling process into the namespaces of a session.
pub(super) fn fork() -> Result<sys::Forked, Errno> {
    sys::fork_into(NAMESPACES.union(CloneFlags::CLONE_NEWUSER))
}

/// The whole life of the forked process, which has its namespaces unless it joins those `beside` it; nothing of the caller's frames runs in it again.
pub(super) fn forked(
    socket: &UnixStream,
    owner: Owner,
    run: impl FnOnce(SessionContext) -> ExitCode,
    ground: Ground,
    beside: Option<Beside<'_>>,
) -> ! {
    // Now, as take_socket closes the other session's descriptors.
    let joined = beside.map(join).transpose();
    let taken = rustix::stdio::dup2_stdin(socket).map_err(io::Error::from);
    let code = match taken.and_then(|()| take_socket()) {
        Ok(socket) => match joined {
            Ok(Some(())) => live_apart(run, socket, owner, (ground, Start::ForkedBeside)),
            Ok(None) => match settle(ground) {
                Ok(()) => live(run, socket, owner, Start::Forked),
                Err(failure) => report(&socket, failure),
            },
            Err(failure) => report(&socket, failure),
        },
        Err(_) => ExitCode::from(LOST),
    };
    // No destructors: descriptors of the caller's frames are closed already.
    std::process::exit(if code == ExitCode::SUCCESS {
        0
    } else {
        i32::from(LOST)
    })
}

/// Joins another session's namespaces. The user namespace comes first: it gives power over the other.
fn join(beside: Beside<'_>) -> Result<(), SetupFailure> {
    setns(beside.user, CloneFlags::CLONE_NEWUSER)
        .during(|| "join the other container's user namespace".into())?;
    setns(beside.network, CloneFlags::CLONE_NEWNET)
        .during(|| "join the other container's network namespace".into())
}

/// Makes the namespaces that are missing, and lives in them.
fn live_apart(
    run: impl FnOnce(SessionContext) -> ExitCode,
    socket: UnixStream,
    owner: Owner,
    (ground, start): (Ground, Start),
) -> ExitCode {
    match separate(ground, start) {
        Ok(sys::Forked::Parent(child)) => wait_as_parent(child, ground),
        Ok(sys::Forked::Child) => live(run, socket, owner, start),
        Err(failure) => report(&socket, failure),
    }
}

/// The life of the session's first process.
fn live(
    run: impl FnOnce(SessionContext) -> ExitCode,
    socket: UnixStream,
    owner: Owner,
    start: Start,
) -> ExitCode {
    match ready(&socket, owner, start) {
        Ok(Some(ready)) => {
            end_with_a_panic();
            let context = ready.context(socket);
            match start {
                Start::Executed if context.mapped().is_err() => ExitCode::from(LOST),
                _ => run(context),
            }
        }
        Ok(None) => ExitCode::from(LOST),
        Err(failure) => report(&socket, failure),
    }
}

/// A thread that panics takes the whole session with it: the others would wait for it, and the caller for them.
fn end_with_a_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::exit(i32::from(LOST));
    }));
}

fn report(socket: &UnixStream, failure: SetupFailure) -> ExitCode {
    let _ = wire::send(socket, &Setup::Failed(failure), &[]);
    ExitCode::from(LOST)
}

/// The socket arrives as standard input; it moves away so that no child can inherit it there. What the caller left open goes
/// first: nobody in this process owns it.
fn take_socket() -> io::Result<UnixStream> {
    sys::close_from(3)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(socket))
}

/// Makes the namespaces, and in the new pid namespace its first process.
fn separate(ground: Ground, start: Start) -> Result<sys::Forked, SetupFailure> {
    mortal()?;
    if start != Start::ForkedBeside {
        unshare(CloneFlags::CLONE_NEWUSER).during(|| "create a user namespace".into())?;
    }
    unshare(NAMESPACES).during(|| "create a mount and a pid namespace".into())?;
    settle(ground)?;
    let forked = sys::fork().during(|| "fork the session".into())?;
    if matches!(forked, sys::Forked::Child) {
        mortal()?;
    }
    Ok(forked)
}

/// Makes the namespaces the session's own.
fn settle(ground: Ground) -> Result<(), SetupFailure> {
    mortal()?;
    // Nothing that is mounted in the session shows outside; what is unmounted outside goes here too.
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .during(|| "make the session's mounts its own".into())?;
    if ground == Ground::Background {
        nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))
            .during(|| "leave the process group".into())?;
    }
    Ok(())
}

fn mortal() -> Result<(), SetupFailure> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .during(|| "ask for the parent's death signal".into())
}

/// The caller's ids, as they are before there is a user namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    pub(super) fn of_this_process() -> Self {
        Self {
            uid: nix::unistd::geteuid(),
            gid: nix::unistd::getegid(),
        }
    }
}

/// What a session has when its function starts, but for the socket.
struct Ready {
    hello: Hello,
    stdin: OwnedFd,
    mapped: OwnedFd,
    executable: OwnExecutable,
    ahead: Option<IdleStep>,
}

/// Prepares what needs no ids, and hears which they will be. `None` when the caller went away or changed its mind.
fn ready(socket: &UnixStream, owner: Owner, start: Start) -> Result<Option<Ready>, SetupFailure> {
    let executable = OwnExecutable::open()?;
    wire::send(socket, &Setup::Unshared, &[]).during(|| "report to the caller".into())?;
    let received = wire::receive::<Hello>(socket).during(|| "hear from the caller".into())?;
    let Some((hello, fds)) = received else {
        return Ok(None);
    };
    let ahead = (start != Start::Executed)
        .then(|| start_ahead(&executable, hello.may_copy))
        .flatten();
    if hello.own_maps {
        maps::write_own(owner.uid, owner.gid)?;
        wire::send(socket, &Setup::Ready, &[]).during(|| "report to the caller".into())?;
    }
    let [stdin, mapped] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|_| SetupFailure::new("take the caller's descriptors", Errno::EBADF))?;
    Ok(Some(Ready {
        hello,
        stdin,
        mapped,
        executable,
        ahead,
    }))
}

/// Executing a step's process takes as long as mapping ids; a copy of this one is made in no time. What does not start now is started
/// when it is needed, and says then why it cannot.
fn start_ahead(executable: &OwnExecutable, may_copy: bool) -> Option<IdleStep> {
    if may_copy {
        // What the copy would have to do.
        let _ = seccomp::filter();
        return None;
    }
    let spawned = capabilities::passed_on(|| IdleStep::spawn(executable));
    spawned.ok()?.ok()
}

impl Ready {
    fn context(self, socket: UnixStream) -> SessionContext {
        let (uids, gids) = self.hello.ids;
        SessionContext {
            socket,
            stdin: self.stdin,
            uids,
            gids,
            executable: self.executable,
            may_copy: self.hello.may_copy,
            ahead: Mutex::new(self.ahead),
            mapped: Mutex::new(Some(self.mapped)),
        }
    }
}

/// The waiting process does nothing but keep the namespace's first process its child and hand its status on. In the
/// foreground a Ctrl-C is for what runs in the session: if this process died of it, the whole session would.
fn wait_as_parent(child: Pid, ground: Ground) -> ExitCode {
    if ground == Ground::Foreground && sys::ignore_terminal_signals().is_err() {
        return ExitCode::from(LOST);
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => {
                return ExitCode::from(u8::try_from(code).unwrap_or(LOST));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return ExitCode::from(128 + u8::try_from(signal as i32).unwrap_or(0));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return ExitCode::from(LOST),
        }
    }
}
