//! `rbuild completions`.

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::args::debug::CompletionsArgs;
use crate::failure::Failure;
use crate::stdout;

/// Prints a completion script.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rbuild", &mut script);
    stdout::print(&String::from_utf8_lossy(&script))
}
