//! What a step takes beside its parent: the digest that is part of its key, and what it is made of by name. The invariant: the
//! digest is the same whether names are wanted or not.

use image::{ChainId, Digest};
use rootfs::copy::Seen;

use crate::explain::{Cause, Inputs, Listing};
use crate::job::JobImage;
use crate::key::{self, CacheKey};

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What a lookup needs.
    DigestAlone,
    /// What an explanation needs, too.
    Named,
}

/// The inputs of a step.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// `None` for steps without.
    pub(crate) digest: Option<Digest>,
    /// Empty, where only the digest was wanted.
    pub(crate) inputs: Inputs,
    /// What was looked at, of files.
    pub(crate) seen: Option<Seen>,
}

impl Gathered {
    /// An image, known by its layers.
    pub(super) fn of_image(image: Option<&JobImage>, detail: Detail) -> Self {
        let layers = image.map_or(&[][..], |image| &image.layers);
        let chain = ChainId::of(layers)
            .map(|chain| chain.to_string())
            .unwrap_or_default();
        let mut inputs = Inputs::default();
        if let Some(image) = image.filter(|_| detail == Detail::Named) {
            inputs.add_shown(Cause::Image, "", &chain, image.shown());
        }
        Self {
            digest: Some(key::hash(&[b"image", chain.as_bytes()])),
            inputs,
            seen: None,
        }
    }

    /// A whole stage, known by its key.
    pub(super) fn of_stage(name: &str, key: &CacheKey, detail: Detail) -> Self {
        let mut inputs = Inputs::default();
        if detail == Detail::Named {
            inputs.add(Cause::Stage, name, key);
        }
        Self {
            digest: Some(key::hash(&[b"stage", key.to_string().as_bytes()])),
            inputs,
            seen: None,
        }
    }

    /// Files of a stage, and all that the stage has.
    pub(super) fn beside_stage(mut self, name: &str, key: &CacheKey, detail: Detail) -> Self {
        if detail == Detail::Named {
            self.inputs.add(Cause::Stage, name, key);
        }
        let files = self
            .digest
            .map(|digest| digest.to_string())
            .unwrap_or_default();
        let stage = key.to_string();
        self.digest = Some(key::hash(&[
            b"completed",
            files.as_bytes(),
            stage.as_bytes(),
        ]));
        self
    }

    /// Files.
    pub(super) fn of_files(
        (digest, seen): (Digest, Seen),
        listing: Listing,
        detail: Detail,
    ) -> Self {
        let mut inputs = Inputs::default();
        if detail == Detail::Named {
            inputs.add_files(listing);
        }
        Self {
            digest: Some(digest),
            inputs,
            seen: Some(seen),
        }
    }
}
