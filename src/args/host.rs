//! `doctor` and `unshare`: commands about this machine. The invariant: as in [`super::store`].

use std::ffi::OsString;

use super::store::Format;

const DOCTOR: &str = "\
Examples:
  rbuild doctor                    what works here, what does not, and the commands that mend it
  rbuild doctor --format json

Exit code 0 when nothing failed, 1 otherwise.";

/// Arguments of `rbuild doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = DOCTOR)]
pub(crate) struct DoctorArgs {
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

const UNSHARE: &str = "\
Examples:
  rbuild unshare                              a shell that sees the store's files with their owners
  rbuild unshare --rootless-netns ip address  the network that containers have
  rbuild unshare chown -R 65533:65533 data    65533 here is image user 65532: ids are shifted by one

Inside, id 0 is you, and id k+1 is image id k.";

/// Arguments of `rbuild unshare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = UNSHARE)]
pub(crate) struct UnshareArgs {
    /// Run it in a network as containers have it, which pasta connects
    #[arg(long)]
    pub rootless_netns: bool,
    /// The command and its arguments [default: $SHELL]
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}
