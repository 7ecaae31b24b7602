//! A step: one sandbox and the program in it. The invariant: a step's process has one thread and performs its plan from a
//! socket; it and its program end when the socket does, whoever of the two sides died.
//!
//! The process supervises; its child, the first of a process namespace, performs the plan and becomes the program. The part of
//! the plan that needs no root may be sent, and is performed, before the rest.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executable::OwnExecutable;
use crate::failure::{During, SetupFailure};
use crate::forge::StepForge;
use crate::idmap::IdMap;
use crate::perform::Performer;
use crate::plan::{Namespace, SetupOp, SetupPlan};
use crate::spec::{Handle, SandboxSpec};
use crate::{join, own_network, seccomp, sys, wire};

/// `argv[0]` of a re-executed step; [`crate::divert`] looks for it.
pub(crate) const ARGV0: &str = "rbuild-step";

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It exited with this code.
    Exited(i32),
    /// A signal with this number killed it.
    Signaled(i32),
}

impl Outcome {
    /// The exit code that a shell shows: the program's own, or 128 + the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Why a step did not run to its end.
#[derive(Debug, Error)]
pub enum StepError {
    /// The re-execution failed.
    #[error("start a step's process")]
    Spawn(#[source] io::Error),
    /// The id maps of its namespace could not be written.
    #[error("write the id maps of a step")]
    Maps(#[source] io::Error),
    /// An operation of its plan failed.
    #[error("set up the step's sandbox")]
    Setup(#[source] SetupFailure),
    /// The program could not be executed.
    #[error("start the step's program")]
    Execute(#[source] SetupFailure),
    /// Its process is gone without a word.
    #[error("hear from a step's process, which was killed")]
    Lost(#[source] io::Error),
}

#[derive(Serialize, Deserialize)]
enum ToStep {
    /// What does not depend on the root.
    Prepare(SetupPlan),
    /// The session has its ids: without them it cannot have a user namespace made in it.
    Begin,
    MapsWritten,
    /// The rest.
    Finish(SetupPlan),
    Signal(i32),
}

#[derive(Serialize, Deserialize)]
enum FromStep {
    /// It is in its user namespace; the text is its process id as the mounted /proc counts.
    Unshared {
        proc_pid: String,
    },
    /// The program's process exists; a pidfd of it travels along.
    Forked,
    /// The program runs.
    Executed,
    Failed(SetupFailure),
    CannotExecute(SetupFailure),
    Ended(Outcome),
}

/// A running step.
#[derive(Debug)]
pub struct Step {
    /// The process, where it is this one's child and not a forge's, until it was waited for.
    child: Option<Pid>,
    socket: UnixStream,
    /// The program's process, once there is one.
    program: Option<OwnedFd>,
}

/// A way to end a step from another thread.
#[derive(Debug)]
pub struct StepControl(UnixStream);

impl StepControl {
    /// Kills the step's program and all that it started.
    pub fn kill(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// The process of a step that has no root yet. Starting it and preparing what needs no root costs more than the rest, so it
/// may be done ahead; dropped, the process ends.
#[derive(Debug)]
pub struct IdleStep {
    step: Option<Step>,
    prepared: Option<Prepared>,
}

/// What an idle step was told to prepare.
#[derive(Debug)]
struct Prepared {
    plan: SetupPlan,
    /// What its descriptors are: the network namespace and the cgroup that it joins.
    handles: Vec<Option<(u64, u64)>>,
    awaited: Awaited,
}

/// What an idle step that was told to prepare needs from here.
#[derive(Debug)]
enum Awaited {
    /// The maps of these ids.
    Maps(IdMap),
    /// That its child is heard of.
    Child,
    Nothing,
}

impl IdleStep {
    /// Starts the process. The calling thread must live as long as the step: the kernel kills a step whose parent thread
    /// died, PR_SET_PDEATHSIG(2const).
    ///
    /// # Errors
    /// [`StepError::Spawn`].
    pub fn spawn(executable: &OwnExecutable) -> Result<Self, StepError> {
        let (socket, theirs) = UnixStream::pair().map_err(StepError::Spawn)?;
        let child = Command::new(executable.path())
            .arg0(ARGV0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .env_clear()
            .spawn()
            .map_err(StepError::Spawn)?;
        // It is waited for by its number.
        let pid = Pid::from_raw(child.id().cast_signed());
        Ok(Self::new(Some(pid), socket))
    }

    /// Forks the calling process instead, which must have one thread: a fifth of the time. Only where nobody in the step could write
    /// rbuild's own file, [`crate::executable::is_out_of_reach`].
    ///
    /// # Errors
    /// [`StepError::Spawn`], also where there is more than one thread.
    pub(crate) fn fork() -> Result<Self, StepError> {
        let (socket, theirs) = UnixStream::pair().map_err(StepError::Spawn)?;
        match sys::fork().map_err(|errno| StepError::Spawn(errno.into()))? {
            sys::Forked::Parent(pid) => Ok(Self::new(Some(pid), socket)),
            sys::Forked::Child => live_as_copy(&theirs),
        }
    }

    /// Has a forge start the process, which takes a tenth of the time.
    ///
    /// # Errors
    /// [`StepError::Spawn`].
    pub fn forked(forge: &StepForge) -> Result<Self, StepError> {
        let (socket, theirs) = UnixStream::pair().map_err(StepError::Spawn)?;
        forge.fork(theirs.as_fd()).map_err(StepError::Spawn)?;
        Ok(Self::new(None, socket))
    }

    fn new(child: Option<Pid>, socket: UnixStream) -> Self {
        Self {
            step: Some(Step {
                child,
                socket,
                program: None,
            }),
            prepared: None,
        }
    }

    /// Tells the process what a sandbox like `spec` needs whatever its root is; it begins when it is to
    /// [settle](IdleStep::settle).
    ///
    /// # Errors
    /// [`StepError::Spawn`]; what the kernel refuses is said by [`IdleStep::settle`], [`IdleStep::start`] or [`Step::wait`].
    pub fn prepare(
        &mut self,
        spec: &SandboxSpec,
        handles: &[BorrowedFd<'_>],
    ) -> Result<(), StepError> {
        let awaited = Awaited::Maps(spec.ids.clone());
        self.begin(&SetupPlan::of(spec), awaited, handles)
    }

    fn begin(
        &mut self,
        plan: &SetupPlan,
        awaited: Awaited,
        handles: &[BorrowedFd<'_>],
    ) -> Result<(), StepError> {
        let (plan, handles) = ahead(plan, handles);
        let prepared = Prepared {
            handles: handles.iter().map(identity).collect(),
            awaited,
            plan: plan.clone(),
        };
        let message = ToStep::Prepare(plan);
        wire::send(&self.step().socket, &message, &handles).map_err(StepError::Spawn)?;
        self.prepared = Some(prepared);
        Ok(())
    }

    /// Has the process prepare what it was told: waits for its user namespace, writes its maps, without which it prepares nothing
    /// more, and waits for its child that will be the program: a new process goes to an idle processor, one that is woken often
    /// stays on its waker's. The session must have its ids.
    ///
    /// # Errors
    /// [`StepError::Maps`], or what the kernel refused.
    pub fn settle(&mut self) -> Result<(), StepError> {
        let awaited = self.prepared.as_mut();
        let awaited = awaited.map(|p| std::mem::replace(&mut p.awaited, Awaited::Nothing));
        let (Some(awaited @ (Awaited::Maps(_) | Awaited::Child)), Some(step)) =
            (awaited, &mut self.step)
        else {
            return Ok(());
        };
        // Who has ended already has said why.
        let _ = wire::send(&step.socket, &ToStep::Begin, &[]);
        if let Awaited::Maps(ids) = awaited {
            step.map(&ids)?;
        }
        step.forked()
    }

    /// Whether what was prepared is what `spec` needs.
    pub fn fits(&self, spec: &SandboxSpec, handles: &[BorrowedFd<'_>]) -> bool {
        self.prepared.as_ref().is_none_or(|prepared| {
            let (plan, handles) = ahead(&SetupPlan::of(spec), handles);
            prepared.plan == plan && handles.iter().map(identity).eq(prepared.handles.clone())
        })
    }

    /// Gives the process the rest of its plan; it must [fit](IdleStep::fits). `handles` are the descriptors that the spec
    /// refers to.
    ///
    /// # Errors
    /// See [`StepError`]; errors of the plan itself come from [`Step::wait`].
    pub fn start(
        mut self,
        spec: &SandboxSpec,
        handles: &[BorrowedFd<'_>],
    ) -> Result<Step, StepError> {
        if self.prepared.is_none() {
            self.prepare(spec, handles)?;
        }
        self.finish(&SetupPlan::of(spec), handles)
    }

    /// Has the process join a running sandbox instead; nothing was prepared. `plan` is that of [`SetupPlan::joining`].
    ///
    /// # Errors
    /// As [`IdleStep::start`].
    pub fn join(mut self, plan: &SetupPlan, handles: &[BorrowedFd<'_>]) -> Result<Step, StepError> {
        self.begin(plan, Awaited::Child, handles)?;
        self.finish(plan, handles)
    }

    fn finish(mut self, plan: &SetupPlan, handles: &[BorrowedFd<'_>]) -> Result<Step, StepError> {
        self.settle()?;
        let plan = SetupPlan(plan.parts().1.to_vec());
        match wire::send(&self.step().socket, &ToStep::Finish(plan), handles) {
            // It has failed already, and said why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.map_err(StepError::Spawn)?,
        }
        Ok(self.step.take().expect("only taken here"))
    }

    fn step(&self) -> &Step {
        self.step.as_ref().expect("taken only by what consumes it")
    }
}

impl Drop for IdleStep {
    fn drop(&mut self) {
        if let Some(step) = &mut self.step {
            step.end();
        }
    }
}

/// The operations of a plan that need no root, and the descriptors that they refer to, numbered anew.
fn ahead<'h>(plan: &SetupPlan, handles: &[BorrowedFd<'h>]) -> (SetupPlan, Vec<BorrowedFd<'h>>) {
    let mut ops = plan.parts().0.to_vec();
    let mut needed = Vec::new();
    for op in &mut ops {
        if let SetupOp::JoinNetwork(handle)
        | SetupOp::EnterCgroup(handle)
        | SetupOp::TellNamespaces(handle)
        | SetupOp::Join { handle, .. } = op
        {
            let given = handles.get(handle.0).copied();
            *handle = Handle(needed.len());
            needed.extend(given);
        }
    }
    (SetupPlan(ops), needed)
}

/// What tells one namespace from another, namespaces(7), and one cgroup.
fn identity(handle: &BorrowedFd<'_>) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(handle).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

impl Step {
    /// Starts a step in the session that the caller runs in: [`IdleStep::spawn`] and [`IdleStep::start`] in one.
    ///
    /// # Errors
    /// See [`StepError`]; errors of the plan itself come from [`Step::wait`].
    pub fn start(
        executable: &OwnExecutable,
        spec: &SandboxSpec,
        handles: &[BorrowedFd<'_>],
    ) -> Result<Self, StepError> {
        IdleStep::spawn(executable)?.start(spec, handles)
    }

    fn end(&mut self) {
        if let Some(child) = self.child {
            let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
        }
        self.reap();
    }

    fn map(&self, ids: &IdMap) -> Result<(), StepError> {
        match wire::receive::<FromStep>(&self.socket).map_err(StepError::Lost)? {
            Some((FromStep::Unshared { proc_pid }, _)) => {
                write_maps(&proc_pid, ids).map_err(StepError::Maps)?;
                wire::send(&self.socket, &ToStep::MapsWritten, &[]).map_err(StepError::Lost)
            }
            Some((FromStep::Failed(failure), _)) => Err(StepError::Setup(failure)),
            Some(_) => Err(StepError::Lost(io::ErrorKind::InvalidData.into())),
            None => Err(StepError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn forked(&mut self) -> Result<(), StepError> {
        match wire::receive::<FromStep>(&self.socket).map_err(StepError::Lost)? {
            Some((FromStep::Forked, fds)) => {
                self.program = fds.into_iter().next();
                Ok(())
            }
            Some((message, _)) => Err(failed(message)),
            None => Err(StepError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Sends `signal` to the program.
    pub fn signal(&self, signal: i32) {
        // A step that ended no longer reads, which is no error here.
        let _ = wire::send(&self.socket, &ToStep::Signal(signal), &[]);
    }

    /// Kills the program and all that it started.
    pub fn kill(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// A second handle to the step.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn control(&self) -> io::Result<StepControl> {
        self.socket.try_clone().map(StepControl)
    }

    /// Waits until the program runs.
    ///
    /// # Errors
    /// What failed in the set-up, or that the program could not be executed.
    pub fn executed(&mut self) -> Result<(), StepError> {
        match self.next()? {
            FromStep::Executed => Ok(()),
            other => Err(failed(other)),
        }
    }

    /// Waits for the end of a program that runs, and no longer: its namespaces may still be taken down. For a session that
    /// ends now itself.
    ///
    /// # Errors
    /// When the step's process was killed.
    pub fn outcome(&mut self) -> Result<Outcome, StepError> {
        match self.next()? {
            FromStep::Ended(outcome) => Ok(outcome),
            other => Err(failed(other)),
        }
    }

    /// Waits for the program's end, and until nothing is left of the step.
    ///
    /// # Errors
    /// As [`Step::executed`].
    pub fn wait(mut self) -> Result<Outcome, StepError> {
        let outcome = self.executed().and_then(|()| self.outcome());
        self.reap();
        outcome
    }

    /// Lets go of a step whose end is known, and waits until its process is gone too.
    pub fn release(mut self) {
        self.reap();
    }

    /// A forge reaps its own.
    fn reap(&mut self) {
        // It ends when nobody listens to it any more.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(child) = self.child.take() {
            while waitpid(child, None) == Err(Errno::EINTR) {}
        }
    }

    fn next(&mut self) -> Result<FromStep, StepError> {
        let lost = match wire::receive::<FromStep>(&self.socket) {
            Ok(Some((message, _))) => return Ok(message),
            Ok(None) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        };
        self.reap();
        if let Some(program) = self.program.take() {
            end(&program);
        }
        Err(StepError::Lost(lost))
    }
}

/// To be polled: it is readable when the program runs, has ended, or is lost.
impl AsFd for Step {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(message: FromStep) -> StepError {
    match message {
        FromStep::Failed(failure) => StepError::Setup(failure),
        FromStep::CannotExecute(failure) => StepError::Execute(failure),
        _ => StepError::Lost(io::ErrorKind::InvalidData.into()),
    }
}

/// Ends a program whose supervising process is gone. The death signal does not: executing a set-user-ID program clears it,
/// PR_SET_PDEATHSIG(2const).
fn end(program: &OwnedFd) {
    // Errors mean that it has ended, or that another process reaped it.
    let _ = rustix::process::pidfd_send_signal(program, rustix::process::Signal::KILL);
    let options = rustix::process::WaitIdOptions::EXITED;
    let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(program.as_fd()), options);
}

fn write_maps(proc_pid: &str, ids: &IdMap) -> io::Result<()> {
    for (name, map) in [("uid_map", &ids.uids), ("gid_map", &ids.gids)] {
        std::fs::write(format!("/proc/{proc_pid}/{name}"), map.to_string())?;
    }
    Ok(())
}

/// The whole life of the re-executed process.
pub(crate) fn main() -> ExitCode {
    let Ok(socket) = take_socket() else {
        return ExitCode::from(125);
    };
    live(&socket)
}

/// The whole life of a process that is a copy of the session's; nothing of the session's frames runs in it again.
fn live_as_copy(socket: &UnixStream) -> ! {
    if leave_everything_but(socket).is_ok() {
        main();
    }
    // No destructors: descriptors of the session's frames are closed already.
    std::process::exit(125)
}

/// What an executed step has: its socket as standard input, standard error, and nothing else.
fn leave_everything_but(socket: &UnixStream) -> io::Result<()> {
    rustix::stdio::dup2_stdin(socket)?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    Ok(sys::close_from(3)?)
}

/// The whole life of a step's process that has its socket.
pub(crate) fn live(socket: &UnixStream) -> ExitCode {
    // Else the program's end would have to wait until its mounts are taken down; so this process's has to.
    let mut mounts = None;
    let last = match run(socket, &mut mounts) {
        Ok(message) => message,
        Err(failure) => FromStep::Failed(failure),
    };
    if wire::send(socket, &last, &[]).is_ok() {
        // The end of this process must not delay what the session does now.
        while let Ok(Some(_)) = wire::receive::<ToStep>(socket) {}
    }
    drop(mounts);
    ExitCode::SUCCESS
}

/// Tells the session why there is no process.
pub(crate) fn stillborn(socket: &UnixStream, failure: SetupFailure) {
    // A session that is gone need not know.
    let _ = wire::send(socket, &FromStep::Failed(failure), &[]);
}

/// The socket arrives as standard input; it moves away so that no child can inherit it there.
pub(crate) fn take_socket() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 10)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixStream::from(socket))
}

/// Leaves the program's mount namespace in `mounts`, where the kernel shows it.
fn run(socket: &UnixStream, mounts: &mut Option<OwnedFd>) -> Result<FromStep, SetupFailure> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .during(|| "ask for the parent's death signal".into())?;
    let (failure_out, failure_in) = failure_pipe().during(|| "make a pipe".into())?;
    // While there is nothing else to do; where it fails, it fails again when the filter is installed.
    let _ = seccomp::filter();
    let received = wire::receive::<ToStep>(socket).during(|| "read the plan".into())?;
    let Some((ToStep::Prepare(SetupPlan(ops)), handles)) = received else {
        return Err(SetupFailure::new("read the plan", Errno::ECONNRESET));
    };
    let told = wire::receive::<ToStep>(socket).during(|| "wait for the session's ids".into())?;
    if !matches!(told, Some((ToStep::Begin, _))) {
        return Err(SetupFailure::new(
            "wait for the session's ids",
            Errno::ECONNRESET,
        ));
    }
    let (rest, born_in) = enter_namespaces(socket, &ops, &handles)?;
    let (rest, network) = match rest {
        [SetupOp::OwnNetwork, rest @ ..] => {
            let sides = own_network::pair().during(|| "make a socket".into())?;
            (rest, Some(sides))
        }
        rest => (rest, None),
    };
    let (maker, joiner) = network.unzip();
    match sys::fork_into(born_in).during(|| "fork the step's first process".into())? {
        sys::Forked::Child => {
            drop((failure_out, maker));
            become_program(rest, Performer::new(joiner), handles, socket, &failure_in)
        }
        sys::Forked::Parent(child) => {
            drop((failure_in, handles, joiner));
            let program = pidfd(child).during(|| "watch the program".into())?;
            if born_in.contains(CloneFlags::CLONE_NEWNS) {
                *mounts = sys::mount_namespace_of(&program).ok();
            }
            wire::send(socket, &FromStep::Forked, &[program.as_fd()])
                .during(|| "report to the session".into())?;
            if let Some(maker) = maker {
                maker.make();
            }
            if let Some(message) = early_failure(failure_out)? {
                let _ = waitpid(child, None);
                return Ok(message);
            }
            wire::send(socket, &FromStep::Executed, &[])
                .during(|| "report to the session".into())?;
            supervise(child, &program, socket)
        }
    }
}

fn pidfd(child: Pid) -> Result<OwnedFd, rustix::io::Errno> {
    let pid = rustix::process::Pid::from_raw(child.as_raw()).ok_or(rustix::io::Errno::SRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

/// The pipe's write end is descriptor 3, which [`sys::close_from`] spares; it is made before anything else is received.
fn failure_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (low_read, low_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let read = rustix::io::fcntl_dupfd_cloexec(&low_read, 10)?;
    let write = rustix::io::fcntl_dupfd_cloexec(&low_write, 10)?;
    drop((low_read, low_write));
    let third = rustix::io::fcntl_dupfd_cloexec(&write, 3)?;
    if third.as_raw_fd() != 3 {
        return Err(io::Error::from_raw_os_error(Errno::EMFILE as i32));
    }
    Ok((read, third))
}

/// Performs the leading operations that change the process's own namespaces; returns the rest, and the namespaces that its child
/// is to be born in.
fn enter_namespaces<'a>(
    socket: &UnixStream,
    mut ops: &'a [SetupOp],
    handles: &[OwnedFd],
) -> Result<(&'a [SetupOp], CloneFlags), SetupFailure> {
    let mut born_in = CloneFlags::empty();
    while let [op, rest @ ..] = ops {
        let here = || op.to_string();
        match op {
            SetupOp::JoinNetwork(handle) => {
                let fd = handles.get(handle.0).ok_or(Errno::EBADF).during(here)?;
                setns(fd, CloneFlags::CLONE_NEWNET).during(here)?;
            }
            SetupOp::UserNamespace(_) => {
                unshare(CloneFlags::CLONE_NEWUSER).during(here)?;
                have_maps_written(socket).during(here)?;
            }
            SetupOp::FirstProcess => born_in = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS,
            SetupOp::Hide => nix::sys::prctl::set_dumpable(false).during(here)?,
            SetupOp::Join {
                namespace: namespace @ (Namespace::Network | Namespace::User | Namespace::Process),
                handle,
            } => {
                let fd = handles.get(handle.0).ok_or(Errno::EBADF).during(here)?;
                join::enter(*namespace, fd).during(here)?;
            }
            _ => break,
        }
        ops = rest;
    }
    Ok((ops, born_in))
}

fn have_maps_written(socket: &UnixStream) -> io::Result<()> {
    // The session and the mounted /proc may count processes in different namespaces; /proc itself knows the number.
    let proc_pid = std::fs::read_link("/proc/self")?
        .to_string_lossy()
        .into_owned();
    wire::send(socket, &FromStep::Unshared { proc_pid }, &[])?;
    match wire::receive::<ToStep>(socket)? {
        Some((ToStep::MapsWritten, _)) => Ok(()),
        _ => Err(io::Error::from_raw_os_error(Errno::ECONNRESET as i32)),
    }
}

fn become_program(
    ops: &[SetupOp],
    performer: Performer,
    handles: Vec<OwnedFd>,
    socket: &UnixStream,
    failure_in: &OwnedFd,
) -> ! {
    if let Err((executing, failure)) = perform(ops, performer, handles, socket) {
        let text = serde_json::to_vec(&(executing, failure)).unwrap_or_default();
        // The reader takes an empty message for success, and there is nobody else to tell.
        let _ = rustix::io::write(failure_in, &text);
    }
    // No destructors: descriptors of this frame may be closed already.
    std::process::exit(125)
}

/// Performs the plan, whose rest comes when the root is known. Returns only a failure, with whether the program was being
/// executed, or when the session does not want the step any more.
fn perform(
    ops: &[SetupOp],
    performer: Performer,
    handles: Vec<OwnedFd>,
    socket: &UnixStream,
) -> Result<(), (bool, SetupFailure)> {
    // Never dropped: its descriptors may be closed already.
    let mut performer = ManuallyDrop::new(performer);
    performer.take(handles);
    for op in ops {
        performer.perform(op).map_err(|failure| (false, failure))?;
    }
    let received = wire::receive::<ToStep>(socket)
        .during(|| "read the plan".into())
        .map_err(|failure| (false, failure))?;
    let Some((ToStep::Finish(SetupPlan(ops)), handles)) = received else {
        return Ok(());
    };
    performer.take(handles);
    for op in &ops {
        performer
            .perform(op)
            .map_err(|failure| (matches!(op, SetupOp::Execute { .. }), failure))?;
    }
    Ok(())
}

fn early_failure(failure_out: OwnedFd) -> Result<Option<FromStep>, SetupFailure> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(failure_out), &mut text)
        .during(|| "read the step's answer".into())?;
    if text.is_empty() {
        return Ok(None);
    }
    let (executing, failure): (bool, SetupFailure) = serde_json::from_slice(&text)
        .map_err(|_| SetupFailure::new("read the step's answer", Errno::EBADMSG))?;
    Ok(Some(if executing {
        FromStep::CannotExecute(failure)
    } else {
        FromStep::Failed(failure)
    }))
}

/// Waits for the program, passes signals on, and kills it when the session hangs up.
fn supervise(child: Pid, program: &OwnedFd, socket: &UnixStream) -> Result<FromStep, SetupFailure> {
    let mut listening = true;
    loop {
        let mut watched = vec![PollFd::new(program, PollFlags::IN)];
        if listening {
            watched.push(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
        }
        match rustix::event::poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.during(|| "watch the program".into())?,
        };
        if !watched[0].revents().is_empty() {
            break;
        }
        match wire::receive::<ToStep>(socket) {
            Ok(Some((ToStep::Signal(signal), _))) => pass_on(child, signal),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                pass_on(child, libc::SIGKILL);
                listening = false;
            }
        }
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(FromStep::Ended(Outcome::Exited(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(FromStep::Ended(Outcome::Signaled(signal as i32)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(SetupFailure::new("wait for the program", errno)),
        }
    }
}

fn pass_on(child: Pid, signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        // The child is not reaped yet, so the number is still its own; that it may have ended is fine.
        let _ = nix::sys::signal::kill(child, signal);
    }
}
