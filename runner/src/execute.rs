//! A run, as it happens in the session. The invariant: the program ends when the main process does, and what it wrote has reached
//! the caller before its exit code does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use image::{ContainerConfig, DiffId, Image, Store};
use rootfs::RootError;
use rootfs::accounts::{Account, AccountError};
use rootfs::trees::{TreesError, WritableLayer, clear_unused_writable};
use sandbox::{
    CgroupError, Confinement, Door, EmulatorError, Emulators, Handle, IdClaim, IdMap, IdMapError,
    IdleStep, MountSpec, Namespaces, NetworkError, NetworkSpec, ProcessSpec, SandboxSpec,
    SessionContext, SetupFailure, Step, StepCgroup, StepError,
};
use thiserror::Error;

use crate::container::{ContainerError, ContainerSpec, numeric_ids, user_text};
use crate::guests::{self, Guests, Host};
use crate::idmaps::MapRequestError;
use crate::listen::{Stop, listen};
use crate::prepared::Prepared;
use crate::protocol::{Cause, FromSession, Purpose, RunJob, ToSession, receive, send};
use crate::ranges;
use crate::reown::ReownError;
use crate::request::{Network, RunRequest};
use crate::run::{Choice, RunError};
use crate::stdio::Streams;
use crate::userns::UsernsMode;
use crate::volume::VolumesError;

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
    #[error(transparent)]
    Named(#[from] VolumesError),
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
    #[error("take what the container's process tells")]
    Doors(#[source] SetupFailure),
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
    pub(crate) fn program(&self) -> Option<i32> {
        match self {
            Self::Step(StepError::Execute(failure)) => Some(failure.errno),
            _ => None,
        }
    }
}

/// What `sandbox::divert` calls in the session for a run.
pub fn session_entry(context: SessionContext) -> ExitCode {
    match receive(&context.socket) {
        Ok(Some((ToSession::Run(job), _))) => live(&context, &job),
        _ => ExitCode::from(125),
    }
}

/// What `sandbox::divert` calls in the session of [`crate::sweep`].
pub fn sweep_entry(context: SessionContext) -> ExitCode {
    let store = receive::<PathBuf>(&context.socket).ok().flatten();
    if let Some(store) = store.and_then(|(path, _)| Store::open(path).ok()) {
        clear_unused_writable(&store);
    }
    ExitCode::SUCCESS
}

/// The whole life of a session that knows its job.
pub(crate) fn live(context: &SessionContext, job: &RunJob) -> ExitCode {
    let socket = &context.socket;
    let (last, _rest) = match contain(context, job) {
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
    while let Ok(Some(_)) = receive::<ToSession>(socket) {}
    ExitCode::SUCCESS
}

/// Runs the container. With its exit code comes what is left of it, for the kernel to take down.
fn contain(
    context: &SessionContext,
    job: &RunJob,
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
        serves: job.purpose == Purpose::Serve,
    };
    let _claim = run.choose_maps(&store)?;
    if !job.request.mounts.secrets.is_empty() {
        leave_no_core_file().map_err(ExecuteError::Core)?;
    }
    let expected = run.expected();
    let start = job.purpose != Purpose::Prepare;
    let mut idle = start.then(|| context.idle_step()).transpose()?;
    if let (Some(spec), Some(idle)) = (&expected, &mut idle) {
        idle.prepare(spec, &[])?;
    }
    let writable = WritableLayer::claim(&store)?;
    context.mapped().map_err(ExecuteError::Ids)?;
    let Some(mut idle) = idle else {
        let prepared = Prepared::new(&run, store, writable)?;
        return Ok((0, (prepared.clear(), None)));
    };
    // It executes the program for as long as this lives.
    let _emulator = Emulators::register(emulator.as_slice())?;
    if expected.is_some() {
        // On another processor, while the image is mounted on this one.
        idle.settle()?;
    }
    let mut prepared = Prepared::new(&run, store, writable)?;
    let cgroup = run.cgroup()?;
    loop {
        let (code, step) = live_once(&run, &mut prepared, idle, cgroup.as_ref())?;
        if !run.serves || !wanted_again(&context.socket, code) {
            return Ok((code, (prepared.clear(), Some(step))));
        }
        step.release();
        prepared.renew()?;
        idle = context.idle_step()?;
    }
}

/// Runs the program once.
fn live_once(
    run: &Run<'_>,
    prepared: &mut Prepared,
    idle: IdleStep,
    cgroup: Option<&StepCgroup>,
) -> Result<(i32, Step), ExecuteError> {
    let (mut step, streams, doors) = start(run, prepared, idle, cgroup)?;
    let mut carrying = streams.start().map_err(ExecuteError::Stdio)?;
    prepared.tidy();
    let orders = &run.context.socket;
    let mut stop = Stop::new(prepared.container.stop_signal, run.request.stop.timeout);
    let mut guests = Guests::default();
    listen(orders, &step, &mut carrying, &mut stop, &mut guests).map_err(ExecuteError::Stdio)?;
    step.executed()?;
    if let Some(namespaces) = doors.open(run, &prepared.container.argv)? {
        guests.let_in(Host {
            run,
            prepared,
            namespaces,
            cgroup,
        });
    }
    // A step that cannot be listened to is over.
    let _ = listen(orders, &step, &mut carrying, &mut stop, &mut guests);
    let outcome = step.outcome();
    guests.see_off();
    carrying.finish();
    if cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0) {
        run.notice("the kernel killed a process of the container when it had used up its memory");
    }
    Ok((outcome?.code(), step))
}

/// Tells that the program ended, and whether it is to start again.
fn wanted_again(orders: &UnixStream, code: i32) -> bool {
    if send(orders, &FromSession::Ended { code }).is_err() {
        return false;
    }
    loop {
        match receive(orders) {
            Ok(Some((ToSession::Again, _))) => return true,
            Ok(Some((ToSession::Exec(_) | ToSession::Network, connection))) => {
                guests::turn_away(connection);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Ways for what the program's process tells.
#[derive(Default)]
struct Doors {
    namespaces: Option<Door>,
    terminal: Option<Door>,
}

impl Doors {
    /// Takes what came, and tells the main process that the program runs, where it waits for that.
    fn open(self, run: &Run<'_>, argv: &[String]) -> Result<Option<Namespaces>, ExecuteError> {
        let terminal = self.terminal.map(Door::terminal).transpose();
        let terminal = terminal.map_err(ExecuteError::Doors)?;
        if run.serves || terminal.is_some() {
            let argv = argv.to_vec();
            let terminal: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
            // The main process may be gone, which is noticed next.
            let started = FromSession::Started { argv };
            let _ = sandbox::send_message(&run.context.socket, &started, &terminal);
        }
        let namespaces = self.namespaces.map(Door::namespaces).transpose();
        namespaces.map_err(ExecuteError::Doors)
    }
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
) -> Result<(Step, Streams, Doors), ExecuteError> {
    let mut handles = Handles::default();
    let mut spec = prepared.spec(run, &mut handles)?;
    if let Some(cgroup) = cgroup {
        spec.limits.cgroup = Some(handles.add(cgroup.door()?));
    }
    let mut doors = Doors::default();
    if run.serves {
        spec.namespaces = Some(handles.door(&mut doors.namespaces)?);
    }
    let streams = if run.request.program.terminal {
        spec.process.terminal = Some(handles.door(&mut doors.terminal)?);
        Streams::none()
    } else {
        let owner = prepared.container.session_owner();
        Streams::new(run.request.stdin, &run.context.stdin, owner)
    };
    let streams = streams.map_err(ExecuteError::Stdio)?;
    let fds = handles.all(&streams.program);
    let idle = if idle.fits(&spec, &fds) {
        idle
    } else {
        run.context.idle_step()?
    };
    let step = idle.start(&spec, &fds)?;
    drop(fds);
    Ok((step, streams, doors))
}

/// What is to run.
pub(crate) struct Run<'r> {
    pub(crate) context: &'r SessionContext,
    pub(crate) request: &'r RunRequest,
    image: &'r Image,
    /// The container's maps, where the mode does not tell them.
    pub(crate) given: Option<IdMap>,
    /// Whether it may be started again and joined.
    serves: bool,
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
        // With limits it would be prepared outside of its cgroup, and a service needs a door.
        if self.request.limits.cgroup.is_some() || self.serves {
            return None;
        }
        let network = match &self.request.network {
            Network::None => NetworkSpec::None,
            // The session is in it.
            Network::Host | Network::Joined { .. } => NetworkSpec::Host,
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
            terminal: None,
            init: request.program.init,
        },
        supervisor: None,
        namespaces: None,
    }
}

/// The descriptors that a spec refers to; the first three are the streams.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    given: Vec<OwnedFd>,
    kept: Vec<OwnedFd>,
}

impl Handles {
    pub(crate) fn add(&mut self, handle: OwnedFd) -> Handle {
        self.given.push(handle);
        Handle(STREAMS.len() + self.given.len() - 1)
    }

    /// Keeps what no spec refers to for as long as the others, until the step has them.
    pub(crate) fn keep(&mut self, handle: OwnedFd) {
        self.kept.push(handle);
    }

    /// The outer side of a new door.
    pub(crate) fn door(&mut self, door: &mut Option<Door>) -> Result<Handle, ExecuteError> {
        let new = Door::new().map_err(ExecuteError::Stdio)?;
        let outer = new.outer().try_clone_to_owned();
        *door = Some(new);
        Ok(self.add(outer.map_err(ExecuteError::Stdio)?))
    }

    /// All, with the streams.
    pub(crate) fn all<'h>(&'h self, streams: &'h [OwnedFd; 3]) -> Vec<BorrowedFd<'h>> {
        streams.iter().chain(&self.given).map(AsFd::as_fd).collect()
    }
}

const STREAMS: [Handle; 3] = [Handle(0), Handle(1), Handle(2)];
