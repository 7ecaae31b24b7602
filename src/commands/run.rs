//! `rbuild run`.

use std::path::Path;
use std::process::ExitCode;

use runner::{Network, RunError, RunRequest, Stdin};

use sandbox::SessionPlan;

use crate::args::UsernsMode;
use crate::args::run::RunSettings;
use crate::failure::{Failure, Kind};
use crate::host::{self, Execution, NetworkChoice};
use crate::ranges;
use crate::show;
use crate::signals::ForContainer;
use crate::surroundings::Surroundings;

/// Runs a container and passes its exit code on; rbuild's own failures are 125, as with docker and podman.
pub(super) fn run(
    settings: RunSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    perform(settings, place, here).map_err(|failure| match failure.code() {
        126 | 127 => failure,
        _ => failure.with_kind(Kind::Code(125)),
    })
}

fn perform(settings: RunSettings, place: &Path, here: &Surroundings) -> Result<ExitCode, Failure> {
    let request = request(settings, place, here)?;
    let starting = runner::start(&request, place).map_err(|error| explain(error, place, here))?;
    let plan = plan(place, here)?;
    ranges::check(place, &plan)?;
    let mut signals = ForContainer::catch()?;
    let notice = |text: String| show::note(&text);
    match starting.run(&plan, &mut signals, &notice) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(125))),
        Err(error) => Err(explain(error, place, here)),
    }
}

/// The session's ids. That it gets the likely ones shows what the checks of the host look for; where there are none, they say what is
/// missing.
fn plan(place: &Path, here: &Surroundings) -> Result<SessionPlan, Failure> {
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
fn request(
    settings: RunSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<RunRequest, Failure> {
    let mut request = settings.request;
    request.program_dirs = here.program_dirs();
    let volumes = std::mem::take(&mut request.mounts.volumes);
    request.mounts.volumes = volumes
        .into_iter()
        .map(|volume| volume.based_on(&here.directory))
        .collect();
    request.stdin = Stdin::Caller {
        terminal: here.stdin_is_terminal,
    };
    request.network = match host::network(settings.network, here, place)? {
        NetworkChoice::None(missing) => {
            missing.iter().for_each(|text| show::note(text));
            Network::None
        }
        NetworkChoice::Host => Network::Host,
        NetworkChoice::Pasta(program) => Network::Pasta { program },
    };
    Ok(request)
}

fn explain(error: RunError, place: &Path, here: &Surroundings) -> Failure {
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
