//! A run, as it happens in the session. The invariant: what the container writes is in a work area that is gone when this
//! process is, and the image's layers are only ever lower directories.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::{ChainId, ContainerConfig, DiffId, Image, Store};
use rootfs::accounts::{Account, AccountError, Accounts};
use rootfs::trees::{Trees, TreesError, UnpackedLayer, WorkArea, remove_tree};
use rootfs::{DirTree, Ownership, Root, RootError};
use rustix::event::{PollFd, PollFlags};
use sandbox::{
    Confinement, EmulatorError, Emulators, Handle, IdleStep, MemoryFile, MountSource, MountSpec,
    NetworkError, NetworkSpec, Overlay, ProcessSpec, SandboxSpec, SessionContext, SetupFailure,
    SharedNetwork, Step, StepError, Upper,
};
use thiserror::Error;

use crate::container::{ContainerError, ContainerSpec, numeric_ids, user_text};
use crate::names;
use crate::protocol::{Cause, FromSession, Receiver, RunJob, ToSession, send};
use crate::reown::{self, ReownError, Reowned, Wanted};
use crate::request::{Network, RunRequest};
use crate::run::{Choice, RunError};
use crate::stdio::Streams;
use crate::userns::{Ids, Mapping};

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
    let socket = &context.socket;
    let mut receiver = Receiver::new(socket);
    let Ok(Some(ToSession::Run(job))) = receiver.next() else {
        return ExitCode::from(125);
    };
    let last = match contain(&context, &job, receiver) {
        Ok(code) => FromSession::Ended { code },
        Err(error) => FromSession::Failed {
            program: error.program(),
            cause: Cause::of(&error),
        },
    };
    match send(socket, &last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(125),
    }
}

fn contain(
    context: &SessionContext,
    job: &RunJob,
    mut orders: Receiver<'_>,
) -> Result<i32, ExecuteError> {
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
    context.mapped().map_err(ExecuteError::Ids)?;
    if !job.start {
        return Prepared::new(&run, store).map(|_| 0);
    }
    // It executes the program for as long as this lives.
    let _emulator = Emulators::register(emulator.as_slice())?;
    let mut idle = context.idle_step()?;
    if let Some(spec) = expected {
        // On another processor, while the image is mounted on this one.
        idle.prepare(&spec, &[])?;
        idle.settle()?;
    }
    let prepared = Prepared::new(&run, store)?;
    let (mut step, streams) = start(&run, &prepared, idle)?;
    let carrying = streams.start().map_err(ExecuteError::Stdio)?;
    prepared.tidy();
    listen(&mut orders, &step).map_err(ExecuteError::Stdio)?;
    let outcome = step.executed().and_then(|()| {
        // A step that cannot be listened to is over.
        let _ = listen(&mut orders, &step);
        step.outcome()
    });
    carrying.finish();
    Ok(outcome?.code())
}

fn start(
    run: &Run<'_>,
    prepared: &Prepared,
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

/// Passes on what the main process says until the step has something to say; without the main process there is nobody to run
/// for.
fn listen(orders: &mut Receiver<'_>, step: &Step) -> io::Result<()> {
    loop {
        if !orders.is_waiting() {
            let socket = orders.socket();
            let mut watched = [
                PollFd::new(step, PollFlags::IN),
                PollFd::new(socket, PollFlags::IN),
            ];
            match rustix::event::poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if !watched[0].revents().is_empty() {
                return Ok(());
            }
        }
        match orders.next() {
            Ok(Some(ToSession::Signal(signal))) => step.signal(signal),
            Ok(Some(ToSession::Kill | ToSession::Run(_)) | None) | Err(_) => {
                step.kill();
                return Ok(());
            }
        }
    }
}

/// What is to run.
#[derive(Clone, Copy)]
struct Run<'r> {
    context: &'r SessionContext,
    request: &'r RunRequest,
    image: &'r Image,
}

impl Run<'_> {
    fn config(&self) -> &ContainerConfig {
        &self.image.config().config
    }

    fn diff_ids(&self) -> &[DiffId] {
        &self.image.config().rootfs.diff_ids
    }

    /// The text that says who the user is.
    fn user(&self) -> String {
        user_text(self.config(), self.request)
    }

    /// The container, where its user is `account`.
    fn container(&self, account: &Account) -> Result<ContainerSpec, ContainerError> {
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

fn sandbox(
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
struct Handles(Vec<OwnedFd>);

impl Handles {
    fn add(&mut self, handle: OwnedFd) -> Handle {
        self.0.push(handle);
        Handle(STREAMS.len() + self.0.len() - 1)
    }
}

const STREAMS: [Handle; 3] = [Handle(0), Handle(1), Handle(2)];

/// A container whose root is mounted.
struct Prepared {
    container: ContainerSpec,
    root: OwnedFd,
    /// Whom files belong to that the image's root owns, as the session counts.
    image_root: Option<u32>,
    /// What the container wrote goes with it.
    work: WorkArea,
    /// What keeps an overlay from being mounted again (overlayfs documentation, "Volatile mount"): this one never is.
    marker: PathBuf,
    /// Holds the layers for as long as they are mounted; dropped last.
    _store: Store,
}

impl Prepared {
    fn new(run: &Run<'_>, store: Store) -> Result<Self, ExecuteError> {
        let context = run.context;
        let work = WorkArea::create(&store)?;
        let ownership = Ownership::of_session(context.is_single_id(), context.image_ids());
        let trees = Trees::of(&store, ownership);
        let layers = trees.layers(&store, run.diff_ids())?;
        let mut lowers: Vec<PathBuf> = layers
            .iter()
            .rev()
            .map(|layer| layer.directory.clone())
            .collect();
        lowers.push(trees.skeleton(&store)?);
        let notice = |text: String| {
            // The main process may be gone; then nobody reads notices.
            let _ = send(&context.socket, &FromSession::Notice(text));
        };
        let reown = |mapping: Option<Mapping>| match mapping.and_then(Mapping::reowned_from) {
            Some(kept) if !context.is_single_id() => {
                reowned(&store, &work, &layers, run.diff_ids(), kept, &notice)
            }
            _ => Ok(None),
        };
        // A USER of numbers says who is kept before any account is looked up, and then one mount is enough.
        let user = run.user();
        let expected = numeric_ids(&user).map(|ids| run.request.userns.mapping(ids));
        let mut top = reown(expected)?;
        let (mut root, mut marker) = mount(&work, top.as_ref(), &lowers)?;
        let container = run.container(&account(&root, &user)?)?;
        container.notices.iter().cloned().for_each(&notice);
        if expected != Some(container.mapping) {
            let other = reown(Some(container.mapping))?;
            if top.is_some() || other.is_some() {
                top = other;
                (root, marker) = mount(&work, top.as_ref(), &lowers)?;
            }
        }
        Ok(Self {
            container,
            root,
            image_root: trees.image_root(),
            marker,
            work,
            _store: store,
        })
    }

    /// The sandbox; what it refers to is added to `handles`.
    fn spec(&self, run: &Run<'_>, handles: &mut Handles) -> Result<SandboxSpec, ExecuteError> {
        let root = self.root.try_clone().map_err(ExecuteError::Stdio)?;
        let root = handles.add(root);
        let mounts = self.mounts(run.request, handles)?;
        let network = self.network(&run.request.network, handles)?;
        Ok(sandbox(&self.container, run.request, root, network, mounts))
    }

    fn mounts(
        &self,
        request: &RunRequest,
        handles: &mut Handles,
    ) -> Result<Vec<MountSpec>, ExecuteError> {
        let mut mounts = self.names(&request.network, handles)?;
        for volume in &request.mounts.volumes {
            let failed = |source| ExecuteError::Volume {
                target: volume.target.clone(),
                source,
            };
            let handle = sandbox::detached_tree(&volume.source).map_err(failed)?;
            let directory =
                is_directory(&handle).map_err(|source| scratch(&volume.source, source))?;
            let source = MountSource::Tree {
                handle: handles.add(handle),
                directory,
            };
            mounts.push(MountSpec {
                target: volume.target.clone(),
                source,
                read_only: volume.read_only,
            });
        }
        let tmpfs = request.mounts.tmpfs.iter().map(|tmpfs| MountSpec {
            target: tmpfs.target.clone(),
            source: MountSource::Tmpfs {
                size: tmpfs.size,
                mode: tmpfs.mode,
            },
            read_only: false,
        });
        mounts.extend(tmpfs);
        Ok(mounts)
    }

    /// The files of /etc that say where the container is. In memory: they are few bytes, and gone with the container.
    fn names(
        &self,
        network: &Network,
        handles: &mut Handles,
    ) -> Result<Vec<MountSpec>, ExecuteError> {
        // A host without the file has no resolver to pass on.
        let host_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let files = names::files(network, &self.container.hostname, &host_resolv);
        let in_memory = files.each_ref().map(|(name, text)| {
            let file = MemoryFile {
                content: text.as_bytes(),
                mode: 0o644,
                owner: self.image_root.map(|id| (id, id)),
            };
            (*name, file)
        });
        let trees =
            sandbox::memory_files(self.work.path(), in_memory).map_err(ExecuteError::Names)?;
        let mounted = files.iter().zip(trees).map(|((name, _), tree)| MountSpec {
            target: format!("/etc/{name}"),
            source: MountSource::Tree {
                handle: handles.add(tree),
                directory: false,
            },
            read_only: false,
        });
        Ok(mounted.collect())
    }

    /// Removes what nobody will look for again, while the step gets ready and there is nothing to do but wait.
    fn tidy(&self) {
        // What stays goes with the work area.
        let _ = remove_tree(&self.marker);
    }

    fn network(
        &self,
        network: &Network,
        handles: &mut Handles,
    ) -> Result<NetworkSpec, ExecuteError> {
        Ok(match network {
            Network::None => NetworkSpec::None,
            Network::Host => NetworkSpec::Host,
            Network::Pasta { program } => {
                let place = self.work.directory("network")?.join("namespace");
                let shared = SharedNetwork::start(program, &place, &[])?;
                let namespace = shared.namespace().try_clone_to_owned();
                NetworkSpec::Shared(handles.add(namespace.map_err(ExecuteError::Stdio)?))
            }
        })
    }
}

fn scratch(path: &Path, source: io::Error) -> ExecuteError {
    ExecuteError::Scratch {
        path: path.to_owned(),
        source,
    }
}

fn is_directory(handle: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(handle)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Mounts the image with a fresh writable layer, whose root looks like that of the topmost lower one. The path is that of the
/// mark which the kernel leaves.
fn mount(
    work: &WorkArea,
    top: Option<&Reowned>,
    below: &[PathBuf],
) -> Result<(OwnedFd, PathBuf), ExecuteError> {
    let lowers: Vec<PathBuf> = top
        .map(Reowned::path)
        .into_iter()
        .chain(below.iter().cloned())
        .collect();
    let (upper, workdir) = (work.directory("upper")?, work.directory("work")?);
    if let Some(top) = lowers.first() {
        let seen = fs::metadata(top).map_err(|source| scratch(&upper, source))?;
        std::os::unix::fs::chown(&upper, Some(seen.uid()), Some(seen.gid()))
            .and_then(|()| fs::set_permissions(&upper, seen.permissions()))
            .map_err(|source| scratch(&upper, source))?;
    }
    let marker = workdir.join("work/incompat");
    let overlay = Overlay {
        lowers,
        data_only: Vec::new(),
        upper: Some(Upper {
            upper,
            work: workdir,
        }),
    };
    let root = overlay.mount().map_err(ExecuteError::Mount)?;
    Ok((root, marker))
}

fn account(root: &OwnedFd, user: &str) -> Result<Account, ExecuteError> {
    // Only content matters here, and re-owned files belong to ids that are no image's.
    let ownership = Ownership::Recorded;
    let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let tree = DirTree::new(Root::open(&path).map_err(ExecuteError::Root)?, ownership);
    Accounts::of(&tree)
        .and_then(|accounts| accounts.resolve_user(user))
        .map_err(ExecuteError::Account)
}

fn reowned(
    store: &Store,
    work: &WorkArea,
    layers: &[UnpackedLayer],
    diff_ids: &[DiffId],
    kept: Ids,
    notice: &dyn Fn(String),
) -> Result<Option<Reowned>, ExecuteError> {
    let Some(chain) = ChainId::of(diff_ids) else {
        return Ok(None);
    };
    let wanted = Wanted {
        layers,
        chain,
        kept,
    };
    Ok(reown::prepare(store, work, &wanted, notice)?)
}
