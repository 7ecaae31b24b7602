//! A run, as it happens in the session. The invariant: the program ends when the main process does, and what it wrote has reached
//! the caller before its exit code does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use image::{ContainerConfig, DiffId, Image};
use rootfs::RootError;
use rootfs::accounts::{Account, AccountError};
use rootfs::trees::{TreesError, WritableLayer};
use rustix::event::{PollFd, PollFlags};
use sandbox::{
    Confinement, EmulatorError, Emulators, Handle, IdleStep, MountSpec, NetworkError, NetworkSpec,
    ProcessSpec, SandboxSpec, SessionContext, SetupFailure, Step, StepError,
};
use thiserror::Error;

use crate::container::{ContainerError, ContainerSpec, numeric_ids, user_text};
use crate::prepared::Prepared;
use crate::protocol::{Cause, FromSession, Receiver, RunJob, ToSession, send};
use crate::reown::ReownError;
use crate::request::{Network, RunRequest};
use crate::run::{Choice, RunError};
use crate::stdio::{Carrying, Streams};

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
    #[error("make {path}")]
    Scratch { path: PathBuf, source: io::Error },
    #[error("connect the container's standard streams")]
    Stdio(#[source] io::Error),
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
    let run = Run {
        context,
        request: &job.request,
        image: &image,
    };
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
    let (mut step, streams) = start(&run, &mut prepared, idle)?;
    let mut carrying = streams.start().map_err(ExecuteError::Stdio)?;
    prepared.tidy();
    listen(orders, &step, &mut carrying).map_err(ExecuteError::Stdio)?;
    let outcome = step.executed().and_then(|()| {
        // A step that cannot be listened to is over.
        let _ = listen(orders, &step, &mut carrying);
        step.outcome()
    });
    carrying.finish();
    let code = outcome?.code();
    Ok((code, (prepared.clear(), Some(step))))
}

fn start(
    run: &Run<'_>,
    prepared: &mut Prepared,
    idle: IdleStep,
) -> Result<(Step, Streams), ExecuteError> {
    let mut handles = Handles::default();
    let spec = prepared.spec(run, &mut handles)?;
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

/// Passes on what the main process says, and what the program writes, until the step has something to say; without the main
/// process there is nobody to run for.
fn listen(orders: &mut Receiver<'_>, step: &Step, carrying: &mut Carrying) -> io::Result<()> {
    loop {
        if !orders.is_waiting() {
            let socket = orders.socket();
            let mut watched = vec![
                PollFd::new(step, PollFlags::IN),
                PollFd::new(socket, PollFlags::IN),
            ];
            let sources = carrying.sources();
            watched.extend(sources.map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)));
            match rustix::event::poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => continue,
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
            Ok(Some(ToSession::Signal(signal))) => step.signal(signal),
            Ok(Some(ToSession::Run(_)) | None) | Err(_) => {
                step.kill();
                return Ok(());
            }
        }
    }
}

/// What is to run.
#[derive(Clone, Copy)]
pub(crate) struct Run<'r> {
    pub(crate) context: &'r SessionContext,
    pub(crate) request: &'r RunRequest,
    image: &'r Image,
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

    /// The container, where its user is `account`.
    pub(crate) fn container(&self, account: &Account) -> Result<ContainerSpec, ContainerError> {
        let name = self.image.digest().short();
        let image_ids = self.context.image_ids();
        ContainerSpec::new(self.config(), self.request, account, image_ids, &name)
    }

    /// The sandbox as far as a user of numbers tells, before any account is looked up: enough to prepare what needs no root.
    fn expected(&self) -> Option<SandboxSpec> {
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
        limits: sandbox::Limits::default(),
        process: ProcessSpec {
            argv: container.argv.clone(),
            env: container.env.clone(),
            cwd: container.cwd.clone(),
            user: container.user.clone(),
            stdio: STREAMS,
            terminal: false,
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
