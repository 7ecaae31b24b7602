//! `rbuild test`. The invariant: everything that was found is one report, whatever it was found by, and what failed is the exit code.

mod containers;
mod drill;
mod formats;
mod readiness;
mod report;
mod structure;

use std::path::Path;
use std::process::ExitCode;

use super::opened::Opened;
use crate::args::test::TestArgs;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;
use containers::Containers;
use report::Report;

/// Tests an image.
pub(super) fn test(
    args: &TestArgs,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    // A file with mistakes is said before anything starts.
    let configs = structure::read(&args.config)?;
    let opened = Opened::open(place, args.image(), args.platform.as_ref())?;
    let containers = Containers::new(args, place, here);
    let mut report = Report::new(args.image(), opened.image.digest().to_string());
    for config in &configs {
        report
            .checks
            .extend(structure::checks(config, &opened, &containers)?);
    }
    if args.readiness || args.config.is_empty() {
        readiness::report(args, &opened, &containers, here, &mut report)?;
    }
    if args.drill {
        report.checks.extend(drill::checks(&containers)?);
    }
    formats::write(&report, args.format)?;
    Ok(match report.failed() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(Kind::Failed.code()),
    })
}
