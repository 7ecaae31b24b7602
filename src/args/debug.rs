//! Commands about rbuild itself: completion scripts, manual pages, and the hidden `debug`. The invariant: as in
//! [`super::store`].

use std::path::PathBuf;

use clap::Subcommand;

const COMPLETIONS: &str = "\
Examples:
  rbuild completions bash > ~/.local/share/bash-completion/completions/rbuild";

/// Arguments of `rbuild completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `rbuild man`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory to write rbuild.1 and its siblings to
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Arguments of `rbuild debug`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DebugArgs {
    /// What to look at
    #[command(subcommand)]
    pub what: Debug,
}

/// The parts that can be looked at.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Debug {
    /// Print the syntax tree of a Containerfile as JSON
    Ast {
        /// The Containerfile; `-`: standard input
        file: PathBuf,
        /// Print BuildKit's S-expressions instead
        #[arg(long)]
        sexpr: bool,
    },
    /// Print a word expanded as ENV would
    Expand {
        /// The word
        #[arg(allow_hyphen_values = true)]
        word: String,
        /// A variable; repeatable
        #[arg(long = "env", value_name = "NAME=VALUE")]
        env: Vec<String>,
    },
}
