//! `rbuild inspect`.

use std::fmt::Write as _;
use std::path::Path;

use image::{DiffId, Digest, Image, Index, Store};
use rootfs::listing::{Detail, Listing};
use serde::Serialize;

use crate::args::store::{Format, InspectArgs};
use crate::failure::{Failure, Kind};
use crate::show::escape;
use crate::stdout::{human_size, print, print_json};

/// An image as programs see it.
#[derive(Serialize)]
struct Inspected<'a> {
    id: String,
    digest: String,
    names: Vec<String>,
    size: u64,
    config: &'a image::ImageConfig,
    manifest: &'a image::Manifest,
}

/// Shows one image.
pub(super) fn inspect(args: &InspectArgs, place: &Path) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let mut digest = store.resolve(&args.image)?;
    if let Some(index) = store.index(&digest)? {
        match &args.platform {
            None if args.files => {
                let offered = index.platforms().join(", ");
                return Err(Failure::usage(format!(
                    "{} is an index; --platform chooses one of {offered}",
                    args.image
                )));
            }
            None => return show_index(args.format, &Found::in_store(&store, digest)?, &index),
            Some(platform) => digest = *store.image_for(&digest, platform)?.digest(),
        }
    }
    let image = store.image(&digest)?;
    if args.files {
        return print(&files(&store, &image)?);
    }
    show_image(args.format, &Found::in_store(&store, digest)?, &image)
}

/// What is shown beside the documents.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) names: Vec<String>,
}

impl Found {
    fn in_store(store: &Store, digest: Digest) -> Result<Self, Failure> {
        let names = store.names()?.into_iter();
        let own = names.filter(|(_, target)| *target == digest);
        Ok(Self {
            digest,
            names: own.map(|(name, _)| name.to_string()).collect(),
        })
    }
}

/// Shows an image's documents.
pub(super) fn show_image(format: Format, found: &Found, image: &Image) -> Result<(), Failure> {
    let inspected = Inspected {
        id: image.id().to_string(),
        digest: found.digest.to_string(),
        names: found.names.clone(),
        size: image.layers_size(),
        config: image.config(),
        manifest: image.manifest(),
    };
    match format {
        Format::Json => print_json(&inspected),
        Format::Text => print(&text(&inspected, image)),
    }
}

/// An index as programs see it.
#[derive(Serialize)]
struct InspectedIndex<'a> {
    id: String,
    digest: String,
    names: Vec<String>,
    index: &'a Index,
}

/// Shows an index.
pub(super) fn show_index(format: Format, found: &Found, index: &Index) -> Result<(), Failure> {
    let digest = &found.digest;
    let inspected = InspectedIndex {
        id: digest.to_string(),
        digest: digest.to_string(),
        names: found.names.clone(),
        index,
    };
    if format == Format::Json {
        return print_json(&inspected);
    }
    let mut out = format!("{:<12}{digest}\n", "index");
    for name in &inspected.names {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<12}{name}", "name");
    }
    for entry in &index.manifests {
        let platform = entry
            .platform
            .as_ref()
            .map_or("-".to_owned(), ToString::to_string);
        let _ = writeln!(out, "{:<12}{} {}", "image", entry.digest, escape(&platform));
    }
    print(&out)
}

fn text(inspected: &Inspected<'_>, image: &Image) -> String {
    let config = &image.config().config;
    let list =
        |words: Option<&Vec<String>>| words.map_or("-".to_owned(), |words| format!("{words:?}"));
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            escape(text)
        }
    };
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12}{value}");
    };
    line("id", inspected.id.clone());
    line("digest", inspected.digest.clone());
    for name in &inspected.names {
        line("name", name.clone());
    }
    line("platform", escape(&image.config().platform().to_string()));
    line(
        "created",
        or_dash(image.config().created.as_deref().unwrap_or_default()),
    );
    line(
        "user",
        if config.user.is_empty() {
            "root (none is set)".to_owned()
        } else {
            escape(&config.user)
        },
    );
    line("entrypoint", list(config.entrypoint.as_ref()));
    line("cmd", list(config.cmd.as_ref()));
    line("workdir", or_dash(&config.working_dir));
    for variable in &config.env {
        line("env", escape(variable));
    }
    for (name, value) in &config.labels {
        line("label", format!("{}={}", escape(name), escape(value)));
    }
    line("size", human_size(inspected.size));
    for layer in image.layers() {
        line(
            "layer",
            format!("{} {}", layer.diff_id, human_size(layer.descriptor.size)),
        );
    }
    out
}

/// The files of all layers together, as a container sees them.
fn files(store: &Store, image: &Image) -> Result<String, Failure> {
    let failed = |error: anyhow::Error| Failure::new(Kind::Failed, error);
    let diff_ids: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let view =
        rootfs::trees::readable_view_of(store, &diff_ids).map_err(|error| failed(error.into()))?;
    Listing::of(&view, Detail::Contents)
        .map(|listing| listing.to_string())
        .map_err(|error| failed(error.into()))
}
