//! `push`, `copy` and `tags`. The invariant: which registry a password of the command line is for is decided here; where two could
//! be meant, nobody gets it.

use std::path::PathBuf;

use clap::ValueEnum;
use image::{Compression, Credentials, Format, Packing, ParseTransportError, Platform, Transport};

use super::registry::{RegistryArgs, RegistrySettings, basic};
use super::store;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// How what arrives differs from what leaves.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ShapeArgs {
    /// Write the manifest in these media types
    #[arg(short, long, value_enum)]
    format: Option<ManifestFormat>,
    /// Compress layers this way
    #[arg(
        long,
        visible_alias = "dest-compress-format",
        value_enum,
        value_name = "FORMAT"
    )]
    compression_format: Option<LayerFormat>,
    /// Compress layers as hard as this: 0 to 9 for gzip, 0 to 22 for zstd
    #[arg(long, visible_alias = "dest-compress-level", value_name = "LEVEL")]
    compression_level: Option<u8>,
    /// Write the digest of what arrived into this file
    #[arg(long, visible_alias = "digest-file", value_name = "FILE")]
    digestfile: Option<PathBuf>,
}

/// Whose media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestFormat {
    /// The OCI image specification's
    Oci,
    /// Docker's, version 2 schema 2
    #[value(alias = "v2s2")]
    Docker,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerFormat {
    /// What every client reads
    Gzip,
    /// Smaller and quicker
    Zstd,
}

const PUSH: &str = "\
Examples:
  rbuild push registry.example/app:1
  rbuild push app registry.example/app:1 --digestfile digest.txt
  rbuild push app oci-archive:app.tar
  rbuild push --compression-format zstd app registry.example/app:1
  rbuild push --sign-by cosign.key app registry.example/app:1";

/// Arguments of `rbuild push`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PUSH)]
pub(crate) struct PushArgs {
    /// An image or index of the store
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where to: a name in a registry, or what `rbuild copy` takes [default: IMAGE]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// Of an index, only the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Sign what arrives with this private key, as cosign does; COSIGN_PASSWORD opens one of cosign's
    #[arg(long, value_name = "KEY")]
    sign_by: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

const COPY: &str = "\
Places:
  docker://NAME            a registry
  oci:DIRECTORY[:NAME]     an OCI image layout; oci-archive:FILE[:NAME] is one in a tar
  docker-archive:FILE      what `docker save` writes
  dir:DIRECTORY            manifest and blobs as files
  store:NAME               the store of rbuild

Examples:
  rbuild copy docker://debian:12 docker://registry.example/debian:12
  rbuild copy --all docker://debian:12 oci:/srv/debian
  rbuild copy --referrers docker://registry.example/app:1 docker://mirror.example/app:1
  rbuild copy oci-archive:app.tar store:app";

/// Arguments of `rbuild copy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = COPY)]
pub(crate) struct CopyArgs {
    /// Where from, as TRANSPORT:PLACE
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to, as TRANSPORT:PLACE
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Of an index, the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Option<Platform>,
    /// Of an index, all images and the index itself
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Copy what refers to the image, too: bills of materials, provenance, signatures
    #[arg(long)]
    referrers: bool,
    /// Sign what arrives with this private key, as cosign does; COSIGN_PASSWORD opens one of cosign's
    #[arg(long, value_name = "KEY")]
    sign_by: Option<PathBuf>,
    /// Credentials for the registry that is read
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "creds")]
    src_creds: Option<String>,
    /// Credentials for the registry that is written
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "creds")]
    dest_creds: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A copy, validated.
#[derive(Clone, Debug)]
pub(crate) struct CopySettings {
    /// Where from.
    pub source: Transport,
    /// Where to.
    pub destination: Transport,
    /// Which image of an index; none is all of it.
    pub platform: Option<Platform>,
    /// Other media types.
    pub format: Option<Format>,
    /// Another compression.
    pub packing: Option<Packing>,
    /// Whether what refers to the image goes with it.
    pub referrers: bool,
    /// The key that signs it.
    pub sign_by: Option<PathBuf>,
    /// Where the digest is written.
    pub digestfile: Option<PathBuf>,
    /// Credentials of the command line for either end.
    pub creds: [Option<Credentials>; 2],
    /// How registries are spoken to.
    pub registry: RegistrySettings,
}

impl ShapeArgs {
    fn packing(&self) -> Result<Option<Packing>, Failure> {
        let compression = match self.compression_format {
            Some(LayerFormat::Zstd) => Compression::Zstd,
            Some(LayerFormat::Gzip) => Compression::Gzip,
            None if self.compression_level.is_some() => Compression::Gzip,
            None => return Ok(None),
        };
        Packing::new(compression, self.compression_level)
            .map(Some)
            .map_err(|error| Failure::usage(format!("--compression-level: {error}")))
    }

    fn format(&self) -> Option<Format> {
        self.format.map(|format| match format {
            ManifestFormat::Oci => Format::Oci,
            ManifestFormat::Docker => Format::Docker,
        })
    }
}

impl PushArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When a place is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<CopySettings, Failure> {
        let destination = destination(self.destination.as_deref().unwrap_or(&self.image))?;
        let registry = self.registry.settings(here)?;
        let creds = registry.creds.clone();
        if creds.is_some() && !matches!(destination, Transport::Registry(_)) {
            return Err(Failure::usage("--creds: no registry is pushed to"));
        }
        Ok(CopySettings {
            source: Transport::Store(self.image),
            destination,
            platform: self.platform,
            format: self.shape.format(),
            packing: self.shape.packing()?,
            referrers: false,
            sign_by: self.sign_by,
            digestfile: self.shape.digestfile,
            creds: [None, creds],
            registry,
        })
    }
}

/// A transport, or a name in a registry.
pub(super) fn destination(text: &str) -> Result<Transport, Failure> {
    match text.parse() {
        Err(ParseTransportError::Unknown(_)) => Ok(Transport::Registry(text.parse()?)),
        other => Ok(other?),
    }
}

impl CopyArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When a place is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<CopySettings, Failure> {
        let places: [Transport; 2] = [self.source.parse()?, self.destination.parse()?];
        let registry = self.registry.settings(here)?;
        let mut creds = [None, None];
        for (at, (flag, given)) in [("src", self.src_creds), ("dest", self.dest_creds)]
            .into_iter()
            .enumerate()
        {
            let Some(given) = given else { continue };
            if !matches!(places[at], Transport::Registry(_)) {
                return Err(Failure::usage(format!(
                    "--{flag}-creds: {} is no registry",
                    places[at]
                )));
            }
            creds[at] = Some(basic(&format!("--{flag}-creds"), &given)?);
        }
        if let Some(given) = &registry.creds {
            creds = of_either(&places, given)?;
        }
        let [source, destination] = places;
        Ok(CopySettings {
            source,
            destination,
            platform: match self.all {
                true => None,
                false => Some(self.platform.unwrap_or_else(Platform::host)),
            },
            format: self.shape.format(),
            packing: self.shape.packing()?,
            referrers: self.referrers,
            sign_by: self.sign_by,
            digestfile: self.shape.digestfile,
            creds,
            registry,
        })
    }
}

/// `--creds` are for the one registry that is named.
fn of_either(
    places: &[Transport; 2],
    given: &Credentials,
) -> Result<[Option<Credentials>; 2], Failure> {
    let host = |place: &Transport| match place {
        Transport::Registry(name) => Some(name.registry().to_owned()),
        _ => None,
    };
    match (host(&places[0]), host(&places[1])) {
        (None, None) => Err(Failure::usage("--creds: neither place is a registry")),
        (Some(one), Some(two)) if one != two => Err(Failure::usage(format!(
            "--creds: are they for {one} or for {two}?"
        ))
        .hint("--src-creds and --dest-creds say which")),
        (one, two) => Ok([one, two].map(|host| host.map(|_| given.clone()))),
    }
}

impl From<ParseTransportError> for Failure {
    fn from(error: ParseTransportError) -> Self {
        Self::usage(error.to_string())
    }
}

const VERIFY: &str = "\
Examples:
  rbuild verify --key cosign.pub registry.example/app:1
  rbuild verify --key cosign.pub --identity registry.example/app mirror.example/app:1
  rbuild verify --key cosign.pub oci:/srv/app:registry.example/app:1

The digest that was verified is printed; a tag may mean another image a moment later.";

/// Arguments of `rbuild verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = VERIFY)]
pub(crate) struct VerifyArgs {
    #[arg(
        value_name = "IMAGE",
        help = "A name in a registry, or oci:DIRECTORY[:NAME], oci-archive:FILE[:NAME]"
    )]
    image: String,
    /// The public key, in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The repository that the signature has to name [default: that of IMAGE]
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What is to be verified.
#[derive(Clone, Debug)]
pub(crate) struct VerifySettings {
    /// Where it is.
    pub image: Transport,
    /// The public key.
    pub key: PathBuf,
    /// What the signature has to call it.
    pub identity: Option<String>,
    /// How to speak to the registry.
    pub registry: RegistrySettings,
}

impl VerifyArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When the name is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<VerifySettings, Failure> {
        let identity = self.identity.map(|name| name.parse()).transpose()?;
        Ok(VerifySettings {
            image: destination(&self.image)?,
            key: self.key,
            identity: identity.as_ref().map(image::signature::identity_of),
            registry: self.registry.settings(here)?,
        })
    }
}

const TAGS: &str = "\
Examples:
  rbuild tags registry.example/app
  rbuild tags docker://debian --format json | jq -r '.Tags[]'";

/// Arguments of `rbuild tags`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = TAGS)]
pub(crate) struct TagsArgs {
    /// A repository of a registry; docker:// before it may be left out
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// How to write the list; json is what `skopeo list-tags` writes
    #[arg(long, value_enum, default_value = "text")]
    format: store::Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// A list of tags, validated.
#[derive(Clone, Debug)]
pub(crate) struct TagsSettings {
    /// Of which repository.
    pub name: image::Reference,
    /// How it is written.
    pub format: store::Format,
    /// How to speak to the registry.
    pub registry: RegistrySettings,
}

impl TagsArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// When the name is none, or an option makes no sense.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<TagsSettings, Failure> {
        let text = &self.repository;
        Ok(TagsSettings {
            name: text.strip_prefix("docker://").unwrap_or(text).parse()?,
            format: self.format,
            registry: self.registry.settings(here)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::parse;
    use crate::args::{Cli, Command};

    fn settings(line: &str) -> Result<CopySettings, Failure> {
        let here = Surroundings::of(&[("HOME", "/h")]);
        let Cli { command, .. } = parse(line).map_err(|error| Failure::usage(error.to_string()))?;
        match command {
            Command::Push(args) => args.settings(&here),
            Command::Copy(args) => args.settings(&here),
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn a_push_goes_where_the_name_says_or_anywhere() {
        let to = |line: &str| settings(line).unwrap().destination.to_string();
        assert_eq!(to("push q.io/app:1"), "docker://q.io/app:1");
        assert_eq!(
            to("push app localhost:5000/app"),
            "docker://localhost:5000/app:latest"
        );
        assert_eq!(to("push app docker://q.io/app:2"), "docker://q.io/app:2");
        assert_eq!(to("push app oci-archive:a.tar:v1"), "oci-archive:a.tar:v1");
        assert!(settings("push app containers-storage:app").is_err());
        assert!(settings("push app dir:x --creds a:b").is_err());
    }

    #[test]
    fn credentials_are_for_one_registry_or_for_the_end_that_is_named() {
        let creds = |line: &str| settings(line).map(|settings| settings.creds.map(|c| c.is_some()));
        assert_eq!(
            creds("copy docker://a.io/x dir:y --creds a:b").unwrap(),
            [true, false]
        );
        assert_eq!(
            creds("copy docker://a.io/x docker://a.io/y --creds a:b").unwrap(),
            [true, true]
        );
        assert_eq!(
            creds("copy docker://a.io/x docker://b.io/y --dest-creds a:b").unwrap(),
            [false, true]
        );
        for wrong in [
            "copy docker://a.io/x docker://b.io/y --creds a:b",
            "copy dir:x dir:y --creds a:b",
            "copy dir:x docker://b.io/y --src-creds a:b",
            "copy docker://a.io/x docker://b.io/y --creds a:b --dest-creds a:b",
        ] {
            assert!(settings(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shapes_are_podmans_and_skopeos() {
        let shape = |line: &str| {
            let settings = settings(line).unwrap();
            (
                settings.format,
                settings.packing.map(|packing| packing.compression()),
            )
        };
        assert_eq!(shape("push q.io/a -f v2s2"), (Some(Format::Docker), None));
        assert_eq!(
            shape("copy dir:a dir:b --dest-compress-format zstd --format oci"),
            (Some(Format::Oci), Some(Compression::Zstd))
        );
        assert!(settings("push q.io/a --compression-level 10").is_err());
        assert!(settings("copy dir:a dir:b").unwrap().platform.is_some());
        assert!(
            settings("copy --all dir:a dir:b")
                .unwrap()
                .platform
                .is_none()
        );
    }
}
