//! `rbuild run -d`: the container's supervisor, and what all commands about such containers share. The invariant: the caller ends when
//! the program runs or cannot, and has then been told all there is to tell.

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use runner::service::{
    Container, Containers, ContainersError, Record, Service, ServiceStreams, State,
};
use runner::{Name, Network, RunRequest};
use sandbox::{Detached, Forward, Transport};
use serde::{Deserialize, Serialize};

use super::run;
use crate::args::run::{Background, RunSettings};
use crate::failure::{Failure, Kind};
use crate::signals::ForContainer;
use crate::surroundings::{Surroundings, new_id, now};
use crate::{ranges, show, stdout};

/// From the supervisor to its caller.
#[derive(Serialize, Deserialize)]
enum Report {
    Notice(String),
    /// Nothing follows.
    Started {
        id: String,
    },
    /// Nothing follows.
    Failed {
        code: u8,
        text: String,
    },
}

/// Starts a container in the background and prints its id.
pub(super) fn run(
    settings: RunSettings,
    background: &Background,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    let containers = containers(here)?;
    if let Some(name) = background.name.as_ref().filter(|_| background.replace)
        && let Ok(other) = containers.find(name.as_str())
        && other.record.name == *name
    {
        end(&other)?;
    }
    let detached = sandbox::detach().map_err(|error| broken("go to the background", error))?;
    match detached {
        Detached::Caller(supervisor) => hear(&supervisor),
        Detached::Own(caller) => {
            if let Err(failure) = supervise(settings, background, (place, here), &caller) {
                let (code, text) = (run::as_docker(failure), String::new());
                let (code, text) = (code.code(), text + &code.text());
                // A caller that is gone has seen nothing and need not.
                let _ = tell(&caller, &Report::Failed { code, text });
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn broken(what: &str, error: io::Error) -> Failure {
    Failure::new(
        Kind::Host,
        anyhow::Error::new(error).context(what.to_owned()),
    )
}

fn tell(caller: &UnixStream, report: &Report) -> io::Result<()> {
    sandbox::send_message(caller, report, &[])
}

fn hear(supervisor: &UnixStream) -> Result<ExitCode, Failure> {
    loop {
        let report = sandbox::receive_message(supervisor);
        let report = report.map_err(|error| broken("hear from the supervisor", error))?;
        match report.map(|(report, _)| report) {
            Some(Report::Notice(text)) => show::note(&text),
            Some(Report::Started { id }) => {
                stdout::print(&format!("{id}\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Report::Failed { code, text }) => {
                show::eprint(&text);
                return Err(Failure::silent(code));
            }
            None => {
                return Err(Failure::host("the container's supervisor was killed"));
            }
        }
    }
}

/// The whole life of the supervisor.
fn supervise(
    settings: RunSettings,
    background: &Background,
    (place, here): (&Path, &Surroundings),
    caller: &UnixStream,
) -> Result<(), Failure> {
    let limits = settings.limits.clone();
    let (mut request, neighbour) = run::request(settings, place, here)?;
    let plan = run::plan(place, here)?;
    ranges::check(place, &plan)?;
    let _cgroups = run::limited(&limits, &mut request, place, here)?;
    let record = record(&request, background, place)?;
    let id = record.id.clone();
    let home = containers(here)?.claim(&record).map_err(failure)?;
    // Nothing is left of it in the caller's directory.
    rustix::process::chdir("/").map_err(|errno| broken("leave the directory", errno.into()))?;
    let streams = ServiceStreams::take(background.open_stdin)
        .map_err(|error| broken("make the container's streams", error))?;
    let explain = |error| run::explain(error, place, here);
    let starting = runner::service::start_service(&request, place, neighbour.as_ref());
    let starting = starting.map_err(explain)?;
    // It may hold secrets.
    drop((request, neighbour));
    let mut signals = ForContainer::catch()?;
    let service = Service {
        home,
        record,
        streams,
        signals: &mut signals,
        clock: &now,
        notice: &|text| drop(tell(caller, &Report::Notice(text))),
        started: &|| {
            let _ = tell(caller, &Report::Started { id: id.clone() });
            // Who waits for the end of this stream must not wait for that of the container.
            let _ = caller.shutdown(std::net::Shutdown::Both);
        },
    };
    starting.serve(&plan, service).map_err(explain)
}

fn record(request: &RunRequest, background: &Background, place: &Path) -> Result<Record, Failure> {
    let id = new_id().map_err(|error| broken("make an id", error))?;
    let name = match &background.name {
        Some(name) => name.clone(),
        None => default_name(&request.image, &id),
    };
    let since = now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let created = since.unwrap_or_default().as_secs();
    Ok(Record {
        id,
        name,
        image: request.image.clone(),
        command: Vec::new(),
        created,
        started: created,
        state: State::Created,
        restarts: 0,
        exit_code: None,
        ports: match &request.network {
            Network::Pasta { forwards, .. } => forwards.iter().map(port).collect(),
            _ => Vec::new(),
        },
        restart: background.restart,
        supervisor: std::process::id(),
        store: place.to_owned(),
    })
}

/// As Podman writes it.
fn port(forward: &Forward) -> String {
    let address = match forward.address {
        Some(address @ IpAddr::V6(_)) => format!("[{address}]"),
        Some(address) => address.to_string(),
        None => "0.0.0.0".to_owned(),
    };
    let transport = match forward.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let (outside, inside) = (forward.outside, forward.inside);
    format!("{address}:{outside}->{inside}/{transport}")
}

/// The last part of the image's name, and the beginning of the id.
fn default_name(image: &str, id: &str) -> Name {
    let last = image.rsplit('/').next().unwrap_or_default();
    let last = last.split(['@', ':']).next().unwrap_or_default();
    let short = &id[..6];
    format!("{last}-{short}")
        .parse()
        .or_else(|_| format!("container-{short}").parse())
        .expect("hexadecimal digits are a name")
}

/// The user's containers in the background.
pub(super) fn containers(here: &Surroundings) -> Result<Containers, Failure> {
    Containers::open(&here.containers_dir()).map_err(failure)
}

/// The same, when what is left of those whose supervisor was killed is removed.
pub(super) fn living(here: &Surroundings) -> Result<Containers, Failure> {
    let containers = containers(here)?;
    clean(&containers, here)?;
    Ok(containers)
}

/// Removes what is left of those whose supervisor was killed.
pub(super) fn clean(containers: &Containers, here: &Surroundings) -> Result<(), Failure> {
    for record in containers.sweep().map_err(failure)? {
        show::note(&format!(
            "the supervisor of the container {} was killed; what was left of it is removed",
            record.name
        ));
        // What it wrote belongs to ids of its own. What stays is removed by the next run.
        if let Ok(plan) = run::plan(&record.store, here) {
            let _ = runner::sweep(&record.store, &plan);
        }
    }
    Ok(())
}

/// Has a container end and waits for it.
fn end(container: &Container) -> Result<(), Failure> {
    if !container.lives {
        return Ok(());
    }
    let connection = container.connect().map_err(failure)?;
    match connection.stop(None) {
        // It ended, or was killed, meanwhile.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(lost(container, error)),
    }
}

/// A supervisor that does not answer.
pub(super) fn lost(container: &Container, error: io::Error) -> Failure {
    let what = format!(
        "hear from the supervisor of the container {}",
        container.record.name
    );
    Failure::new(Kind::Code(125), anyhow::Error::new(error).context(what))
}

/// With Podman's exit code.
pub(super) fn failure(error: ContainersError) -> Failure {
    let unknown = matches!(error, ContainersError::Unknown(_));
    let in_use = matches!(error, ContainersError::InUse { .. });
    let failure = Failure::new(Kind::Code(125), error);
    if unknown {
        failure.hint("`rbuild ps` lists containers that `rbuild run -d` started; nothing is kept of one that ended")
    } else if in_use {
        failure.hint("--replace ends it first")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_a_name_is_called_after_its_image() {
        let id = "0123456789abcdef";
        for (image, name) in [
            ("localhost/team/web:1.2", "web-012345"),
            ("web@sha256:00", "web-012345"),
            ("_x", "container-012345"),
        ] {
            assert_eq!(default_name(image, id).as_str(), name);
        }
    }
}
