//! Layers that are known and not in the store yet: those of shared caches, and of base images where there are such caches. The
//! invariant: a layer is fetched when somebody needs its bytes, from the first place that has the right ones; a cache that
//! has not what it promised is remembered as broken, and whoever needed it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::{
    BlobError, BlobSource, DiffId, Digest, Hasher, Image, Layer, LayerElsewhere, Packing,
    Reference, Store, take_layer,
};

use crate::event::{BuildEvent, Direction};
use crate::job::chain;
use crate::resolve::Indexing;

/// How many layers are fetched at the same time, as by a pull.
const PARALLEL: usize = 3;

/// A place that has a layer.
#[derive(Clone)]
pub(crate) struct Lot {
    pub(crate) layer: Layer,
    pub(crate) source: Arc<dyn BlobSource + Send + Sync>,
    /// The repository that it is in.
    pub(crate) place: Option<Reference>,
    /// How rbuild packed it; empty where that is not known.
    pub(crate) packing: String,
    /// The cache that it is of, by its number; none for a base image.
    pub(crate) cache: Option<usize>,
}

/// Layers by where they are.
#[derive(Default)]
pub(crate) struct Depot(Mutex<Content>);

#[derive(Default)]
struct Content {
    lots: BTreeMap<DiffId, Vec<Lot>>,
    /// What is wrong with a cache.
    broken: BTreeMap<usize, String>,
    /// Blobs of caches on their way to somewhere else: whether they were not what they should be.
    passing: Vec<(usize, Arc<AtomicBool>)>,
    /// Images without their layers, by the name that was asked for.
    images: Vec<(Reference, Image)>,
}

impl Depot {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place of a layer known.
    pub(crate) fn add(&self, lot: Lot) {
        let mut content = self.lock();
        let lots = content.lots.entry(lot.layer.diff_id).or_default();
        lots.push(lot);
        // Only what caches have can be passed on as it is.
        lots.sort_by_key(|lot| lot.cache.is_none());
    }

    /// Remembers an image whose layers are known here.
    pub(crate) fn add_image(&self, name: &Reference, image: &Image) {
        self.lock().images.push((name.clone(), image.clone()));
    }

    /// Gives the images their names in the store whose layers were all fetched.
    pub(crate) fn name_images(&self, store: &Store) -> Result<(), image::StoreError> {
        for (name, image) in &self.lock().images {
            let mut layers = image.layers().iter();
            if layers.all(|layer| store.contains(layer.diff_id.digest())) {
                store.add_image(image, &[])?;
                store.tag_beside(name, image)?;
            }
        }
        Ok(())
    }

    /// Takes a cache's layers out, and says what is wrong with it.
    pub(crate) fn take_broken(&self) -> Vec<(usize, String)> {
        let mut content = self.lock();
        let passing = std::mem::take(&mut content.passing);
        for (cache, wrong) in passing {
            if wrong.load(Ordering::Relaxed) {
                let why = "a layer of it cannot be read, or is not what it should be".to_owned();
                content.broken.entry(cache).or_insert(why);
            }
        }
        let broken = std::mem::take(&mut content.broken);
        for lots in content.lots.values_mut() {
            lots.retain(|lot| lot.cache.is_none_or(|cache| !broken.contains_key(&cache)));
        }
        broken.into_iter().collect()
    }

    /// Where a layer is packed as `packing` would pack it.
    pub(crate) fn packed(&self, diff_id: &DiffId, packing: Packing) -> Option<LayerElsewhere> {
        let mut content = self.lock();
        let form = packing.form();
        let lots = content.lots.get(diff_id)?;
        let lot = lots.iter().find(|lot| lot.packing == form)?.clone();
        let cache = lot.cache?;
        let size = lot.layer.descriptor.size;
        let wrong = Arc::new(AtomicBool::new(false));
        content.passing.push((cache, Arc::clone(&wrong)));
        Some(LayerElsewhere {
            descriptor: lot.layer.descriptor,
            source: Arc::new(Watched {
                source: lot.source,
                size,
                wrong,
            }),
            place: lot.place,
        })
    }

    /// Brings those of the layers into the store that are not there. What no place has is left to whoever opens it.
    pub(crate) fn fetch(
        &self,
        store: &Store,
        layers: &[DiffId],
        events: &(dyn Fn(BuildEvent) + Sync),
    ) -> Result<(), Unavailable> {
        let mut missing: BTreeSet<DiffId> = BTreeSet::new();
        missing.extend(layers.iter().filter(|id| !store.contains(id.digest())));
        let count = missing.len();
        let queue = Mutex::new(missing.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let failed = AtomicBool::new(false);
        let work = || {
            while let Some(layer) = next().filter(|_| !failed.load(Ordering::Relaxed)) {
                self.fetch_one(store, &layer, events)
                    .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let more = (1..PARALLEL.min(count)).filter_map(|_| {
                // Without a thread more, the others do its work.
                std::thread::Builder::new().spawn_scoped(scope, work).ok()
            });
            let more: Vec<_> = more.collect();
            let own = work();
            let joined = more.into_iter().map(|thread| thread.join());
            let results = joined
                .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            results.fold(own, |first, other| first.and(other))
        })
    }

    fn fetch_one(
        &self,
        store: &Store,
        diff_id: &DiffId,
        events: &(dyn Fn(BuildEvent) + Sync),
    ) -> Result<(), Unavailable> {
        let lots = self.lock().lots.get(diff_id).cloned().unwrap_or_default();
        let mut last = None;
        for lot in lots {
            let Err(error) = take(store, &lot, events) else {
                return Ok(());
            };
            let why = chain(&error);
            store
                .stop()
                .check()
                .map_err(|error| Unavailable(chain(&error)))?;
            if let Some(cache) = lot.cache {
                let mut content = self.lock();
                content.broken.entry(cache).or_insert_with(|| why.clone());
            }
            last = Some(Unavailable(why));
        }
        last.map_or(Ok(()), Err)
    }
}

/// A layer that is in no place any more.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(String);

fn take(
    store: &Store,
    lot: &Lot,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(), image::LayerError> {
    let (digest, size) = (lot.layer.descriptor.digest, lot.layer.descriptor.size);
    let place = lot.place.as_ref().map_or("layer", Reference::repository);
    let tell = |done| {
        events(BuildEvent::Transfer {
            direction: Direction::Fetch,
            name: format!("{place} {}", &digest.hex()[..12]),
            done,
            total: Some(size),
        });
    };
    tell(0);
    take_layer(store, &*lot.source, &lot.layer, &Indexing { store })?;
    tell(size);
    Ok(())
}

/// A source that notices for itself what is wrong with its blobs.
struct Watched {
    source: Arc<dyn BlobSource + Send + Sync>,
    size: u64,
    wrong: Arc<AtomicBool>,
}

struct WatchedBlob {
    content: Box<dyn Read + Send>,
    expected: Digest,
    left: u64,
    hasher: Hasher,
    wrong: Arc<AtomicBool>,
}

impl BlobSource for Watched {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError> {
        let content = self.source.open(digest);
        let content = content.inspect_err(|_| self.wrong.store(true, Ordering::Relaxed))?;
        Ok(Box::new(WatchedBlob {
            content,
            expected: *digest,
            left: self.size,
            hasher: Hasher::new(),
            wrong: Arc::clone(&self.wrong),
        }))
    }
}

impl Read for WatchedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer);
        let wrong = match &read {
            Ok(0) => self.left > 0 && !buffer.is_empty(),
            Ok(len) => {
                self.hasher.update(&buffer[..*len]);
                let more = *len as u64 > self.left;
                self.left = self.left.saturating_sub(*len as u64);
                more || (self.left == 0 && self.hasher.clone().finish() != self.expected)
            }
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        self.wrong.fetch_or(wrong, Ordering::Relaxed);
        read
    }
}
