//! Flags of `run` about containers that go on in the background, and about terminals.

use runner::Name;
use runner::service::RestartPolicy;

/// Where it runs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Background")]
pub(super) struct BackgroundArgs {
    /// Go on in the background, and print the container's id when its program runs; nothing of it is kept when it ends
    #[arg(short, long)]
    detach: bool,
    /// Name it [default: the image's name and a few digits]
    #[arg(long, value_name = "NAME", requires = "detach")]
    name: Option<Name>,
    /// End and remove a container of the same name first
    #[arg(long, requires = "name")]
    replace: bool,
    #[arg(
        long,
        help = "Start it again when it ends: no, on-failure[:TIMES], always or unless-stopped",
        value_name = "POLICY",
        default_value_t,
        hide_default_value = true,
        requires = "detach"
    )]
    restart: RestartPolicy,
    /// Keep standard input open in the background, for `attach`; in the foreground it is so anyhow
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
}

/// A container that goes on in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Background {
    /// `--name`.
    pub name: Option<Name>,
    /// `--replace`.
    pub replace: bool,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--interactive`.
    pub open_stdin: bool,
}

impl BackgroundArgs {
    pub(super) fn settings(self) -> Option<Background> {
        self.detach.then_some(Background {
            name: self.name,
            replace: self.replace,
            restart: self.restart,
            open_stdin: self.interactive,
        })
    }
}
