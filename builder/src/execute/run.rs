//! RUN. The invariant: the program gets its declared environment, three descriptors and the stage's files, and nothing of the
//! caller's; its own output is the only thing that comes back beside its changes.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use image::Digest;
use rootfs::accounts::{Account, Accounts};
use sandbox::{
    CapabilitySet, Confinement, Handle, IdleStep, Limits, MountSource, MountSpec, NetworkSpec,
    Outcome, ProcessSpec, SandboxSpec, SharedNetwork, Step, StepError, Supervisor, UserSpec,
};

use super::disturbed;
use super::gathered::Detail;
use super::injected::SCRIPT;
use super::kept::exchange_all;
use super::limits;
use super::lookup::{Done, Place};
use super::mount_points;
use super::mounted::{Around, Lowest, WorkingRoot};
use super::mounts::StepMounts;
use super::output::Pipes;
use super::supervised::{keep, supervisor};
use super::views::{UsedContext, changed};
use super::{SessionTools, StageState, Workshop};
use crate::event::BuildEvent;
use crate::job::{JobNetwork, StepFailure};
use crate::mounts::{RunMount, RunMountSource};
use crate::settings::RunSettings;
use crate::step::{CopyFrom, RunNetwork, RunStep};

/// The option of pasta that gives the machine an address in the namespace, passt(1).
const MAP_HOST: &str = "--map-guest-addr";
/// How many lines of a failed program's output go into the message.
const TAIL: usize = 20;
/// BuildKit's default path (util/system), for images that set none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Workshop<'_> {
    pub(crate) fn run_step(
        &self,
        place: &Place<'_>,
        state: &StageState,
        run: &RunStep,
    ) -> Result<Done, StepFailure> {
        let session = self.session()?;
        let inputs = self.mounted_inputs(place.finished, run, Detail::Named)?;
        let root = self.mount(state, Lowest::Skeleton)?;
        let mut ready = Ready::default();
        let lowers = self
            .make_ready(session, place, &root, run, &mut ready)
            .and_then(|points| self.around(session, state, &root, points));
        let root = match lowers {
            Ok(around) if around.is_empty() && session.kept.is_none() => root,
            Ok(around) => root.between(self, state, around)?,
            Err(failure) => {
                root.discard();
                return Err(failure);
            }
        };
        let used = std::mem::take(&mut ready.mounts.contexts);
        let ran = self
            .unless_changed(place, run, inputs.digest.as_ref())
            .and_then(|()| self.run_in(session, place, &root, run, &ready));
        match self.still_true(place, used, ran) {
            Ok(()) => Ok(Done {
                layer: None,
                tree: Some(root.settle_run(self, self.job.times.of_step(state.time()))?),
                inputs,
                time: state.time(),
                same_times: true,
                env: Vec::new(),
            }),
            Err(failure) => {
                root.discard();
                Err(failure)
            }
        }
    }

    /// What is mounted of a context has to be what the key says: `inputs` was found before that was listed, and is found again.
    fn unless_changed(
        &self,
        place: &Place<'_>,
        run: &RunStep,
        inputs: Option<&Digest>,
    ) -> Result<(), StepFailure> {
        let of_context = |mount: &RunMount| {
            use CopyFrom::{Context, NamedContext};
            matches!(
                &mount.source,
                RunMountSource::Bind {
                    from: Context | NamedContext(_),
                    ..
                }
            )
        };
        if run.mounts.iter().any(of_context)
            && self
                .mounted_inputs(place.finished, run, Detail::DigestAlone)?
                .digest
                .as_ref()
                != inputs
        {
            return Err(changed(&"/"));
        }
        Ok(())
    }

    /// The result of a program that used files of contexts where they are: what changed meanwhile explains a failure, and makes
    /// one.
    fn still_true(
        &self,
        place: &Place<'_>,
        used: Vec<UsedContext>,
        ran: Result<(), StepFailure>,
    ) -> Result<(), StepFailure> {
        match (ran, self.check_used(place, used)) {
            (Ok(()), checked) => checked,
            (Err(failure), Err(changed)) if failure.hint.is_none() && !failure.cancelled => {
                Err(failure.hint(changed.message.clone()))
            }
            (failed, _) => failed,
        }
    }

    /// Makes all that the step mounts ready; returns the directory with the mount points that its root lacks.
    fn make_ready<'s>(
        &'s self,
        session: &'s SessionTools<'_>,
        place: &Place<'_>,
        root: &WorkingRoot,
        run: &RunStep,
        ready: &mut Ready<'s>,
    ) -> Result<Option<PathBuf>, StepFailure> {
        self.restore_workdir(place, root)?;
        let accounts =
            Accounts::of(&root.tree(session)?).map_err(|error| StepFailure::of_build(&error))?;
        let account = super::account(&accounts, &place.planned.step.user)?;
        ready.network = self.network_of(session, run)?;
        ready.files = self.injected_files(session, run, &ready.network)?;
        ready.mounts = self.ready_mounts(session, place, run, &account)?;
        ready.account = Some(account);
        let files: Vec<&str> = ready.files.iter().map(|(target, _)| *target).collect();
        mount_points::missing(session, &root.tree(session)?, &files, &ready.mounts)
    }

    /// The lower directories that only this step has.
    fn around(
        &self,
        session: &SessionTools<'_>,
        state: &StageState,
        root: &WorkingRoot,
        mount_points: Option<PathBuf>,
    ) -> Result<Around, StepFailure> {
        if let (Some(exchange), Some(points)) = (session.kept, &mount_points) {
            exchange_all(points, exchange).map_err(|error| StepFailure::of_build(&error))?;
        }
        let kept = match session.kept {
            Some(_) => self.files_of_caller(session, &self.lowers(state)?)?,
            None => None,
        };
        Ok(Around {
            above: mount_points.into_iter().chain(kept).collect(),
            lowest: self.other_order(session, &root.mount)?,
        })
    }

    fn run_in(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        root: &WorkingRoot,
        run: &RunStep,
        ready: &Ready<'_>,
    ) -> Result<(), StepFailure> {
        let account = ready.account.as_ref().ok_or_else(StepFailure::cancelled)?;
        let output = Pipes::new(session, account)?;
        let [stdout, stderr] = output.program_ends();
        let null = File::open("/dev/null").map_err(|error| StepFailure::of_build(&error))?;
        let mut handles = vec![root.mount.as_fd(), null.as_fd(), stdout, stderr];
        let mut mounts = Vec::new();
        for (target, tree) in &ready.files {
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
        mounts.extend(ready.mounts.specs(&mut handles));
        let network = match &ready.network {
            StepNetwork::None => NetworkSpec::None,
            StepNetwork::Host => NetworkSpec::Host,
            StepNetwork::Shared(network) => {
                handles.push(network.namespace());
                NetworkSpec::Shared(Handle(handles.len() - 1))
            }
        };
        let mut spec = self.spec(session, place, run, account, mounts)?;
        spec.network = network;
        let cgroup = self.cgroup_of(place)?;
        if let Some((_, door)) = &cgroup {
            spec.limits.cgroup = Some(Handle(handles.len()));
            handles.push(door.as_fd());
        }
        for (name, value) in &ready.mounts.env {
            set(&mut spec.process.env, name, value);
        }
        let supervisor = supervisor(session, &spec.process.user)?;
        if let Some(supervisor) = &supervisor {
            spec.supervisor = Some(Handle(handles.len()));
            handles.push(supervisor.door());
        }
        let idle = match place.spare.take().filter(|idle| idle.fits(&spec, &handles)) {
            Some(idle) => idle,
            None => IdleStep::forked(session.forge).map_err(|error| explain(&error))?,
        };
        let step = idle
            .start(&spec, &handles)
            .map_err(|error| explain(&error))?;
        // A cgroup is one step's.
        if place.runs_later() && cgroup.is_none() {
            // The next one most likely differs in its root and its program only, so all else is prepared while this one
            // works. Without it, it starts when it is needed.
            place.spare.set(prepared(session, &spec, &handles).ok());
        }
        drop(handles);
        let result = self.follow(place, step, output);
        let result = match supervisor.map(Supervisor::join) {
            Some(links) => result.and_then(|()| keep(root, &links)),
            None => result,
        };
        match &cgroup {
            Some((cgroup, _)) => result.map_err(|failure| limits::explain(failure, cgroup)),
            None => result,
        }
    }

    fn spec(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        run: &RunStep,
        account: &Account,
        mounts: Vec<MountSpec>,
    ) -> Result<SandboxSpec, StepFailure> {
        let argv = if run.script.is_some() {
            vec![SCRIPT.to_owned()]
        } else {
            run.argv.clone()
        };
        let settings = &run.settings;
        let capabilities = CapabilitySet::podman_default()
            .with(&settings.cap_add)
            .and_then(|set| set.without(&settings.cap_drop))
            .map_err(|error| StepFailure::of_build(&error))?;
        Ok(SandboxSpec {
            ids: session.ids.clone(),
            root: Handle(0),
            read_only_root: false,
            mounts,
            network: NetworkSpec::None,
            hostname: self.hostname(run).to_owned(),
            confinement: Confinement {
                capabilities,
                ambient: false,
                no_new_privileges: self.job.no_new_privileges,
                seccomp: true,
                mask_paths: true,
            },
            limits: Limits {
                shm_size: settings.shm_size,
                resources: settings.ulimits.clone(),
                cgroup: None,
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
                terminal: None,
                init: false,
            },
            supervisor: None,
            namespaces: None,
        })
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
            ("HOME".to_owned(), self.home_of(account)),
        ];
        let layers = [
            &home[..],
            &self.job.ambient_env,
            &run.args,
            &place.planned.step.env,
        ];
        for (name, value) in layers.into_iter().flatten() {
            set(&mut env, name, value);
        }
        env
    }

    fn home_of(&self, account: &Account) -> String {
        let home = account.home.as_deref().map(String::from_utf8_lossy);
        match home.filter(|home| !home.is_empty()) {
            Some(home) => home.into_owned(),
            None if self.job.disturbed => disturbed::HOME.to_owned(),
            None => "/".to_owned(),
        }
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
                    .get_or_init(|| start_network(session, program, &run.settings));
                started
                    .as_ref()
                    .map(StepNetwork::Shared)
                    .map_err(Clone::clone)
            }
        }
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

fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    match env.iter_mut().find(|(known, _)| known == name) {
        Some(known) => value.clone_into(&mut known.1),
        None => env.push((name.to_owned(), value.to_owned())),
    }
}

fn prepared(
    session: &SessionTools<'_>,
    spec: &SandboxSpec,
    handles: &[BorrowedFd<'_>],
) -> Result<IdleStep, StepError> {
    let mut idle = IdleStep::forked(session.forge)?;
    idle.prepare(spec, handles)?;
    idle.settle()?;
    Ok(idle)
}

/// Steps reach the machine only where the command line gave it a name.
fn start_network(
    session: &SessionTools<'_>,
    program: &std::path::Path,
    settings: &RunSettings,
) -> Result<SharedNetwork, StepFailure> {
    let place = session
        .work
        .directory("network")
        .map_err(|error| StepFailure::of_build(&error))?;
    let extra = match settings.names_the_host() {
        true => vec![MAP_HOST.to_owned(), sandbox::HOST_GATEWAY.to_owned()],
        false => Vec::new(),
    };
    SharedNetwork::start(program, &place.join("namespace"), &[], &extra).map_err(|error| {
        let too_old = error.to_string().contains(MAP_HOST);
        StepFailure::of_build(&error).hint(match too_old {
            true => "host-gateway needs a pasta that has this option, of autumn 2024 or later; `--network host` needs none",
            false => "`--network none` and `--network host` need no network program; `rbuild doctor` checks this one",
        })
    })
}

/// What a step has beside the stage's files. It lives as long as the step.
#[derive(Default)]
struct Ready<'s> {
    network: StepNetwork<'s>,
    files: Vec<(&'static str, OwnedFd)>,
    mounts: StepMounts,
    account: Option<Account>,
}

/// The network of one step.
#[derive(Default)]
pub(super) enum StepNetwork<'s> {
    #[default]
    None,
    Host,
    Shared(&'s SharedNetwork),
}

fn explain(error: &StepError) -> StepFailure {
    let failure = StepFailure::of_build(error);
    match error {
        StepError::Execute(cause) if cause.errno() == sandbox::Errno::ENOENT => failure.hint(
            "the program or, for a script or a dynamic program, its interpreter is not in the stage; \
             an exec form without a path is looked for in PATH",
        ),
        StepError::Execute(cause) if cause.errno() == sandbox::Errno::ENOEXEC => failure.hint(
            "the program is for another processor than the stage's platform, or a script without `#!`",
        ),
        _ => failure,
    }
}
