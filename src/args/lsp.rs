//! `rbuild lsp`. The invariant: what it takes is complete as clap leaves it.

use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rbuild lsp                             what an editor starts; it talks over standard input and output

docs/editors.md says how to set up Neovim, Helix, VS Code and others.";

/// Arguments of `rbuild lsp`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LspArgs {
    /// Talk over standard input and output, as it does anyway: some editors say so
    #[arg(long)]
    pub stdio: bool,
    /// Do not have ShellCheck examine the scripts of RUN, where it is installed
    #[arg(long)]
    pub no_shellcheck: bool,
    /// Take this configuration instead of the nearest .rbuild.toml above each file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
