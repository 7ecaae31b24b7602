//! `rbuild closure`. The invariant: a source that is settled says where everything is; only there does `--root` mean two things.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// How the closure is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClosureFormat {
    /// For people.
    #[default]
    Text,
    /// For programs; fields are only ever added.
    Json,
    /// For graphviz: who needs what.
    Dot,
}

const EXAMPLES: &str = "\
Examples:
  rbuild closure /usr/bin/curl                          in this machine's own root
  rbuild closure /usr/bin/curl --root /srv/rootfs       in a directory: with --image or --oci-layout, --root is the store
  rbuild closure /app/server /app/worker --image app    in an image of the store, without unpacking it
  rbuild closure /bin/sh --oci-layout DIR --platform linux/arm64
  rbuild closure /usr/bin/curl --format json | jq -r '.[].files[].path'
  rbuild closure /usr/bin/curl --format dot | dot -Tsvg >curl.svg

Nothing of the root is executed. What a program opens by itself (dlopen) is only known where it says so in a note.
Exit code 0 when all programs can start, 1 when something is missing or wrong.";

/// Arguments of `rbuild closure`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ClosureArgs {
    /// Programs, scripts or libraries, as paths in the root
    #[arg(value_name = "PATH", required = true)]
    pub programs: Vec<PathBuf>,
    /// Look in an image of the store: a name, an id, or the beginning of an id
    #[arg(long, value_name = "IMAGE", conflicts_with = "oci_layout")]
    pub image: Option<String>,
    /// Look in the image of an OCI layout, whose layers are taken into the store
    #[arg(long, value_name = "DIR")]
    pub oci_layout: Option<PathBuf>,
    /// Of an index, the image for this platform; in a directory, what programs must be for
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<image::Platform>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: ClosureFormat,
}

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClosureSource {
    /// In a directory.
    Directory(PathBuf),
    /// In an image of a store.
    Image { store: PathBuf, name: String },
    /// In a layout, by way of a store.
    Layout { store: PathBuf, layout: PathBuf },
}

impl ClosureArgs {
    /// Settles where the programs are.
    ///
    /// # Errors
    /// When the store that is needed has no place.
    pub(crate) fn source(
        &self,
        root: Option<&Path>,
        here: &Surroundings,
    ) -> Result<ClosureSource, Failure> {
        Ok(match (&self.image, &self.oci_layout) {
            (Some(name), _) => ClosureSource::Image {
                store: here.store_path(root)?,
                name: name.clone(),
            },
            (None, Some(layout)) => ClosureSource::Layout {
                store: here.store_path(root)?,
                layout: layout.clone(),
            },
            (None, None) => ClosureSource::Directory(root.unwrap_or(Path::new("/")).to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Command;
    use super::super::tests::parse;
    use super::*;

    fn source(line: &str) -> ClosureSource {
        let cli = parse(line).expect("it is understood");
        let Command::Closure(args) = cli.command else {
            panic!("another command")
        };
        let here = Surroundings::of(&[("RBUILD_ROOT", "/store")]);
        args.source(cli.global.root.as_deref(), &here)
            .expect("a place")
    }

    #[test]
    fn root_is_the_tree_unless_an_image_is_named() {
        let directory = |path: &str| ClosureSource::Directory(path.into());
        assert_eq!(source("closure /bin/sh"), directory("/"));
        assert_eq!(source("closure /bin/sh --root /r"), directory("/r"));
        assert_eq!(source("--root /r closure /bin/sh"), directory("/r"));
        let image = |store: &str| ClosureSource::Image {
            store: store.into(),
            name: "app".to_owned(),
        };
        assert_eq!(source("closure /bin/sh --image app"), image("/store"));
        assert_eq!(source("closure /bin/sh --image app --root /s"), image("/s"));
        let layout = ClosureSource::Layout {
            store: "/store".into(),
            layout: "d".into(),
        };
        assert_eq!(source("closure /bin/sh --oci-layout d"), layout);
    }

    #[test]
    fn programs_are_required_and_one_source_is_enough() {
        assert!(parse("closure").is_err());
        assert!(parse("closure /a --image b --oci-layout c").is_err());
    }
}
