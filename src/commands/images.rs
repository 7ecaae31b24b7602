//! `rbuild images`.

use std::path::Path;

use image::{Image, Store};
use serde::Serialize;

use crate::args::store::{Format, ImagesArgs};
use crate::failure::Failure;
use crate::stdout::{human_size, print, print_json, table};

/// An image as programs see it.
#[derive(Serialize)]
struct Listed {
    /// The configuration's digest.
    id: String,
    /// The manifest's digest.
    digest: String,
    names: Vec<String>,
    /// The sum of the layers as the manifest gives them; nothing for a damaged image.
    size: Option<u64>,
    created: Option<String>,
    user: Option<String>,
}

/// Lists the images.
pub(super) fn images(args: &ImagesArgs, place: &Path) -> Result<(), Failure> {
    let store = Store::open(place)?;
    let listed = store.images()?.into_iter().map(|stored| {
        let image = store.image(&stored.digest).ok();
        let of = |field: fn(&Image) -> Option<String>| image.as_ref().and_then(field);
        Listed {
            id: stored.id.to_string(),
            digest: stored.digest.to_string(),
            names: stored
                .names
                .iter()
                .map(image::Reference::to_string)
                .collect(),
            size: image.as_ref().map(Image::layers_size),
            created: of(|image| image.config().created.clone()),
            user: of(|image| Some(image.config().config.user.clone())),
        }
    });
    let mut listed: Vec<Listed> = listed.collect();
    listed.sort_by(|a, b| {
        (a.names.is_empty(), &a.names, &a.digest).cmp(&(b.names.is_empty(), &b.names, &b.digest))
    });
    match args.format {
        Format::Json => print_json(&listed),
        Format::Text => print(&text(&listed)),
    }
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
        for name in names {
            rows.push(vec![
                name,
                image
                    .id
                    .trim_start_matches("sha256:")
                    .chars()
                    .take(12)
                    .collect(),
                image.size.map_or("damaged".to_owned(), human_size),
                crate::show::escape(match image.user.as_deref() {
                    Some("") | None => "root",
                    Some(user) => user,
                }),
                crate::show::escape(image.created.as_deref().unwrap_or("-")),
            ]);
        }
    }
    table(&rows)
}

fn familiar(names: &[String]) -> Vec<String> {
    let short = |name: &String| {
        name.parse::<image::Reference>()
            .map_or_else(|_| name.clone(), |name| name.familiar())
    };
    names.iter().map(short).collect()
}
