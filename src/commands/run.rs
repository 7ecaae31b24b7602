//! `rbuild run`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use image::Store;
use runner::{Network, RunControl, RunError, RunEvent, RunRequest, Stdin};

use crate::args::run::RunSettings;
use crate::failure::{Failure, Kind};
use crate::host::{self, NetworkChoice};
use crate::ranges;
use crate::show;
use crate::signals;
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
    // While this process has one thread. The session's namespaces and then its id maps are made beside all that follows.
    let session = runner::session(here.stdin_is_terminal).map_err(host::session_failure)?;
    let found = host::ids(here, place)?;
    let caution = found.caution();
    let plan = found.required()?;
    let session = session.begin(&plan).map_err(host::session_failure)?;
    let store = Store::open(place)?;
    ranges::check(place, &plan)?;
    if let Some(caution) = caution {
        show::note(&caution);
    }
    let request = request(settings, place, here)?;
    let control: Arc<Mutex<Option<RunControl>>> = Arc::default();
    let target = control.clone();
    signals::pass_on(move |signal| {
        if let Some(control) = &*target.lock().unwrap_or_else(PoisonError::into_inner) {
            control.signal(signal);
        }
    })?;
    let events = |event| match event {
        RunEvent::Started(started) => {
            control
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .replace(started);
        }
        RunEvent::Notice(text) => show::note(&text),
        _ => {}
    };
    match runner::run(&request, &store, session, &events) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(125))),
        Err(error) => Err(explain(error)),
    }
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

fn explain(error: RunError) -> Failure {
    let code = u8::try_from(error.exit_code()).unwrap_or(125);
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
