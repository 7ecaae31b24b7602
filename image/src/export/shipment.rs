//! Exports that leave together.
//!
//! Invariant: each blob is given out once, however many images have it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Export, ExportBlob};
use crate::manifest::{Descriptor, Index};
use crate::media_type::{Format, MediaType};

/// What leaves together under one name: one image, or the images of several platforms with the index of them.
#[derive(Clone, Debug)]
pub struct Shipment<'e, 's> {
    exports: &'e [Export<'s>],
    index: Option<(Descriptor, Vec<u8>)>,
    descriptor: Descriptor,
    attached: &'e [Export<'s>],
}

impl<'e, 's> From<&'e Export<'s>> for Shipment<'e, 's> {
    fn from(export: &'e Export<'s>) -> Self {
        Self {
            exports: std::slice::from_ref(export),
            index: None,
            descriptor: export.descriptor().clone(),
            attached: &[],
        }
    }
}

impl<'e, 's> Shipment<'e, 's> {
    /// Several images of one format, with annotations of the index and of the descriptor that a layout lists it with.
    pub fn of_index(
        exports: &'e [Export<'s>],
        annotations: BTreeMap<String, String>,
        listed: BTreeMap<String, String>,
    ) -> Self {
        let format = exports.first().map_or(Format::Oci, |export| {
            export.descriptor().media_type.format()
        });
        let media_type = MediaType::OciIndex.in_format(format);
        let index = Index {
            media_type: Some(media_type.clone()),
            annotations,
            ..Index::new(
                exports
                    .iter()
                    .map(|export| export.descriptor().clone())
                    .collect(),
            )
        };
        let bytes = index.to_bytes();
        let mut descriptor = Descriptor::of(media_type, &bytes);
        descriptor.annotations = listed;
        Self::with_index(exports, descriptor, bytes)
    }

    /// What an index lists, and the index as it is.
    pub fn with_index(exports: &'e [Export<'s>], descriptor: Descriptor, bytes: Vec<u8>) -> Self {
        Self {
            exports,
            index: Some((descriptor.clone(), bytes)),
            descriptor,
            attached: &[],
        }
    }

    /// The shipment, with artifacts that refer to what it has.
    #[must_use]
    pub fn with(mut self, attached: &'e [Export<'s>]) -> Self {
        self.attached = attached;
        self
    }

    /// The artifacts that refer to what it has.
    pub fn attached(&self) -> &'e [Export<'s>] {
        self.attached
    }

    /// What has a digest that artifacts can refer to: the images, and the index of them.
    pub fn subjects(&self) -> impl Iterator<Item = &Descriptor> {
        let images = self.exports.iter().map(Export::descriptor);
        images.chain(self.index.iter().map(|(descriptor, _)| descriptor))
    }

    /// The images.
    pub fn exports(&self) -> &'e [Export<'s>] {
        self.exports
    }

    /// The index, where there is one: its descriptor and its bytes.
    pub fn index(&self) -> Option<&(Descriptor, Vec<u8>)> {
        self.index.as_ref()
    }

    /// What a name of the shipment means: the index, or the one image.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The document that a name of the shipment means.
    pub fn document(&self) -> &[u8] {
        match &self.index {
            Some((_, bytes)) => bytes,
            None => self.exports.first().map_or(&[], Export::manifest_bytes),
        }
    }

    /// Layers and configurations of all images and artifacts, each once.
    pub fn content(&self) -> impl Iterator<Item = ExportBlob<'e>> {
        once_each(self.all().flat_map(Export::content))
    }

    /// The blobs of all images and artifacts, their manifests too, each once.
    pub fn blobs(&self) -> impl Iterator<Item = ExportBlob<'e>> {
        once_each(self.all().flat_map(Export::blobs))
    }

    fn all(&self) -> impl Iterator<Item = &'e Export<'s>> + use<'e, 's> {
        self.exports.iter().chain(self.attached)
    }
}

fn once_each<'e>(
    blobs: impl Iterator<Item = ExportBlob<'e>>,
) -> impl Iterator<Item = ExportBlob<'e>> {
    let mut seen = BTreeSet::new();
    blobs.filter(move |blob| seen.insert(*blob.digest()))
}
