//! The session: one user namespace in which everything that touches subordinate ids happens.
//!
//! ```text
//! rbuild ──exec──▶ rbuild-session ──fork──▶ session (pid 1 of an own pid namespace)
//!   │   maps ids       │ waits                 ├─exec─▶ rbuild-step ─fork─▶ RUN program (pid 1 of a nested one)
//!   └── socket ────────┴───────────────────────┘
//! ```
//!
//! A caller with one thread may fork the session instead, into its namespaces, and there is no process in between. A session has
//! its namespaces before anybody says which ids it gets, so that a caller may find that out meanwhile.
//!
//! The invariant: the process that unshares has one thread and nothing of the caller's but its standard streams; when the
//! caller or the waiting process dies, the kernel kills the session and with its pid namespace every step in it.

mod inside;
mod maps;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executable::{self, OwnExecutable};
use crate::failure::{During, SetupFailure};
use crate::idmap::ExtentMap;
use crate::step::{IdleStep, StepError};
use crate::{sys, wire};

pub(crate) use inside::main;

/// `argv[0]` of the re-executed session; [`crate::divert`] looks for it.
pub(crate) const ARGV0: &str = "rbuild-session";

/// Who writes the id maps of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapWriter {
    /// The setuid programs of the `uidmap` package.
    Helpers {
        /// Path of newuidmap(1).
        newuidmap: PathBuf,
        /// Path of newgidmap(1).
        newgidmap: PathBuf,
    },
    /// The calling process: it is root in its own user namespace.
    Caller,
    /// The session itself, which may map only the caller's own id.
    Itself,
}

/// The ids of a session and how they are mapped. Session id 0 is the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    /// User ids: session to caller's namespace.
    pub uids: ExtentMap,
    /// Group ids.
    pub gids: ExtentMap,
    /// Who writes them.
    pub writer: MapWriter,
}

impl SessionPlan {
    /// How many image user ids and group ids the session can store: those above session id 0, without a gap.
    pub fn image_ids(&self) -> (u32, u32) {
        image_ids(&self.uids, &self.gids)
    }
}

/// Image ids are stored above session id 0, as far as there is no gap.
fn image_ids(uids: &ExtentMap, gids: &ExtentMap) -> (u32, u32) {
    let above = |map: &ExtentMap| map.contiguous_from_zero().saturating_sub(1);
    (above(uids), above(gids))
}

/// Why a session did not start, or broke off.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The re-execution failed.
    #[error("start rbuild's session process")]
    Spawn(#[source] io::Error),
    /// The kernel refused a step of its set-up.
    #[error("set up the session's namespaces")]
    Setup(#[source] SetupFailure),
    /// newuidmap or newgidmap failed.
    #[error("map ids with {program}: {message}")]
    Helper {
        /// The program.
        program: String,
        /// What it printed, or its exit status.
        message: String,
    },
    /// The maps could not be written directly.
    #[error("write {path}")]
    WriteMap {
        /// The map file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The session's socket closed before it was ready.
    #[error("talk to rbuild's session process")]
    Lost(#[source] io::Error),
}

/// From the caller, with its standard input and a pipe that is closed when nobody writes maps any more.
#[derive(Serialize, Deserialize)]
struct Hello {
    /// Whether the session writes its own one-line maps.
    own_maps: bool,
    ids: (ExtentMap, ExtentMap),
    /// Whether a copy of this process may become a step.
    may_copy: bool,
}

/// From the session.
#[derive(Serialize, Deserialize)]
enum Setup {
    Unshared,
    /// It has written its own maps.
    Ready,
    Failed(SetupFailure),
}

/// Whether a session stays in the terminal's foreground process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// It does, and gets the terminal's signals.
    Foreground,
    /// Only its caller gets them.
    Background,
}

impl Ground {
    /// Second argument of a re-executed session.
    const FOREGROUND: &'static str = "foreground";

    fn argument(self) -> &'static str {
        match self {
            Self::Foreground => Self::FOREGROUND,
            Self::Background => "background",
        }
    }

    fn of_argument(text: &str) -> Self {
        if text == Self::FOREGROUND {
            Self::Foreground
        } else {
            Self::Background
        }
    }
}

/// Namespaces of a session that another one is made in.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'n> {
    /// The other session's user namespace.
    pub user: BorrowedFd<'n>,
    /// A network namespace of its own, or of one of its sandboxes.
    pub network: BorrowedFd<'n>,
}

/// How a session gets its user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserNamespace {
    /// It makes it, as an executed process.
    Later,
    /// The fork made it.
    Made,
    /// It is another session's, with that one's ids.
    Shared,
}

/// The process of a session that has no ids yet. Dropped, it ends.
#[derive(Debug)]
pub struct IdleSession {
    session: Option<Session>,
    user_namespace: UserNamespace,
}

impl IdleSession {
    /// Re-executes rbuild, to have `entry`, one of the names given to [`crate::divert`], run in the session.
    ///
    /// # Errors
    /// [`SessionError::Spawn`].
    pub fn execute(entry: &str, ground: Ground) -> Result<Self, SessionError> {
        let (socket, theirs) = UnixStream::pair().map_err(SessionError::Spawn)?;
        let child = Command::new("/proc/self/exe")
            .arg0(ARGV0)
            .args([entry, ground.argument()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(SessionError::Spawn)?;
        // It is waited for by its number.
        let pid = Pid::from_raw(child.id().cast_signed());
        Ok(Self {
            session: Some(Session::new(pid, socket)),
            user_namespace: UserNamespace::Later,
        })
    }

    /// Forks the calling process, which must have one thread only, and has `run` run in the session. That saves the start of
    /// a program, and the session starts a step's process ahead. `beside` another session, it is in that one's user namespace, and
    /// in the network namespace.
    ///
    /// # Errors
    /// [`SessionError::Spawn`], also where there is more than one thread; [`SessionError::Setup`] where the kernel makes no
    /// namespaces.
    pub fn fork(
        run: impl FnOnce(SessionContext) -> ExitCode,
        ground: Ground,
        beside: Option<Beside<'_>>,
    ) -> Result<Self, SessionError> {
        let (socket, theirs) = UnixStream::pair().map_err(SessionError::Spawn)?;
        let owner = inside::Owner::of_this_process();
        let (user_namespace, forked) = match beside {
            None => (UserNamespace::Made, inside::fork()),
            Some(_) => (UserNamespace::Shared, sys::fork()),
        };
        let forked = forked.during(|| "create a user, a mount and a pid namespace".into());
        match forked.map_err(SessionError::Setup)? {
            sys::Forked::Parent(pid) => Ok(Self {
                session: Some(Session::new(pid, socket)),
                user_namespace,
            }),
            sys::Forked::Child => inside::forked(&theirs, owner, run, ground, beside),
        }
    }

    /// Has the session get its ids. A forked session's function starts before they are there, all others after.
    ///
    /// # Errors
    /// The step of the set-up that failed, with the kernel's reason, or why the maps could not be written.
    pub fn start(mut self, plan: &SessionPlan) -> Result<Session, SessionError> {
        let session = self.session();
        let (mapped, writers) = io::pipe().map_err(SessionError::Spawn)?;
        let hello = Hello {
            own_maps: plan.writer == MapWriter::Itself
                && self.user_namespace != UserNamespace::Shared,
            ids: (plan.uids.clone(), plan.gids.clone()),
            may_copy: executable::is_out_of_reach(&plan.uids),
        };
        let stdin = io::stdin();
        let handles = [stdin.as_fd(), mapped.as_fd()];
        let greet = |session: &Session| wire::send(&session.socket, &hello, &handles);
        match self.user_namespace {
            UserNamespace::Made => {
                // The programs that write maps take longer than what the session does meanwhile: they come first.
                let writing = maps::Writing::start(session.pid, plan, &writers);
                drop(writers);
                let sent = greet(session);
                let written = writing.and_then(maps::Writing::finish);
                // The session's own word says more than that of who found it dead.
                session.hear_of_set_up(&hello, sent)?;
                written?;
            }
            UserNamespace::Later => {
                session.hear_of_set_up(&hello, greet(session))?;
                let writing = maps::Writing::start(session.pid, plan, &writers)?;
                drop(writers);
                writing.finish()?;
            }
            UserNamespace::Shared => {
                drop(writers);
                session.hear_of_set_up(&hello, greet(session))?;
            }
        }
        Ok(self.session.take().expect("it is taken only here"))
    }

    fn session(&self) -> &Session {
        self.session
            .as_ref()
            .expect("it is taken when this is used up")
    }
}

impl Drop for IdleSession {
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.kill();
        }
    }
}

/// A running session, seen from the process that started it.
#[derive(Debug)]
pub struct Session {
    pid: Pid,
    /// Known once it was waited for: its number may be another process's then.
    ended: Option<ExitStatus>,
    socket: UnixStream,
}

impl Session {
    /// [`IdleSession::execute`] and [`IdleSession::start`] in one.
    ///
    /// # Errors
    /// Those of the two.
    pub fn start(entry: &str, plan: &SessionPlan, ground: Ground) -> Result<Self, SessionError> {
        IdleSession::execute(entry, ground)?.start(plan)
    }

    fn new(pid: Pid, socket: UnixStream) -> Self {
        Self {
            pid,
            ended: None,
            socket,
        }
    }

    /// Waits until the session has its namespaces, and its own maps where nobody else writes them.
    fn hear_of_set_up(&self, hello: &Hello, sent: io::Result<()>) -> Result<(), SessionError> {
        // Where the greeting did not arrive, the session may have said why it ended.
        self.expect(|message| matches!(message, Setup::Unshared))?;
        sent.map_err(SessionError::Lost)?;
        if hello.own_maps {
            self.expect(|message| matches!(message, Setup::Ready))?;
        }
        Ok(())
    }

    fn expect(&self, wanted: impl Fn(&Setup) -> bool) -> Result<(), SessionError> {
        match wire::receive::<Setup>(&self.socket).map_err(SessionError::Lost)? {
            Some((message, _)) if wanted(&message) => Ok(()),
            Some((Setup::Failed(failure), _)) => Err(SessionError::Setup(failure)),
            Some(_) => Err(SessionError::Lost(io::ErrorKind::InvalidData.into())),
            None => Err(SessionError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The stream to the session's entry function. Shutting it down asks the session to end.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Sends `signal` to the session.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // An error means that it ended already, which its exit status tells.
            let _ = nix::sys::signal::kill(self.pid, signal);
        }
    }

    /// Kills the session and everything in it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.wait();
    }

    /// Waits until the session ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let pid = rustix::process::Pid::from_raw(self.pid.as_raw());
        let status = loop {
            match rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some((_, status))) => break ExitStatus::from_raw(status.as_raw()),
                Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(errno) => return Err(errno.into()),
            }
        };
        self.ended = Some(status);
        Ok(status)
    }
}

/// What an entry function finds in the session.
#[derive(Debug)]
pub struct SessionContext {
    /// The stream to the process that started the session.
    pub socket: UnixStream,
    /// The caller's standard input; the session's own is /dev/null.
    pub stdin: OwnedFd,
    /// The session's user ids, to the caller's namespace.
    pub uids: ExtentMap,
    /// The session's group ids.
    pub gids: ExtentMap,
    /// rbuild's own executable, through a read-only mount.
    pub executable: OwnExecutable,
    /// Whether a copy of this process may become a step.
    may_copy: bool,
    /// A step's process that was started ahead.
    ahead: Mutex<Option<IdleStep>>,
    /// Open at its other end for as long as somebody may still write the maps.
    mapped: Mutex<Option<OwnedFd>>,
}

impl SessionContext {
    /// Whether the session has one id only.
    pub fn is_single_id(&self) -> bool {
        self.uids.len() == 1
    }

    /// Waits until the session's ids are mapped. Before that, only what needs no other id than the caller's can be done.
    ///
    /// # Errors
    /// When they will never be.
    pub fn mapped(&self) -> Result<(), SetupFailure> {
        let mut pipe = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.take() {
            maps::wait(pipe).during(|| "wait for the session's ids".into())?;
        }
        Ok(())
    }

    /// A step's process: the one that was started ahead, else a new one.
    ///
    /// # Errors
    /// [`StepError::Spawn`].
    pub fn idle_step(&self) -> Result<IdleStep, StepError> {
        let ahead = self
            .ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match ahead {
            Some(idle) => Ok(idle),
            None if self.may_copy => {
                IdleStep::fork().or_else(|_| IdleStep::spawn(&self.executable))
            }
            None => IdleStep::spawn(&self.executable),
        }
    }

    /// How many image user and group ids the session stores.
    pub fn image_ids(&self) -> (u32, u32) {
        image_ids(&self.uids, &self.gids)
    }
}

/// The name and the code of one thing that can be done in a session.
pub type Entry = (&'static str, fn(SessionContext) -> ExitCode);
