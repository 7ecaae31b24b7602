//! What was looked up for a plan. Invariant: a name that was looked up once means the same for the whole build.

use std::collections::BTreeMap;

use containerfile::Span;
use image::Image;

use super::images::ImageKey;
use crate::remote::{Pinned, RemoteSource};

/// A source of ADD that is still to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRemote {
    /// Which.
    pub source: RemoteSource,
    /// The place that asks for it.
    pub span: Span,
}

/// The images and remote sources that were looked up.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    images: BTreeMap<ImageKey, Image>,
    remotes: BTreeMap<RemoteSource, Pinned>,
}

impl Pins {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image, and returns the one that it had before.
    pub fn insert(&mut self, key: ImageKey, image: Image) -> Option<Image> {
        self.images.insert(key, image)
    }

    /// The image, if it was looked up.
    #[must_use]
    pub fn get(&self, key: &ImageKey) -> Option<&Image> {
        self.images.get(key)
    }

    /// Whether the image was looked up.
    #[must_use]
    pub fn contains_key(&self, key: &ImageKey) -> bool {
        self.images.contains_key(key)
    }

    /// Adds a remote source.
    pub fn insert_remote(&mut self, source: RemoteSource, pinned: Pinned) {
        self.remotes.insert(source, pinned);
    }

    /// All remote sources that were looked up.
    pub(crate) fn remotes(&self) -> impl Iterator<Item = (RemoteSource, Pinned)> {
        let all = self.remotes.iter();
        all.map(|(source, pinned)| (source.clone(), pinned.clone()))
    }

    /// What the remote source is, if it was looked up.
    #[must_use]
    pub fn remote(&self, source: &RemoteSource) -> Option<&Pinned> {
        self.remotes.get(source)
    }
}
