//! The session: one user namespace in which everything that touches subordinate ids happens.
//!
//! ```text
//! rbuild ──exec──▶ rbuild-session ──fork──▶ session (pid 1 of an own pid namespace)
//!   │   maps ids       │ waits                 ├─exec─▶ rbuild-step ─fork─▶ RUN program (pid 1 of a nested one)
//!   └── socket ────────┴───────────────────────┘
//! ```
//!
//! The invariant: the process that unshares has one thread and nothing of the caller's but its standard streams; when the
//! caller or the waiting process dies, the kernel kills the session and with its pid namespace every step in it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executable::OwnExecutable;
use crate::failure::{During, SetupFailure};
use crate::idmap::ExtentMap;
use crate::{sys, wire};

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

#[derive(Serialize, Deserialize)]
struct Hello {
    entry: String,
    /// The session writes its own one-line maps from these.
    own_ids: Option<(u32, u32)>,
    /// Whether the session stays in the terminal's foreground process group.
    foreground: bool,
    ids: (ExtentMap, ExtentMap),
}

#[derive(Serialize, Deserialize)]
enum Setup {
    Unshared,
    MapsWritten,
    Ready,
    Failed(SetupFailure),
}

/// A running session, seen from the process that started it.
#[derive(Debug)]
pub struct Session {
    child: Child,
    socket: UnixStream,
}

impl Session {
    /// Starts the session and has `entry`, one of the names given to [`crate::divert`], run in it. In the `foreground` it
    /// stays in the caller's process group and gets the terminal's signals; else only the caller does.
    ///
    /// # Errors
    /// The step of the set-up that failed, with the kernel's or the id-map program's reason.
    pub fn start(entry: &str, plan: &SessionPlan, foreground: bool) -> Result<Self, SessionError> {
        let (socket, theirs) = UnixStream::pair().map_err(SessionError::Spawn)?;
        let child = Command::new("/proc/self/exe")
            .arg0(ARGV0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(SessionError::Spawn)?;
        let mut session = Self { child, socket };
        match session.set_up(entry, plan, foreground) {
            Ok(()) => Ok(session),
            Err(error) => {
                session.kill();
                Err(error)
            }
        }
    }

    fn set_up(
        &mut self,
        entry: &str,
        plan: &SessionPlan,
        foreground: bool,
    ) -> Result<(), SessionError> {
        let own_ids = (plan.writer == MapWriter::Itself).then(|| {
            (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            )
        });
        let hello = Hello {
            entry: entry.to_owned(),
            own_ids,
            foreground,
            ids: (plan.uids.clone(), plan.gids.clone()),
        };
        let stdin = io::stdin();
        wire::send(&self.socket, &hello, &[stdin.as_fd()]).map_err(SessionError::Lost)?;
        self.expect(|message| matches!(message, Setup::Unshared))?;
        if plan.writer != MapWriter::Itself {
            write_maps(self.child.id(), plan)?;
            wire::send(&self.socket, &Setup::MapsWritten, &[]).map_err(SessionError::Lost)?;
        }
        self.expect(|message| matches!(message, Setup::Ready))
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
        // An error means that it ended already, which its exit status tells.
        let _ = nix::sys::signal::kill(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Kills the session and everything in it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the session ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

fn write_maps(pid: u32, plan: &SessionPlan) -> Result<(), SessionError> {
    match &plan.writer {
        MapWriter::Itself => Ok(()),
        MapWriter::Caller => {
            for (name, map) in [("uid_map", &plan.uids), ("gid_map", &plan.gids)] {
                let path = format!("/proc/{pid}/{name}");
                fs::write(&path, map.to_string())
                    .map_err(|source| SessionError::WriteMap { path, source })?;
            }
            Ok(())
        }
        MapWriter::Helpers {
            newuidmap,
            newgidmap,
        } => {
            // The two run side by side: each costs an execve of a setuid program.
            let running =
                [(newuidmap, &plan.uids), (newgidmap, &plan.gids)].map(|(program, map)| {
                    let child =
                        Command::new(program)
                            .arg(pid.to_string())
                            .args(map.extents().iter().flat_map(|e| {
                                [e.inside, e.outside, e.count].map(|n| n.to_string())
                            }))
                            .stdin(Stdio::null())
                            .stdout(Stdio::null())
                            .stderr(Stdio::piped())
                            .spawn();
                    (program.display().to_string(), child)
                });
            // Both are waited for, whatever became of the first.
            let ended =
                running.map(|(program, child)| (program, child.and_then(Child::wait_with_output)));
            for (program, output) in ended {
                let helper = |message| SessionError::Helper {
                    program: program.clone(),
                    message,
                };
                let output = output.map_err(|error| helper(error.to_string()))?;
                if !output.status.success() {
                    let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    return Err(helper(if printed.is_empty() {
                        output.status.to_string()
                    } else {
                        printed
                    }));
                }
            }
            Ok(())
        }
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
}

impl SessionContext {
    /// Whether the session has one id only.
    pub fn is_single_id(&self) -> bool {
        self.uids.len() == 1
    }

    /// How many image user and group ids the session stores.
    pub fn image_ids(&self) -> (u32, u32) {
        image_ids(&self.uids, &self.gids)
    }
}

/// The name and the code of one thing that can be done in a session.
pub type Entry = (&'static str, fn(SessionContext) -> ExitCode);

/// The whole life of the re-executed process.
pub(crate) fn main(entries: &[Entry]) -> ExitCode {
    let Ok(socket) = take_socket() else {
        return ExitCode::from(125);
    };
    let received = wire::receive::<Hello>(&socket);
    let Ok(Some((hello, fds))) = received else {
        return ExitCode::from(125);
    };
    let Some(stdin) = fds.into_iter().next() else {
        return ExitCode::from(125);
    };
    match become_session(&socket, &hello) {
        Ok(Role::Waiter(child)) => wait_as_parent(child, hello.foreground),
        Ok(Role::Session(executable)) => {
            let Some((_, run)) = entries.iter().find(|(name, _)| *name == hello.entry) else {
                return ExitCode::from(125);
            };
            let (uids, gids) = hello.ids;
            run(SessionContext {
                socket,
                stdin,
                uids,
                gids,
                executable,
            })
        }
        Err(failure) => {
            let _ = wire::send(&socket, &Setup::Failed(failure), &[]);
            ExitCode::from(125)
        }
    }
}

enum Role {
    Waiter(Pid),
    Session(OwnExecutable),
}

/// The socket arrives as standard input; it moves away so that no child can inherit it there. What the caller left open by
/// accident goes first: nobody in this process owns it.
fn take_socket() -> io::Result<UnixStream> {
    sys::close_from(3)?;
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(socket))
}

fn become_session(socket: &UnixStream, hello: &Hello) -> Result<Role, SetupFailure> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .during(|| "ask for the parent's death signal".into())?;
    unshare(CloneFlags::CLONE_NEWUSER).during(|| "create a user namespace".into())?;
    if let Some((uid, gid)) = hello.own_ids {
        write_own_maps(uid, gid)?;
    }
    wire::send(socket, &Setup::Unshared, &[]).during(|| "report to the caller".into())?;
    if hello.own_ids.is_none() {
        let answer = wire::receive::<Setup>(socket).during(|| "hear from the caller".into())?;
        if !matches!(answer, Some((Setup::MapsWritten, _))) {
            return Err(SetupFailure::new(
                "hear from the caller",
                nix::errno::Errno::ECONNRESET,
            ));
        }
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .during(|| "create a mount and a pid namespace".into())?;
    // Nothing that is mounted in the session shows outside; what is unmounted outside goes here too.
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM
            | rustix::mount::MountPropagationFlags::REC,
    )
    .during(|| "make the session's mounts its own".into())?;
    if !hello.foreground {
        nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))
            .during(|| "leave the process group".into())?;
    }
    match sys::fork().during(|| "fork the session".into())? {
        sys::Forked::Parent(child) => Ok(Role::Waiter(child)),
        sys::Forked::Child => {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
                .during(|| "ask for the parent's death signal".into())?;
            let executable = OwnExecutable::open()?;
            wire::send(socket, &Setup::Ready, &[]).during(|| "report to the caller".into())?;
            Ok(Role::Session(executable))
        }
    }
}

/// Without a helper program a process may map its own ids only, after giving up setgroups, user_namespaces(7).
fn write_own_maps(uid: u32, gid: u32) -> Result<(), SetupFailure> {
    let files = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1\n")),
        ("gid_map", format!("0 {gid} 1\n")),
    ];
    for (name, text) in files {
        let path = format!("/proc/self/{name}");
        fs::write(&path, text).during(|| format!("write {path}"))?;
    }
    Ok(())
}

/// The waiting process does nothing but keep the namespace's first process its child and hand its status on. In the
/// foreground a Ctrl-C is for what runs in the session: if this process died of it, the whole session would.
fn wait_as_parent(child: Pid, foreground: bool) -> ExitCode {
    if foreground && sys::ignore_terminal_signals().is_err() {
        return ExitCode::from(125);
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => {
                return ExitCode::from(u8::try_from(code).unwrap_or(125));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return ExitCode::from(128 + u8::try_from(signal as i32).unwrap_or(0));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return ExitCode::from(125),
        }
    }
}
