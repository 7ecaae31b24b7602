//! `rbuild volume`. The invariant: nothing of a volume is removed that was not named, or confirmed with `--force`.

use std::path::Path;
use std::time::UNIX_EPOCH;

use runner::Name;
use runner::volume::{FoundVolume, Volumes, VolumesError};
use serde::Serialize;

use super::run;
use crate::args::store::Format;
use crate::args::volume::{VolumeAction, VolumeArgs};
use crate::failure::{Failure, Kind};
use crate::stdout::{print, print_json, table};
use crate::surroundings::Surroundings;
use crate::{ranges, show};

/// A volume as programs see it: Podman's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    name: String,
    driver: &'static str,
    mountpoint: String,
    created_at: String,
    in_use: bool,
}

impl Listed {
    fn of(volume: &FoundVolume) -> Self {
        let since = volume.created.duration_since(UNIX_EPOCH);
        let seconds = i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or_default();
        Self {
            name: volume.name.to_string(),
            driver: "local",
            mountpoint: volume.data.display().to_string(),
            created_at: builder::rfc3339(seconds),
            in_use: volume.used,
        }
    }
}

/// Does what is asked for.
pub(super) fn volume(args: &VolumeArgs, place: &Path, here: &Surroundings) -> Result<(), Failure> {
    // The store is made, or refused, as for every other command.
    let store = image::Store::open(place)?;
    let volumes = Volumes::of(store.path());
    match &args.action {
        VolumeAction::Create { name, ignore } => match volumes.create(name) {
            Err(VolumesError::Exists(_)) if *ignore => print(&format!("{name}\n")),
            other => other
                .map_err(failure)
                .and_then(|()| print(&format!("{name}\n"))),
        },
        VolumeAction::Ls { quiet, format } => list(&volumes, *quiet, *format),
        VolumeAction::Inspect { names } => {
            let found = names.iter().map(|name| volumes.find(name));
            let found: Vec<_> = found.collect::<Result<_, _>>().map_err(failure)?;
            print_json(&found.iter().map(Listed::of).collect::<Vec<_>>())
        }
        VolumeAction::Rm { names } => remove(&volumes, names, store.path(), here),
        VolumeAction::Prune { force } => {
            let mut unused = volumes.list().map_err(failure)?;
            unused.retain(|volume| !volume.used);
            let names: Vec<Name> = unused.into_iter().map(|volume| volume.name).collect();
            if *force || names.is_empty() {
                return remove(&volumes, &names, store.path(), here);
            }
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            let what = format!("remove the volumes {} without --force", names.join(", "));
            Err(Failure::usage(what))
        }
    }
}

fn list(volumes: &Volumes, quiet: bool, format: Format) -> Result<(), Failure> {
    let all = volumes.list().map_err(failure)?;
    let all: Vec<Listed> = all.iter().map(Listed::of).collect();
    match (quiet, format) {
        (true, _) => print(
            &all.iter()
                .map(|one| format!("{}\n", one.name))
                .collect::<String>(),
        ),
        (false, Format::Json) => print_json(&all),
        (false, Format::Text) => {
            let head = ["DRIVER", "VOLUME NAME"].map(str::to_owned).to_vec();
            let rows = all.iter();
            let rows = rows.map(|one| vec![one.driver.to_owned(), one.name.clone()]);
            print(&table(
                &std::iter::once(head).chain(rows).collect::<Vec<_>>(),
            ))
        }
    }
}

/// Each is tried; the first failure is the command's.
fn remove(
    volumes: &Volumes,
    names: &[Name],
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let plan = run::plan(place, here)?;
    ranges::check(place, &plan)?;
    let mut first = None;
    for name in names {
        match volumes.remove(name, &plan) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) if first.is_none() => first = Some(failure(error)),
            Err(error) => show::note(&failure(error).to_string()),
        }
    }
    first.map_or(Ok(()), Err)
}

/// With Podman's exit codes: 2 for one in use, 1 for one that is not there.
fn failure(error: VolumesError) -> Failure {
    let kind = match error {
        VolumesError::InUse(_) => Kind::Code(2),
        VolumesError::Unknown(_) | VolumesError::Exists(_) => Kind::Failed,
        VolumesError::Session(error) => return crate::host::session_failure(error),
        _ => Kind::Host,
    };
    Failure::new(kind, error)
}
