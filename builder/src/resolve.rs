//! Images by name. The invariant: a name is resolved once; what a build uses after that is a digest, and every layer of it is
//! verified in the store.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use image::layout::Layout;
use image::registry::{self, Pull, TransferEvent};
use image::{
    DiffId, Endpoint, Image, LayerObserver, LayerStream, Platform, Reference, Store, Unobserved,
};
use rootfs::LayerReader;
use rootfs::layer::{Dialect, Limits, ReadIndex, StoredIndex};
use rootfs::trees::save_index;

use crate::depot::{Depot, Lot};
use crate::endpointed::Endpointed;
use crate::error::BuildError;
use crate::event::{BuildEvent, Direction};
use crate::host::Host;
use crate::job::chain;
use crate::plan::{ImageSource, WantedImage};
use crate::request::PullPolicy;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Brings an image into the store, unless it is there.
pub(crate) fn resolve(
    host: &Host<'_>,
    wanted: &WantedImage,
    policy: PullPolicy,
    depot: Option<&Depot>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Image, BuildError> {
    let pull = |host: &Host<'_>, reference: &Reference, platform: &Platform, events: &_| match depot
    {
        Some(depot) => find(host, reference, platform, depot, events),
        None => pull(host, reference, platform, events),
    };
    let platform = &wanted.key.platform;
    let (result, registry) = match &wanted.key.source {
        ImageSource::Name(reference) => {
            let stored = stored(host.store, reference, platform);
            match (policy, stored) {
                (PullPolicy::Missing | PullPolicy::Never, Some(image)) => (Ok(image), false),
                (PullPolicy::Never, None) => {
                    let why =
                        "the store has none for this platform, and --pull=never asks no registry";
                    (Err(why.into()), false)
                }
                (PullPolicy::Newer, Some(image)) => {
                    let pulled = pull(host, reference, platform, events);
                    (
                        pulled.or_else(|error| keep(host, wanted, image, &*error, events)),
                        true,
                    )
                }
                (PullPolicy::Always | PullPolicy::Missing | PullPolicy::Newer, _) => {
                    (pull(host, reference, platform, events), true)
                }
            }
        }
        ImageSource::OciLayout { directory, version } => (
            import(host.store, directory, version.as_deref(), platform),
            false,
        ),
    };
    result.map_err(|source| BuildError::Image {
        name: wanted.name.clone(),
        registry,
        meant: None,
        source,
    })
}

/// The image of the store, with a word about why it is not newer; a build that was stopped goes no further.
fn keep(
    host: &Host<'_>,
    wanted: &WantedImage,
    image: Image,
    error: &(dyn std::error::Error + 'static),
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Image, Source> {
    host.store.stop().check()?;
    let message = format!(
        "the image {} of the store is used: {}",
        wanted.name,
        chain(error)
    );
    events(BuildEvent::Notice { message });
    Ok(image)
}

/// The image that a name has in the store, when it is for the platform and whole: a layer that was found damaged is fetched again.
fn stored(store: &Store, reference: &Reference, platform: &Platform) -> Option<Image> {
    let digest = store.lookup(reference).ok().flatten()?;
    let image = store.image_for(&digest, platform).ok()?;
    let of = image.config().platform();
    let fits = of.os == platform.os && of.architecture == platform.architecture;
    (fits && is_whole(store, &image)).then_some(image)
}

fn is_whole(store: &Store, image: &Image) -> bool {
    let mut layers = image.layers().iter();
    layers.all(|layer| store.contains(layer.diff_id.digest()))
}

fn import(
    store: &Store,
    directory: &Path,
    version: Option<&str>,
    platform: &Platform,
) -> Result<Image, Source> {
    let layout = Layout::open(directory)?;
    let image = layout.image(version, platform)?;
    // An image that the store has is not read again.
    if let Ok(known) = store.image(image.digest())
        && is_whole(store, &known)
    {
        return Ok(known);
    }
    let indexing = Indexing { store };
    Ok(layout.import(version, platform, store, &indexing)?)
}

/// Pulls an image and gives it its name in the store.
///
/// # Errors
/// When it cannot be had, or is not what was asked for.
pub fn pull(
    host: &Host<'_>,
    reference: &Reference,
    platform: &Platform,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Image, Source> {
    let _stops = host.stop_when_cancelled();
    let image = from_anywhere(host, reference, events, &|endpoint| {
        pull_from(host, endpoint, platform, events)
    })?;
    // Wherever it came from, it is called what it was asked for.
    host.store.tag_beside(reference, &image)?;
    Ok(image)
}

/// Finds an image without its layers, which are fetched when they are needed.
fn find(
    host: &Host<'_>,
    reference: &Reference,
    platform: &Platform,
    depot: &Depot,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Image, Source> {
    let image = from_anywhere(host, reference, events, &|endpoint| {
        let access = Endpointed::of(host, endpoint)?;
        let observer = Unobserved;
        let image = registry::resolve(&Pull {
            access: access.access(&|_| ()),
            platform,
            observer: &observer,
        })?;
        let source = Arc::new(access.remote());
        for layer in image.layers() {
            host.store.reuse(layer.diff_id.digest())?;
            depot.add(Lot {
                layer: layer.clone(),
                source: Arc::clone(&source) as _,
                place: None,
                packing: String::new(),
                cache: None,
            });
        }
        Ok(image)
    })?;
    depot.add_image(reference, &image);
    Ok(image)
}

/// Asks the mirrors of a name, and then the registry itself.
fn from_anywhere(
    host: &Host<'_>,
    reference: &Reference,
    events: &(dyn Fn(BuildEvent) + Sync),
    ask: &dyn Fn(&Endpoint) -> Result<Image, Source>,
) -> Result<Image, Source> {
    let endpoints = host.registries.registries.endpoints(reference)?;
    let (own, mirrors) = endpoints.split_last().ok_or("it is nowhere to be found")?;
    for mirror in mirrors {
        match ask(mirror) {
            Ok(image) => return Ok(image),
            Err(error) => {
                host.store.stop().check()?;
                let message = format!(
                    "the mirror {} is passed over: {}",
                    mirror.reference.registry(),
                    chain(&*error)
                );
                events(BuildEvent::Notice { message });
            }
        }
    }
    ask(own)
}

fn pull_from(
    host: &Host<'_>,
    endpoint: &Endpoint,
    platform: &Platform,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Image, Source> {
    let access = Endpointed::of(host, endpoint)?;
    let place = endpoint.reference.repository();
    let indexing = Indexing { store: host.store };
    let progress = transfers(place, Direction::Fetch, events);
    let pull = Pull {
        access: access.access(&progress),
        platform,
        observer: &indexing,
    };
    Ok(registry::pull(&pull, host.store)?)
}

/// Tells what happens to blobs on their way; `place` is what they are shown to be of.
pub fn transfers<'e>(
    place: &'e str,
    direction: Direction,
    events: &'e (dyn Fn(BuildEvent) + Sync),
) -> impl Fn(TransferEvent) + Sync + 'e {
    let sizes = std::sync::Mutex::new(std::collections::BTreeMap::new());
    move |event: TransferEvent| {
        let mut sizes = sizes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = |digest: &image::Digest| format!("{place} {}", &digest.hex()[..12]);
        match event {
            TransferEvent::LayerStarted { digest, size } => {
                sizes.insert(digest, size);
                events(BuildEvent::Transfer {
                    direction,
                    name: name(&digest),
                    done: 0,
                    total: Some(size),
                });
            }
            TransferEvent::LayerProgress { digest, bytes } => {
                events(BuildEvent::Transfer {
                    direction,
                    name: name(&digest),
                    done: bytes,
                    total: sizes.get(&digest).copied(),
                });
            }
            TransferEvent::LayerDone { digest } => {
                let total = sizes.get(&digest).copied();
                events(BuildEvent::Transfer {
                    direction,
                    name: name(&digest),
                    done: total.unwrap_or(0),
                    total,
                });
            }
            TransferEvent::Retrying {
                subject,
                reason,
                wait,
            } => {
                let message = format!(
                    "{subject}: {reason}; trying again in {:.1} s",
                    wait.as_secs_f32()
                );
                events(BuildEvent::Notice { message });
            }
            TransferEvent::Resolved { .. } | TransferEvent::LayerReused { .. } => {}
        }
    }
}

/// Makes the index of a layer in the pass that verifies it, in a thread that reads what the verifier writes.
pub struct Indexing<'s> {
    /// Where the layer and its index go.
    pub store: &'s Store,
}

struct Index {
    store: std::path::PathBuf,
    input: Option<io::PipeWriter>,
    reader: Option<std::thread::JoinHandle<Option<StoredIndex>>>,
}

impl LayerObserver for Indexing<'_> {
    fn begin(&self, diff_id: &DiffId) -> Box<dyn LayerStream> {
        let (output, input) = match io::pipe() {
            Ok(pipe) => pipe,
            // The index is made later, by reading the layer again.
            Err(_) => return Box::new(io::sink()),
        };
        let (diff_id, scratch) = (*diff_id, self.store.scratch());
        let read = move || {
            let input = io::BufReader::with_capacity(256 << 10, output);
            let mut layer = LayerReader::new(input, Dialect::Layer, Limits::default());
            let mut index = ReadIndex::new(&scratch);
            while let Some(record) = layer.next().ok()? {
                index.add(record, &layer).ok()?;
            }
            let size = layer.read_to_end().ok()?;
            index.finish(&layer, diff_id, size).ok()
        };
        let Ok(reader) = std::thread::Builder::new().spawn(read) else {
            return Box::new(io::sink());
        };
        Box::new(Index {
            store: self.store.path().to_owned(),
            input: Some(input),
            reader: Some(reader),
        })
    }
}

impl Write for Index {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A reader that gave up found no layer; that is reported by whoever needs the index.
        if self
            .input
            .as_mut()
            .is_some_and(|input| input.write_all(bytes).is_err())
        {
            self.input = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerStream for Index {
    fn verified(mut self: Box<Self>) -> io::Result<()> {
        drop(self.input.take());
        let index = self
            .reader
            .take()
            .and_then(|reader| reader.join().ok())
            .flatten();
        if let Some(index) = index {
            let store = Store::open(&self.store).map_err(io::Error::other)?;
            save_index(&store, &index).map_err(io::Error::other)?;
        }
        Ok(())
    }
}
