//! `rbuild inspect docker://NAME`. The invariant: documents are fetched and nothing else; nothing is stored.

use image::manifest::Document;
use image::{Image, Platform};

use super::inspect::{Found, show_image, show_index};
use super::transfer::At;
use crate::args::store::{InspectArgs, RemoteImage};
use crate::failure::{Failure, Kind};
use crate::stdout;

/// Shows what a registry has under a name.
pub(super) fn inspect(args: &InspectArgs, wanted: &RemoteImage) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| {
        Failure::new(
            Kind::Registry,
            error.context(format!("inspect docker://{}", wanted.name)),
        )
    };
    let creds = wanted.registry.creds.as_ref();
    let remote = At::find(&wanted.registry, &wanted.name, creds)?.remote();
    let (mut bytes, mut descriptor) = remote
        .document(None)
        .map_err(|error| failed(error.into()))?;
    let names = vec![wanted.name.to_string()];
    let of_one = args.config || args.platform.is_some();
    loop {
        let document = Document::parse(&bytes, None).map_err(|error| failed(error.into()))?;
        let manifest = match document {
            Document::Index(index) if of_one => {
                let platform = args.platform.clone().unwrap_or_else(Platform::host);
                let entry = index.select(&platform).ok_or_else(|| {
                    let offered = index.platforms().join(", ");
                    failed(anyhow::anyhow!(
                        "it has no image for {platform}, but for {offered}"
                    ))
                })?;
                (bytes, descriptor) = remote
                    .document(Some(entry))
                    .map_err(|error| failed(error.into()))?;
                continue;
            }
            _ if args.raw => return stdout::print(&String::from_utf8_lossy(&bytes)),
            Document::Index(index) => {
                let found = Found {
                    digest: descriptor.digest,
                    names,
                };
                return show_index(args.format, &found, &index);
            }
            Document::Manifest(manifest) => manifest,
        };
        let config = remote
            .small_blob(&manifest.config)
            .map_err(|error| failed(error.into()))?;
        if args.config {
            return stdout::print(&String::from_utf8_lossy(&config));
        }
        let image = Image::from_parts(bytes, config).map_err(|error| failed(error.into()))?;
        let found = Found {
            digest: *image.digest(),
            names,
        };
        return show_image(args.format, &found, &image);
    }
}
