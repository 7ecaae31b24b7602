//! Results of steps that machines share: what a cache elsewhere has is looked up as what the store has, and what a build made goes
//! there. The invariant: a record is used only with layers that its own cache has, by digest; nothing in it comes from the
//! machine, the user or a secret; and a cache that is of no use costs a notice, never the build.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use image::cached::{self, CacheContent, CachePlace, LAYERS_MAX};
use image::{DiffId, Export, PackedLayer, Packing, Shipment, layout};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::{Record, StepLayer};
use crate::depot::{Depot, Lot};
use crate::endpointed::{Endpointed, push};
use crate::event::BuildEvent;
use crate::host::Host;
use crate::job::{Executed, chain};
use crate::key::{CacheKey, VERSION};
use crate::request::{CacheDestination, CacheFrom, CacheTo};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the caches elsewhere have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SharedRecords {
    /// What the caches are called.
    names: Vec<String>,
    /// By the key of a step without its inputs: the number of the cache, and the record.
    steps: BTreeMap<CacheKey, Vec<(usize, Record)>>,
    /// Every layer that a record names.
    layers: BTreeSet<DiffId>,
    /// Names of entry points that start.
    starts: BTreeSet<String>,
}

/// What a cache holds, as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Records {
    version: String,
    steps: Vec<SharedStep>,
    starts: Vec<String>,
}

/// A step's result for other machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedStep {
    /// The key without inputs.
    step: CacheKey,
    record: Record,
}

impl SharedStep {
    /// Leaves out what only this machine has.
    pub(crate) fn of(step: CacheKey, record: &Record) -> Self {
        let record = Record {
            tree: None,
            built: None,
            ..record.clone()
        };
        Self { step, record }
    }

    fn layers(&self) -> impl Iterator<Item = DiffId> {
        let Record { layer, neutral, .. } = &self.record;
        let all = layer.iter().chain(neutral);
        all.filter_map(StepLayer::diff_id)
    }
}

impl SharedRecords {
    /// The records of a step, those of the first cache first.
    pub(crate) fn candidates(&self, step: &CacheKey) -> &[(usize, Record)] {
        self.steps.get(step).map_or(&[], Vec::as_slice)
    }

    /// Whether a cache has that layer.
    pub(crate) fn has(&self, layer: &DiffId) -> bool {
        self.layers.contains(layer)
    }

    /// What a cache is called.
    pub(crate) fn name(&self, cache: usize) -> &str {
        self.names.get(cache).map_or("", String::as_str)
    }

    /// Whether an entry point is known to start.
    pub(crate) fn starts(&self, name: &str) -> bool {
        self.starts.contains(name)
    }

    /// Forgets what a cache has.
    pub(crate) fn forget(&mut self, cache: usize) {
        for records in self.steps.values_mut() {
            records.retain(|(of, _)| *of != cache);
        }
        self.steps.retain(|_, records| !records.is_empty());
        let left = self.steps.values().flatten();
        let layers = left.flat_map(|(_, record)| record.layer.iter().chain(&record.neutral));
        self.layers = layers.filter_map(StepLayer::diff_id).collect();
        self.starts.clear();
    }

    /// Looks at the caches of a build. One that cannot be had is told.
    pub(crate) fn import(
        host: &Host<'_>,
        from: &[CacheFrom],
        depot: &Depot,
        events: &(dyn Fn(BuildEvent) + Sync),
    ) -> Self {
        let mut shared = Self::default();
        for (number, cache) in from.iter().enumerate() {
            shared.names.push(cache.to_string());
            let read = open(host, cache).and_then(|place| {
                let contents = cached::read(&place)?;
                contents
                    .into_iter()
                    .try_for_each(|content| shared.add(number, content, &place, depot))
            });
            if let Err(error) = read {
                let message = format!("the cache {cache} is not used: {}", chain(&*error));
                events(BuildEvent::Notice { message });
            }
        }
        shared
    }

    fn add(
        &mut self,
        number: usize,
        content: CacheContent,
        place: &CachePlace,
        depot: &Depot,
    ) -> Result<(), Failure> {
        let version = content.records.get("version").and_then(Value::as_str);
        if version != Some(&version_text()) {
            return Err("another version of rbuild made it".into());
        }
        let records: Records = serde_json::from_value(content.records)?;
        let there: BTreeSet<DiffId> = content.layers.iter().map(|layer| layer.diff_id).collect();
        for layer in content.layers {
            depot.add(Lot {
                layer,
                source: place.blobs(),
                place: place.repository().cloned(),
                packing: content.packing.clone(),
                cache: Some(number),
            });
        }
        for step in records.steps {
            if step.layers().all(|layer| there.contains(&layer)) {
                self.layers.extend(step.layers());
                let of_step = self.steps.entry(step.step).or_default();
                of_step.push((number, step.record));
            }
        }
        self.starts.extend(records.starts);
        Ok(())
    }
}

fn version_text() -> String {
    String::from_utf8_lossy(VERSION).into_owned()
}

fn open(host: &Host<'_>, from: &CacheFrom) -> Result<CachePlace, Failure> {
    match from {
        CacheFrom::Registry(reference) => {
            let endpoint = host.registries.registries.own_endpoint(reference)?;
            let remote = Endpointed::of(host, &endpoint)?.remote();
            Ok(CachePlace::Registry(std::sync::Arc::new(remote)))
        }
        CacheFrom::Local { directory, name } => Ok(CachePlace::layout(directory, name)?),
    }
}

/// What a finished build has for other machines.
#[derive(Debug, Default)]
pub(crate) struct Shareable {
    /// Of the stages that the images consist of.
    pub(crate) of_images: Vec<SharedStep>,
    /// Of all others.
    pub(crate) others: Vec<SharedStep>,
    /// The layers of the images, those of their bases too: so an image can be pushed without them.
    pub(crate) layers: Vec<DiffId>,
    /// Results of other machines, by the names of their records here.
    pub(crate) borrowed: Vec<(CacheKey, Record)>,
    /// Entry points that were found to start.
    pub(crate) starts: Vec<String>,
}

impl Shareable {
    /// Takes what one image was made of.
    pub(crate) fn take(&mut self, executed: &Executed, layers: &[DiffId]) {
        for (of_image, step) in &executed.shared {
            let steps = match of_image {
                true => &mut self.of_images,
                false => &mut self.others,
            };
            // Platforms share what is the same for all of them.
            if !steps.contains(step) {
                steps.push(step.clone());
            }
        }
        self.layers.extend_from_slice(layers);
        self.borrowed.extend_from_slice(&executed.borrowed);
    }

    /// The records as text, for an image's annotation: those whose layers the image has.
    pub(crate) fn inline(&self, layers: &[DiffId]) -> String {
        let fit = |step: &&SharedStep| step.layers().all(|layer| layers.contains(&layer));
        let steps = self.of_images.iter().map(|step| SharedStep {
            // The tree's own layer is none of the image's.
            record: Record {
                neutral: None,
                ..step.record.clone()
            },
            ..step.clone()
        });
        let steps: Vec<SharedStep> = steps.collect();
        let steps = steps.iter().filter(fit).cloned().collect();
        self.records(steps).to_string()
    }

    fn records(&self, steps: Vec<SharedStep>) -> Value {
        serde_json::to_value(Records {
            version: version_text(),
            steps,
            starts: self.starts.clone(),
        })
        .expect("records are plain data")
    }
}

/// Writes a cache.
pub(crate) struct Writer<'w> {
    pub(crate) host: &'w Host<'w>,
    pub(crate) depot: &'w Depot,
    pub(crate) shareable: &'w Shareable,
    pub(crate) events: &'w (dyn Fn(BuildEvent) + Sync),
}

impl Writer<'_> {
    pub(crate) fn write(&self, to: &CacheTo) -> Result<(), Failure> {
        let all = match to.mode {
            crate::request::CacheMode::Min => &[][..],
            crate::request::CacheMode::Max => &self.shareable.others[..],
        };
        let (steps, layers) = self.fitting(self.shareable.of_images.iter().chain(all));
        let packed = layers
            .iter()
            .map(|layer| Ok((*layer, self.packed(layer, to.packing)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let records = self.shareable.records(steps);
        let export = cached::export(records, to.packing.form(), packed)?;
        self.send(&to.place, &export)
    }

    /// The steps whose layers all fit into one manifest.
    fn fitting<'s>(
        &self,
        steps: impl Iterator<Item = &'s SharedStep>,
    ) -> (Vec<SharedStep>, Vec<DiffId>) {
        let (mut kept, mut seen, mut layers) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut left_out = 0;
        let mut add = |new: Vec<DiffId>| {
            let new: Vec<DiffId> = new.into_iter().filter(|one| !seen.contains(one)).collect();
            let fits = layers.len() + new.len() <= LAYERS_MAX;
            if fits {
                let new = new.into_iter().filter(|one| seen.insert(*one));
                layers.extend(new);
            }
            fits
        };
        for step in steps {
            if add(step.layers().collect()) {
                kept.push(step.clone());
            } else {
                left_out += 1;
            }
        }
        add(self.shareable.layers.clone());
        if left_out > 0 {
            let message = format!(
                "the cache lacks {left_out} steps: it has no room for more than {LAYERS_MAX} layers"
            );
            (self.events)(BuildEvent::Notice { message });
        }
        (kept, layers)
    }

    fn packed(&self, layer: &DiffId, packing: Packing) -> Result<PackedLayer<'_>, Failure> {
        let store = self.host.store;
        if !store.contains(layer.digest()) {
            if let Some(found) = self.depot.packed(layer, packing) {
                return Ok(PackedLayer::elsewhere(found));
            }
            self.depot.fetch(store, &[*layer], self.events)?;
        }
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(PackedLayer::of_store(store, *layer, packing, threads)?)
    }

    fn send(&self, place: &CacheDestination, export: &Export<'_>) -> Result<(), Failure> {
        let shipment = Shipment::from(export);
        match place {
            CacheDestination::Registry(reference) => {
                push(self.host, reference, (&shipment, None), self.events)
            }
            CacheDestination::Local { directory, name } => {
                std::fs::create_dir_all(directory)?;
                let names = [name.clone()];
                Ok(layout::write_directory(directory, &shipment, &names)?)
            }
            CacheDestination::Inline => Ok(()),
        }
    }
}
