//! RUN. The invariant: the program gets its declared environment, three descriptors and the stage's files, and nothing of the
//! caller's; its own output is the only thing that comes back beside its changes.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rootfs::accounts::{Account, Accounts};
use sandbox::{
    CapabilitySet, Confinement, DNS_FORWARD, Handle, IdleStep, MountSource, MountSpec, NetworkSpec,
    Outcome, ProcessSpec, SandboxSpec, SharedNetwork, Step, StepError, UserSpec, detached_tree,
};

use super::lookup::{Done, Place};
use super::mounted::{Lowest, WorkingRoot};
use super::output::Pipes;
use super::{SessionTools, StageState, Workshop};
use crate::event::BuildEvent;
use crate::job::{JobNetwork, StepFailure};
use crate::step::{RunNetwork, RunStep};

/// How many lines of a failed program's output go into the message.
const TAIL: usize = 20;
/// BuildKit's default path (util/system), for images that set none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const HOSTNAME: &str = "rbuild";
/// Below /dev, which is a tmpfs of the step: nothing of it reaches the layer.
const SCRIPT: &str = "/dev/pipes/script";

impl Workshop<'_> {
    pub(crate) fn run_step(
        &self,
        place: &Place<'_>,
        state: &StageState,
        run: &RunStep,
    ) -> Result<Done, StepFailure> {
        let session = self.session()?;
        let root = self.mount(state, Lowest::Skeleton)?;
        match self.run_in(session, place, &root, run) {
            Ok(()) => Ok(Done {
                layer: None,
                tree: Some(root.settle(self.job.times.of_step(state.time()))?),
                inputs: None,
                time: state.time(),
                same_times: true,
            }),
            Err(failure) => {
                root.discard();
                Err(failure)
            }
        }
    }

    fn run_in(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        root: &WorkingRoot,
        run: &RunStep,
    ) -> Result<(), StepFailure> {
        let accounts =
            Accounts::of(&root.tree(session)?).map_err(|error| StepFailure::of_build(&error))?;
        let account = super::account(&accounts, &place.planned.step.user)?;
        self.restore_workdir(place, root)?;
        let network = self.network_of(session, run)?;
        let files = self.injected_files(session, run, &network)?;
        let output = Pipes::new(session, &account)?;
        let [stdout, stderr] = output.program_ends();
        let null = File::open("/dev/null").map_err(|error| StepFailure::of_build(&error))?;
        let mut handles = vec![root.mount.as_fd(), null.as_fd(), stdout, stderr];
        let mut mounts = Vec::new();
        for (target, tree) in &files {
            let source = MountSource::Tree {
                handle: Handle(handles.len()),
                directory: false,
            };
            mounts.push(MountSpec {
                target: (*target).to_owned(),
                source,
                read_only: *target == SCRIPT,
            });
            handles.push(tree.as_fd());
        }
        let network = match &network {
            StepNetwork::None => NetworkSpec::None,
            StepNetwork::Host => NetworkSpec::Host,
            StepNetwork::Shared(network) => {
                handles.push(network.namespace());
                NetworkSpec::Shared(Handle(handles.len() - 1))
            }
        };
        let spec = self.spec(session, place, run, &account, mounts, network);
        let idle = match place.spare.take() {
            Some(idle) => idle,
            None => IdleStep::spawn(session.executable).map_err(|error| explain(&error))?,
        };
        let step = idle
            .start(&spec, &handles)
            .map_err(|error| explain(&error))?;
        if place.runs_later() {
            // The next one's process starts while this one works. Without it, it starts when it is needed.
            place.spare.set(IdleStep::spawn(session.executable).ok());
        }
        drop(handles);
        self.follow(place, step, output)
    }

    fn spec(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        run: &RunStep,
        account: &Account,
        mounts: Vec<MountSpec>,
        network: NetworkSpec,
    ) -> SandboxSpec {
        let argv = if run.script.is_some() {
            vec![SCRIPT.to_owned()]
        } else {
            run.argv.clone()
        };
        SandboxSpec {
            ids: session.ids.clone(),
            root: Handle(0),
            read_only_root: false,
            mounts,
            network,
            hostname: HOSTNAME.to_owned(),
            confinement: Confinement {
                capabilities: CapabilitySet::podman_default(),
                ambient: false,
                no_new_privileges: self.job.no_new_privileges,
                seccomp: true,
                mask_paths: true,
            },
            process: ProcessSpec {
                argv,
                env: self.environment(place, run, account),
                cwd: place.planned.step.workdir.clone(),
                user: UserSpec {
                    uid: account.uid,
                    gid: account.gid,
                    groups: account.groups.clone(),
                },
                stdio: [Handle(1), Handle(2), Handle(3)],
                terminal: false,
            },
        }
    }

    /// ENV wins over ARG, ARG over the caller's proxy settings; HOME and PATH have a default.
    fn environment(
        &self,
        place: &Place<'_>,
        run: &RunStep,
        account: &Account,
    ) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = Vec::new();
        let home = [
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), home_of(account)),
        ];
        let layers = [
            &home[..],
            &self.job.ambient_env,
            &run.args,
            &place.planned.step.env,
        ];
        for (name, value) in layers.into_iter().flatten() {
            match env.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1.clone_from(value),
                None => env.push((name.clone(), value.clone())),
            }
        }
        env
    }

    fn network_of<'s>(
        &self,
        session: &'s SessionTools<'_>,
        run: &RunStep,
    ) -> Result<StepNetwork<'s>, StepFailure> {
        match (run.network, &self.job.network) {
            (RunNetwork::None, _) | (RunNetwork::Default, JobNetwork::None) => {
                Ok(StepNetwork::None)
            }
            (RunNetwork::Host, _) | (RunNetwork::Default, JobNetwork::Host) => {
                Ok(StepNetwork::Host)
            }
            (RunNetwork::Default, JobNetwork::Pasta(program)) => {
                let started = session
                    .network
                    .get_or_init(|| start_network(session, program));
                started
                    .as_ref()
                    .map(StepNetwork::Shared)
                    .map_err(Clone::clone)
            }
        }
    }

    /// Files that are bound over the image's own, each as a detached tree.
    fn injected_files(
        &self,
        session: &SessionTools<'_>,
        run: &RunStep,
        network: &StepNetwork<'_>,
    ) -> Result<Vec<(&'static str, OwnedFd)>, StepFailure> {
        let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
        let directory = session
            .work
            .directory("files")
            .map_err(|error| fail(&error))?;
        let mut files = vec![
            ("/etc/hostname", format!("{HOSTNAME}\n"), 0o644),
            ("/etc/hosts", hosts(network), 0o644),
            ("/etc/resolv.conf", resolver(network), 0o644),
        ];
        files.extend(run.script.clone().map(|script| (SCRIPT, script, 0o755)));
        let mut trees = Vec::with_capacity(files.len());
        for (number, (target, content, mode)) in files.into_iter().enumerate() {
            let path = directory.join(number.to_string());
            std::fs::write(&path, content).map_err(|error| fail(&error))?;
            rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(mode))
                .map_err(|error| fail(&error))?;
            session
                .trees
                .give_to_image_root(&path)
                .map_err(|error| fail(&error))?;
            trees.push((target, detached_tree(&path).map_err(|error| fail(&error))?));
        }
        Ok(trees)
    }

    /// Passes the program's output on until it ends.
    fn follow(&self, place: &Place<'_>, step: Step, pipes: Pipes) -> Result<(), StepFailure> {
        let control = step
            .control()
            .map_err(|error| StepFailure::of_build(&error))?;
        let watched = self.cancel.watch(move || control.kill());
        let mut tail = VecDeque::with_capacity(TAIL);
        let read = pipes.read(|stderr, text| {
            for line in text.lines() {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.to_owned());
            }
            self.tell(BuildEvent::Output {
                stage: place.stage.id,
                step: place.index,
                stderr,
                text,
            });
        });
        let outcome = step.wait();
        drop(watched);
        read.map_err(|error| StepFailure::of_build(&error))?;
        let outcome = outcome.map_err(|error| explain(&error))?;
        if outcome == Outcome::Exited(0) {
            return Ok(());
        }
        let what = match outcome {
            Outcome::Exited(code) => format!("run the command: it ended with exit code {code}"),
            Outcome::Signaled(signal) => format!("run the command: signal {signal} ended it"),
        };
        let mut failure = StepFailure::saying(what);
        failure.exit_code = Some(outcome.code());
        failure.tail = tail.into();
        Err(failure)
    }
}

fn home_of(account: &Account) -> String {
    let home = account
        .home
        .as_deref()
        .map(String::from_utf8_lossy)
        .unwrap_or_default();
    if home.is_empty() {
        "/".to_owned()
    } else {
        home.into_owned()
    }
}

fn start_network(
    session: &SessionTools<'_>,
    program: &std::path::Path,
) -> Result<SharedNetwork, StepFailure> {
    let place = session
        .work
        .directory("network")
        .map_err(|error| StepFailure::of_build(&error))?;
    SharedNetwork::start(program, &place.join("namespace"), &[]).map_err(|error| {
        StepFailure::of_build(&error).hint(
            "`--network none` and `--network host` need no network program; `rbuild doctor` checks this one",
        )
    })
}

enum StepNetwork<'s> {
    None,
    Host,
    Shared(&'s SharedNetwork),
}

fn hosts(network: &StepNetwork<'_>) -> String {
    let own =
        format!("127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    match network {
        StepNetwork::Host => std::fs::read_to_string("/etc/hosts").unwrap_or(own),
        StepNetwork::None | StepNetwork::Shared(_) => own,
    }
}

/// With pasta the host's resolver is reached through an address of the namespace, which also covers resolvers on 127.0.0.53.
fn resolver(network: &StepNetwork<'_>) -> String {
    let host = || std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    match network {
        StepNetwork::None => String::new(),
        StepNetwork::Host => host(),
        StepNetwork::Shared(_) => {
            let kept: String = host()
                .lines()
                .filter(|line| line.starts_with("search") || line.starts_with("options"))
                .map(|line| format!("{line}\n"))
                .collect();
            format!("nameserver {DNS_FORWARD}\n{kept}")
        }
    }
}

fn explain(error: &StepError) -> StepFailure {
    let failure = StepFailure::of_build(error);
    match error {
        StepError::Execute(cause) if cause.errno() == sandbox::Errno::ENOENT => failure.hint(
            "the program or, for a script or a dynamic program, its interpreter is not in the stage; \
             an exec form without a path is looked for in PATH",
        ),
        _ => failure,
    }
}
