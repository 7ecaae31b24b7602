//! `manifest create`, `add`, `push` and `inspect`. The invariant: an image is one of the store unless a transport stands before it.

use std::collections::BTreeMap;

use image::{ParseTransportError, Platform, Reference, Transport};

use super::registry::{RegistryArgs, RegistrySettings};
use super::transfer::{CopySettings, PushArgs};
use crate::failure::Failure;
use crate::surroundings::Surroundings;

const MANIFEST: &str = "\
Examples:
  rbuild manifest create app:1 app:1-amd64 docker://registry.example/app:1-arm64
  rbuild manifest add app:1 oci-archive:riscv64.tar
  rbuild manifest push app:1 registry.example/app:1";

/// Arguments of `rbuild manifest`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = MANIFEST)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ManifestCommand {
    /// Make an index in the store, of images that may be anywhere
    Create(CreateArgs),
    /// Put an image into an index of the store, in place of one for the same platform
    Add(AddArgs),
    /// Send an index with its images
    Push(Box<PushArgs>),
    /// Print an index, or a manifest, as it is
    Inspect(InspectArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct CreateArgs {
    /// The name of the index
    #[arg(value_name = "LIST")]
    list: String,
    /// Images of the store, or TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Add to an index of that name, if there is one
    #[arg(short, long)]
    amend: bool,
    /// Annotate the index; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct AddArgs {
    /// The name of the index
    #[arg(value_name = "LIST")]
    list: String,
    /// An image of the store, or TRANSPORT:PLACE
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Of an index, add all images
    #[arg(long, conflicts_with_all = ["arch", "os", "variant"])]
    all: bool,
    /// List it for this processor, whatever it says itself
    #[arg(long)]
    arch: Option<String>,
    /// List it for this system, whatever it says itself
    #[arg(long)]
    os: Option<String>,
    /// List it for this variant of the processor
    #[arg(long)]
    variant: Option<String>,
    /// Annotate its entry in the index; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct InspectArgs {
    /// An index or image of the store, or docker://NAME
    #[arg(value_name = "LIST")]
    list: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What is to be done, validated.
#[derive(Clone, Debug)]
pub(crate) enum ManifestSettings {
    /// Make an index.
    Create {
        /// Its name.
        list: Reference,
        /// Whether one that is there is kept.
        amend: bool,
        /// Of the index.
        annotations: BTreeMap<String, String>,
        /// Its images.
        images: Vec<Transport>,
        /// How to speak to registries.
        registry: RegistrySettings,
    },
    /// Add an image.
    Add {
        /// The name of the index.
        list: Reference,
        /// The image.
        image: Transport,
        /// How it is listed.
        listing: Listing,
        /// How to speak to registries.
        registry: RegistrySettings,
    },
    /// Send it.
    Push(Box<CopySettings>),
    /// Print it.
    Inspect {
        /// What.
        list: Transport,
        /// How to speak to registries.
        registry: RegistrySettings,
    },
}

/// How an image is listed in an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// All images of an index.
    pub all: bool,
    /// In place of what the image says.
    pub arch: Option<String>,
    /// In place of what the image says.
    pub os: Option<String>,
    /// In place of what the image says.
    pub variant: Option<String>,
    /// Of its entry.
    pub annotations: BTreeMap<String, String>,
}

impl Listing {
    /// The platform to list an image for.
    pub(crate) fn platform(&self, own: &Platform) -> Platform {
        let mut platform = own.clone();
        if let Some(arch) = &self.arch {
            platform.architecture.clone_from(arch);
            platform.variant = None;
        }
        if let Some(os) = &self.os {
            platform.os.clone_from(os);
        }
        if self.variant.is_some() {
            platform.variant.clone_from(&self.variant);
        }
        platform
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// An image of the store, unless a transport stands before it.
fn place(text: String) -> Result<Transport, Failure> {
    match text.parse() {
        Err(ParseTransportError::Unknown(_)) => Ok(Transport::Store(text)),
        other => Ok(other?),
    }
}

impl ManifestArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When a name or place is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<Box<ManifestSettings>, Failure> {
        Ok(Box::new(match self.command {
            ManifestCommand::Create(args) => ManifestSettings::Create {
                list: args.list.parse()?,
                amend: args.amend,
                annotations: args.annotation.into_iter().collect(),
                images: args
                    .images
                    .into_iter()
                    .map(place)
                    .collect::<Result<_, _>>()?,
                registry: args.registry.settings(here)?,
            },
            ManifestCommand::Add(args) => ManifestSettings::Add {
                list: args.list.parse()?,
                image: place(args.image)?,
                listing: Listing {
                    all: args.all,
                    arch: args.arch,
                    os: args.os,
                    variant: args.variant,
                    annotations: args.annotation.into_iter().collect(),
                },
                registry: args.registry.settings(here)?,
            },
            ManifestCommand::Push(args) => ManifestSettings::Push(Box::new(args.settings(here)?)),
            ManifestCommand::Inspect(args) => ManifestSettings::Inspect {
                list: place(args.list)?,
                registry: args.registry.settings(here)?,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_says_more_than_the_image() {
        let own: Platform = "linux/arm/v7".parse().unwrap();
        let listing = |arch: Option<&str>, variant: Option<&str>| {
            let listing = Listing {
                arch: arch.map(Into::into),
                variant: variant.map(Into::into),
                ..Listing::default()
            };
            listing.platform(&own).to_string()
        };
        assert_eq!(listing(None, None), "linux/arm/v7");
        assert_eq!(listing(Some("amd64"), None), "linux/amd64");
        assert_eq!(listing(Some("arm64"), Some("v8")), "linux/arm64/v8");
        assert!(
            place("debian:12".into())
                .is_ok_and(|place| place == Transport::Store("debian:12".into()))
        );
        assert!(place("containers-storage:x".into()).is_err());
    }
}
