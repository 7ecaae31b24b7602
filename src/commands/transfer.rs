//! `rbuild push`, `copy` and `tags`. The invariant: what is printed on standard output is the digest, or the tags; where the
//! transfer stands goes to standard error.

use std::path::Path;

use builder::Direction;
use image::registry::Remote;
use image::{Copy, CopyError, Credentials, Image, RegistryOptions, Signer, Store, Transport};
use serde::Serialize;

use super::keys;
use crate::args::registry::RegistrySettings;
use crate::args::store::Format;
use crate::args::transfer::{CopySettings, TagsSettings};
use crate::failure::{Failure, Kind};
use crate::show::{Display, Progress};
use crate::signals::Interrupts;
use crate::surroundings::Surroundings;
use crate::{credentials, stdout};

/// The store, and how it is told what happens.
pub(super) struct Bench {
    pub(super) store: Store,
    interrupts: Interrupts,
    display: Display,
}

impl Bench {
    pub(super) fn new(place: &Path, here: &Surroundings) -> Result<Self, Failure> {
        let store = Store::open(place)?;
        let stop = store.stop().clone();
        let progress = if here.live_terminal {
            Progress::Tty
        } else {
            Progress::Plain
        };
        Ok(Self {
            store,
            interrupts: Interrupts::listen(move || stop.ask())?,
            display: Display::new(progress, here.colour(), None),
        })
    }

    /// Does a copy, or a part of one.
    fn work<T>(
        &self,
        settings: &CopySettings,
        signer: Option<&Signer>,
        work: impl FnOnce(&Copy<'_>, &Transport, &Transport) -> Result<T, CopyError>,
    ) -> Result<T, Failure> {
        let [from, to] = [&settings.source, &settings.destination];
        let creds = &settings.creds;
        let places = [
            Place::of(&settings.registry, from, creds[0].as_ref(), &self.store)?,
            Place::of(&settings.registry, to, creds[1].as_ref(), &self.store)?,
        ];
        let ends = places.each_ref().map(|place| image::copy::End {
            credentials: &place.credentials,
            options: &place.options,
        });
        let event = |event| self.display.event(&event);
        let (label, direction) = shown(from, to);
        let copy = Copy {
            store: &self.store,
            source: ends[0],
            destination: ends[1],
            platform: settings.platform.as_ref(),
            format: settings.format,
            packing: settings.packing,
            referrers: settings.referrers,
            signer,
            observer: &builder::Indexing { store: &self.store },
            progress: &builder::transfers(&label, direction, &event),
        };
        let done = work(&copy, &places[0].transport, &places[1].transport);
        self.display.finish();
        done.map_err(|error| {
            self.interrupts
                .failure()
                .unwrap_or_else(|| failure(error, &format!("copy {from} to {to}")))
        })
    }

    /// Brings images into the store, without a name: that of a platform, or all.
    pub(super) fn images(
        &self,
        from: &Transport,
        platform: Option<&image::Platform>,
        registry: &RegistrySettings,
    ) -> Result<Vec<Image>, Failure> {
        let settings = CopySettings {
            source: from.clone(),
            destination: Transport::Store("the store".to_owned()),
            platform: platform.cloned(),
            format: None,
            packing: None,
            referrers: false,
            sign_by: None,
            digestfile: None,
            creds: [registry.creds.clone(), None],
            registry: registry.clone(),
        };
        self.work(&settings, None, |copy, from, _| {
            image::copy::import(copy, from)
        })
    }
}

/// Copies an image and prints its digest.
pub(super) fn copy(
    settings: &CopySettings,
    place: &Path,
    here: &Surroundings,
) -> Result<(), Failure> {
    let bench = Bench::new(place, here)?;
    let key = settings.sign_by.as_deref();
    let signer = key.map(|path| keys::signer(path, here)).transpose()?;
    let (descriptor, _) = bench.work(settings, signer.as_ref(), image::copy::copy)?;
    if let Some(path) = &settings.digestfile {
        std::fs::write(path, format!("{}\n", descriptor.digest)).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("write {}", path.display()));
            Failure::new(Kind::Failed, error)
        })?;
    }
    stdout::print(&format!("{}\n", descriptor.digest))
}

/// What blobs are shown to be of, and which way they go.
fn shown(from: &Transport, to: &Transport) -> (String, Direction) {
    match (from, to) {
        (_, Transport::Registry(name)) => (name.repository().to_owned(), Direction::Push),
        (Transport::Registry(name), _) => (name.repository().to_owned(), Direction::Fetch),
        _ => ("blob".to_owned(), Direction::Fetch),
    }
}

/// A place, and what is needed to speak to it where it is a registry.
struct Place {
    transport: Transport,
    credentials: Credentials,
    options: RegistryOptions,
}

impl Place {
    fn of(
        registry: &RegistrySettings,
        transport: &Transport,
        given: Option<&Credentials>,
        store: &Store,
    ) -> Result<Self, Failure> {
        let mut place = Self {
            transport: transport.clone(),
            credentials: Credentials::Anonymous,
            options: registry.options(),
        };
        if let Transport::Registry(name) = transport {
            let remote = At::find(registry, name, given)?;
            place.transport = Transport::Registry(remote.endpoint.reference);
            (place.credentials, place.options) = (remote.credentials, remote.options);
        }
        place.options.stop = store.stop().clone();
        Ok(place)
    }
}

/// Where a name really is, who asks there, and how.
pub(super) struct At {
    pub(super) endpoint: image::Endpoint,
    pub(super) credentials: Credentials,
    pub(super) options: RegistryOptions,
}

impl At {
    pub(super) fn find(
        registry: &RegistrySettings,
        name: &image::Reference,
        given: Option<&Credentials>,
    ) -> Result<Self, Failure> {
        let endpoint = registry.own_endpoint(name)?;
        let credentials = match given {
            Some(given) => given.clone(),
            None => of_name(registry, &endpoint.reference)?,
        };
        Ok(Self {
            options: registry.options().at(&endpoint),
            endpoint,
            credentials,
        })
    }

    pub(super) fn remote(&self) -> Remote {
        Remote::new(&self.endpoint.reference, &self.credentials, &self.options)
    }
}

/// Who asks for a name: whom the files name.
pub(super) fn of_name(
    registry: &RegistrySettings,
    name: &image::Reference,
) -> Result<Credentials, Failure> {
    credentials::find(&registry.auth, name)
        .map_err(|error| Failure::new(Kind::Registry, anyhow::Error::from_boxed(error)))
}

fn failure(error: CopyError, what: &str) -> Failure {
    match error {
        CopyError::Store(error) => Failure::from(error),
        CopyError::Name(error) => Failure::from(error),
        CopyError::Registry(error) => Failure::new(
            Kind::Registry,
            anyhow::Error::new(error).context(what.to_owned()),
        ),
        CopyError::Unfit { .. } => Failure::usage(error.to_string()),
        error => Failure::new(
            Kind::Failed,
            anyhow::Error::new(error).context(what.to_owned()),
        ),
    }
}

/// As `skopeo list-tags` writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    repository: String,
    tags: Vec<String>,
}

/// Lists the tags of a repository.
pub(super) fn tags(settings: &TagsSettings) -> Result<(), Failure> {
    let name = &settings.name;
    let remote = At::find(&settings.registry, name, settings.registry.creds.as_ref())?.remote();
    let tags = remote.tags().map_err(|error| {
        let repository = format!("{}/{}", name.registry(), name.repository());
        let error = anyhow::Error::new(error).context(format!("list the tags of {repository}"));
        Failure::new(Kind::Registry, error)
    })?;
    let tags: Vec<String> = tags.iter().map(|tag| tag.as_str().to_owned()).collect();
    match settings.format {
        Format::Text => stdout::print(
            &tags
                .iter()
                .map(|tag| format!("{tag}\n"))
                .collect::<String>(),
        ),
        Format::Json => stdout::print_json(&Tags {
            repository: format!("{}/{}", name.registry(), name.repository()),
            tags,
        }),
    }
}
