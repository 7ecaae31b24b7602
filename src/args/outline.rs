//! `rbuild outline`. The invariant: what it takes is complete as clap leaves it.

use std::path::PathBuf;

use super::store::Format;

const EXAMPLES: &str = "\
Examples:
  rbuild outline                                   targets, arguments, secrets and contexts of ./Containerfile
  rbuild outline -f Containerfile --target release
  rbuild outline --format json | jq -r '.targets[].name'";

/// Arguments of `rbuild outline`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OutlineArgs {
    /// The directory where the Containerfile is looked for
    #[arg(value_name = "CONTEXT", default_value = ".")]
    pub context: PathBuf,
    /// The Containerfile; `-`: standard input [default: CONTEXT/Containerfile, CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// List only what this stage needs
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}
