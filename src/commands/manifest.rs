//! `rbuild manifest`. The invariant: an index of the store lists images that the store has; a changed one is another index, which
//! takes over the name.

use std::path::Path;

use image::manifest::Descriptor;
use image::{Digest, Image, Index, Platform, Reference, Store, Transport};

use super::transfer::{self, At, Bench};
use crate::args::manifest::{Listing, ManifestSettings};
use crate::args::registry::RegistrySettings;
use crate::failure::{Failure, Kind};
use crate::stdout;
use crate::surroundings::Surroundings;

/// Does one of the subcommands.
pub(super) fn manifest(
    settings: ManifestSettings,
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    match settings {
        ManifestSettings::Push(settings) => transfer::copy(&settings, place, here),
        ManifestSettings::Inspect { list, registry } => inspect(&list, &registry, place),
        ManifestSettings::Create {
            list,
            amend,
            annotations,
            images,
            registry,
        } => {
            let bench = Bench::new(place, here)?;
            let mut index = match old_index(&bench.store, &list)? {
                Some((index, _)) if amend => index,
                Some(_) => {
                    return Err(Failure::failed(format!(
                        "create {}: there is one already",
                        list.familiar()
                    ))
                    .hint("--amend adds to it, `rbuild rmi` removes it"));
                }
                None => Index::new(Vec::new()),
            };
            index.annotations.extend(annotations);
            for image in &images {
                add(&bench, &mut index, image, &Listing::default(), &registry)?;
            }
            publish(&bench.store, &list, &index)
        }
        ManifestSettings::Add {
            list,
            image,
            listing,
            registry,
        } => {
            let bench = Bench::new(place, here)?;
            let Some((mut index, _)) = old_index(&bench.store, &list)? else {
                return Err(Failure::failed(format!(
                    "find the index {} in the store",
                    list.familiar()
                ))
                .hint(format!("rbuild manifest create {}", list.familiar())));
            };
            add(&bench, &mut index, &image, &listing, &registry)?;
            publish(&bench.store, &list, &index)
        }
    }
}

/// The index that a name has; an image with that name is none.
fn old_index(store: &Store, list: &Reference) -> Result<Option<(Index, Digest)>, Failure> {
    let Some(digest) = store.lookup(list)? else {
        return Ok(None);
    };
    match store.index(&digest)? {
        Some(index) => Ok(Some((index, digest))),
        None => Err(Failure::failed(format!(
            "use {} as an index: it is the name of an image",
            list.familiar()
        ))),
    }
}

fn add(
    bench: &Bench,
    index: &mut Index,
    from: &Transport,
    listing: &Listing,
    registry: &RegistrySettings,
) -> Result<(), Failure> {
    let host = Platform::host();
    let platform = (!listing.all).then_some(&host);
    for image in bench.images(from, platform, registry)? {
        let entry = entry(&image, listing);
        index
            .manifests
            .retain(|old| old.digest != entry.digest && old.platform != entry.platform);
        index.manifests.push(entry);
    }
    Ok(())
}

fn entry(image: &Image, listing: &Listing) -> Descriptor {
    Descriptor {
        platform: Some(listing.platform(&image.config().platform())),
        annotations: listing.annotations.clone(),
        ..image.entry()
    }
}

/// Gives the name to the new index; the old one goes, its images stay.
fn publish(store: &Store, list: &Reference, index: &Index) -> Result<(), Failure> {
    let old = old_index(store, list)?;
    let digest = store.add_index(index, std::slice::from_ref(list))?;
    if let Some((_, old)) = old
        && old != digest
        && !store.names()?.iter().any(|(_, target)| *target == old)
    {
        store.remove_image(&old)?;
    }
    stdout::print(&format!("{digest}\n"))
}

/// The document, byte for byte.
fn inspect(list: &Transport, registry: &RegistrySettings, place: &Path) -> Result<(), Failure> {
    let bytes = match list {
        Transport::Store(name) => {
            let store = Store::open(place)?;
            let digest = store.resolve(name)?;
            match store.index(&digest)? {
                Some(index) => index.to_bytes(),
                None => store.image(&digest)?.manifest_bytes().to_vec(),
            }
        }
        Transport::Registry(name) => {
            let remote = At::find(registry, name, registry.creds.as_ref())?.remote();
            let document = remote.document(None).map_err(|error| {
                let error = anyhow::Error::new(error).context(format!("inspect {list}"));
                Failure::new(Kind::Registry, error)
            })?;
            document.0
        }
        other => {
            return Err(Failure::usage(format!(
                "inspect {other}: expected an image of the store or docker://NAME"
            )));
        }
    };
    stdout::print(&String::from_utf8_lossy(&bytes))
}
