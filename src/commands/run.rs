//! `rbuild run`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use runner::service::Neighbour;
use runner::{CgroupPlace, Network, Publish, RunError, RunRequest, Secret, Stdin};
use sandbox::{Forward, SessionPlan, StepCgroups, Transport};

use super::{secrets, service};
use crate::args::UsernsMode;
use crate::args::build::NetworkArg;
use crate::args::limits::LimitSettings;
use crate::args::run::{ContainerNetwork, RunSettings, SecretFile, variable};
use crate::failure::{Failure, Kind};
use crate::host::{self, Execution, NetworkChoice};
use crate::ranges;
use crate::show;
use crate::signals::ForContainer;
use crate::surroundings::Surroundings;
use crate::terminal::Shown;

/// Runs a container and passes its exit code on; rbuild's own failures are 125, as with docker and podman.
pub(super) fn run(
    settings: RunSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    match settings.background.clone() {
        Some(background) => service::run(settings, &background, place, here),
        None => perform(settings, place, here),
    }
    .map_err(as_docker)
}

/// The same failure with the exit code that users of docker and podman know.
pub(super) fn as_docker(failure: Failure) -> Failure {
    match failure.code() {
        126 | 127 => failure,
        _ => failure.with_kind(Kind::Code(125)),
    }
}

fn perform(settings: RunSettings, place: &Path, here: &Surroundings) -> Result<ExitCode, Failure> {
    let limits = settings.limits.clone();
    let (mut request, neighbour) = request(settings, place, here)?;
    // Before there is a session, which would be in this process's cgroup too; it is held until the container has ended.
    let _cgroups = limited(&limits, &mut request, place, here)?;
    let starting = match &neighbour {
        Some(neighbour) => runner::start_beside(&request, place, neighbour),
        None => runner::start(&request, place),
    };
    let starting = starting.map_err(|error| explain(error, place, here))?;
    let plan = plan(place, here)?;
    ranges::check(place, &plan)?;
    let mut signals = ForContainer::catch()?;
    let notice = |text: String| show::note(&text);
    let shown = Shown::default();
    let terminal = |terminal| {
        if let Err(error) = shown.show(terminal) {
            show::note(&format!("the terminal cannot be shown: {error}"));
        }
    };
    let mut resized = shown.resized_by(&mut signals);
    let ended = starting.run(&plan, &mut resized, &notice, &terminal);
    shown.finish();
    match ended {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(125))),
        Err(error) => Err(explain(error, place, here)),
    }
}

/// The session's ids. That it gets the likely ones shows what the checks of the host look for; where there are none, they say what is
/// missing.
pub(super) fn plan(place: &Path, here: &Surroundings) -> Result<SessionPlan, Failure> {
    if here.userns_mode == UsernsMode::Auto
        && let Some(plan) = host::likely_plan(here)
    {
        return Ok(plan);
    }
    let found = host::ids(here, place)?;
    if let Some(caution) = found.caution() {
        show::note(&caution);
    }
    found.required()
}

/// What is asked for, with all that depends on the surroundings.
pub(super) fn request(
    settings: RunSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<(RunRequest, Option<Neighbour>), Failure> {
    let mut request = settings.request;
    request.program_dirs = here.program_dirs();
    let volumes = std::mem::take(&mut request.mounts.volumes);
    request.mounts.volumes = volumes
        .into_iter()
        .map(|volume| volume.based_on(&here.directory))
        .collect();
    request.stdin = match &settings.background {
        // Its terminal is another way in.
        _ if request.program.terminal => Stdin::Null,
        Some(background) if !background.open_stdin => Stdin::Null,
        Some(_) => Stdin::Caller { terminal: false },
        None => Stdin::Caller {
            terminal: here.stdin_is_terminal,
        },
    };
    let (network, neighbour) = network(&settings.network, &settings.publish, (place, here))?;
    request.network = network;
    let given = std::mem::take(&mut request.program.env);
    for file in &settings.env_files {
        request.program.env.extend(env_file(file, here)?);
    }
    request.program.env.extend(given);
    request.mounts.secrets = secrets(&settings.secrets, here)?;
    Ok((request, neighbour))
}

/// The network, and whose it is where that is another container's.
fn network(
    asked: &ContainerNetwork,
    publish: &[Publish],
    (place, here): (&Path, &Surroundings),
) -> Result<(Network, Option<Neighbour>), Failure> {
    let (mode, mtu) = match asked {
        ContainerNetwork::Of(name) => return neighbour(name, here),
        // Ports that lead nowhere are not what was asked for.
        ContainerNetwork::Mode {
            mode: NetworkArg::Default,
            mtu,
        } if !publish.is_empty() => (NetworkArg::Pasta, *mtu),
        ContainerNetwork::Mode { mode, mtu } => (*mode, *mtu),
    };
    let network = match host::network(mode, here, place)? {
        NetworkChoice::None(missing) => {
            missing.iter().for_each(|text| show::note(text));
            Network::None
        }
        NetworkChoice::Host => Network::Host,
        NetworkChoice::Pasta(program) => Network::Pasta {
            program,
            forwards: forwards(publish)?,
            mtu,
        },
    };
    Ok((network, None))
}

fn neighbour(name: &str, here: &Surroundings) -> Result<(Network, Option<Neighbour>), Failure> {
    let container = service::living(here)?
        .find(name)
        .map_err(service::failure)?;
    let connection = container.connect().map_err(service::failure)?;
    let neighbour = connection.neighbour().map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("use the network of {name}"));
        Failure::new(Kind::Code(125), error)
    })?;
    Ok(match neighbour {
        None => (Network::Host, None),
        Some(neighbour) => (neighbour.network.clone(), Some(neighbour)),
    })
}

/// One forward for each port. A port that is not named is found now, and told.
fn forwards(publish: &[Publish]) -> Result<Vec<Forward>, Failure> {
    let mut all = Vec::new();
    for one in publish {
        let forwards = one.forwards(free_port)?;
        if one.is_open() {
            for forward in &forwards {
                show::note(&format!(
                    "port {} of the container is port {} of this machine",
                    forward.inside, forward.outside
                ));
            }
        }
        all.extend(forwards);
    }
    Ok(all)
}

/// A port that nobody listens at. Somebody else may take it before pasta does, which then says so.
fn free_port(transport: Transport, address: Option<IpAddr>) -> Result<u16, Failure> {
    let at = SocketAddr::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), 0);
    let bound = match transport {
        Transport::Tcp => TcpListener::bind(at).and_then(|socket| socket.local_addr()),
        Transport::Udp => UdpSocket::bind(at).and_then(|socket| socket.local_addr()),
    };
    bound.map(|at| at.port()).map_err(|error| {
        let context = format!("find a free port at {}", at.ip());
        Failure::new(Kind::Host, anyhow::Error::new(error).context(context))
    })
}

/// The lines of docker's environment files: a variable each, as for `-e`, empty lines and those of `#` left out.
fn env_file(path: &Path, here: &Surroundings) -> Result<Vec<(String, String)>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let context = format!("--env-file: read {}", path.display());
        Failure::new(Kind::Usage, anyhow::Error::new(error).context(context))
    })?;
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let variables = lines.map(|line| variable(line, here));
    let variables: Result<Vec<_>, _> = variables.collect();
    Ok(variables?.into_iter().flatten().collect())
}

fn secrets(files: &[SecretFile], here: &Surroundings) -> Result<Vec<Secret>, Failure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    secrets::leave_no_core_file()?;
    let read = |file: &SecretFile| {
        let missing =
            || Failure::usage(format!("--secret id={}: the variable is not set", file.id));
        let content = secrets::value(&file.id, &file.source, here)?.ok_or_else(missing)?;
        let most = builder::Secret::MAX_SIZE;
        if content.len() > most {
            let (id, most) = (&file.id, most >> 10);
            return Err(Failure::usage(format!(
                "--secret id={id}: it is larger than {most} KiB"
            )));
        }
        Ok(Secret {
            target: file.target.clone(),
            content,
            mode: file.mode,
            owner: file.owner,
        })
    };
    files.iter().map(read).collect()
}

/// Makes the place of the container's cgroup, where it needs one. This process must have one thread.
pub(super) fn limited(
    limits: &LimitSettings,
    request: &mut RunRequest,
    place: &Path,
    here: &Surroundings,
) -> Result<Option<StepCgroups>, Failure> {
    if limits.run.is_default() {
        return Ok(None);
    }
    let (wanted, parent) = (&limits.run.limits, limits.run.parent.as_deref());
    let made = StepCgroups::prepare(wanted, parent)
        .map_err(|error| host::not_limited("the container", limits, error, here, place))?;
    request.limits.cgroup = Some(CgroupPlace {
        place: made.path(),
        limits: wanted.clone(),
    });
    Ok(Some(made))
}

pub(super) fn explain(error: RunError, place: &Path, here: &Surroundings) -> Failure {
    let code = u8::try_from(error.exit_code()).unwrap_or(125);
    // What the checks of the host find says more than what the kernel refused.
    if matches!(error, RunError::Session(_) | RunError::Container(_))
        && let Some(failure) = host::ids(here, place).and_then(Execution::required).err()
    {
        return failure;
    }
    match error {
        RunError::Store(error) => Failure::from(error),
        RunError::Session(error) => host::session_failure(error),
        RunError::ForeignPlatform { ref source, .. } => {
            let remedy = source.remedy();
            remedy
                .into_iter()
                .fold(Failure::new(Kind::Code(code), error), Failure::hint)
        }
        other => Failure::new(Kind::Code(code), other),
    }
}
