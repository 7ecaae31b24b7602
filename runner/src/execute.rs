//! A run, as it happens in the session. The invariant: the program ends when the main process does, and what it wrote has reached
//! the caller before its exit code does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use image::{ContainerConfig, DiffId, Image, Store};
use rootfs::RootError;
use rootfs::accounts::{Account, AccountError};
use rootfs::trees::{TreesError, WritableLayer};
use rustix::event::{PollFd, PollFlags, Timespec};
use sandbox::{
    CgroupError, Confinement, EmulatorError, Emulators, Handle, IdClaim, IdMap, IdMapError,
    IdleStep, MountSpec, NetworkError, NetworkSpec, ProcessSpec, SandboxSpec, SessionContext,
    SetupFailure, Step, StepCgroup, StepError,
};
use thiserror::Error;

use crate::container::{ContainerError, ContainerSpec, numeric_ids, user_text};
use crate::idmaps::MapRequestError;
use crate::prepared::Prepared;
use crate::protocol::{Cause, FromSession, Receiver, RunJob, ToSession, send};
use crate::ranges;
use crate::reown::ReownError;
use crate::request::{Network, RunRequest};
use crate::run::{Choice, RunError};
use crate::signal::StopSignal;
use crate::stdio::{Carrying, Streams};
use crate::userns::UsernsMode;

/// Why a container did not run, or was lost.
#[derive(Debug, Error)]
pub(crate) enum ExecuteError {
    #[error(transparent)]
    Choice(#[from] Box<RunError>),
    #[error(transparent)]
    Trees(#[from] TreesError),
    #[error(transparent)]
    Reown(#[from] ReownError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("open the image's root")]
    Root(#[source] RootError),
    #[error("find the container's user")]
    Account(#[source] AccountError),
    #[error("get the container's ids")]
    Ids(#[source] SetupFailure),
    #[error("mount the image")]
    Mount(#[source] SetupFailure),
    #[error("name the container and its hosts")]
    Names(#[source] SetupFailure),
    #[error("mount the volume {target}")]
    Volume {
        target: String,
        source: SetupFailure,
    },
    #[error("give the volume {target} to the container's user: {path}", path = source_path.display())]
    Give {
        target: String,
        source_path: PathBuf,
        source: io::Error,
    },
    #[error("make {path}")]
    Scratch { path: PathBuf, source: io::Error },
    #[error("connect the container's standard streams")]
    Stdio(#[source] io::Error),
    #[error(transparent)]
    Maps(#[from] MapRequestError),
    #[error("make the container's id map")]
    Ranges(#[source] IdMapError),
    #[error(
        "find {size} ids that no other container has: there are {most} in all (--userns auto:size=COUNT asks for fewer)"
    )]
    NoRange { size: u32, most: u32 },
    #[error("limit the container")]
    Limits(#[from] CgroupError),
    #[error("forbid core files, which would hold secrets")]
    Core(#[source] io::Error),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    #[error(transparent)]
    Step(#[from] StepError),
}

impl ExecuteError {
    /// The error number of an execve(2) that failed, all else being ready.
    fn program(&self) -> Option<i32> {
        match self {
            Self::Step(StepError::Execute(failure)) => Some(failure.errno),
            _ => None,
        }
    }
}

/// What `sandbox::divert` calls in the session for a run.
pub fn session_entry(context: SessionContext) -> ExitCode {
    match Receiver::new(&context.socket).next() {
        Ok(Some(ToSession::Run(job))) => live(&context, &job),
        _ => ExitCode::from(125),
    }
}

/// The whole life of a session that knows its job.
pub(crate) fn live(context: &SessionContext, job: &RunJob) -> ExitCode {
    let socket = &context.socket;
    let mut receiver = Receiver::new(socket);
    let (last, _rest) = match contain(context, job, &mut receiver) {
        Ok((code, rest)) => (FromSession::Ended { code }, Some(rest)),
        Err(error) => {
            let program = error.program();
            let cause = Cause::of(&error);
            (FromSession::Failed { program, cause }, None)
        }
    };
    if send(socket, &last).is_err() {
        return ExitCode::from(125);
    }
    // Taking this process and its namespaces down would only keep the main one from its own end.
    while let Ok(Some(_)) = receiver.next::<ToSession>() {}
    ExitCode::SUCCESS
}

/// Runs the container. With its exit code comes what is left of it, for the kernel to take down.
fn contain(
    context: &SessionContext,
    job: &RunJob,
    orders: &mut Receiver<'_>,
) -> Result<(i32, impl Sized + use<>), ExecuteError> {
    let Choice {
        image,
        emulator,
        store,
    } = Choice::make(job).map_err(Box::new)?;
    let mut run = Run {
        context,
        request: &job.request,
        image: &image,
        given: None,
    };
    let _claim = run.choose_maps(&store)?;
    if !job.request.mounts.secrets.is_empty() {
        leave_no_core_file().map_err(ExecuteError::Core)?;
    }
    let expected = run.expected();
    let idle = job.start.then(|| context.idle_step()).transpose()?;
    let writable = WritableLayer::claim(&store)?;
    context.mapped().map_err(ExecuteError::Ids)?;
    let Some(mut idle) = idle else {
        let prepared = Prepared::new(&run, store, writable)?;
        return Ok((0, (prepared.clear(), None)));
    };
    // It executes the program for as long as this lives.
    let _emulator = Emulators::register(emulator.as_slice())?;
    if let Some(spec) = expected {
        // On another processor, while the image is mounted on this one.
        idle.prepare(&spec, &[])?;
        idle.settle()?;
    }
    let mut prepared = Prepared::new(&run, store, writable)?;
    let cgroup = run.cgroup()?;
    let (mut step, streams) = start(&run, &mut prepared, idle, cgroup.as_ref())?;
    let mut carrying = streams.start().map_err(ExecuteError::Stdio)?;
    prepared.tidy();
    let mut stop = Stop::new(prepared.container.stop_signal, run.request.stop.timeout);
    listen(orders, &step, &mut carrying, &mut stop).map_err(ExecuteError::Stdio)?;
    let outcome = step.executed().and_then(|()| {
        // A step that cannot be listened to is over.
        let _ = listen(orders, &step, &mut carrying, &mut stop);
        step.outcome()
    });
    carrying.finish();
    if cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0) {
        run.notice("the kernel killed a process of the container when it had used up its memory");
    }
    let code = outcome?.code();
    Ok((code, (prepared.clear(), Some(step))))
}

/// Secrets came in a message and are in this process's memory.
fn leave_no_core_file() -> io::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    limit.current = Some(0);
    rustix::process::setrlimit(rustix::process::Resource::Core, limit).map_err(io::Error::from)
}

fn start(
    run: &Run<'_>,
    prepared: &mut Prepared,
    idle: IdleStep,
    cgroup: Option<&StepCgroup>,
) -> Result<(Step, Streams), ExecuteError> {
    let mut handles = Handles::default();
    let mut spec = prepared.spec(run, &mut handles)?;
    if let Some(cgroup) = cgroup {
        spec.limits.cgroup = Some(handles.add(cgroup.door()?));
    }
    let owner = prepared.container.session_owner();
    let streams =
        Streams::new(run.request.stdin, &run.context.stdin, owner).map_err(ExecuteError::Stdio)?;
    let fds: Vec<BorrowedFd<'_>> = streams
        .program
        .iter()
        .chain(&handles.0)
        .map(AsFd::as_fd)
        .collect();
    let idle = if idle.fits(&spec, &fds) {
        idle
    } else {
        run.context.idle_step()?
    };
    let step = idle.start(&spec, &fds)?;
    drop(fds);
    Ok((step, streams))
}

/// The end of a container that was asked for.
struct Stop {
    signal: StopSignal,
    timeout: Option<Duration>,
    /// When it is killed.
    deadline: Option<Instant>,
}

impl Stop {
    fn new(signal: StopSignal, timeout: Option<u32>) -> Self {
        Self {
            signal,
            timeout: timeout.map(|seconds| Duration::from_secs(seconds.into())),
            deadline: None,
        }
    }

    fn ask(&mut self, step: &Step) {
        step.signal(self.signal.number());
        if self.deadline.is_none() {
            self.deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        }
    }

    /// For poll(2): how long there is still to wait.
    fn left(&self) -> Option<Timespec> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }
}

/// Passes on what the main process says, and what the program writes, until the step has something to say; without the main
/// process there is nobody to run for.
fn listen(
    orders: &mut Receiver<'_>,
    step: &Step,
    carrying: &mut Carrying,
    stop: &mut Stop,
) -> io::Result<()> {
    loop {
        if !orders.is_waiting() {
            let socket = orders.socket();
            let mut watched = vec![
                PollFd::new(step, PollFlags::IN),
                PollFd::new(socket, PollFlags::IN),
            ];
            let sources = carrying.sources();
            watched.extend(sources.map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)));
            match rustix::event::poll(&mut watched, stop.left().as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(0) => {
                    step.signal(KILL);
                    stop.timeout = None;
                    stop.deadline = None;
                    continue;
                }
                other => other?,
            };
            let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                return Ok(());
            }
            carrying.pass(&ready[2..]);
            if !ready[1] {
                continue;
            }
        }
        match orders.next() {
            // Who ends rbuild wishes the container to stop.
            Ok(Some(ToSession::Signal(TERM))) => stop.ask(step),
            Ok(Some(ToSession::Signal(signal))) => step.signal(signal),
            Ok(Some(ToSession::Run(_)) | None) | Err(_) => {
                step.kill();
                return Ok(());
            }
        }
    }
}

/// Signals by their numbers, signal(7): the one that nobody survives, and the one that asks to end.
const KILL: i32 = 9;
const TERM: i32 = 15;

/// What is to run.
pub(crate) struct Run<'r> {
    pub(crate) context: &'r SessionContext,
    pub(crate) request: &'r RunRequest,
    image: &'r Image,
    /// The container's maps, where the mode does not tell them.
    pub(crate) given: Option<IdMap>,
}

impl Run<'_> {
    fn config(&self) -> &ContainerConfig {
        &self.image.config().config
    }

    pub(crate) fn diff_ids(&self) -> &[DiffId] {
        &self.image.config().rootfs.diff_ids
    }

    /// The text that says who the user is.
    pub(crate) fn user(&self) -> String {
        user_text(self.config(), self.request)
    }

    /// Finds out the maps that depend on more than the mode. What is claimed for them is held for as long as the container runs.
    fn choose_maps(&mut self, store: &Store) -> Result<Option<IdClaim>, ExecuteError> {
        if let Some(maps) = &self.request.maps {
            self.given = Some(maps.resolve(&self.context.uids, &self.context.gids)?);
            return Ok(None);
        }
        let UsernsMode::Auto { size } = self.request.userns else {
            return Ok(None);
        };
        self.context.mapped().map_err(ExecuteError::Ids)?;
        let image_ids = self.context.image_ids();
        let (claim, map) = ranges::claim(store, self.diff_ids(), &self.user(), size, image_ids)?;
        self.given = Some(map);
        Ok(Some(claim))
    }

    /// The container's cgroup, where there are limits.
    fn cgroup(&self) -> Result<Option<StepCgroup>, ExecuteError> {
        let place = self.request.limits.cgroup.as_ref();
        let made = place.map(|place| StepCgroup::create(&place.place, "container", &place.limits));
        Ok(made.transpose()?)
    }

    /// The main process may be gone; then nobody reads it.
    pub(crate) fn notice(&self, text: &str) {
        let _ = send(&self.context.socket, &FromSession::Notice(text.to_owned()));
    }

    /// The container, where its user is `account`.
    pub(crate) fn container(&self, account: &Account) -> Result<ContainerSpec, ContainerError> {
        let name = self.image.digest().short();
        let image_ids = self.context.image_ids();
        let given = self.given.as_ref();
        ContainerSpec::new(
            self.config(),
            self.request,
            account,
            image_ids,
            given,
            &name,
        )
    }

    /// The sandbox as far as a user of numbers tells, before any account is looked up: enough to prepare what needs no root.
    fn expected(&self) -> Option<SandboxSpec> {
        // With limits it would be prepared outside of its cgroup.
        if self.request.limits.cgroup.is_some() {
            return None;
        }
        let network = match &self.request.network {
            Network::None => NetworkSpec::None,
            Network::Host => NetworkSpec::Host,
            Network::Pasta { .. } => return None,
        };
        let ids = numeric_ids(&self.user())?;
        let account = Account {
            uid: ids.uid,
            gid: ids.gid,
            groups: Vec::new(),
            home: None,
            name: None,
        };
        // What is wrong with the request is said when its real account is known.
        let container = self.container(&account).ok()?;
        let root = Handle(STREAMS.len());
        Some(sandbox(&container, self.request, root, network, Vec::new()))
    }
}

pub(crate) fn sandbox(
    container: &ContainerSpec,
    request: &RunRequest,
    root: Handle,
    network: NetworkSpec,
    mounts: Vec<MountSpec>,
) -> SandboxSpec {
    SandboxSpec {
        ids: container.ids.clone(),
        root,
        read_only_root: request.mounts.read_only,
        mounts,
        network,
        hostname: container.hostname.clone(),
        confinement: Confinement {
            capabilities: container.capabilities,
            ambient: true,
            no_new_privileges: true,
            seccomp: true,
            mask_paths: true,
        },
        limits: sandbox::Limits {
            shm_size: request.limits.shm_size,
            resources: request.limits.resources.clone(),
            cgroup: None,
        },
        process: ProcessSpec {
            argv: container.argv.clone(),
            env: container.env.clone(),
            cwd: container.cwd.clone(),
            user: container.user.clone(),
            stdio: STREAMS,
            terminal: false,
            init: request.program.init,
        },
        supervisor: None,
    }
}

/// The descriptors that a spec refers to; the first three are the streams.
#[derive(Debug, Default)]
pub(crate) struct Handles(Vec<OwnedFd>);

impl Handles {
    pub(crate) fn add(&mut self, handle: OwnedFd) -> Handle {
        self.0.push(handle);
        Handle(STREAMS.len() + self.0.len() - 1)
    }
}

const STREAMS: [Handle; 3] = [Handle(0), Handle(1), Handle(2)];
