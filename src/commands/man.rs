//! `rbuild man`, for packagers: one page for rbuild and one for each command.

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::args::debug::ManArgs;
use crate::failure::{Failure, Kind};

/// Writes the manual pages.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(&args.directory).and_then(|()| {
        clap_mangen::generate_to(
            Cli::command().disable_help_subcommand(true),
            &args.directory,
        )
    });
    written.map_err(|error| {
        let what = format!("write manual pages to {}", args.directory.display());
        Failure::new(Kind::Failed, anyhow::Error::new(error).context(what))
    })
}
