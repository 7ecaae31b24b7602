//! `rbuild images`.

use std::collections::BTreeSet;
use std::path::Path;

use image::store::{StoredImage, StoredIndex};
use image::{Image, Reference, Store};
use serde::Serialize;

use crate::args::store::{Format, ImagesArgs};
use crate::failure::Failure;
use crate::stdout::{human_size, print, print_json, table};

/// An image or index as programs see it.
#[derive(Serialize)]
struct Listed {
    /// The configuration's digest; of an index its own.
    id: String,
    /// The manifest's digest.
    digest: String,
    names: Vec<String>,
    /// The sum of the layers as the manifest gives them; nothing for a damaged image.
    size: Option<u64>,
    created: Option<String>,
    user: Option<String>,
    /// What the image is for.
    platform: Option<String>,
    /// The images of an index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Listed>,
}

impl Listed {
    fn image(store: &Store, stored: &StoredImage) -> Self {
        let image = store.image(&stored.digest).ok();
        let of = |field: fn(&Image) -> Option<String>| image.as_ref().and_then(field);
        Self {
            id: stored.id.to_string(),
            digest: stored.digest.to_string(),
            names: stored.names.iter().map(Reference::to_string).collect(),
            size: image.as_ref().map(Image::layers_size),
            created: of(|image| image.config().created.clone()),
            user: of(|image| Some(image.config().config.user.clone())),
            platform: of(|image| Some(image.config().platform().to_string())),
            images: Vec::new(),
        }
    }

    fn index(store: &Store, stored: &StoredIndex, images: &[StoredImage]) -> Self {
        let entries = match store.index(&stored.digest) {
            Ok(Some(index)) => index.manifests,
            _ => Vec::new(),
        };
        let members: Vec<Self> = entries
            .iter()
            .filter_map(|entry| images.iter().find(|image| image.digest == entry.digest))
            .map(|image| Self::image(store, image))
            .collect();
        Self {
            id: stored.digest.to_string(),
            digest: stored.digest.to_string(),
            names: stored.names.iter().map(Reference::to_string).collect(),
            size: members.iter().map(|member| member.size).sum(),
            created: members.first().and_then(|first| first.created.clone()),
            user: members.first().and_then(|first| first.user.clone()),
            platform: None,
            images: members,
        }
    }
}

/// Lists the images. Those of an index are listed with it, and by themselves only if they have a name.
pub(super) fn images(args: &ImagesArgs, place: &Path) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let (images, indexed) = (store.images()?, store.indexed()?);
    let mut listed = list(&store, &images, &indexed)?;
    listed.sort_by(|a, b| {
        (a.names.is_empty(), &a.names, &a.digest).cmp(&(b.names.is_empty(), &b.names, &b.digest))
    });
    match args.format {
        Format::Json => print_json(&listed),
        Format::Text => print(&text(&listed)),
    }
}

fn list(
    store: &Store,
    images: &[StoredImage],
    indexed: &BTreeSet<image::Digest>,
) -> Result<Vec<Listed>, Failure> {
    let indexes = store.indexes()?;
    let single = images
        .iter()
        .filter(|image| !image.names.is_empty() || !indexed.contains(&image.digest))
        .map(|stored| Listed::image(store, stored));
    let several = indexes
        .iter()
        .map(|stored| Listed::index(store, stored, images));
    Ok(single.chain(several).collect())
}

fn text(listed: &[Listed]) -> String {
    let mut rows = vec![
        ["NAME", "ID", "SIZE", "USER", "CREATED"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for image in listed {
        let names = if image.names.is_empty() {
            vec!["<none>".to_owned()]
        } else {
            familiar(&image.names)
        };
        rows.extend(names.into_iter().map(|name| row(name, image)));
        rows.extend(image.images.iter().map(|member| {
            let platform = member.platform.as_deref().unwrap_or("damaged");
            row(format!("  {}", crate::show::escape(platform)), member)
        }));
    }
    table(&rows)
}

fn row(name: String, image: &Listed) -> Vec<String> {
    let id = image.id.trim_start_matches("sha256:");
    vec![
        name,
        id.chars().take(12).collect(),
        image.size.map_or("damaged".to_owned(), human_size),
        crate::show::escape(match image.user.as_deref() {
            Some("") | None => "root",
            Some(user) => user,
        }),
        crate::show::escape(image.created.as_deref().unwrap_or("-")),
    ]
}

fn familiar(names: &[String]) -> Vec<String> {
    let short = |name: &String| {
        name.parse::<Reference>()
            .map_or_else(|_| name.clone(), |name| name.familiar())
    };
    names.iter().map(short).collect()
}
