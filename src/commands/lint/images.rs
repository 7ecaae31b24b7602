//! Images for the linter: built ones to examine, and bases that are at hand. The invariant: no network; an image that is not in the
//! store is told, with the command that fetches it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use builder::NamedContext;
use builder::facts::{Depth, image_facts};
use containerfile::Source;
use containerfile::lint::{self, ImageFacts, Options};
use image::layout::Layout;
use image::{Digest, Image, Platform, Reference, Store};

use super::Examined;
use super::config::Config;
use crate::args::build::context::named_context;
use crate::args::lint::LintArgs;
use crate::failure::{Failure, Kind};
use crate::show;

/// What is found in built images.
pub(super) fn examine(
    names: &[String],
    args: &LintArgs,
    config: &Config,
    place: &dyn Fn() -> Result<PathBuf, Failure>,
) -> Result<Vec<Examined>, Failure> {
    let store = Store::open(place()?)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let options = Options {
        severities: config.severities.clone(),
        ..Options::default()
    };
    let mut examined = Vec::with_capacity(names.len());
    for name in names {
        let image = match name.strip_prefix("oci-layout:") {
            Some(layout) => taken(&store, Path::new(layout), None, &platform)?,
            None => for_platform(&store, &store.resolve(name)?, &platform)?,
        };
        let facts = image_facts(&store, &image, name, Depth::Programs)
            .map_err(|error| Failure::new(Kind::Failed, error))?;
        let (source, report) = lint::lint_image(&facts, &options);
        examined.push(Examined { source, report });
    }
    Ok(examined)
}

/// An image of the store; of an index, the one for a platform.
fn for_platform(store: &Store, digest: &Digest, platform: &Platform) -> Result<Image, Failure> {
    Ok(match store.index(digest)? {
        Some(_) => store.image_for(digest, platform)?,
        None => store.image(digest)?,
    })
}

/// What a base image has; its programs are not looked into.
fn facts(store: &Store, image: &Image, name: &str) -> Result<ImageFacts, Failure> {
    image_facts(store, image, name, Depth::Files).map_err(|error| Failure::new(Kind::Failed, error))
}

/// The layout's image, with its layers in the store: compressed ones cannot be read in pieces.
fn taken(
    store: &Store,
    layout: &Path,
    wanted: Option<&str>,
    platform: &Platform,
) -> Result<Image, Failure> {
    Layout::open(layout)
        .and_then(|layout| layout.import(wanted, platform, store, &image::Unobserved))
        .map_err(|error| Failure::new(Kind::Failed, error))
}

/// The base images that were looked for.
pub(super) struct Bases {
    /// Nothing where there is no store yet.
    store: Option<Store>,
    platform: Platform,
    contexts: BTreeMap<String, NamedContext>,
    known: BTreeMap<String, Arc<ImageFacts>>,
    absent: BTreeSet<String>,
}

impl Bases {
    /// Looks in the store at a place, which is made for layouts only.
    pub(super) fn new(place: &Path, args: &LintArgs) -> Result<Self, Failure> {
        let contexts = args.build_context.iter().map(|text| named_context(text));
        let contexts = contexts.collect::<Result<BTreeMap<_, _>, _>>()?;
        let there = place.exists() || !contexts.is_empty();
        Ok(Self {
            store: there.then(|| Store::open(place)).transpose()?,
            platform: args.platform.clone().unwrap_or_else(Platform::host),
            contexts,
            known: BTreeMap::new(),
            absent: BTreeSet::new(),
        })
    }

    /// What is known of the images that a text is built from.
    pub(super) fn of(
        &mut self,
        source: &Source,
    ) -> Result<BTreeMap<String, Arc<ImageFacts>>, Failure> {
        let names = lint::bases(source);
        for name in &names {
            if self.known.contains_key(name) || self.absent.contains(name) {
                continue;
            }
            match self.look(name)? {
                Some(facts) => drop(self.known.insert(name.clone(), Arc::new(facts))),
                None => drop(self.absent.insert(name.clone())),
            }
        }
        let known = names.into_iter().filter_map(|name| {
            let facts = Arc::clone(self.known.get(&name)?);
            Some((name, facts))
        });
        Ok(known.collect())
    }

    fn look(&self, name: &str) -> Result<Option<ImageFacts>, Failure> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let reference = match self.contexts.get(name) {
            Some(NamedContext::OciLayout { directory, version }) => {
                let image = taken(store, directory, version.as_deref(), &self.platform)?;
                return facts(store, &image, name).map(Some);
            }
            Some(NamedContext::Image(reference)) => reference.clone(),
            // Files: what is in them only the build will know.
            Some(
                NamedContext::Directory(_) | NamedContext::Archive(_) | NamedContext::Remote(_),
            ) => return Ok(None),
            None => match name.parse::<Reference>() {
                Ok(reference) => reference,
                // What is no name is a finding of its own.
                Err(_) => return Ok(None),
            },
        };
        let Some(digest) = store.lookup(&reference)? else {
            return Ok(None);
        };
        let image = for_platform(store, &digest, &self.platform)?;
        facts(store, &image, name).map(Some)
    }

    /// Says which images were not there.
    pub(super) fn tell_absent(&self) {
        for name in &self.absent {
            show::note(&format!(
                "{name} is not in the store, so nothing is known of it: `rbuild pull {name}` fetches it"
            ));
        }
    }
}
