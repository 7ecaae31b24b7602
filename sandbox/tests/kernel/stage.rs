//! A stage for one test: a store with one image, and a session that runs steps on it. The invariant: a test describes a
//! [`Job`] and judges a [`Report`], both data; whatever a job made is removed by the session that made it.

mod bare;
mod image;
mod upper;

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use sandbox::{
    CapabilitySet, Confinement, Ground, Handle, IdMap, MountSource, MountSpec, NetworkSpec,
    Outcome, Overlay, ProcessSpec, SandboxSpec, Session, SessionContext, SessionPlan,
    SharedNetwork, Step, Upper, UserSpec, detached_tree,
};
use serde::{Deserialize, Serialize};

pub(crate) use bare::{
    CLEANING, DESCRIPTORS, PANICKING, clean, clean_up, descriptors, end_of_a_panic,
    failure_to_start, list_descriptors, panic_in_a_thread,
};
pub(crate) use image::Node;
pub(crate) use upper::{Entry, entries};

/// The session's entry of the tests.
pub(crate) const ENTRY: &str = "stage";

/// Where the drill is inside a step.
pub(crate) const DRILL: &str = "/drill";

/// Steps to be run, one after the other, each in an overlay of its own over one image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What the image holds.
    pub image: Vec<Node>,
    /// Lower directories above the image, of which only the topmost holds something; mounted as before Linux 6.8.
    pub old_layers: Option<usize>,
    /// What is mounted: directories of the host.
    pub volumes: Vec<Volume>,
    /// The network of every step.
    pub network: Network,
    /// Whether `/` is read-only.
    pub read_only_root: bool,
    /// What the programs may not do.
    pub confinement: Confinement,
    /// As whom they run.
    pub user: UserSpec,
    /// Where they start.
    pub cwd: String,
    /// Their environment.
    pub env: Vec<(String, String)>,
    /// The programs, one for each step.
    pub programs: Vec<Vec<String>>,
}

/// A directory of the host in a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// On the host.
    pub source: PathBuf,
    /// In the step.
    pub target: String,
}

/// How steps are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// Not.
    None,
    /// As the host.
    Host,
    /// Through one pasta for all, the program at this path.
    Pasta(PathBuf),
    /// As before, where there is no tun device.
    PastaWithoutTun(PathBuf),
}

/// What became of a job; the error is the network's.
pub(crate) type Report = Result<Vec<StepReport>, String>;

/// What became of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StepReport {
    /// How it ended, or the failure with its sources.
    pub ended: Result<Outcome, String>,
    /// What the program printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// What the step left in its upper directory, by path, with session ids.
    pub upper: Vec<Entry>,
}

impl StepReport {
    /// What a program that succeeded printed.
    pub(crate) fn printed(&self) -> &str {
        assert_eq!(
            self.ended,
            Ok(Outcome::Exited(0)),
            "{}{}",
            self.stdout,
            self.stderr
        );
        &self.stdout
    }

    /// The failure of a step whose set-up the kernel or the crate refused.
    pub(crate) fn refused(&self) -> &str {
        self.ended
            .as_ref()
            .expect_err("the step's set-up must be refused")
    }
}

/// A build step's confinement.
pub(crate) fn run_step() -> Confinement {
    Confinement {
        capabilities: CapabilitySet::podman_default(),
        ambient: false,
        no_new_privileges: false,
        seccomp: true,
        mask_paths: true,
    }
}

/// A container's confinement, as `rbuild run` chooses it for distroless images.
pub(crate) fn container() -> Confinement {
    Confinement {
        capabilities: CapabilitySet::EMPTY,
        no_new_privileges: true,
        ..run_step()
    }
}

/// The user that distroless images run as.
pub(crate) fn nonroot() -> UserSpec {
    UserSpec {
        uid: 65532,
        gid: 65532,
        groups: Vec::new(),
    }
}

impl Job {
    /// A build step, as image root, that runs the drill with `arguments` on a small image.
    pub(crate) fn drill(arguments: &[&str]) -> Self {
        let program = [DRILL]
            .iter()
            .chain(arguments)
            .map(|word| (*word).to_owned())
            .collect();
        Self {
            image: Node::small_image(),
            old_layers: None,
            volumes: Vec::new(),
            network: Network::None,
            read_only_root: false,
            confinement: run_step(),
            user: UserSpec::default(),
            cwd: "/".to_owned(),
            env: Vec::new(),
            programs: vec![program],
        }
    }

    /// The job in a session of these ids.
    pub(crate) fn run(&self, plan: &SessionPlan) -> Report {
        let store = tempfile::tempdir().expect("the temporary directory is writable");
        // As rbuild's store: the image is reached by handles, not through the directories above it.
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(store.path(), closed).expect("it was just made");
        let mut session = Session::start(ENTRY, plan, Ground::Background)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        send(session.socket(), &(store.path(), self));
        let report = receive(session.socket());
        assert!(session.wait().expect("the session is a child").success());
        report
    }

    /// The report of the only step of the job.
    pub(crate) fn run_one(&self, plan: &SessionPlan) -> StepReport {
        let mut steps = self.run(plan).expect("the network starts");
        assert_eq!(steps.len(), 1);
        steps.remove(0)
    }
}

/// Sends one value as a line of JSON.
pub(crate) fn send(mut to: impl Write, value: &impl Serialize) {
    let line = serde_json::to_string(value).expect("the tests' values are JSON");
    writeln!(to, "{line}").expect("the other side reads");
}

fn receive<T: for<'de> Deserialize<'de>>(from: impl Read) -> T {
    let mut line = String::new();
    BufReader::new(from)
        .read_line(&mut line)
        .expect("the other side writes");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// An error with all its sources.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// What happens in the session.
pub(crate) fn main(context: SessionContext) -> ExitCode {
    let (store, job): (PathBuf, Job) = receive(&context.socket);
    let report = Stage::new(&context, &store, &job).perform();
    empty(&store);
    send(&context.socket, &report);
    ExitCode::SUCCESS
}

/// The files of subordinate ids can be removed in a session only.
fn empty(store: &Path) {
    for name in ["image", "changes"] {
        let _ = fs::remove_dir_all(store.join(name));
    }
}

struct Stage<'a> {
    context: &'a SessionContext,
    store: &'a Path,
    job: &'a Job,
    ids: IdMap,
}

impl<'a> Stage<'a> {
    fn new(context: &'a SessionContext, store: &'a Path, job: &'a Job) -> Self {
        let (uids, gids) = context.image_ids();
        let ids = if context.is_single_id() {
            IdMap::one_id()
        } else {
            IdMap::shifted(uids, gids).expect("some ids")
        };
        Self {
            context,
            store,
            job,
            ids,
        }
    }

    fn perform(&self) -> Report {
        let image = self.store.join("image");
        image::lay_out(&image, &self.job.image, |id| self.session_id(id));
        let network = self.network()?;
        let steps = self
            .job
            .programs
            .iter()
            .map(|program| self.step(program, network.as_ref()));
        Ok(steps.collect())
    }

    fn network(&self) -> Result<Option<SharedNetwork>, String> {
        let program = match &self.job.network {
            Network::None | Network::Host => return Ok(None),
            Network::Pasta(program) => program,
            Network::PastaWithoutTun(program) => {
                let (place, flags) = ("/dev/net", rustix::mount::MountFlags::empty());
                rustix::mount::mount("none", place, "tmpfs", flags, None)
                    .expect("the session's mounts are its own");
                program
            }
        };
        let started = SharedNetwork::start(program, &self.store.join("netns"), &[], &[]);
        started.map(Some).map_err(|error| chain(&error))
    }

    /// The session's id for an id of the image; a session of one id has only that.
    fn session_id(&self, id: u32) -> u32 {
        self.ids.uids.outside(id).unwrap_or(0)
    }

    fn step(&self, program: &[String], network: Option<&SharedNetwork>) -> StepReport {
        let upper = self.store.join("changes/upper");
        let root = self.overlay(&upper);
        let (stdout, stderr) = (self.pipe(), self.pipe());
        let mut handles = vec![root];
        handles.extend([OwnedFd::from(null()), stdout.1, stderr.1]);
        handles
            .push(detached_tree(&own_program()).expect("the program of the tests can be mounted"));
        handles.extend(
            self.job
                .volumes
                .iter()
                .map(|v| detached_tree(&v.source).expect("a volume can be mounted")),
        );
        let mut borrowed: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
        borrowed.extend(network.map(SharedNetwork::namespace));
        let spec = self.spec(program, handles.len());
        let ended = Step::start(&self.context.executable, &spec, &borrowed).and_then(Step::wait);
        drop(borrowed);
        drop(handles);
        let [stdout, stderr] =
            [stdout.0, stderr.0].map(|reader| reader.join().expect("a reader does not panic"));
        let upper = entries(&upper);
        StepReport {
            ended: ended.map_err(|error| chain(&error)),
            stdout,
            stderr,
            upper,
        }
    }

    /// A fresh overlay; the step owns its upper directory, as it would own the image's root directory.
    fn overlay(&self, upper: &Path) -> OwnedFd {
        let changes = self.store.join("changes");
        let _ = fs::remove_dir_all(&changes);
        let work = changes.join("work");
        for directory in [upper, &work] {
            fs::create_dir_all(directory).expect("the store is writable");
        }
        fs::set_permissions(upper, fs::Permissions::from_mode(0o755))
            .expect("it is the session's own");
        let root = Some(self.session_id(0));
        chown(upper, root, root).expect("the id is mapped");
        let upper = Some(Upper {
            upper: upper.to_owned(),
            work,
        });
        let layers = (0..self.job.old_layers.unwrap_or(0)).map(|layer| {
            let directory = changes.join(format!("layer-{layer}"));
            fs::create_dir(&directory).expect("the store is writable");
            if layer == 0 {
                let file = directory.join("topmost");
                fs::write(&file, "").expect("the store is writable");
                chown(&file, root, root).expect("the id is mapped");
            }
            directory
        });
        let overlay = Overlay {
            lowers: layers.chain([self.store.join("image")]).collect(),
            data_only: Vec::new(),
            upper,
        };
        let mounted = match self.job.old_layers {
            Some(_) => overlay.mount_in_one_string(),
            None => overlay.mount(),
        };
        mounted.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// A pipe that the step's user may open again through /dev/stdout, and a thread that reads it.
    fn pipe(&self) -> (JoinHandle<String>, OwnedFd) {
        let (reader, writer) = std::io::pipe().expect("there are descriptors");
        let writer = OwnedFd::from(writer);
        let (user, group) = (
            self.session_id(self.job.user.uid),
            self.session_id(self.job.user.gid),
        );
        std::os::unix::fs::fchown(&writer, Some(user), Some(group)).expect("the id is mapped");
        (thread::spawn(|| read_to_end(reader)), writer)
    }

    fn spec(&self, program: &[String], next_handle: usize) -> SandboxSpec {
        let drill = MountSpec {
            target: DRILL.to_owned(),
            source: MountSource::Tree {
                handle: Handle(4),
                directory: false,
            },
            read_only: true,
        };
        let volumes = self
            .job
            .volumes
            .iter()
            .enumerate()
            .map(|(index, volume)| MountSpec {
                target: volume.target.clone(),
                source: MountSource::Tree {
                    handle: Handle(5 + index),
                    directory: volume.source.is_dir(),
                },
                read_only: false,
            });
        SandboxSpec {
            ids: self.ids.clone(),
            root: Handle(0),
            read_only_root: self.job.read_only_root,
            mounts: [drill].into_iter().chain(volumes).collect(),
            network: match self.job.network {
                Network::None => NetworkSpec::None,
                Network::Host => NetworkSpec::Host,
                Network::Pasta(_) | Network::PastaWithoutTun(_) => {
                    NetworkSpec::Shared(Handle(next_handle))
                }
            },
            hostname: "stage".to_owned(),
            confinement: self.job.confinement.clone(),
            limits: rbuild_sandbox::Limits::default(),
            process: ProcessSpec {
                argv: program.to_vec(),
                env: self.job.env.clone(),
                cwd: self.job.cwd.clone(),
                user: self.job.user.clone(),
                stdio: [Handle(1), Handle(2), Handle(3)],
                terminal: None,
                init: false,
            },
            supervisor: None,
            namespaces: None,
        }
    }
}

fn read_to_end(mut reader: PipeReader) -> String {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn null() -> fs::File {
    fs::File::open("/dev/null").expect("there is a /dev/null")
}

fn own_program() -> PathBuf {
    std::env::current_exe().expect("/proc is mounted")
}
