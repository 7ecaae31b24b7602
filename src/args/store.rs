//! `images`, `inspect`, `rmi`, `prune` and `system`: commands about the store. The invariant: what they take is complete as clap leaves
//! it, so arguments and settings are one type here; but `inspect` can look into a registry too, which takes a conversion.

use clap::ValueEnum;

use super::registry::{RegistryArgs, RegistrySettings};
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// How data is written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; fields are only ever added.
    Json,
}

const IMAGES: &str = "\
Examples:
  rbuild images
  rbuild images --format json | jq -r '.[].id'";

/// Arguments of `rbuild images`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = IMAGES)]
pub(crate) struct ImagesArgs {
    /// How to write the list
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

const INSPECT: &str = "\
Examples:
  rbuild inspect hello                       configuration, layers and sizes
  rbuild inspect hello --files               one line per file: mode, owner, size, digest, path
  rbuild inspect hello --format json
  rbuild inspect docker://debian:12          what a registry has, without fetching layers
  rbuild inspect docker://debian:12 --raw    its manifest or index, byte for byte
  rbuild inspect docker://q.io/app --referrers   what is attached to it";

/// Arguments of `rbuild inspect`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = INSPECT)]
pub(crate) struct InspectArgs {
    /// A name, an id, or the beginning of an id; docker://NAME is what a registry has
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Of an index, the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// List the files of the image
    #[arg(long, conflicts_with = "format")]
    pub files: bool,
    /// Of a registry's image, write the manifest or index as it is
    #[arg(long, conflicts_with_all = ["format", "files"])]
    pub raw: bool,
    /// Of a registry's image, write the configuration as it is
    #[arg(long, conflicts_with_all = ["format", "files", "raw"])]
    pub config: bool,
    /// List what refers to the image: bills of materials, provenance, signatures
    #[arg(long, conflicts_with_all = ["files", "raw", "config"])]
    pub referrers: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A registry's image that is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct RemoteImage {
    /// Its name.
    pub name: image::Reference,
    /// How to speak to the registry.
    pub registry: RegistrySettings,
}

impl InspectArgs {
    /// The image of a registry, where one is meant.
    ///
    /// # Errors
    /// When its name is none, or an option makes no sense for it, or for an image of the store.
    pub(crate) fn remote(&self, here: &Surroundings) -> Result<Option<RemoteImage>, Failure> {
        let Some(name) = self.image.strip_prefix("docker://") else {
            if self.raw || self.config || self.registry != RegistryArgs::none() {
                return Err(Failure::usage(
                    "--raw, --config and options of registries are for docker://NAME",
                ));
            }
            return Ok(None);
        };
        if self.files {
            return Err(
                Failure::usage("--files: listing the files of an image needs its layers")
                    .hint("rbuild pull it first"),
            );
        }
        Ok(Some(RemoteImage {
            name: name.parse()?,
            registry: self.registry.clone().settings(here)?,
        }))
    }
}

const RMI: &str = "\
Examples:
  rbuild rmi hello:old            remove a name; the image goes with its last one
  rbuild rmi 3fa2c1d09b7e         remove an image and all of its names
  rbuild prune                    then delete the data that nothing uses any more";

/// Arguments of `rbuild rmi`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = RMI)]
pub(crate) struct RmiArgs {
    /// Names, ids, or beginnings of ids
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

const PRUNE: &str = "\
Examples:
  rbuild prune             delete layers that no image and no running build uses, and results of steps that were made anew
  rbuild prune --all       delete the step cache, cache mounts, unpacked layers and images without a name as well";

/// Arguments of `rbuild prune`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PRUNE)]
pub(crate) struct PruneArgs {
    /// Also delete the step cache, cache mounts, unpacked layers, and images without a name
    #[arg(short, long)]
    pub all: bool,
}

const SYSTEM: &str = "\
Examples:
  rbuild system check      say what is damaged in the store";

/// Arguments of `rbuild system`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SYSTEM)]
pub(crate) struct SystemArgs {
    /// What to do
    #[command(subcommand)]
    pub command: SystemCommand,
}

/// The commands about the whole store.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum SystemCommand {
    /// Compare everything in the store with its digest or its layer, and say what is damaged
    Check(CheckArgs),
}

const CHECK: &str = "\
Examples:
  rbuild system check                 read the whole store; exit code 1 if something in it is damaged
  rbuild system check --repair        and remove it, so that the next build or pull makes or fetches it again
  rbuild system check --format json | jq -r '.damaged[].path'";

/// Arguments of `rbuild system check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = CHECK)]
pub(crate) struct CheckArgs {
    /// Remove what is damaged, where it can be fetched or made again
    #[arg(long)]
    pub repair: bool,
    /// How to write what was found
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}
