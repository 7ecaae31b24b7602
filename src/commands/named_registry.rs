//! Which registry `--creds` is for. The invariant: a password of the command line goes to one registry, which the command line or
//! the Containerfile names; where there are several, nobody gets it.

use std::collections::BTreeSet;

use builder::{CacheDestination, CacheFrom, Output};
use containerfile::Source;
use image::{Credentials, Reference};

use crate::args::build::BuildSettings;
use crate::failure::Failure;

/// Credentials, and the registry that they are for.
pub(super) type Meant = Option<(String, Credentials)>;

/// The registry that is pushed to or has the cache; without one, the one that the stages start from.
pub(super) fn of_creds(settings: &BuildSettings, source: &Source) -> Result<Meant, Failure> {
    let Some(credentials) = &settings.registry.creds else {
        return Ok(None);
    };
    let mut registries = pushed(settings);
    if registries.is_empty() {
        registries = bases(settings, source);
    }
    let mut all = registries.into_iter();
    match (all.next(), all.next()) {
        (Some(registry), None) => Ok(Some((registry, credentials.clone()))),
        (None, _) => Err(Failure::usage("--creds: this build names no registry that they could be for")),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "--creds: are they for {one} or for {other}?"
        ))
        .hint("an auth file has credentials for each registry: rbuild login writes one, --authfile names it")),
    }
}

fn pushed(settings: &BuildSettings) -> BTreeSet<String> {
    let names = |output: &Output| match output {
        Output::Registry(image) => image.names(&settings.image.tags).to_vec(),
        _ => Vec::new(),
    };
    let outputs = settings.results.outputs.iter();
    let caches = settings.caches.from.iter().filter_map(|from| match from {
        CacheFrom::Registry(name) => Some(name.clone()),
        CacheFrom::Local { .. } => None,
    });
    let written = settings.caches.to.iter().filter_map(|to| match &to.place {
        CacheDestination::Registry(name) => Some(name.clone()),
        CacheDestination::Local { .. } | CacheDestination::Inline => None,
    });
    let registry = |name: Reference| name.registry().to_owned();
    let names = outputs.flat_map(names).chain(caches).chain(written);
    names.map(registry).collect()
}

fn bases(settings: &BuildSettings, source: &Source) -> BTreeSet<String> {
    let stages = containerfile::parse(source).file.stages;
    let named: BTreeSet<&str> = stages
        .iter()
        .filter_map(|stage| stage.from.name.as_ref())
        .map(|name| name.value.as_str())
        .collect();
    let is_image = |name: &&str| {
        !named.contains(name.to_ascii_lowercase().as_str())
            && *name != "scratch"
            && !settings.sources.named.contains_key(*name)
    };
    let written = stages.iter().map(|stage| stage.from.image.raw.as_str());
    let first = settings.image.first_base.as_deref();
    let skipped = usize::from(first.is_some());
    first
        .into_iter()
        .chain(written.skip(skipped))
        .filter(is_image)
        .filter_map(|name| name.parse::<Reference>().ok())
        .map(|name| name.registry().to_owned())
        .collect()
}
