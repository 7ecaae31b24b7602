//! `rbuild volume`. The invariant: names, flags and columns are Podman's.

use runner::Name;

use super::store::Format;

const VOLUME: &str = "\
Examples:
  rbuild run -v data:/var/lib/app app     makes the volume, with what the image has there
  rbuild volume ls
  rbuild volume rm data";

/// Arguments of `rbuild volume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = VOLUME, arg_required_else_help = true)]
pub(crate) struct VolumeArgs {
    /// What is to be done
    #[command(subcommand)]
    pub action: VolumeAction,
}

/// What can be done with volumes.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum VolumeAction {
    /// Make a volume
    Create {
        /// Its name
        name: Name,
        /// Leave it as it is where there is one already
        #[arg(long)]
        ignore: bool,
    },
    /// List the volumes of the store
    Ls {
        /// Print names only
        #[arg(short, long)]
        quiet: bool,
        /// How to write them
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Describe volumes, as JSON
    Inspect {
        /// Their names
        #[arg(required = true)]
        names: Vec<Name>,
    },
    /// Remove volumes and all that is in them
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<Name>,
    },
    /// Remove every volume that no container uses
    Prune {
        /// Yes, remove them; else they are only named
        #[arg(short, long)]
        force: bool,
    },
}
